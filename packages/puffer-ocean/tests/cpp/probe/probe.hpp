// Test environments: two agents with Box actions, one with several components; one that raises.
#pragma once

#include <stdexcept>
#include <string>

#include <puffer/ocean/env.hpp>

namespace probe {
using namespace puffer::ocean;

// The second agent dies in step 2 and is absent from then on; the first one ends in step 4.
struct Pair {
  using Obs = float;
  using Action = float;
  struct Config {
    int max_steps = 100;
    int num_agents = 2;
    bool discrete_floats = false;  // a mistake of the author's
  };
  static constexpr std::tuple config_fields{
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
      field("num_agents", &Config::num_agents, "agents"),
      field("discrete_floats", &Config::discrete_floats, "make the spec contradict itself"),
  };

  static Spec spec(const Config& config) {
    return {.observation_shape = {2},
            .low = {-1, 0},
            .high = {100},
            .action = config.discrete_floats ? discrete(2) : box(3, -1, 1),
            .max_steps = config.max_steps,
            .num_agents = config.num_agents};
  }

  explicit Pair(const Config& /*config*/) {}
  void reset(Rng& /*rng*/) { tick = 0; }

  void step(Io<Action> io, Rng& /*rng*/) {
    ++tick;
    io.rewards[0] = io.actions[0] + io.actions[1];
    io.rewards[1] = io.actions[3] + io.actions[4];
    if (tick == 2) io.terminals[1] = true;
    if (tick > 2) io.masks[1] = false;
    if (tick == 4) io.terminals[0] = true;
  }

  void observe(std::span<Obs> out) const {
    for (auto& value : out) value = static_cast<float>(tick + 10);
  }

  int twice() const { return 2 * tick; }
  float mean_reward(const Episode& episode) const {
    return episode.total_reward / static_cast<float>(episode.length);
  }

  int tick = 0;

  static constexpr std::tuple stat_fields{
      field("tick", &Pair::tick, "a variable"),
      field("twice", &Pair::twice, "a function"),
      field("mean_reward", &Pair::mean_reward, "a function of the episode"),
  };
};

// Shows its actions; raises when the first component is 2 and the second one 4.
struct Choices {
  using Obs = std::int32_t;
  using Action = std::int32_t;
  struct Config {
    std::string word = "a";
    double number = 1.5;
  };
  static constexpr std::tuple config_fields{
      field("word", &Config::word, "a text"),
      field("number", &Config::number, "a number"),
  };

  static Spec spec(const Config& config) {
    return {.observation_shape = {1, 2},
            .low = {0},
            .high = {static_cast<float>(config.number * 10)},
            .action = multi_discrete({3, 5}),
            .max_steps = 10};
  }

  explicit Choices(const Config& config) : length(static_cast<int>(config.word.size())) {}
  void reset(Rng& /*rng*/) { first = second = 0; }

  void step(Io<Action> io, Rng& /*rng*/) {
    first = io.actions[0];
    second = io.actions[1];
    if (first == 2 && second == 4) throw std::runtime_error("the author's mistake");
    io.rewards[0] = static_cast<float>(length);
  }

  void observe(std::span<Obs> out) const {
    out[0] = first;
    out[1] = second;
  }

  void draw(Canvas& canvas) const { canvas.begin(8, 8, {1, 2, 3}); }

  int length;
  int first = 0;
  int second = 0;
};

}  // namespace probe
