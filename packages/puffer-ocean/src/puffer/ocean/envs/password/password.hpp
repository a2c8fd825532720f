// Guess a fixed password of bits: one reward, for all of it, that exploration has to find.
#pragma once

#include <algorithm>
#include <string>

#include <puffer/ocean/env.hpp>

namespace password {
using namespace puffer::ocean;

inline constexpr std::size_t kMaxLength = 32;

struct Config {
  std::string password = "10110";
  int max_steps = 0;
};

struct Password {
  using Obs = float;
  using Action = std::int32_t;
  using Config = password::Config;

  static constexpr std::tuple config_fields{
      field("password", &Config::password, "what to guess: 1 to 32 digits, each 0 or 1"),
      field("max_steps", &Config::max_steps,
            "steps until an episode is truncated; 0: the password's length"),
  };

  static Spec spec(const Config& config) {
    const std::string& word = config.password;
    if (word.empty() || word.size() > kMaxLength ||
        word.find_first_not_of("01") != std::string::npos) {
      throw UsageError("password='" + word + "': expected 1 to 32 digits, each 0 or 1");
    }
    if (config.max_steps < 0) {
      throw UsageError("max_steps=" + std::to_string(config.max_steps) +
                       ": expected at least 1, or 0 for the password's length");
    }
    return {.observation_shape = {word.size()},
            .low = {-1},
            .high = {1},
            .action = discrete(2),
            .max_steps = config.max_steps > 0 ? config.max_steps : static_cast<int>(word.size()),
            .steps_per_second = 3};
  }

  explicit Password(const Config& config) : length(static_cast<int>(config.password.size())) {
    for (std::size_t i = 0; i < config.password.size(); ++i) {
      secret |= static_cast<std::uint32_t>(config.password[i] == '1') << i;
    }
  }

  void reset(Rng& /*rng*/) {
    typed = 0;
    tick = 0;
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    typed |= static_cast<std::uint32_t>(io.actions[0]) << static_cast<unsigned>(tick);
    ++tick;
    io.terminals[0] = tick == length;
    io.rewards[0] = perf();
  }

  void observe(std::span<Obs> out) const {
    for (int i = 0; i < length; ++i) {
      out[static_cast<std::size_t>(i)] = i < tick ? 2 * static_cast<float>(digit(typed, i)) - 1 : 0;
    }
  }

  // Within an episode one digit more is known.
  void update(std::span<Obs> out) const {
    out[static_cast<std::size_t>(tick - 1)] = 2 * static_cast<float>(digit(typed, tick - 1)) - 1;
  }

  // Whether a restored simulation keeps within its digits.
  bool valid(const Config& config) const {
    const Password fresh(config);
    return length == fresh.length && secret == fresh.secret && tick >= 0 && tick < length;
  }

  void draw(Canvas& canvas) const {
    constexpr float kKey = 40, kGap = 8, kTop = 150;
    constexpr Color kBrass{214, 168, 74}, kSteel{176, 182, 190}, kDark{24, 30, 38};
    constexpr Color kGood{64, 176, 100}, kBad{214, 74, 74}, kEmpty{64, 72, 84};
    const float width = std::max(200.0F, kGap + (kKey + kGap) * static_cast<float>(length));
    const float middle = width / 2;
    canvas.begin(width, kTop + kKey + 2 * kGap, kDark);
    const float lift = perf() > 0 ? 18.0F : 0.0F;  // the shackle springs up
    canvas.circle(middle, 58 - lift, 32, kSteel);
    canvas.circle(middle, 58 - lift, 20, kDark);
    canvas.rectangle(middle - 32, 58 - lift, 12, 26, kSteel);
    canvas.rectangle(middle + 20, 58 - lift, 12, lift > 0 ? 10 : 26, kSteel);
    canvas.rectangle(middle - 20, 58 - lift, 40, 40, kDark);
    canvas.rectangle(middle - 46, 76, 92, 60, kBrass);
    canvas.circle(middle, 100, 9, kDark);
    canvas.rectangle(middle - 4, 100, 8, 22, kDark);
    const float left = (width - (kKey + kGap) * static_cast<float>(length) + kGap) / 2;
    for (int i = 0; i < length; ++i) {
      const float x = left + (kKey + kGap) * static_cast<float>(i);
      const bool right = digit(typed, i) == digit(secret, i);
      canvas.rectangle(x, kTop, kKey, kKey, i >= tick ? kEmpty : right ? kGood : kBad);
      if (i < tick) canvas.text(x + 12, kTop + 5, 28, digit(typed, i) ? "1" : "0", {245, 245, 245});
    }
  }

  float perf() const { return tick == length && typed == secret ? 1.0F : 0.0F; }

  static constexpr std::tuple stat_fields{
      field("score", &Password::perf, "1 if all digits were right, else 0"),
      field("perf", &Password::perf, "the same"),
  };

  static std::uint32_t digit(std::uint32_t word, int place) {
    return word >> static_cast<unsigned>(place) & 1U;
  }

  int length;
  int tick = 0;
  std::uint32_t secret = 0;  // the first digit lowest
  std::uint32_t typed = 0;
};

}  // namespace password
