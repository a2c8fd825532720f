// Steps many simulations of one environment over arrays that the caller owns. Knows no Python.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "puffer/ocean/env.hpp"
#include "puffer/ocean/pool.hpp"

namespace puffer::ocean {

// The caller's memory, one row per agent; the last two may be null.
template <class Obs, class Action>
struct Arrays {
  Obs* observations = nullptr;
  const Action* actions = nullptr;
  float* rewards = nullptr;
  bool* terminals = nullptr;
  bool* truncations = nullptr;
  bool* masks = nullptr;
  Obs* final_observations = nullptr;
  bool* action_masks = nullptr;
};

// Statistics of `episodes` finished episodes: the sums of episode_return, episode_length and the
// env's own, in the order of Engine::stat_names().
struct EpisodeStats {
  std::size_t agent_id = 0;  // first row of the simulation; means something if episodes is 1
  std::size_t episodes = 0;
  std::vector<double> sums;
};

template <Environment E>
class Engine {
 public:
  using Obs = typename E::Obs;
  using Action = typename E::Action;
  using Config = typename E::Config;

  // With `each_episode`, drain() returns an item per episode, else at most one per thread.
  Engine(const Config& config, int num_envs, int num_threads, bool each_episode)
      : spec_(checked(E::spec(config))),
        observation_size_(product(spec_.observation_shape)),
        num_agents_(static_cast<std::size_t>(spec_.num_agents)),
        each_episode_(each_episode),
        pool_(std::min(positive("num_threads", num_threads), positive("num_envs", num_envs))),
        config_(config),
        slots_(static_cast<std::size_t>(num_envs), Slot{E{config}}),
        logs_(static_cast<std::size_t>(pool_.size())) {
    if constexpr (HasMask<E>) {
      mask_size_ = static_cast<std::size_t>(
          std::reduce(spec_.action.nvec.begin(), spec_.action.nvec.end(), std::int64_t{0}));
    }
    if constexpr (HasShared<E>) {
      shared_ = std::make_unique<SharedOf<E>>(config);
      for (Slot& slot : slots_) slot.env.shared = shared_.get();
    }
  }

  const Spec& spec() const { return spec_; }
  std::size_t num_rows() const { return slots_.size() * num_agents_; }

  // Makes `arrays` the ones to write; a reset must follow.
  void bind(const Arrays<Obs, Action>& arrays) {
    arrays_ = arrays;
    started_ = false;
  }

  bool started() const { return started_; }

  // Begins episode 0 everywhere; simulation k draws from the stream of seed + k.
  void reset(std::uint64_t seed) {
    seed_ = seed;
    started_ = false;
    pool_.run([this](int worker) {
      logs_[static_cast<std::size_t>(worker)] = {};
      const auto [first, last] = share(worker);
      clear(first, last);
      for (std::size_t i = first; i < last; ++i) begin(i, 0);
    });
    started_ = true;
  }

  // Advances every simulation; those whose episode ended are in their next one on return.
  // What an environment throws reaches the caller, and a reset must follow.
  void step() {
    if (!started_) throw ResetNeeded("step before reset: call reset first");
    started_ = false;
    pool_.run([this](int worker) {
      auto& log = logs_[static_cast<std::size_t>(worker)];
      if (num_agents_ == 1) {
        step_share<true>(share(worker), log);
      } else {
        step_share<false>(share(worker), log);
      }
    });
    started_ = true;
  }

  // Appends all that decides what comes next.
  void save(Writer& writer) const
    requires Saveable<E>
  {
    if (!started_) throw ResetNeeded("state before reset: call reset first");
    writer.write(seed_);
    for (const Slot& slot : slots_) {
      writer.write(slot.counted.total_reward);
      writer.write(slot.counted.length);
      writer.write(slot.episode);
      if constexpr (HasSave<E>) {
        slot.env.save(writer);
      } else if constexpr (HasShared<E>) {
        E env = slot.env;
        env.shared = nullptr;
        writer.write(env);
      } else {
        writer.write(slot.env);
      }
    }
    for (std::size_t row = 0; row < num_rows(); ++row) writer.write(arrays_.masks[row]);
    writer.write(static_cast<std::uint64_t>(logs_.size()));
    for (const Log& log : logs_) {
      writer.write(static_cast<std::uint64_t>(log.episodes));
      writer.write(log.sums);
      writer.write(log.each);
    }
  }

