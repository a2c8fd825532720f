// Watch a sequence of bits, wait, repeat it from memory: impossible without a recurrent policy.
#pragma once

#include <algorithm>
#include <string>

#include <puffer/ocean/env.hpp>

namespace memory {
using namespace puffer::ocean;

struct Config {
  int length = 2;
  int delay = 1;
  int max_steps = 0;
};

struct Memory {
  using Obs = float;
  using Action = std::int32_t;
  using Config = memory::Config;

  static constexpr std::tuple config_fields{
      field("length", &Config::length, "bits to remember, 1 to 32"),
      field("delay", &Config::delay, "steps between the last bit shown and the first repeated"),
      field("max_steps", &Config::max_steps,
            "steps until an episode is truncated; 0: 2 * length + delay"),
  };

  static Spec spec(const Config& config) {
    if (config.length < 1 || config.length > 32) {
      throw UsageError("length=" + std::to_string(config.length) + ": expected 1 to 32 bits");
    }
    if (config.delay < 0 || config.delay > 1'000'000) {
      throw UsageError("delay=" + std::to_string(config.delay) + ": expected 0 to 1000000 steps");
    }
    if (config.max_steps < 0) {
      throw UsageError("max_steps=" + std::to_string(config.max_steps) +
                       ": expected at least 1, or 0 for 2 * length + delay");
    }
    return {.observation_shape = {1},
            .low = {-1},
            .high = {1},
            .action = discrete(2),
            .max_steps = config.max_steps > 0 ? config.max_steps : 2 * config.length + config.delay,
            .steps_per_second = 3};
  }

  explicit Memory(const Config& config) : length(config.length), delay(config.delay) {}

  void reset(Rng& rng) {
    bits = static_cast<std::uint32_t>(rng.next() >> 32U);
    answers = 0;
    tick = 0;
    right = 0;
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    const int place = tick - length - delay;  // of the bit that is asked for
    if (place >= 0) {
      const auto answer = static_cast<std::uint32_t>(io.actions[0]);
      answers |= answer << static_cast<unsigned>(place);
      const bool good = answer == bit(place);
      right += good;
      io.rewards[0] = good ? 1.0F / static_cast<float>(length) : 0.0F;
    }
    ++tick;
    io.terminals[0] = tick == 2 * length + delay;
  }

  void observe(std::span<Obs> out) const {
    out[0] = tick < length ? 2 * static_cast<float>(bit(tick)) - 1 : 0.0F;
  }

  // Whether a restored simulation keeps within its bits.
  bool valid(const Config& config) const {
    return length == config.length && delay == config.delay && tick >= 0 &&
           tick < 2 * length + delay && right >= 0 && right <= length;
  }

  void draw(Canvas& canvas) const {
    constexpr float kCard = 48, kGap = 10, kHeight = 230;
    constexpr Color kBack{52, 86, 140}, kFace{240, 238, 230}, kInk{30, 34, 44};
    constexpr Color kGood{64, 176, 100}, kBad{214, 74, 74}, kDim{140, 150, 164};
    const float width = std::max(200.0F, kGap + (kCard + kGap) * static_cast<float>(length));
    canvas.begin(width, kHeight, {22, 28, 38});
    const bool shows = tick < length, waits = !shows && tick < length + delay;
    canvas.text(kGap, 8, 16, shows ? "watch" : waits ? "wait" : "repeat", {235, 235, 235});
    for (int i = 0; i < length; ++i) {
      const float x = kGap + (kCard + kGap) * static_cast<float>(i);
      const int place = tick - length - delay;
      const bool open = i == tick || i < place;
      canvas.rectangle(x, 40, kCard, 68, open ? kFace : kBack);
      if (open) canvas.text(x + 16, 54, 34, bit(i) ? "1" : "0", kInk);
      else canvas.rectangle(x + 8, 48, kCard - 16, 52, {70, 108, 168});
      if (i < place) {
        const std::uint32_t answer = answers >> static_cast<unsigned>(i) & 1U;
        canvas.rectangle(x, 130, kCard, 68, answer == bit(i) ? kGood : kBad);
        canvas.text(x + 16, 144, 34, answer ? "1" : "0", kFace);
      } else {
        canvas.rectangle(x, 196, kCard, 2, kDim);
        if (i == place) canvas.text(x + 16, 144, 34, "?", kDim);
      }
    }
  }

  float perf() const { return static_cast<float>(right) / static_cast<float>(length); }

  static constexpr std::tuple stat_fields{
      field("score", &Memory::perf, "share of the bits that were repeated rightly"),
      field("perf", &Memory::perf, "the same"),
  };

  std::uint32_t bit(int place) const { return bits >> static_cast<unsigned>(place) & 1U; }

  int length;
  int delay;
  int tick = 0;
  int right = 0;              // bits repeated rightly
  std::uint32_t bits = 0;     // what was shown, the first bit lowest
  std::uint32_t answers = 0;  // what was answered
};

}  // namespace memory
