// Breakout with a game in each lane of a vector; the rules are those of breakout.hpp.
#pragma once

#include <utility>

#include <puffer/ocean/lanes.hpp>

#include "breakout.hpp"

namespace breakout {

// A ball that meets nothing, for all lanes: in the open, or past the paddle. A game whose ball may
// meet something within the step, is lost or waits to be served is played by the scalar rules
// instead, from the beginning of the step.
template <std::size_t kLanes>
class BreakoutBlock {
  using Ints = Vector<std::int32_t, kLanes>;
  using Floats = Vector<float, kLanes>;
  using Array = std::array<float, kLanes>;

 public:
  explicit BreakoutBlock(const Config& config) : games_(filled(Breakout(config))) {}

  void put(std::size_t lane, const Breakout& env) {
    games_[lane] = env;
    any_touched_ = touched_[lane] = true;
    show(lane);
  }

  Breakout get(std::size_t lane) const {
    Breakout env = games_[lane];
    env.paddle_x = paddle_x_[lane];
    env.x = x_[lane];
    env.y = y_[lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes lanes) {
    const auto move = load_lanes<Ints>(io.actions.data());
    // A comparison that holds is -1.
    const Floats direction =
        __builtin_convertvector(equal<kLanes>(move, +kLeft) - equal<kLanes>(move, +kRight), Floats);
    const Floats stride = direction * kPaddleSpeed * kTick;
    const auto paddle_width = load_lanes<Floats>(paddle_width_.data());
    const Floats end = kWidth - paddle_width;
    const Floats dx = load_lanes<Floats>(x_speed_.data()) * kTick;
    const Floats dy = load_lanes<Floats>(y_speed_.data()) * kTick;
    auto paddle_x = load_lanes<Floats>(paddle_x_.data());
    auto x = load_lanes<Floats>(x_.data()), y = load_lanes<Floats>(y_.data());
    Ints event = equal<kLanes>(load_lanes<Floats>(in_play_.data()), 0.0F) |
                 equal<kLanes>(load_lanes<Floats>(score_.data()), static_cast<float>(kMaxScore));
    if (any_touched_) forget_changes();
    for (int tick = 0; tick < games_[0].frame_skip; ++tick) {
      paddle_x += stride;
      paddle_x = choose<kLanes>(less<kLanes>(paddle_x, 0.0F), Floats{}, paddle_x);
      paddle_x = choose<kLanes>(less<kLanes>(end, paddle_x), end, paddle_x);
      // Within a tick the ball moves less than this sideways: what is farther off, it cannot meet.
      constexpr float kReach = 2 * kFast * kTick + 1;
      const Ints passes = less<kLanes>(kPaddleLine, y) | less<kLanes>(x + (kBall + kReach), paddle_x) |
                          less<kLanes>(paddle_x + paddle_width, x - kReach);
      event |= less<kLanes>(y, kWallBottom) | less<kLanes>(x, kReach) | less<kLanes>(kWidth - kBall - kReach, x);
      x += dx;
      y += dy;
      event |= less<kLanes>(y, kWallBottom) | (less<kLanes>(kPaddleLine, y) & ~passes) |
               ~less<kLanes>(y, kPaddleY + kPaddleHeight);
    }
    std::ranges::fill(io.rewards, 0.0F);
    std::ranges::fill(io.terminals, false);
    any_touched_ = store_flags(touched_.data(), event);
    if (!any_touched_) {
      store_lanes(paddle_x_.data(), paddle_x);
      store_lanes(x_.data(), x);
      store_lanes(y_.data(), y);
      return false;
    }
    blend(paddle_x_, event, paddle_x);
    blend(x_, event, x);
    blend(y_, event, y);
    return play(io, lanes);
  }

  template <class Element>
  void observe(std::span<Element> rows) const {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      get(lane).observe(rows.subspan(lane * kRow, kRow));
    }
  }

