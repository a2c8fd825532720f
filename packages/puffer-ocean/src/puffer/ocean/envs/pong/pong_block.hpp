// Pong with a game in each lane of a vector; the rules are those of pong.hpp.
#pragma once

#include <puffer/ocean/lanes.hpp>

#include "pong.hpp"

namespace pong {

// The open court for all lanes; a game whose ball comes to a paddle in this step is played by the
// scalar rules instead, from the beginning of the step.
template <std::size_t kLanes>
class PongBlock {
  using Ints = Vector<std::int32_t, kLanes>;
  using Floats = Vector<float, kLanes>;
  using Array = std::array<std::int32_t, kLanes>;

 public:
  explicit PongBlock(const Config& config) : config_(config), rules_(config) {}

  void put(std::size_t lane, const Pong& env) {
    paddle_[lane] = env.paddle;
    opponent_[lane] = env.opponent;
    x_[lane] = env.x;
    y_[lane] = env.y;
    x_speed_[lane] = env.x_speed;
    y_speed_[lane] = env.y_speed;
    for (std::size_t side = 0; side < 2; ++side) points_[side][lane] = env.points[side];
  }

  Pong get(std::size_t lane) const {
    Pong env = rules_;
    env.paddle = paddle_[lane];
    env.opponent = opponent_[lane];
    env.x = x_[lane];
    env.y = y_[lane];
    env.x_speed = x_speed_[lane];
    env.y_speed = y_speed_[lane];
    for (std::size_t side = 0; side < 2; ++side) env.points[side] = points_[side][lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes lanes) {
    const auto move = load_lanes<Ints>(io.actions.data());
    const Ints stride = (equal<kLanes>(move, +kUp) - equal<kLanes>(move, +kDown)) * kPaddleSpeed;
    auto paddle = load_lanes<Ints>(paddle_.data()), opponent = load_lanes<Ints>(opponent_.data());
    auto x = load_lanes<Ints>(x_.data()), y = load_lanes<Ints>(y_.data());
    auto y_speed = load_lanes<Ints>(y_speed_.data());
    const auto x_speed = load_lanes<Ints>(x_speed_.data());
    Ints event{};
    for (int tick = 0; tick < config_.frame_skip; ++tick) {
      paddle = clamp(paddle + stride, 0, kPaddleEnd);
      const Ints way = y + kBall / 2 - (opponent + kPaddle / 2);
      opponent += clamp(way, -config_.opponent_speed, config_.opponent_speed);
      opponent = clamp(opponent, 0, kPaddleEnd);
      x += x_speed;
      y += y_speed;
      const Ints wall = less<kLanes>(y, 0) | less<kLanes>(+kFloor, y);
      y_speed = choose<kLanes>(wall, -y_speed, y_speed);
      y = clamp(y, 0, kFloor);
      event |= ~(less<kLanes>(x, +kRight) & less<kLanes>(+kLeft, x));
    }
    std::array<bool, kLanes> at_paddle;
    std::ranges::fill(io.rewards, 0.0F);
    std::ranges::fill(io.terminals, false);
    if (!store_flags(at_paddle.data(), event)) [[likely]] {
      store_lanes(paddle_.data(), paddle);
      store_lanes(opponent_.data(), opponent);
      store_lanes(x_.data(), x);
      store_lanes(y_.data(), y);
      store_lanes(y_speed_.data(), y_speed);
      return false;
    }
    blend(paddle_, event, paddle);
    blend(opponent_, event, opponent);
    blend(x_, event, x);
    blend(y_, event, y);
    blend(y_speed_, event, y_speed);
    return play(io, lanes, at_paddle);
  }

  template <class Element>  // float, or Half where compact observations are asked for
  void observe(std::span<Element> rows) const {
    std::array<std::array<float, kLanes>, kObservation> seen;
    const auto show = [&](std::size_t k, const Array& value, float scale, int from = 0) {
      const Ints shifted = load_lanes<Ints>(value.data()) - from;
      store_lanes(seen[k].data(), __builtin_convertvector(shifted, Floats) * scale);
    };
    show(0, paddle_, 1.0F / kPaddleEnd);
    show(1, opponent_, 1.0F / kPaddleEnd);
    show(2, x_, 1.0F / (kRight - kLeft), kLeft);
    show(3, y_, 1.0F / kFloor);
    show(4, x_speed_, 1.0F / kBallSpeed);
    show(5, y_speed_, 1.0F / kSteepest);
    show(6, points_[Pong::kAgent], rules_.per_point);
    show(7, points_[Pong::kOpponent], rules_.per_point);
    for (std::size_t k = 0; k < kObservation; k += 4) {
      store_rows<kLanes>(rows.data() + k, kObservation, seen[k].data(), seen[k + 1].data(),
                         seen[k + 2].data(), seen[k + 3].data());
    }
  }

 private:
  static Ints clamp(const Ints& value, std::int32_t low, std::int32_t high) {
    const Ints raised = choose<kLanes>(less<kLanes>(value, low), fill_lanes<kLanes, Ints>(low), value);
    return choose<kLanes>(less<kLanes>(high, raised), fill_lanes<kLanes, Ints>(high), raised);
  }

  // Takes the new values of the lanes without an event.
  static void blend(Array& state, const Ints& event, const Ints& fresh) {
    store_lanes(state.data(), choose<kLanes>(event, load_lanes<Ints>(state.data()), fresh));
  }

  [[gnu::noinline]] bool play(Io<std::int32_t> io, Lanes lanes,
                              const std::array<bool, kLanes>& chosen) {
    bool ended = false;
    for_each_set(chosen, [&](std::size_t lane) {
      Pong env = get(lane);
      Rng rng = lanes[lane];
      env.step(of_lane(io, lane), rng);
      put(lane, env);
      ended |= io.terminals[lane];
    });
    return ended;
  }

  Config config_;
  Pong rules_;  // what a new game is made of
  Array paddle_{};
  Array opponent_{};
  Array x_{};
  Array y_{};
  Array x_speed_{};
  Array y_speed_{};
  std::array<Array, 2> points_{};
};

}  // namespace pong
