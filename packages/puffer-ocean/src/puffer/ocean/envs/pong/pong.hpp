// Return the ball past a scripted opponent, to 21 points. The rules in words: README.md.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <puffer/ocean/env.hpp>

namespace pong {
using namespace puffer::ocean;

struct Config {
  int frame_skip = 1;
  int max_score = 21;
  int opponent_speed = 8;
  double reward_hit = 0.1;
  int max_steps = 10000;
};

// Lengths are pixels, speeds pixels per tick, all whole numbers; x and y are upper left corners.
inline constexpr int kWidth = 500;
inline constexpr int kHeight = 640;
inline constexpr int kBall = 32;  // side of the square that collides
inline constexpr int kPaddleWidth = 20;
inline constexpr int kPaddle = 70;  // its height
inline constexpr int kPaddleSpeed = 8;
inline constexpr int kPaddleEnd = kHeight - kPaddle;  // the lowest place of a paddle
inline constexpr int kLeft = kPaddleWidth;            // the ball at the opponent's paddle
inline constexpr int kRight = kWidth - kPaddleWidth - kBall;  // and at the agent's
inline constexpr int kFloor = kHeight - kBall;
inline constexpr int kServeX = kWidth / 5;
inline constexpr int kServeY = kFloor / 2;
inline constexpr int kBallSpeed = 10;  // sideways, always
inline constexpr int kSpin = 3;        // what a moving paddle adds to the vertical speed
inline constexpr int kSteepest = 13;
inline constexpr std::size_t kObservation = 8;

enum Move : std::uint8_t { kStay, kUp, kDown, kMoves };

struct Pong {
  using Obs = float;
  using Action = std::int32_t;
  using Config = pong::Config;