  // Continues from what `save` wrote; where the bytes are refused, all is as it was.
  void load(Reader& reader)
    requires Saveable<E>
  {
    const auto seed = reader.read<std::uint64_t>();
    std::vector<Slot> slots;
    slots.reserve(slots_.size());
    while (slots.size() < slots_.size()) slots.push_back(load_slot(reader));
    std::vector<std::uint8_t> masks(num_rows());
    for (auto& mask : masks) mask = reader.read<bool>();
    std::vector<Log> logs(logs_.size());
    const auto saved_logs = reader.read<std::uint64_t>();
    for (std::uint64_t i = 0; i < saved_logs; ++i) add_log(reader, logs[i % logs.size()]);
    Reader::require(reader.empty());
    seed_ = seed;
    slots_ = std::move(slots);
    logs_ = std::move(logs);
    clear(0, slots_.size());
    std::ranges::copy(masks, arrays_.masks);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      slots_[i].env.observe(row(arrays_.observations, i));
      blank_absent(i, arrays_.observations);
      if constexpr (HasMask<E>) show_masks(i);
    }
    started_ = true;
  }

  // Returns the statistics of the episodes that finished since the last call.
  std::vector<EpisodeStats> drain() {
    std::vector<EpisodeStats> all;
    for (auto& log : logs_) {
      for (const auto& [agent_id, sums] : log.each) {
        all.push_back({agent_id, 1, {sums.begin(), sums.end()}});
      }
      if (log.episodes > 0) all.push_back({0, log.episodes, {log.sums.begin(), log.sums.end()}});
      log = {};
    }
    return all;
  }

  static std::vector<std::string> stat_names() {
    std::vector<std::string> names{"episode_return", "episode_length"};
    if constexpr (HasStats<E>) {
      std::apply([&](const auto&... stat) { (names.emplace_back(stat.name), ...); },
                 E::stat_fields);
    }
    return names;
  }

  void draw(std::size_t simulation, Canvas& canvas) const {
    if (!started_) throw ResetNeeded("render before reset: call reset first");
    if (simulation >= slots_.size()) {
      throw UsageError("simulation=" + std::to_string(simulation) + ": expected 0 to " +
                       std::to_string(slots_.size() - 1));
    }
    if constexpr (HasDraw<E>) slots_[simulation].env.draw(canvas);
  }

 private:
  static constexpr std::size_t kStats = [] {
    if constexpr (HasStats<E>) return 2 + std::tuple_size_v<decltype(E::stat_fields)>;
    return std::size_t{2};
  }();
  using Sums = std::array<double, kStats>;

  struct None {};
  template <class T>
  struct SharedType {
    using Type = None;
  };
  template <HasShared T>
  struct SharedType<T> {
    using Type = typename T::Shared;
  };
  template <class T>
  using SharedOf = typename SharedType<T>::Type;

  struct Slot {
    E env;
    Episode counted{};
    std::uint32_t episode = 0;
  };

  struct alignas(kCacheLine) Log {
    std::size_t episodes = 0;
    Sums sums{};
    struct Each {
      std::size_t agent_id;
      Sums sums;
    };
    std::vector<Each> each;
  };

  using Share = std::pair<std::size_t, std::size_t>;

  static int positive(const char* name, int value) {
    if (value >= 1) return value;
    throw UsageError(std::string(name) + "=" + std::to_string(value) + ": expected at least 1");
  }

  static std::size_t product(const std::vector<std::size_t>& shape) {
    std::size_t size = 1;
    for (const std::size_t extent : shape) size *= extent;
    return size;
  }

  static void require(bool good, const char* rule) {
    if (!good) throw UsageError(std::string("the environment's spec is wrong: ") + rule);
  }

