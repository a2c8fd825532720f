// The form that every environment has: simulations one after the other, each an author's struct.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "puffer/ocean/options.hpp"
#include "puffer/ocean/rows.hpp"
#include "puffer/ocean/simulations.hpp"
#include "puffer/ocean/spec.hpp"

namespace puffer::ocean {

namespace detail {

// Whether a simulation with options of its own can use what was made from those of the engine.
template <class Shared, class Config>
bool shares(const Shared& shared, const Config& config) {
  if constexpr (requires { shared.fits(config); }) return shared.fits(config);
  return false;
}

struct Nothing {};
template <class E>
struct SharedOf {
  using Type = Nothing;
};
template <HasShared E>
struct SharedOf<E> {
  using Type = typename E::Shared;
};

template <class E>
inline constexpr std::size_t kNumStats = [] {
  if constexpr (HasStats<E>) return 2 + std::tuple_size_v<decltype(E::stat_fields)>;
  return std::size_t{2};
}();

template <class E>
std::vector<std::string> stat_names() {
  std::vector<std::string> names{"episode_return", "episode_length"};
  if constexpr (HasStats<E>) {
    std::apply([&](const auto&... stat) { (names.emplace_back(stat.name), ...); }, E::stat_fields);
  }
  return names;
}

// The statistics of an episode that ended, in the order of stat_names().
template <class E>
std::array<double, kNumStats<E>> read_stats(const E& env, const Episode& episode) {
  std::array<double, kNumStats<E>> stats{episode.total_reward, static_cast<double>(episode.length)};
  if constexpr (HasStats<E>) {
    std::apply(
        [&](const auto&... stat) {
          std::size_t at = 2;
          ((stats[at++] = read_stat(env, episode, stat)), ...);
        },
        E::stat_fields);
  }
  return stats;
}

}  // namespace detail

// What the options make of an environment; all its simulations refer to one.
template <Environment E>
struct Rules {
  using Shared = typename detail::SharedOf<E>::Type;

  explicit Rules(const typename E::Config& options)
      : config(options), spec(checked(E::spec(options), std::same_as<typename E::Action, float>)) {
    if constexpr (HasShared<E>) shared = std::make_unique<const Shared>(config);
  }

  // Returns a simulation with options of its own.
  E make(const typename E::Config& options) const {
    E env{options};
    if constexpr (HasShared<E>) env.shared = shared.get();
    return env;
  }

  typename E::Config config;
  Spec spec;
  std::unique_ptr<const Shared> shared;
};

template <Environment E>
class Scalar final : public Simulations {
 public:
  using Obs = typename E::Obs;
  using Action = typename E::Action;
  using Config = typename E::Config;

  struct Slot {
    E env;
    Episode counted{};
    std::uint32_t episode = 0;
    std::int32_t max_steps;
  };

  // `count` simulations, of which the first one is the engine's number `base`.
  Scalar(std::shared_ptr<const Rules<E>> rules, std::size_t count, std::size_t base = 0)
      : rules_(std::move(rules)),
        base_(base),
        agents_(static_cast<std::size_t>(rules_->spec.num_agents)),
        width_(observation_size(rules_->spec)),
        choices_(mask_size(rules_->spec)),
        slots_(count, Slot{.env = rules_->make(rules_->config),
                           .max_steps = rules_->spec.max_steps}) {}

  const Spec& spec() const override { return rules_->spec; }

  void reset(Range range, std::uint64_t seed) override {
    clear(range);
    std::fill_n(arrays_.masks + range.first * agents_, (range.last - range.first) * agents_, true);
    with_rows<Obs>(arrays_.halves, [&](auto& rows) {
      for (std::size_t i = range.first; i < range.last; ++i) {
        replace(slot(i).env, rules_->config);  // nothing is left of what was played before
        begin(i, seed, 0, rows);
      }
    });
  }

