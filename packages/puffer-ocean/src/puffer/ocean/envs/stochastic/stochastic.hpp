// Mix two actions in a given proportion without seeing or remembering anything: only a policy that
// draws its actions can do it.
#pragma once

#include <algorithm>
#include <string>

#include <puffer/ocean/env.hpp>

namespace stochastic {
using namespace puffer::ocean;

struct Config {
  double p = 0.75;
  int length = 100;
  int max_steps = 0;
};

struct Stochastic {
  using Obs = float;
  using Action = std::int32_t;
  using Config = stochastic::Config;

  static constexpr std::tuple config_fields{
      field("p", &Config::p, "the share of action 0 that is wanted, 0 to 1"),
      field("length", &Config::length, "actions of an episode"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated; 0: length"),
  };

  static Spec spec(const Config& config) {
    if (!(config.p >= 0 && config.p <= 1)) {
      throw UsageError("p=" + std::to_string(config.p) + ": expected a share from 0 to 1");
    }
    if (config.length < 1 || config.length > 1'000'000) {
      throw UsageError("length=" + std::to_string(config.length) + ": expected 1 to 1000000");
    }
    if (config.max_steps < 0) {
      throw UsageError("max_steps=" + std::to_string(config.max_steps) +
                       ": expected at least 1, or 0 for length");
    }
    return {.observation_shape = {1},
            .low = {0},
            .high = {1},
            .action = discrete(2),
            .max_steps = config.max_steps > 0 ? config.max_steps : config.length,
            .steps_per_second = 20};
  }

  explicit Stochastic(const Config& config) : p(static_cast<float>(config.p)), length(config.length) {}

  void reset(Rng& /*rng*/) {
    zeros = 0;
    tick = 0;
    last = -1;
  }

  // The only reward comes with the last action.
  void step(Io<Action> io, Rng& /*rng*/) {
    last = io.actions[0];
    zeros += last == 0;
    ++tick;
    if (tick < length) return;
    io.rewards[0] = perf();
    io.terminals[0] = true;
  }

  void observe(std::span<Obs> out) const { out[0] = 1; }
  void update(std::span<Obs> /*out*/) const {}

  // Whether a restored simulation has counted as far as it can have.
  bool valid(const Config& config) const {
    return p == static_cast<float>(config.p) && length == config.length && tick >= 0 &&
           tick < length && zeros >= 0 && zeros <= tick && last >= -1 && last <= 1;
  }

  void draw(Canvas& canvas) const {
    constexpr float kWidth = 360, kHeight = 200, kLeft = 30, kBar = 300;
    constexpr Color kZero{70, 150, 220}, kOne{236, 150, 62}, kInk{238, 238, 238};
    canvas.begin(kWidth, kHeight, {22, 26, 34});
    canvas.text(kLeft, 14, 15, "share of action 0", kInk);
    canvas.rectangle(kLeft, 44, kBar, 44, tick > 0 ? kOne : Color{62, 68, 80});
    canvas.rectangle(kLeft, 44, kBar * share(), 44, kZero);
    const float wanted = kLeft + kBar * p;
    canvas.line(wanted, 36, wanted, 96, 3, kInk);
    canvas.text(wanted - 26, 98, 14, "wanted", kInk);
    for (int action = 0; action < 2; ++action) {
      const float x = 130 + 100 * static_cast<float>(action);
      const Color color = action == 0 ? kZero : kOne;
      if (action == last) canvas.circle(x, 154, 31, kInk);
      canvas.circle(x, 154, 26, color);
      canvas.text(x - 8, 139, 26, action == 0 ? "0" : "1", {22, 26, 34});
    }
  }

  float share() const {
    return tick > 0 ? static_cast<float>(zeros) / static_cast<float>(tick) : 0.0F;
  }

  // 1 where the share of action 0 is p, 0 where it is as far from it as can be.
  float perf() const {
    const float miss = (share() - p) / std::max(p, 1 - p);
    return 1 - miss * miss;
  }

  static constexpr std::tuple stat_fields{
      field("score", &Stochastic::perf, "1 - (distance from p / the greatest there is)^2"),
      field("perf", &Stochastic::perf, "the same"),
      field("share", &Stochastic::share, "share of action 0"),
  };

  float p;
  int length;
  int zeros = 0;
  int tick = 0;
  int last = -1;  // action taken last; -1: none yet
};

}  // namespace stochastic
