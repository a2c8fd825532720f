// Steer a puck by pushing it, and stop for nothing but the target: the smallest continuous control.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include <puffer/ocean/env.hpp>

namespace continuous {
using namespace puffer::ocean;

inline constexpr float kPush = 0.01F;     // speed that an action of 1 adds in a step
inline constexpr float kMaxSpeed = 0.1F;  // per axis and step
inline constexpr float kStart = 0.5F;     // puck and target begin within this of the middle
inline constexpr float kHit = 5;          // reward at the target

struct Config {
  double radius = 0.15;
  int max_steps = 100;
};

struct Continuous {
  using Obs = float;
  using Action = float;
  using Config = continuous::Config;

  static constexpr std::tuple config_fields{
      field("radius", &Config::radius, "of the target, in half sides of the table; 0.01 to 0.5"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    if (!(config.radius >= 0.01 && config.radius <= 0.5)) {
      throw UsageError("radius=" + std::to_string(config.radius) + ": expected 0.01 to 0.5");
    }
    constexpr float kEdge = 1 + kMaxSpeed;  // where the last step can end
    return {.observation_shape = {6},
            .low = {-kEdge, -kEdge, -1, -1, -1, -1},
            .high = {kEdge, kEdge, 1, 1, 1, 1},
            .action = box(2, -1, 1),
            .max_steps = config.max_steps,
            .steps_per_second = 30};
  }

  explicit Continuous(const Config& config) : radius(static_cast<float>(config.radius)) {}

  void reset(Rng& rng) {
    for (float* value : {&x, &y, &target_x, &target_y}) *value = rng.uniform(-kStart, kStart);
    x_speed = y_speed = 0;
    hit = false;
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    const float before = distance();
    x_speed = std::clamp(x_speed + kPush * io.actions[0], -kMaxSpeed, kMaxSpeed);
    y_speed = std::clamp(y_speed + kPush * io.actions[1], -kMaxSpeed, kMaxSpeed);
    x += x_speed;
    y += y_speed;
    const float after = distance();
    hit = after <= radius;
    const bool fell = std::abs(x) > 1 || std::abs(y) > 1;
    io.rewards[0] = hit ? kHit : fell ? -1.0F : before - after;
    io.terminals[0] = hit || fell;
  }

  void observe(std::span<Obs> out) const {
    out[0] = x;
    out[1] = y;
    out[2] = x_speed * (1 / kMaxSpeed);
    out[3] = y_speed * (1 / kMaxSpeed);
    out[4] = target_x;
    out[5] = target_y;
  }

  // Whether a restored simulation is on its table; written so that NaN is not.
  bool valid(const Config& config) const {
    return radius == static_cast<float>(config.radius) && std::abs(x) <= 1 && std::abs(y) <= 1 &&
           std::abs(x_speed) <= kMaxSpeed && std::abs(y_speed) <= kMaxSpeed &&
           std::abs(target_x) <= 1 && std::abs(target_y) <= 1 && is_bool(hit);
  }

  void draw(Canvas& canvas) const {
    constexpr float kSide = 300, kEdge = 20, kHalf = kSide / 2, kMiddle = kEdge + kHalf;
    const auto at = [](float value) { return kMiddle + kHalf * value; };
    canvas.begin(kSide + 2 * kEdge, kSide + 2 * kEdge, {70, 46, 30});
    canvas.rectangle(kEdge, kEdge, kSide, kSide, {28, 92, 66});
    canvas.circle(at(target_x), at(target_y), kHalf * radius, {232, 226, 210});
    canvas.circle(at(target_x), at(target_y), kHalf * radius * 0.66F, {206, 62, 62});
    canvas.circle(at(target_x), at(target_y), kHalf * radius * 0.33F, {232, 226, 210});
    canvas.line(at(x), at(y), at(x + 4 * x_speed), at(y + 4 * y_speed), 4, {250, 210, 80});
    canvas.circle(at(x), at(y), 9, {40, 60, 190});
    canvas.circle(at(x), at(y), 5, {120, 150, 240});
  }

  float distance() const {
    const float dx = x - target_x, dy = y - target_y;
    return std::sqrt(dx * dx + dy * dy);
  }
  float perf() const { return hit ? 1.0F : 0.0F; }

  static constexpr std::tuple stat_fields{
      field("score", &Continuous::perf, "1 if the target was hit, else 0"),
      field("perf", &Continuous::perf, "the same"),
  };

  float radius;
  float x = 0;
  float y = 0;
  float x_speed = 0;
  float y_speed = 0;
  float target_x = 0;
  float target_y = 0;
  bool hit = false;
};

}  // namespace continuous
