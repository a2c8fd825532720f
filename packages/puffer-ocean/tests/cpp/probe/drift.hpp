// A test environment with a block: a point that drifts and is pushed, with random gusts.
#pragma once

#include <array>

#include <puffer/ocean/env.hpp>
#include <puffer/ocean/lanes.hpp>

namespace probe {
using namespace puffer::ocean;

struct Drift {
  using Obs = Half;
  using Action = std::int32_t;
  struct Config {
    float wind = 0.25F;
    int max_steps = 40;
  };
  static constexpr std::tuple config_fields{
      field("wind", &Config::wind, "speed that a gust adds"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    if (!(config.wind >= 0)) throw UsageError("wind: expected 0 or more");
    return {.observation_shape = {3},
            .low = {-8},
            .high = {8},
            .action = discrete(3),
            .max_steps = config.max_steps};
  }

  explicit Drift(const Config& config) : wind(config.wind) {}

  void reset(Rng& rng) {
    at = rng.uniform(-1.0F, 1.0F);
    speed = 0;
    ++starts;
  }

  void step(Io<Action> io, Rng& rng) {
    speed += static_cast<float>(io.actions[0] - 1) * 0.125F + (rng.flip() ? wind : -wind);
    at += speed * 0.1F;
    io.rewards[0] = 1 - at * at;
    io.terminals[0] = at < -2 || at > 2;
  }

  void observe(std::span<Obs> out) const {
    out[0] = at;
    out[1] = speed;
    out[2] = static_cast<float>(starts % 8);
  }

  void mask(std::span<bool> allowed) const { allowed[at < 0 ? 0 : 2] = false; }

  bool valid(const Config& config) const { return wind == config.wind; }

  float wind;
  float at = 0;
  float speed = 0;
  std::uint32_t starts = 0;  // outlives the episodes

  static constexpr std::tuple stat_fields{field("starts", &Drift::starts, "episodes begun")};
};

template <std::size_t kLanes>
class DriftBlock {
 public:
  using Floats = Vector<float, kLanes>;
  using Ints = Vector<std::int32_t, kLanes>;

  explicit DriftBlock(const Drift::Config& config) : wind_(config.wind) {}

  void put(std::size_t lane, const Drift& env) {
    at_[lane] = env.at;
    speed_[lane] = env.speed;
    starts_[lane] = env.starts;
  }

  Drift get(std::size_t lane) const {
    Drift env(Drift::Config{.wind = wind_});
    env.at = at_[lane];
    env.speed = speed_[lane];
    env.starts = starts_[lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes lanes) {
    const auto push = load_lanes<Ints>(io.actions.data());
    Floats gust;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      Rng rng = lanes[lane];
      gust[lane] = rng.flip() ? wind_ : -wind_;
    }
    speed_ += __builtin_convertvector(push - 1, Floats) * 0.125F + gust;
    at_ += speed_ * 0.1F;
    store_lanes(io.rewards.data(), 1 - at_ * at_);
    return store_flags(io.terminals.data(), (at_ < -2) | (at_ > 2));
  }

  void observe(std::span<Half> rows) const {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      rows[3 * lane] = at_[lane];
      rows[3 * lane + 1] = speed_[lane];
      rows[3 * lane + 2] = static_cast<float>(starts_[lane] % 8);
    }
  }

 private:
  float wind_;
  Floats at_{};
  Floats speed_{};
  std::array<std::uint32_t, kLanes> starts_{};
};

}  // namespace probe
