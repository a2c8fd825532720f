// Squared with a simulation in each lane of a vector; the rules are those of squared.hpp.
#pragma once

#include <numeric>

#include <puffer/ocean/lanes.hpp>

#include "squared.hpp"

namespace squared {

template <std::size_t kLanes>
class SquaredBlock {
  using Ints = Vector<std::int32_t, kLanes>;
  using Floats = Vector<float, kLanes>;
  using Array = std::array<std::int32_t, kLanes>;

 public:
  explicit SquaredBlock(const Config& config)
      : config_(config), tiles_(static_cast<std::size_t>(config.size * config.size)) {}

  void put(std::size_t lane, const Squared& env) {
    row_[lane] = env.row;
    column_[lane] = env.column;
    before_[lane] = env.before;
    target_[lane] = env.target;
    shown_[lane] = env.position();
  }

  Squared get(std::size_t lane) const {
    Squared env(config_);
    env.row = row_[lane];
    env.column = column_[lane];
    env.before = before_[lane];
    env.target = target_[lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes /*lanes*/) {
    const auto move = load_lanes<Ints>(io.actions.data());
    const auto before = load_lanes<Ints>(shown_.data());
    const auto size = fill_lanes<kLanes, Ints>(config_.size);
    const Ints up = equal<kLanes>(move, +kUp), down = equal<kLanes>(move, +kDown);  // what holds is -1
    const Ints step = equal<kLanes>(move, +kLeft) - equal<kLanes>(move, +kRight);
    const Ints row = load_lanes<Ints>(row_.data()) + up - down;
    const Ints column = load_lanes<Ints>(column_.data()) + step;
    const Ints position = before + step + (down & size) - (up & size);
    const auto on_grid = [&](const Ints& k) { return less<kLanes>(-1, k) & less<kLanes>(k, size); };
    const Ints inside = on_grid(row) & on_grid(column);
    const Ints reached = inside & equal<kLanes>(position, load_lanes<Ints>(target_.data()));
    store_lanes(row_.data(), row);
    store_lanes(column_.data(), column);
    store_lanes(before_.data(), before);
    store_lanes(shown_.data(), choose<kLanes>(inside, position, before));
    store_lanes(io.rewards.data(), __builtin_convertvector(~inside - reached, Floats));
    return store_flags(io.terminals.data(), reached | ~inside);
  }

  void observe(std::span<std::uint8_t> rows) const {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      get(lane).observe(rows.subspan(lane * tiles_, tiles_));
    }
  }

  void update(std::span<std::uint8_t> rows) const {
    static constexpr Array kCount = [] {
      Array count{};
      std::iota(count.begin(), count.end(), 0);
      return count;
    }();
    const Ints starts = load_lanes<Ints>(kCount.data()) * static_cast<std::int32_t>(tiles_);
    Array left, reached;
    store_lanes(left.data(), starts + load_lanes<Ints>(before_.data()));
    store_lanes(reached.data(), starts + load_lanes<Ints>(shown_.data()));
    std::uint8_t* const first = rows.data();
#pragma GCC unroll 16
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      first[left[lane]] = kEmpty;
      first[reached[lane]] = kAgent;
    }
  }

 private:
  Config config_;
  std::size_t tiles_;
  Array row_{};
  Array column_{};
  Array before_{};
  Array target_{};
  Array shown_{};  // where the agent is drawn: where it is, if that is on the grid
};

}  // namespace squared
