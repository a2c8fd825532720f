// CartPole with a simulation in each lane of a vector; the rules are those of cartpole.hpp.
#pragma once

#include <puffer/ocean/lanes.hpp>

#include "cartpole.hpp"

namespace cartpole {

template <std::size_t kLanes>
class CartpoleBlock {
  static constexpr std::size_t kPart = kLanes / 2;  // a register holds half as many doubles
  using Doubles = Vector<double, kPart>;
  using Floats = Vector<float, kPart>;
  using Ints = Vector<std::int32_t, kPart>;

 public:
  explicit CartpoleBlock(const Config& config) : config_(config) {}

  void put(std::size_t lane, const Cartpole& env) {
    x_[lane] = env.x;
    x_speed_[lane] = env.x_speed;
    theta_[lane] = env.theta;
    theta_speed_[lane] = env.theta_speed;
  }

  Cartpole get(std::size_t lane) const {
    Cartpole env(config_);
    env.x = x_[lane];
    env.x_speed = x_speed_[lane];
    env.theta = theta_[lane];
    env.theta_speed = theta_speed_[lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes /*lanes*/) {
    bool ended = false;
#pragma GCC unroll 2
    for (std::size_t lane = 0; lane < kLanes; lane += kPart) {
      const auto right = load_lanes<Ints>(io.actions.data() + lane);  // 0 or 1
      const Doubles direction = __builtin_convertvector(2 * right - 1, Doubles);
      auto x = load_lanes<Doubles>(&x_[lane]), x_speed = load_lanes<Doubles>(&x_speed_[lane]);
      auto theta = load_lanes<Doubles>(&theta_[lane]), theta_speed = load_lanes<Doubles>(&theta_speed_[lane]);
      advance(direction, x, x_speed, theta, theta_speed);
      store_lanes(&x_[lane], x);
      store_lanes(&x_speed_[lane], x_speed);
      store_lanes(&theta_[lane], theta);
      store_lanes(&theta_speed_[lane], theta_speed);
      ended |= store_flags(io.terminals.data() + lane, less<kLanes>(kTrack, x) | less<kLanes>(x, -kTrack) |
                                                           less<kLanes>(kTilt, theta) | less<kLanes>(theta, -kTilt));
    }
    std::ranges::fill(io.rewards, 1.0F);
    return ended;
  }

  template <class Element>  // float, or Half where compact observations are asked for
  void observe(std::span<Element> rows) const {
    std::array<std::array<float, kLanes>, 4> seen;
    for (std::size_t lane = 0; lane < kLanes; lane += kPart) {
      const auto show = [&](std::size_t k, const auto& value) {
        store_lanes(&seen[k][lane], __builtin_convertvector(load_lanes<Doubles>(&value[lane]), Floats));
      };
      show(0, x_);
      show(1, x_speed_);
      show(2, theta_);
      show(3, theta_speed_);
    }
    store_rows<kLanes>(rows.data(), 4, seen[0].data(), seen[1].data(), seen[2].data(),
                       seen[3].data());
  }

 private:
  Config config_;
  std::array<double, kLanes> x_{};
  std::array<double, kLanes> x_speed_{};
  std::array<double, kLanes> theta_{};
  std::array<double, kLanes> theta_speed_{};
};

}  // namespace cartpole