  template <class Element>
  void update(std::span<Element> rows) const {
    show_header(rows.data());
    if (any_touched_) show_bricks(rows);
  }

 private:
  static constexpr std::size_t kRow = kHeader + kBricks;
  static constexpr float kPaddleLine = kPaddleY - kBall;  // the ball upon the paddle

  static std::array<Breakout, kLanes> filled(const Breakout& env) {
    return [&]<std::size_t... lane>(std::index_sequence<lane...>) {
      return std::array<Breakout, kLanes>{(static_cast<void>(lane), env)...};
    }(std::make_index_sequence<kLanes>());
  }

  // Takes the new values of the lanes without an event.
  static void blend(Array& state, const Ints& event, const Floats& fresh) {
    store_lanes(state.data(), choose<kLanes>(event, load_lanes<Floats>(state.data()), fresh));
  }

  // What vectors compute with or show, from the game of a lane.
  void show(std::size_t lane) {
    const Breakout& env = games_[lane];
    paddle_x_[lane] = env.paddle_x;
    paddle_width_[lane] = env.paddle_width;
    x_[lane] = env.x;
    y_[lane] = env.y;
    x_speed_[lane] = env.x_speed;
    y_speed_[lane] = env.y_speed;
    in_play_[lane] = env.in_play ? 1.0F : 0.0F;
    score_[lane] = static_cast<float>(env.score);
    lives_[lane] = static_cast<float>(env.lives);
  }

  [[gnu::noinline]] bool play(Io<std::int32_t> io, Lanes lanes) {
    bool ended = false;
    for_each_set(touched_, [&](std::size_t lane) {
      Breakout& env = games_[lane];
      env.paddle_x = paddle_x_[lane];
      env.x = x_[lane];
      env.y = y_[lane];
      Rng rng = lanes[lane];
      env.step(of_lane(io, lane), rng);
      show(lane);
      ended |= io.terminals[lane];
    });
    return ended;
  }

  [[gnu::noinline]] void forget_changes() {
    for_each_set(touched_, [&](std::size_t lane) { games_[lane].num_changed = 0; });
  }

  template <class Element>
  void show_header(Element* rows) const {
    std::array<Array, kHeader> seen;
    const auto scale = [&](std::size_t k, const Array& value, float factor) {
      store_lanes(seen[k].data(), load_lanes<Floats>(value.data()) * factor);
    };
    scale(0, paddle_x_, 1 / kWidth);
    seen[1].fill(kPaddleY / kHeight);
    scale(2, x_, 1 / kWidth);
    scale(3, y_, 1 / kHeight);
    scale(4, x_speed_, 1 / 512.0F);
    scale(5, y_speed_, 1 / 512.0F);
    scale(6, in_play_, 1 / 5.0F);
    scale(7, score_, 1.0F / kMaxScore);
    scale(8, lives_, 1.0F / kLives);
    scale(9, paddle_width_, 1 / kPaddle);
    const auto show_four = [&](std::size_t k) {
      store_rows<kLanes>(rows + k, kRow, seen[k].data(), seen[k + 1].data(), seen[k + 2].data(),
                         seen[k + 3].data());
    };
    show_four(0);
    show_four(4);
    show_four(6);  // two of them again: less than to write the last two one by one
  }

  template <class Element>
  [[gnu::noinline]] void show_bricks(std::span<Element> rows) const {
    for_each_set(touched_, [&](std::size_t lane) {
      games_[lane].update_bricks(rows.subspan(lane * kRow, kRow));
    });
  }

  std::array<Breakout, kLanes> games_;  // without paddle_x, x and y, which are below
  Array paddle_x_{};
  Array paddle_width_{};
  Array x_{};
  Array y_{};
  Array x_speed_{};
  Array y_speed_{};
  Array in_play_{};
  Array score_{};
  Array lives_{};
  std::array<bool, kLanes> touched_{};  // which of games_ were played in the last step
  bool any_touched_ = false;
};

}  // namespace breakout
