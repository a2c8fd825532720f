// Knock down a wall of bricks, twice, with a ball and a paddle. The rules in words: README.md.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>
#include <string>

#include <puffer/ocean/env.hpp>

namespace breakout {
using namespace puffer::ocean;

struct Config {
  int frame_skip = 4;
  int max_steps = 10000;
};

// Lengths are pixels, speeds pixels per second; x and y are upper left corners.
inline constexpr float kWidth = 576;
inline constexpr float kHeight = 330;
inline constexpr float kTick = 1.0F / 60;  // seconds
inline constexpr float kBall = 32;         // side of the square that collides
inline constexpr float kBallX = (kWidth - kBall) / 2;
inline constexpr float kBallY = kHeight / 2 - 30;
inline constexpr float kSlow = 256;
inline constexpr float kFaster = 64;  // after each kPatience hits of the paddle
inline constexpr float kFast = 448;
inline constexpr int kPatience = 4;
inline constexpr float kServe = std::numbers::pi_v<float> / 3.25F;  // from the vertical
inline constexpr float kPaddle = 62;
inline constexpr float kPaddleHeight = 8;
inline constexpr float kPaddleY = kHeight - kPaddleHeight - 10;
inline constexpr float kPaddleSpeed = 620;
inline constexpr int kRows = 6;
inline constexpr int kColumns = 18;
inline constexpr float kBrickWidth = kWidth / kColumns;
inline constexpr float kBrickHeight = 12;
inline constexpr float kWallTop = 50;
inline constexpr float kWallBottom = kWallTop + kRows * kBrickHeight;
inline constexpr std::array<int, kRows> kPoints{7, 7, 4, 4, 1, 1};  // of a brick, from the top row
inline constexpr int kFastRows = 3;
inline constexpr int kWallScore = kColumns * (7 + 7 + 4 + 4 + 1 + 1);
inline constexpr int kMaxScore = 2 * kWallScore;
inline constexpr int kLives = 5;
inline constexpr std::uint32_t kFullRow = (1U << kColumns) - 1;
inline constexpr std::size_t kHeader = 10;  // observation elements before the bricks
inline constexpr std::size_t kBricks = kRows * kColumns;

enum Move : std::uint8_t { kStay, kLeft, kRight, kMoves };
enum class Surface : std::uint8_t {
  kNone,
  kSideWall,
  kBackWall,
  kPaddleTop,
  kBrickFace,
  kBrickSide
};

// What the ball touches first on its way through a tick.
struct Contact {
  float time = 1;  // share of the tick
  Surface surface = Surface::kNone;
  int row = 0;
  int column = 0;
  float overlap = 0;  // of ball and brick along the surface

  void consider(float when, Surface what) {
    if (when < time || (when == time && surface == Surface::kNone)) {
      *this = {.time = when, .surface = what};
    }
  }
};

struct Breakout {
  using Obs = float;
  using Action = std::int32_t;
  using Config = breakout::Config;