  static constexpr std::tuple config_fields{
      field("frame_skip", &Config::frame_skip, "ticks per step"),
      field("max_score", &Config::max_score, "points that win a game"),
      field("opponent_speed", &Config::opponent_speed, "of its paddle, in pixels per tick"),
      field("reward_hit", &Config::reward_hit, "for each return of the ball"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    require("frame_skip", config.frame_skip, 1);
    require("max_score", config.max_score, 1);
    require("opponent_speed", config.opponent_speed, 0);
    std::vector<float> low(kObservation, 0.0F);
    low[4] = low[5] = -1;
    return {.observation_shape = {kObservation},
            .low = low,
            .high = {1},
            .action = discrete(kMoves),
            .max_steps = config.max_steps,
            .steps_per_second = 60.0F / static_cast<float>(config.frame_skip)};
  }

  explicit Pong(const Config& config)
      : frame_skip(config.frame_skip),
        max_score(config.max_score),
        opponent_speed(config.opponent_speed),
        reward_hit(static_cast<float>(config.reward_hit)) {}

  void reset(Rng& rng) {
    points = {0, 0};
    serve(rng);
  }

  void step(Io<Action> io, Rng& rng) {
    constexpr std::array<int, kMoves> kDirections{0, -1, 1};
    const int direction = kDirections[static_cast<std::size_t>(io.actions[0])];
    float reward = 0;
    for (int tick = 0; tick < frame_skip; ++tick) {
      paddle = std::clamp(paddle + direction * kPaddleSpeed, 0, kPaddleEnd);
      follow();
      move_ball();
      if (x >= kRight) [[unlikely]] {
        reward += touches(paddle) ? hit(direction) : point(kOpponent, rng);
      } else if (x <= kLeft) [[unlikely]] {
        reward += touches(opponent) ? returned() : point(kAgent, rng);
      }
      if (over()) [[unlikely]]
        break;
    }
    io.rewards[0] = reward;
    io.terminals[0] = over();
  }

  void observe(std::span<Obs> out) const {
    out[0] = static_cast<float>(paddle) * (1.0F / kPaddleEnd);
    out[1] = static_cast<float>(opponent) * (1.0F / kPaddleEnd);
    out[2] = static_cast<float>(x - kLeft) * (1.0F / (kRight - kLeft));
    out[3] = static_cast<float>(y) * (1.0F / kFloor);
    out[4] = static_cast<float>(x_speed) * (1.0F / kBallSpeed);
    out[5] = static_cast<float>(y_speed) * (1.0F / kSteepest);
    out[6] = static_cast<float>(points[kAgent]) * per_point;
    out[7] = static_cast<float>(points[kOpponent]) * per_point;
  }

  void draw(Canvas& canvas) const {
    constexpr Color kInk{232, 236, 240}, kNet{52, 60, 76};
    const auto at = [](int length) { return static_cast<float>(length); };
    canvas.begin(kWidth, kHeight, {14, 16, 26});
    for (int dash = 8; dash < kHeight; dash += 32) {
      canvas.rectangle(kWidth / 2.0F - 2, at(dash), 4, 16, kNet);
    }
    canvas.text(kWidth / 2.0F - 70, 16, 40, std::to_string(points[kOpponent]), {210, 120, 110});
    canvas.text(kWidth / 2.0F + 30, 16, 40, std::to_string(points[kAgent]), {0, 187, 187});
    canvas.rectangle(0, at(opponent), kPaddleWidth, kPaddle, {235, 87, 87});
    canvas.rectangle(kWidth - kPaddleWidth, at(paddle), kPaddleWidth, kPaddle, {0, 187, 187});
    canvas.circle(at(x) + kBall / 2.0F, at(y) + kBall / 2.0F, kBall / 2.0F, kInk);
  }

  float score() const { return static_cast<float>(points[kAgent] - points[kOpponent]); }
  float perf() const { return static_cast<float>(points[kAgent]) * per_point; }

  // Whether a restored game is one that can be played on.
  bool valid(const Config& config) const {
    const auto within = [](int value, int low, int high) { return value >= low && value <= high; };
    return frame_skip == config.frame_skip && max_score == config.max_score &&
           opponent_speed == config.opponent_speed &&
           per_point == 1.0F / static_cast<float>(max_score) &&
           reward_hit == static_cast<float>(config.reward_hit) && within(paddle, 0, kPaddleEnd) &&
           within(opponent, 0, kPaddleEnd) && within(x, kLeft, kRight) && within(y, 0, kFloor) &&
           std::abs(x_speed) == kBallSpeed && within(y_speed, -kSteepest, kSteepest) &&
           within(points[kAgent], 0, max_score - 1) && within(points[kOpponent], 0, max_score - 1);
  }

  // ----------------------------------------------------------------------------------------------

  enum Side : std::uint8_t { kAgent, kOpponent };

  static void require(const char* name, int value, int least) {
    if (value >= least) return;
    throw UsageError(std::string(name) + "=" + std::to_string(value) + ": expected at least " +
                     std::to_string(least));
  }

  // A new round: paddles in the middle, the ball from the opponent's side to the agent's.
  void serve(Rng& rng) {
    paddle = opponent = kPaddleEnd / 2;
    x = kServeX;
    y = kServeY;
    x_speed = kBallSpeed;
    y_speed = static_cast<int>(rng.below(3)) - 1;
  }

  // The opponent's paddle goes for the ball, middle to middle.
  void follow() {
    const int way = y + kBall / 2 - (opponent + kPaddle / 2);
    opponent += std::clamp(way, -opponent_speed, opponent_speed);
    opponent = std::clamp(opponent, 0, kPaddleEnd);
  }

  void move_ball() {
    x = std::clamp(x + x_speed, kLeft, kRight);
    y += y_speed;
    if (y < 0 || y > kFloor) [[unlikely]] {
      y = std::clamp(y, 0, kFloor);
      y_speed = -y_speed;
    }
  }

  bool touches(int some_paddle) const {
    return y + kBall > some_paddle && y < some_paddle + kPaddle;
  }

  // The agent's paddle sends the ball back; moving up or down it gives the ball spin.
  float hit(int direction) {
    x_speed = -kBallSpeed;
    y_speed = std::clamp(y_speed + kSpin * direction, -kSteepest, kSteepest);
    if (y_speed == 0) y_speed = y + kBall / 2 < paddle + kPaddle / 2 ? -kSpin : kSpin;
    return reward_hit;
  }

  float returned() {
    x_speed = kBallSpeed;
    return 0;
  }

  float point(Side winner, Rng& rng) {
    ++points[winner];
    if (!over()) serve(rng);
    return winner == kAgent ? 1.0F : -1.0F;
  }

  bool over() const { return std::max(points[kAgent], points[kOpponent]) >= max_score; }

  int frame_skip;
  int max_score;
  int opponent_speed;
  float reward_hit;
  float per_point = 1.0F / static_cast<float>(max_score);
  int paddle = 0;  // upper edges of the paddles
  int opponent = 0;
  int x = 0;  // the ball
  int y = 0;
  int x_speed = 0;
  int y_speed = 0;
  std::array<int, 2> points{};

  static constexpr std::tuple stat_fields{
      field("score", &Pong::score, "points of the agent less those of the opponent"),
      field("perf", &Pong::perf, "points of the agent over those that win"),
  };
};

}  // namespace pong
