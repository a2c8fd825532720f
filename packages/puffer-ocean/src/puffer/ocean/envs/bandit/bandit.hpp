// Find out which of several one-armed bandits pays: the smallest problem that a trainer can fail.
#pragma once

#include <algorithm>
#include <array>
#include <string>

#include <puffer/ocean/env.hpp>

namespace bandit {
using namespace puffer::ocean;

inline constexpr int kMaxArms = 16;

struct Config {
  int arms = 4;
  int best = 2;
  double noise = 1;
  int max_steps = 16;
};

struct Bandit {
  using Obs = float;
  using Action = std::int32_t;
  using Config = bandit::Config;

  static constexpr std::tuple config_fields{
      field("arms", &Config::arms, "arms to choose from, 2 to 16"),
      field("best", &Config::best, "the arm that pays, counted from 0"),
      field("noise", &Config::noise, "each reward is off by up to this much"),
      field("max_steps", &Config::max_steps, "pulls until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    if (config.arms < 2 || config.arms > kMaxArms) {
      throw UsageError("arms=" + std::to_string(config.arms) + ": expected 2 to 16");
    }
    if (config.best < 0 || config.best >= config.arms) {
      throw UsageError("best=" + std::to_string(config.best) + ": expected one of the arms, 0 to " +
                       std::to_string(config.arms - 1));
    }
    if (!(config.noise >= 0 && config.noise <= 100)) {
      throw UsageError("noise=" + std::to_string(config.noise) + ": expected 0 to 100");
    }
    return {.observation_shape = {1},
            .low = {0},
            .high = {1},
            .action = discrete(config.arms),
            .max_steps = config.max_steps,
            .steps_per_second = 4};
  }

  explicit Bandit(const Config& config)
      : arms(config.arms), best(config.best), noise(static_cast<float>(config.noise)) {}

  void reset(Rng& /*rng*/) {
    pulls.fill(0);
    last = -1;
    paid = 0;
  }

  void step(Io<Action> io, Rng& rng) {
    last = io.actions[0];
    ++pulls[static_cast<std::size_t>(last)];
    paid = static_cast<float>(last == best) + noise * rng.uniform(-1.0F, 1.0F);
    io.rewards[0] = paid;
  }

  void observe(std::span<Obs> out) const { out[0] = 1; }
  void update(std::span<Obs> /*out*/) const {}

  // Whether a restored simulation keeps within its arms.
  bool valid(const Config& config) const {
    return arms == config.arms && best == config.best && last >= -1 && last < arms &&
           std::ranges::all_of(pulls, [&](int n) { return n >= 0 && n <= config.max_steps; });
  }

  void draw(Canvas& canvas) const {
    constexpr float kWidth = 90, kHeight = 240;
    constexpr Color kBody{96, 57, 130}, kLit{150, 86, 196}, kGlass{240, 236, 220};
    constexpr Color kMetal{176, 182, 190}, kKnob{225, 70, 70}, kGold{250, 204, 70};
    const float width = kWidth * static_cast<float>(arms);
    canvas.begin(width, kHeight, {24, 20, 34});
    for (int arm = 0; arm < arms; ++arm) {
      const float x = kWidth * static_cast<float>(arm) + 12;
      const bool pulled = arm == last;
      canvas.rectangle(x, 60, 52, 120, pulled ? kLit : kBody);
      canvas.rectangle(x + 7, 76, 38, 30, kGlass);
      for (int reel = 0; reel < 3; ++reel) {
        const float middle = x + 14 + 12 * static_cast<float>(reel);
        if (arm == best) canvas.circle(middle, 91, 5, {214, 52, 62});
        else canvas.rectangle(middle - 4, 87, 8, 8, {92, 98, 110});
      }
      canvas.rectangle(x + 12, 150, 28, 12, {36, 24, 48});  // where the money comes out
      const float knob = pulled ? 128.0F : 82.0F;
      canvas.line(x + 52, 112, x + 64, 112, 6, kMetal);
      canvas.line(x + 64, 112, x + 64, knob, 5, kMetal);
      canvas.circle(x + 64, knob, 7, kKnob);
      canvas.text(x + 20, 188, 16, "x" + std::to_string(pulls[static_cast<std::size_t>(arm)]),
                  kMetal);
      if (!pulled) continue;
      const auto cents = static_cast<int>(paid * 100);
      canvas.text(x + 4, 28, 18, (cents < 0 ? "-0." : "+0.") + two_digits(cents), kGold);
    }
    canvas.text(8, 216, 14, "cherries pay", kMetal);
  }

  float perf(const Episode& episode) const {
    return static_cast<float>(pulls[static_cast<std::size_t>(best)]) /
           static_cast<float>(episode.length);
  }

  static constexpr std::tuple stat_fields{
      field("score", &Bandit::perf, "share of the pulls at the arm that pays"),
      field("perf", &Bandit::perf, "the same"),
  };

  static std::string two_digits(int cents) {
    const std::string digits = std::to_string(cents < 0 ? -cents : cents);
    return digits.size() < 2 ? "0" + digits : digits;
  }

  int arms;
  int best;
  float noise;
  int last = -1;   // the arm pulled last; -1: none yet
  float paid = 0;  // what it paid
  std::array<int, kMaxArms> pulls{};
};

}  // namespace bandit