  static constexpr std::tuple config_fields{
      field("frame_skip", &Config::frame_skip, "ticks of 1/60 s per step"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    if (config.frame_skip < 1) {
      throw UsageError("frame_skip=" + std::to_string(config.frame_skip) + ": expected at least 1");
    }
    std::vector<float> low(kHeader + kBricks, 0.0F);
    low[4] = low[5] = -1;
    return {.observation_shape = {kHeader + kBricks},
            .low = low,
            .high = {1},
            .action = discrete(kMoves),
            .max_steps = config.max_steps,
            .steps_per_second = 60.0F / static_cast<float>(config.frame_skip)};
  }

  explicit Breakout(const Config& config) : frame_skip(config.frame_skip) {}

  void reset(Rng& /*rng*/) {
    bricks.fill(kFullRow);
    score = 0;
    lives = kLives;
    begin_round();
  }

  void step(Io<Action> io, Rng& rng) {
    constexpr std::array<float, kMoves> kDirections{0, -1, 1};
    const float stride =
        kDirections[static_cast<std::size_t>(io.actions[0])] * kPaddleSpeed * kTick;
    const int before = score;
    num_changed = 0;
    bool over = false;
    for (int tick = 0; tick < frame_skip && !over; ++tick) {
      if (!in_play) serve(rng);
      paddle_x = std::clamp(paddle_x + stride, 0.0F, kWidth - paddle_width);
      over = !move_ball() || score == kMaxScore;
    }
    io.rewards[0] = static_cast<float>(score - before);
    io.terminals[0] = over;
  }

  // Templates, so that compact observations are written in place as well.
  template <class Element>
  void observe(std::span<Element> out) const {
    observe_header(out);
    observe_bricks(out);
  }

  template <class Element>
  void update(std::span<Element> out) const {
    observe_header(out);
    update_bricks(out);
  }

  void draw(Canvas& canvas) const;

  float perf() const { return static_cast<float>(score) / kMaxScore; }

  // Whether a restored simulation keeps within its arrays and the range of an int.
  bool valid(const Config& config) const {
    const auto in_court = [](float at) { return at >= -kWidth && at <= 2 * kWidth; };
    return frame_skip == config.frame_skip && in_court(x) && in_court(y) && in_court(paddle_x) &&
           std::abs(x_speed) <= 2 * kFast && std::abs(y_speed) <= 2 * kFast && score >= 0 &&
           score <= kMaxScore && lives >= 0 && lives <= kLives && hits >= 0 && hits < 1'000'000 &&
           is_bool(in_play) && num_changed <= kNoted + 1 &&
           std::ranges::all_of(bricks, [](auto row) { return row <= kFullRow; }) &&
           std::ranges::all_of(changed, [](auto brick) { return brick < kBricks; });
  }

  // ----------------------------------------------------------------------------------------------

  void begin_round() {
    in_play = false;
    hits = 0;
    speed = kSlow;
    paddle_width = kPaddle;
    paddle_x = (kWidth - kPaddle) / 2;
    x = kBallX;
    y = kBallY;
    x_speed = y_speed = 0;
  }

  void serve(Rng& rng) {
    in_play = true;
    head_for(rng.flip() ? kServe : -kServe, 1);
  }

  // Sets the velocity from the angle to the vertical; `down` is 1 or -1.
  void head_for(double angle, float down) {
    x_speed = speed * static_cast<float>(std::sin(angle));
    y_speed = speed * static_cast<float>(std::cos(angle)) * down;
  }

  // Moves the ball through one tick, but no farther than its first contact. False: the last life
  // is lost.
  bool move_ball() {
    const float dx = x_speed * kTick;
    const float dy = y_speed * kTick;
    const bool in_the_open = std::min(y, y + dy) >= kWallBottom && y + dy <= kPaddleY - kBall &&
                             x + dx >= 0 && x + dx <= kWidth - kBall;
    if (in_the_open) [[likely]] {
      x += dx;
      y += dy;
      return true;
    }
    const Contact contact = find_contact(dx, dy);
    x += contact.time * dx;
    y += contact.time * dy;
    bounce(contact);
    if (y < kPaddleY + kPaddleHeight) return true;
    if (lives == 0) return false;
    --lives;
    begin_round();
    return true;
  }

  Contact find_contact(float dx, float dy) const {
    Contact contact;
    if (dx != 0) {
      contact.consider(((dx > 0 ? kWidth - kBall : 0.0F) - x) / dx, Surface::kSideWall);
    }
    if (dy < 0) {
      contact.consider(-y / dy, Surface::kBackWall);
    } else if (const float gap = kPaddleY - kBall - y; gap >= 0 && gap <= dy) {
      const float at = x + gap / dy * dx;
      if (at + kBall > paddle_x && at < paddle_x + paddle_width) {
        contact.consider(gap / dy, Surface::kPaddleTop);
      }
    }
    if (std::min(y, y + dy) < kWallBottom && std::max(y, y + dy) + kBall > kWallTop) {
      find_brick(dx, dy, contact);
    }
    return contact;
  }

  // Looks for an earlier contact among the bricks that the ball's way through the tick comes near.
  void find_brick(float dx, float dy, Contact& contact) const {
    const auto index = [](float length, float unit, int count) {
      return std::clamp(static_cast<int>(length / unit), 0, count - 1);
    };
    const int top = index(std::min(y, y + dy) - kWallTop, kBrickHeight, kRows);
    const int bottom = index(std::max(y, y + dy) + kBall - kWallTop, kBrickHeight, kRows);
    const int left = index(std::min(x, x + dx), kBrickWidth, kColumns);
    const int right = index(std::max(x, x + dx) + kBall, kBrickWidth, kColumns);
    const std::uint32_t near = (2U << right) - (1U << left);
    for (int row = top; row <= bottom; ++row) {
      for (std::uint32_t row_bits = bricks[static_cast<std::size_t>(row)] & near; row_bits != 0;
           row_bits &= row_bits - 1) {
        touch_brick(dx, dy, row, std::countr_zero(row_bits), contact);
      }
    }
  }

  // The slab test: the ball is upon the brick while its shadows on both axes are.
  void touch_brick(float dx, float dy, int row, int column, Contact& contact) const {
    const float brick_x = static_cast<float>(column) * kBrickWidth;
    const float brick_y = kWallTop + static_cast<float>(row) * kBrickHeight;
    const auto [x_enter, x_leave] = slab(x, dx, brick_x, kBrickWidth);
    const auto [y_enter, y_leave] = slab(y, dy, brick_y, kBrickHeight);
    const float enter = std::max(x_enter, y_enter);
    if (enter < 0 || enter > contact.time || enter >= std::min(x_leave, y_leave)) return;
    const bool side = x_enter > y_enter;
    const float overlap = side ? shared(y + enter * dy, brick_y, kBrickHeight)
                               : shared(x + enter * dx, brick_x, kBrickWidth);
    // Of two bricks touched at once the one that the ball covers more of.
    if (enter == contact.time && contact.surface != Surface::kNone && overlap <= contact.overlap) {
      return;
    }
    contact = {.time = enter,
               .surface = side ? Surface::kBrickSide : Surface::kBrickFace,
               .row = row,
               .column = column,
               .overlap = overlap};
  }

  // When the ball's shadow on one axis reaches and leaves that of a brick, in shares of the tick.
  static std::pair<float, float> slab(float ball, float way, float brick, float extent) {
    constexpr float kEver = std::numeric_limits<float>::infinity();
    const float ahead = brick - kBall - ball;  // to the touch at the brick's near side, if way > 0
    const float behind = brick + extent - ball;
    if (way > 0) return {ahead / way, behind / way};
    if (way < 0) return {behind / way, ahead / way};
    return ahead < 0 && behind > 0 ? std::pair{-kEver, kEver} : std::pair{kEver, -kEver};
  }

  static float shared(float ball, float brick, float extent) {
    return std::min(ball + kBall, brick + extent) - std::max(ball, brick);
  }

  // Puts the ball exactly on the surface and turns it round.
  void bounce(const Contact& contact) {
    switch (contact.surface) {
      case Surface::kNone:
        break;
      case Surface::kSideWall:
        x = x_speed > 0 ? kWidth - kBall : 0;
        x_speed = -x_speed;
        break;
      case Surface::kBackWall:
        y = 0;
        y_speed = -y_speed;
        if (paddle_width == kPaddle) {
          paddle_width = kPaddle / 2;
          paddle_x += kPaddle / 4;
        }
        break;
      case Surface::kPaddleTop:
        hit_paddle();
        break;
      case Surface::kBrickSide: {
        const float brick_x = static_cast<float>(contact.column) * kBrickWidth;
        x = x_speed > 0 ? brick_x - kBall : brick_x + kBrickWidth;
        x_speed = -x_speed;
        remove_brick(contact.row, contact.column);
        break;
      }
      case Surface::kBrickFace: {
        const float brick_y = kWallTop + static_cast<float>(contact.row) * kBrickHeight;
        y = y_speed > 0 ? brick_y - kBall : brick_y + kBrickHeight;
        y_speed = -y_speed;
        remove_brick(contact.row, contact.column);
        break;
      }
    }
  }

  void hit_paddle() {
    y = kPaddleY - kBall;
    if (++hits % kPatience == 0) speed = std::min(speed + kFaster, kFast);
    const float from_middle = (x + kBall / 2 - paddle_x) / paddle_width - 0.5F;
    head_for(std::clamp(from_middle, -0.5F, 0.5F) * std::numbers::pi / 2, -1);
    if (score == kWallScore && std::ranges::all_of(bricks, [](auto row) { return row == 0; })) {
      bricks.fill(kFullRow);
      num_changed = kNoted + 1;
    }
  }

  void remove_brick(int row, int column) {
    bricks[static_cast<std::size_t>(row)] &= ~(1U << column);
    score += kPoints[static_cast<std::size_t>(row)];
    if (num_changed < kNoted) {
      changed[num_changed] = static_cast<std::uint8_t>(row * kColumns + column);
    }
    num_changed = static_cast<std::uint8_t>(std::min<std::size_t>(num_changed + 1U, kNoted + 1));
    if (row < kFastRows && speed < kFast) {
      x_speed *= kFast / speed;
      y_speed *= kFast / speed;
      speed = kFast;
    }
  }

  template <class Element>
  void observe_header(std::span<Element> out) const {
    out[0] = paddle_x * (1 / kWidth);
    out[1] = kPaddleY / kHeight;
    out[2] = x * (1 / kWidth);
    out[3] = y * (1 / kHeight);
    out[4] = x_speed * (1 / 512.0F);
    out[5] = y_speed * (1 / 512.0F);
    out[6] = in_play ? 1 / 5.0F : 0.0F;
    out[7] = static_cast<float>(score) * (1.0F / kMaxScore);
    out[8] = static_cast<float>(lives) * (1.0F / kLives);
    out[9] = paddle_width * (1 / kPaddle);
  }

  template <class Element>
  void observe_bricks(std::span<Element> out) const {
    constexpr Element kStands = 0.0F, kGone = 1.0F;
    for (std::size_t brick = 0; brick < kBricks; ++brick) {
      const std::uint32_t row = bricks[brick / kColumns];
      out[kHeader + brick] = (row >> (brick % kColumns)) & 1U ? kStands : kGone;
    }
  }

  // Those of the last step.
  template <class Element>
  void update_bricks(std::span<Element> out) const {
    if (num_changed > kNoted) return observe_bricks(out);
    for (std::size_t k = 0; k < num_changed; ++k) out[kHeader + changed[k]] = 1.0F;
  }

  static constexpr std::size_t kNoted = 6;  // bricks; a step with more is observed in full

  float paddle_x = 0;
  float paddle_width = 0;
  float x = 0;  // the ball
  float y = 0;
  float x_speed = 0;
  float y_speed = 0;
  float speed = 0;
  int frame_skip;
  int score = 0;
  int lives = 0;
  int hits = 0;                               // of the paddle, in this round
  std::array<std::uint32_t, kRows> bricks{};  // a bit per column: 1 stands
  bool in_play = false;
  std::uint8_t num_changed = 0;  // bricks gone in this step; above kNoted: look at all
  std::array<std::uint8_t, kNoted> changed{};

  static constexpr std::tuple stat_fields{
      field("score", &Breakout::score, "points"),
      field("perf", &Breakout::perf, "points over the 864 that there are"),
  };
};

inline void Breakout::draw(Canvas& canvas) const {
  constexpr std::array<Color, kRows> kColors{Color{211, 58, 58},  Color{226, 112, 48},
                                             Color{232, 158, 56}, Color{238, 210, 68},
                                             Color{92, 176, 88},  Color{70, 128, 212}};
  constexpr Color kInk{232, 236, 240};
  canvas.begin(kWidth, kHeight, {14, 16, 26});
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      if (((bricks[static_cast<std::size_t>(row)] >> column) & 1U) == 0) continue;
      canvas.rectangle(static_cast<float>(column) * kBrickWidth + 1,
                       kWallTop + static_cast<float>(row) * kBrickHeight + 1, kBrickWidth - 2,
                       kBrickHeight - 2, kColors[static_cast<std::size_t>(row)]);
    }
  }
  canvas.rectangle(paddle_x, kPaddleY, paddle_width, kPaddleHeight, {0, 187, 187});
  canvas.circle(x + kBall / 2, y + kBall / 2, kBall / 2, kInk);
  canvas.text(10, 8, 18, "score " + std::to_string(score), kInk);
  canvas.text(kWidth - 80, 8, 18, "lives " + std::to_string(lives), kInk);
}

}  // namespace breakout
