// Squared with a simulation in each lane of a vector; the rules are those of squared.hpp.
#pragma once

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
    auto row = load_lanes<Ints>(row_.data()), column = load_lanes<Ints>(column_.data());
    const Ints before = row * config_.size + column;
    row += (move == +kUp) - (move == +kDown);  // a comparison that holds is -1
    column += (move == +kLeft) - (move == +kRight);
    const Ints position = row * config_.size + column;
    const Ints inside = (row >= 0) & (row < config_.size) & (column >= 0) & (column < config_.size);
    const Ints reached = inside & (position == load_lanes<Ints>(target_.data()));
    store_lanes(row_.data(), row);
    store_lanes(column_.data(), column);
    store_lanes(before_.data(), before);
    store_lanes(shown_.data(), inside ? position : before);
    store_lanes(io.rewards.data(), __builtin_convertvector(~inside - reached, Floats));
    return store_flags(io.terminals.data(), reached | ~inside);
  }

  void observe(std::span<std::uint8_t> rows) const {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      get(lane).observe(rows.subspan(lane * tiles_, tiles_));
    }
  }

  void update(std::span<std::uint8_t> rows) const {
    std::uint8_t* row = rows.data();
    for (std::size_t lane = 0; lane < kLanes; ++lane, row += tiles_) {
      row[before_[lane]] = kEmpty;
      row[shown_[lane]] = kAgent;
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