  // An author's mistakes in the spec would become writes out of bounds.
  static Spec checked(Spec spec) {
    const std::size_t size = product(spec.observation_shape);
    const auto bounds = [size](const std::vector<float>& b) {
      return b.size() == 1 || b.size() == size;
    };
    const auto& nvec = spec.action.nvec;
    positive("max_steps", spec.max_steps);
    require(size > 0, "observation_shape holds no element");
    require(bounds(spec.low) && bounds(spec.high), "low and high need 1 bound or 1 per element");
    require(spec.num_agents >= 1, "num_agents must be at least 1");
    require(spec.action.size >= 1, "an agent needs at least 1 action component");
    require(nvec.empty() == std::same_as<Action, float>,
            "box() goes with Action = float, discrete() and multi_discrete() with std::int32_t");
    require(nvec.empty() || nvec.size() == spec.action.size, "action.size differs from its nvec");
    require(std::ranges::all_of(nvec,
                                [](std::int64_t n) {
                                  return n >= 1 && n <= std::numeric_limits<std::int32_t>::max();
                                }),
            "every action component needs 1 to 2147483647 choices");
    return spec;
  }

  Share share(int worker) const {
    const auto index = static_cast<std::size_t>(worker);
    const auto workers = static_cast<std::size_t>(pool_.size());
    return {slots_.size() * index / workers, slots_.size() * (index + 1) / workers};
  }

  std::span<Obs> row(Obs* base, std::size_t i) const {
    const std::size_t width = num_agents_ * observation_size_;
    return {base + i * width, width};
  }

  void clear(std::size_t first, std::size_t last) {
    const std::size_t start = first * num_agents_;
    const std::size_t count = (last - first) * num_agents_;
    std::fill_n(arrays_.rewards + start, count, 0.0F);
    std::fill_n(arrays_.terminals + start, count, false);
    std::fill_n(arrays_.truncations + start, count, false);
    std::fill_n(arrays_.masks + start, count, true);
  }

  Slot load_slot(Reader& reader) const {
    Slot slot{E{config_}};
    reader.read(slot.counted.total_reward);
    reader.read(slot.counted.length);
    reader.read(slot.episode);
    if constexpr (HasSave<E>) {
      if constexpr (HasShared<E>) slot.env.shared = shared_.get();
      slot.env.load(reader);
    } else {
      reader.read(slot.env);
    }
    if constexpr (HasShared<E>) slot.env.shared = shared_.get();
    Reader::require(slot.counted.length >= 0 && slot.counted.length < spec_.max_steps);
    if constexpr (HasValid<E>) Reader::require(slot.env.valid(config_));
    return slot;
  }

  static void add_log(Reader& reader, Log& log) {
    log.episodes += static_cast<std::size_t>(reader.read<std::uint64_t>());
    const auto sums = reader.read<Sums>();
    for (std::size_t k = 0; k < kStats; ++k) log.sums[k] += sums[k];
    std::vector<typename Log::Each> each;
    reader.read(each);
    log.each.insert(log.each.end(), each.begin(), each.end());
  }

  void begin(std::size_t i, std::uint32_t episode) {
    Slot& slot = slots_[i];
    slot.counted = {};
    slot.episode = episode;
    Rng rng(seed_ + i, episode, 0);
    slot.env.reset(rng);
    slot.env.observe(row(arrays_.observations, i));
    if constexpr (HasMask<E>) show_masks(i);
  }

  // Writes which actions are allowed to a simulation's agents; all are to those that are absent.
  void show_masks(std::size_t i) const {
    if (arrays_.action_masks == nullptr) return;
    const std::span<bool> allowed{arrays_.action_masks + i * num_agents_ * mask_size_,
                                  num_agents_ * mask_size_};
    std::ranges::fill(allowed, true);
    slots_[i].env.mask(allowed);
    for (std::size_t agent = 0; agent < num_agents_; ++agent) {
      if (arrays_.masks[i * num_agents_ + agent]) continue;
      std::ranges::fill(allowed.subspan(agent * mask_size_, mask_size_), true);
    }
  }

