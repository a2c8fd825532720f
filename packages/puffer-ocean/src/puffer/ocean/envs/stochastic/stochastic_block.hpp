// Stochastic with an episode in each lane of a vector; the rules are those of stochastic.hpp.
#pragma once

#include <puffer/ocean/lanes.hpp>

#include "stochastic.hpp"

namespace stochastic {

template <std::size_t kLanes>
class StochasticBlock {
  using Ints = Vector<std::int32_t, kLanes>;

 public:
  explicit StochasticBlock(const Config& config) : rules_(config) {}

  void put(std::size_t lane, const Stochastic& env) {
    zeros_[lane] = env.zeros;
    tick_[lane] = env.tick;
    last_[lane] = env.last;
  }

  Stochastic get(std::size_t lane) const {
    Stochastic env = rules_;
    env.zeros = zeros_[lane];
    env.tick = tick_[lane];
    env.last = last_[lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes /*lanes*/) {
    const auto action = load_lanes<Ints>(io.actions.data());
    const Ints tick = load_lanes<Ints>(tick_.data()) + 1;
    store_lanes(last_.data(), action);
    store_lanes(zeros_.data(), load_lanes<Ints>(zeros_.data()) - equal<kLanes>(action, 0));
    store_lanes(tick_.data(), tick);
    std::ranges::fill(io.rewards, 0.0F);
    const bool ended = store_flags(io.terminals.data(), equal<kLanes>(tick, rules_.length));
    if (ended) [[unlikely]] pay(io);
    return ended;
  }

  void observe(std::span<float> rows) const { std::ranges::fill(rows, 1.0F); }
  void update(std::span<float> /*rows*/) const {}

 private:
  [[gnu::noinline]] void pay(Io<std::int32_t> io) const {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (io.terminals[lane]) io.rewards[lane] = get(lane).perf();
    }
  }

  Stochastic rules_;  // what a new episode is made of
  std::array<std::int32_t, kLanes> zeros_{};
  std::array<std::int32_t, kLanes> tick_{};
  std::array<std::int32_t, kLanes> last_{};
};

}  // namespace stochastic
