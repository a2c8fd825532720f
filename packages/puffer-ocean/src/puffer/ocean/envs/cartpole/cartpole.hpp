// Balance a pole on a cart: the physics, the start and the rewards of Gymnasium's CartPole-v1.
#pragma once

#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include <puffer/ocean/env.hpp>

namespace cartpole {
using namespace puffer::ocean;

struct Config {
  int max_steps = 200;
};

inline constexpr double kGravity = 9.8;
inline constexpr double kPoleMass = 0.1;
inline constexpr double kTotalMass = 1.1;
inline constexpr double kHalfLength = 0.5;  // of the pole
inline constexpr double kForce = 10;
inline constexpr double kSeconds = 0.02;  // per step
inline constexpr double kTrack = 2.4;
inline constexpr double kTilt = 12 * 2 * std::numbers::pi / 360;

// Sine and cosine to 3e-12 for |x| <= kTilt, within which every step begins: polynomials that are
// right at Chebyshev's points, and so need fewer terms than the series. Number: double, or a vector
// of them.
template <class Number>
Number sine(const Number& x) {
  constexpr double k3 = -0.1666666666594026, k5 = 0.008333330352458096, k7 = -1.982314598401137e-4;
  const Number y = x * x;
  return x + x * y * ((k3 + k5 * y) + k7 * (y * y));
}
template <class Number>
Number cosine(const Number& x) {
  constexpr double k2 = -0.49999999993463223, k4 = 0.04166663984222336, k6 = -1.387257904329344e-3;
  const Number y = x * x;
  return 1 + y * ((k2 + k4 * y) + k6 * (y * y));
}

// One step of the physics, pushed to the right (1) or the left (-1); the positions move by the
// speeds that were. Arranged so that little waits for the division.
template <class Number>
void advance(const Number& direction, Number& x, Number& x_speed, Number& theta, Number& theta_speed) {
  constexpr double kMoment = kPoleMass * kHalfLength / kTotalMass;
  constexpr double kShare = kPoleMass / kTotalMass;
  const Number sin = sine(theta);
  const Number cos = cosine(theta);
  // What the speeds gain in this step: the cart's, but for the pole's reaction, and the pole's.
  const Number push = (kSeconds * kForce / kTotalMass) * direction +
                      (kSeconds * kMoment) * theta_speed * theta_speed * sin;
  const Number turn = ((kSeconds * kGravity) * sin - cos * push) /
                      (kHalfLength * (4.0 / 3 - kShare) + (kHalfLength * kShare) * sin * sin);
  x += kSeconds * x_speed;
  theta += kSeconds * theta_speed;
  x_speed = (x_speed + push) - kMoment * cos * turn;
  theta_speed += turn;
}

struct Cartpole {
  using Obs = float;
  using Action = std::int32_t;
  using Config = cartpole::Config;

  static constexpr std::tuple config_fields{
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    constexpr float kAny = std::numeric_limits<float>::infinity();
    constexpr auto kX = static_cast<float>(2 * kTrack);
    constexpr auto kTheta = static_cast<float>(2 * kTilt);
    return {.observation_shape = {4},
            .low = {-kX, -kAny, -kTheta, -kAny},
            .high = {kX, kAny, kTheta, kAny},
            .action = discrete(2),
            .max_steps = config.max_steps,
            .steps_per_second = static_cast<float>(1 / kSeconds)};
  }

  explicit Cartpole(const Config& config) : max_steps(config.max_steps) {}

  // Drawn as floats, so that the observation shows the start to the last bit.
  void reset(Rng& rng) {
    const auto draw = [&rng] { return rng.uniform(-0.05F, 0.05F); };
    x = draw();
    x_speed = draw();
    theta = draw();
    theta_speed = draw();
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    advance(io.actions[0] == 1 ? 1.0 : -1.0, x, x_speed, theta, theta_speed);
    io.rewards[0] = 1;
    io.terminals[0] = std::abs(x) > kTrack || std::abs(theta) > kTilt;
  }

  void observe(std::span<Obs> out) const {
    out[0] = static_cast<float>(x);
    out[1] = static_cast<float>(x_speed);
    out[2] = static_cast<float>(theta);
    out[3] = static_cast<float>(theta_speed);
  }

  void draw(Canvas& canvas) const {
    constexpr float kWidth = 600, kHeight = 320, kGround = 240, kPole = 130;
    constexpr float kCartWidth = 60, kCartHeight = 32;
    constexpr Color kInk{222, 226, 230}, kWood{224, 169, 109}, kAxle{129, 132, 203};
    const float at = kWidth / 2 * (1 + static_cast<float>(x / kTrack) * 0.9F);
    const float top = kGround - kCartHeight;
    const auto angle = static_cast<float>(theta);
    canvas.begin(kWidth, kHeight, {18, 24, 32});
    canvas.line(0, kGround, kWidth, kGround, 2, {88, 100, 112});
    for (const float side : {-1.0F, 1.0F}) {  // where the track ends
      const float end = kWidth / 2 * (1 + side * 0.9F);
      canvas.line(end, kGround - 12, end, kGround + 12, 3, {200, 80, 80});
    }
    canvas.rectangle(at - kCartWidth / 2, top, kCartWidth, kCartHeight, kInk);
    canvas.line(at, top + 6, at + kPole * std::sin(angle), top + 6 - kPole * std::cos(angle), 10,
                kWood);
    canvas.circle(at, top + 6, 5, kAxle);
  }

  float perf(const Episode& episode) const {
    return static_cast<float>(episode.length / max_steps);
  }

  double max_steps;
  double x = 0;
  double x_speed = 0;
  double theta = 0;
  double theta_speed = 0;

  static constexpr std::tuple stat_fields{
      field("perf", &Cartpole::perf, "share of the steps that an episode may have"),
  };
};

}  // namespace cartpole