  template <bool kSingle>
  void step_share(Share share, Log& log) {
    const auto [first, last] = share;
    clear(first, last);
    // Copies: stores of bytes may alias members, which would then be read again and again.
    const Arrays<Obs, Action> arrays = arrays_;
    const std::size_t agents = kSingle ? 1 : num_agents_;
    const std::size_t components = spec_.action.size;
    const std::size_t width = observation_size_;
    const std::int32_t max_steps = spec_.max_steps;
    const std::uint64_t seed = seed_;
    Slot* const slots = slots_.data();
    for (std::size_t i = first; i < last; ++i) {
      Slot& slot = slots[i];
      const std::size_t at = i * agents;
      const Io<Action> io{.actions = {arrays.actions + at * components, agents * components},
                          .rewards = {arrays.rewards + at, agents},
                          .terminals = {arrays.terminals + at, agents},
                          .truncations = {arrays.truncations + at, agents},
                          .masks = {arrays.masks + at, agents}};
      ++slot.counted.length;
      Rng rng(seed + i, slot.episode, static_cast<std::uint64_t>(slot.counted.length));
      slot.env.step(io, rng);
      if constexpr (kSingle) {
        slot.counted.total_reward += io.rewards[0];
        if (slot.counted.length >= max_steps) [[unlikely]]
          io.truncations[0] = !io.terminals[0];
        const std::span<Obs> row{arrays.observations + i * width, width};
        if (io.terminals[0] || io.truncations[0]) [[unlikely]] {
          finish(i, log);
        } else if constexpr (HasUpdate<E>) {
          slot.env.update(row);
          if constexpr (HasMask<E>) show_masks(i);
        } else {
          slot.env.observe(row);
          if constexpr (HasMask<E>) show_masks(i);
        }
      } else {
        step_end(io, i, log);
      }
    }
  }

  void step_end(const Io<Action>& io, std::size_t i, Log& log) {
    Slot& slot = slots_[i];
    bool over = true;
    float reward = 0;
    for (std::size_t agent = 0; agent < num_agents_; ++agent) {
      if (!io.masks[agent]) {
        io.rewards[agent] = 0;
        continue;
      }
      reward += io.rewards[agent];
      if (slot.counted.length >= spec_.max_steps) io.truncations[agent] = !io.terminals[agent];
      over = over && (io.terminals[agent] || io.truncations[agent]);
    }
    slot.counted.total_reward += reward / static_cast<float>(num_agents_);
    if (over) {
      finish(i, log);
      if (arrays_.final_observations != nullptr) blank_absent(i, arrays_.final_observations);
      std::ranges::fill(io.masks, true);
      if constexpr (HasMask<E>) show_masks(i);
    } else {
      slot.env.observe(row(arrays_.observations, i));
      blank_absent(i, arrays_.observations);
      if constexpr (HasMask<E>) show_masks(i);
    }
  }

  void blank_absent(std::size_t i, Obs* base) const {
    const std::span<Obs> rows = row(base, i);
    for (std::size_t agent = 0; agent < num_agents_; ++agent) {
      if (arrays_.masks[i * num_agents_ + agent]) continue;
      std::ranges::fill(rows.subspan(agent * observation_size_, observation_size_), Obs{0});
    }
  }

  void finish(std::size_t i, Log& log) {
    Slot& slot = slots_[i];
    if (arrays_.final_observations != nullptr) {
      slot.env.observe(row(arrays_.final_observations, i));
    }
    Sums stats{slot.counted.total_reward, static_cast<double>(slot.counted.length)};
    if constexpr (HasStats<E>) {
      std::apply(
          [&](const auto&... stat) {
            std::size_t at = 2;
            ((stats[at++] = read_stat(slot.env, slot.counted, stat)), ...);
          },
          E::stat_fields);
    }
    if (each_episode_) {
      log.each.push_back({i * num_agents_, stats});
    } else {
      ++log.episodes;
      for (std::size_t k = 0; k < kStats; ++k) log.sums[k] += stats[k];
    }
    begin(i, slot.episode + 1);
  }

  Spec spec_;
  std::size_t observation_size_;
  std::size_t num_agents_;
  bool each_episode_;
  bool started_ = false;
  std::uint64_t seed_ = 0;
  Arrays<Obs, Action> arrays_;
  Pool pool_;
  Config config_;
  std::size_t mask_size_ = 0;  // choices of one agent, over all components
  std::unique_ptr<SharedOf<E>> shared_;
  std::vector<Slot> slots_;
  std::vector<Log> logs_;
};

}  // namespace puffer::ocean
