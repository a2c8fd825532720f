// Test environments: two agents with Box actions, one with several components; one that raises.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

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
  void reset(Rng& /*rng*/) { tick = updates = 0; }

  void step(Io<Action> io, Rng& /*rng*/) {
    ++tick;
    io.rewards[0] = io.actions[0] + io.actions[1];
    io.rewards[1] = io.actions[3] + io.actions[4];
    if (tick == 2) io.terminals[1] = true;
    if (tick > 2) io.masks[1] = false;
    if (tick == 4) io.terminals[0] = true;
  }

  void observe(std::span<Obs> out) const {
    out[0] = out[2] = static_cast<float>(tick + 10);
    out[1] = out[3] = 10;
  }

  void update(std::span<Obs> out) {
    ++updates;
    out[0] = out[2] = static_cast<float>(tick + 10);
  }

  int twice() const { return 2 * tick; }
  float mean_reward(const Episode& episode) const {
    return episode.total_reward / static_cast<float>(episode.length);
  }

  int tick = 0;
  int updates = 0;

  static constexpr std::tuple stat_fields{
      field("tick", &Pair::tick, "a variable"),
      field("updates", &Pair::updates, "calls of update"),
      field("twice", &Pair::twice, "a function"),
      field("mean_reward", &Pair::mean_reward, "a function of the episode"),
  };
};

// Two agents take sticks from one heap, which is a vector; each may take no more than there are.
struct Sticks {
  using Obs = std::uint8_t;
  using Action = std::int32_t;
  struct Config {
    int sticks = 12;
  };
  static constexpr std::tuple config_fields{field("sticks", &Config::sticks, "in the heap")};

  // How many of the sticks are long: the same for all simulations.
  struct Shared {
    explicit Shared(const Config& config) : length(static_cast<std::size_t>(config.sticks)) {
      for (std::size_t i = 0; i < length.size(); ++i) length[i] = static_cast<int>(i % 3);
    }
    std::vector<int> length;
  };

  static Spec spec(const Config& config) {
    return {.observation_shape = {2},
            .high = {static_cast<float>(config.sticks)},
            .action = multi_discrete({4, 2}),
            .max_steps = 50,
            .num_agents = 2};
  }

  explicit Sticks(const Config& config) : full(config.sticks) {}

  void reset(Rng& rng) {
    heap.assign(1 + rng.below(static_cast<std::uint32_t>(full)), 0);
    for (auto& stick : heap) stick = shared->length[rng.below(static_cast<std::uint32_t>(full))];
    turn = 0;
  }

  void step(Io<Action> io, Rng& rng) {
    turn = (turn + 1) % 2;
    for (std::size_t agent = 0; agent < 2; ++agent) {
      for (int i = 0; i < io.actions[2 * agent] && !heap.empty(); ++i) {
        io.rewards[agent] += static_cast<float>(heap.back());
        heap.pop_back();
      }
    }
    if (rng.below(4) == 0 && !heap.empty()) heap[0] = shared->length[0];
    if (heap.empty()) io.terminals[0] = io.terminals[1] = true;
    if (turn == 1) io.masks[1] = false;
  }

  void observe(std::span<Obs> out) const {
    out[0] = out[2] = static_cast<Obs>(heap.size());
    out[1] = out[3] = heap.empty() ? Obs{0} : static_cast<Obs>(heap.back());
  }

  void mask(std::span<bool> allowed) const {
    for (std::size_t agent = 0; agent < 2; ++agent) {
      for (std::size_t n = heap.size() + 1; n < 4; ++n) allowed[agent * 6 + n] = false;
    }
  }

  void save(Writer& writer) const {
    writer.write(heap);
    writer.write(turn);
  }
  void load(Reader& reader) {
    reader.read(heap);
    reader.read(turn);
  }
  bool valid(const Config& config) const {
    return heap.size() <= static_cast<std::size_t>(config.sticks) && turn >= 0 && turn < 2;
  }

  const Shared* shared = nullptr;
  int full;
  std::vector<int> heap;
  int turn = 0;
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
