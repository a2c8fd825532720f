// Steps many simulations of one environment over arrays that the caller owns. Knows no Python.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "puffer/ocean/env.hpp"
#include "puffer/ocean/pool.hpp"

namespace puffer::ocean {

// The caller's memory, one row per agent; `final_observations` may be null.
template <class Obs, class Action>
struct Arrays {
  Obs* observations = nullptr;
  const Action* actions = nullptr;
  float* rewards = nullptr;
  bool* terminals = nullptr;
  bool* truncations = nullptr;
  bool* masks = nullptr;
  Obs* final_observations = nullptr;
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
        slots_(static_cast<std::size_t>(num_envs), Slot{E{config}}),
        logs_(static_cast<std::size_t>(pool_.size())) {}

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

  struct Slot {
    E env;
    Episode counted{};
    std::uint32_t episode = 0;
  };

  struct alignas(kCacheLine) Log {
    std::size_t episodes = 0;
    Sums sums{};
    std::vector<std::pair<std::size_t, Sums>> each;
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

  void begin(std::size_t i, std::uint32_t episode) {
    Slot& slot = slots_[i];
    slot.counted = {};
    slot.episode = episode;
    Rng rng(seed_ + i, episode, 0);
    slot.env.reset(rng);
    slot.env.observe(row(arrays_.observations, i));
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
        } else {
          slot.env.observe(row);
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
      if (arrays_.final_observations != nullptr) {
        blank_absent(io, row(arrays_.final_observations, i));
      }
      std::ranges::fill(io.masks, true);
    } else {
      slot.env.observe(row(arrays_.observations, i));
      blank_absent(io, row(arrays_.observations, i));
    }
  }

  void blank_absent(const Io<Action>& io, std::span<Obs> rows) const {
    for (std::size_t agent = 0; agent < num_agents_; ++agent) {
      if (io.masks[agent]) continue;
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
      log.each.emplace_back(i * num_agents_, stats);
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
  std::vector<Slot> slots_;
  std::vector<Log> logs_;
};

}  // namespace puffer::ocean