  void step(Range range, std::uint64_t seed, Logs& logs) override {
    with_rows<Obs>(arrays_.halves, [&](auto& rows) {
      // In pieces whose rows are still in the cache when they are written again.
      for (std::size_t first = range.first; first < range.last; first += kPiece) {
        const Range piece{first, std::min(first + kPiece, range.last)};
        if (agents_ == 1) {
          step_piece<true>(piece, seed, logs, rows);
        } else {
          step_piece<false>(piece, seed, logs, rows);
        }
      }
    });
  }

  void show(Range range) override {
    clear(range);
    with_rows<Obs>(arrays_.halves, [&](auto& rows) {
      for (std::size_t i = range.first; i < range.last; ++i) {
        observe(i, arrays_.observations, rows);
        blank_absent(i, arrays_.observations, rows);
        show_masks(i);
      }
    });
  }

  void vary(const std::string& option, const Values& values) override;

  void draw(std::size_t simulation, Canvas& canvas) const override {
    if constexpr (HasDraw<E>) slots_[simulation - base_].env.draw(canvas);
  }

  bool saves() const override { return Saveable<E>; }
  void save(Writer& writer) const override;
  std::unique_ptr<Simulations> load(Reader& reader) const override;

  // For the form in blocks, which hands over simulations.
  bool varies() const { return varied_ != nullptr; }
  Slot& slot(std::size_t i) { return slots_[i - base_]; }
  const Slot& slot(std::size_t i) const { return slots_[i - base_]; }

 private:
  static constexpr std::size_t kPiece = 1024;

  // Options that differ between simulations: those of the episodes under way and of the next ones.
  struct Varied {
    std::vector<Config> now;
    std::vector<Config> next;
    std::vector<std::int32_t> next_max_steps;
  };

  void clear(Range range) const {
    const std::size_t start = range.first * agents_;
    const std::size_t count = (range.last - range.first) * agents_;
    std::fill_n(arrays_.rewards + start, count, 0.0F);
    std::fill_n(arrays_.terminals + start, count, false);
    std::fill_n(arrays_.truncations + start, count, false);
  }

  void begin(std::size_t i, std::uint64_t seed, std::uint32_t episode, auto& rows) {
    Slot& slot = this->slot(i);
    if (varied_) [[unlikely]] {
      const std::size_t k = i - base_;
      varied_->now[k] = varied_->next[k];
      replace(slot.env, varied_->now[k]);
      slot.max_steps = varied_->next_max_steps[k];
    }
    slot.counted = {};
    slot.episode = episode;
    Rng rng(seed + i, episode, 0);
    slot.env.reset(rng);
    observe(i, arrays_.observations, rows);
    show_masks(i);
  }

  // Constructs: an environment with const members cannot be assigned.
  void replace(E& env, const Config& options) const {
    E fresh = rules_->make(options);
    std::destroy_at(&env);
    std::construct_at(&env, std::move(fresh));
  }

  template <bool kSingle>
  void step_piece(Range range, std::uint64_t seed, Logs& logs, auto& rows) {
    clear(range);
    // Copies: stores of bytes may alias members, which would then be read again and again.
    const Arrays arrays = arrays_;
    const auto* const actions = static_cast<const Action*>(arrays.actions);
    const std::size_t agents = kSingle ? 1 : agents_;
    const std::size_t components = rules_->spec.action.size;
    const std::size_t width = agents * width_;
    std::fill_n(arrays.masks + range.first * agents, (range.last - range.first) * agents, true);
    Slot* next = slots_.data() + (range.first - base_);
    for (std::size_t i = range.first; i < range.last; ++i) {
      Slot& slot = *next++;
      const std::size_t at = i * agents;
      const Io<Action> io{.actions = {actions + at * components, agents * components},
                          .rewards = {arrays.rewards + at, agents},
                          .terminals = {arrays.terminals + at, agents},
                          .truncations = {arrays.truncations + at, agents},
                          .masks = {arrays.masks + at, agents}};
      ++slot.counted.length;
      Rng rng(seed + i, slot.episode, static_cast<std::uint64_t>(slot.counted.length));
      slot.env.step(io, rng);
      if (kSingle ? close_step(io, slot) : close_step_of_all(io, slot)) [[unlikely]] {
        finish(i, seed, logs, rows);
      } else {
        if constexpr (HasUpdate<E>) {
          rows.update(slot.env, arrays.observations, i * width, width);
        } else {
          rows.observe(slot.env, arrays.observations, i * width, width);
        }
        if constexpr (!kSingle) blank_absent(i, arrays.observations, rows);
        show_masks(i);
      }
    }
  }

  // Truncates and adds up the rewards; true if the episode is over.
  static bool close_step(const Io<Action>& io, Slot& slot) {
    slot.counted.total_reward += io.rewards[0];
    if (slot.counted.length >= slot.max_steps) [[unlikely]]
      io.truncations[0] = !io.terminals[0];
    return io.terminals[0] || io.truncations[0];
  }

  bool close_step_of_all(const Io<Action>& io, Slot& slot) const {
    if (slot.counted.length >= slot.max_steps) [[unlikely]] {
      for (std::size_t agent = 0; agent < agents_; ++agent) {
        if (io.masks[agent]) io.truncations[agent] = !io.terminals[agent];
      }
    }
    bool over = true;
    float reward = 0;
    for (std::size_t agent = 0; agent < agents_; ++agent) {  // without branches
      const bool present = io.masks[agent], terminal = io.terminals[agent];
      const bool truncation = io.truncations[agent];
      io.rewards[agent] = present ? io.rewards[agent] : 0;
      reward += io.rewards[agent];
      over &= !present | terminal | truncation;
    }
    slot.counted.total_reward += reward / static_cast<float>(agents_);
    return over;
  }

  void finish(std::size_t i, std::uint64_t seed, Logs& logs, auto& rows) {
    Slot& slot = this->slot(i);
    if (arrays_.final_observations != nullptr) {
      observe(i, arrays_.final_observations, rows);
      blank_absent(i, arrays_.final_observations, rows);
    }
    logs.add(i, i * agents_, detail::read_stats(slot.env, slot.counted));
    std::fill_n(arrays_.masks + i * agents_, agents_, true);
    begin(i, seed, slot.episode + 1, rows);
  }

  void observe(std::size_t i, void* array, auto& rows) const {
    const std::size_t size = agents_ * width_;
    rows.observe(slot(i).env, array, i * size, size);
  }

  void blank_absent(std::size_t i, void* array, auto& rows) const {
    const bool* const present = arrays_.masks + i * agents_;
    if (std::memchr(present, 0, agents_) == nullptr) return;  // nearly always
    for (std::size_t agent = 0; agent < agents_; ++agent) {
      if (!present[agent]) rows.blank(array, (i * agents_ + agent) * width_, width_);
    }
  }

  // Writes which actions are allowed to a simulation's agents; all are to those that are absent.
  void show_masks(std::size_t i) {
    if constexpr (HasMask<E>) {
      if (arrays_.action_masks == nullptr) return;
      const std::size_t size = agents_ * choices_;
      const std::span<bool> allowed{arrays_.action_masks + i * size, size};
      std::ranges::fill(allowed, true);
      slot(i).env.mask(allowed);
      for (std::size_t agent = 0; agent < agents_; ++agent) {
        if (arrays_.masks[i * agents_ + agent]) continue;
        std::ranges::fill(allowed.subspan(agent * choices_, choices_), true);
      }
    }
  }

  std::shared_ptr<const Rules<E>> rules_;
  std::size_t base_;
  std::size_t agents_;   // of a simulation
  std::size_t width_;    // elements of an agent's observation
  std::size_t choices_;  // elements of an agent's action mask
  std::vector<Slot> slots_;
  std::shared_ptr<Varied> varied_;  // null while all have the same
};

}  // namespace puffer::ocean

#include "puffer/ocean/scalar_state.hpp"
