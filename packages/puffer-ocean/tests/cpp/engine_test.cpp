// The engine without Python, to be run under the sanitizers. Exits with the number of failures.
#include <memory>
#include <string>

#include <puffer/ocean/engine.hpp>

#include "check.hpp"

#include "breakout/breakout.hpp"
#include "cartpole/cartpole.hpp"
#include "probe/probe.hpp"
#include "squared/squared.hpp"

using namespace puffer::ocean;
using probe::Pair;

namespace {

// The arrays of `rows` agents between two sentinel rows.
template <Environment E>
struct Memory {
  using Obs = typename E::Obs;
  using Action = typename E::Action;

  Memory(std::size_t rows, std::size_t width, std::size_t components)
      : rows(rows),
        width(width),
        observations((rows + 2) * width, Obs{42}),
        final_observations((rows + 2) * width, Obs{42}),
        actions(rows * components),
        rewards(rows + 2, 42.0F),
        terminals(new bool[rows + 2]{true}),
        truncations(new bool[rows + 2]{true}),
        masks(new bool[rows + 2]{true}) {}

  Arrays<Obs, Action> arrays() {
    return {.observations = observations.data() + width,
            .actions = actions.data(),
            .rewards = rewards.data() + 1,
            .terminals = terminals.get() + 1,
            .truncations = truncations.get() + 1,
            .masks = masks.get() + 1,
            .final_observations = final_observations.data() + width};
  }

  bool intact() const {
    for (std::size_t i = 0; i < width; ++i) {
      if (observations[i] != Obs{42} || observations[(rows + 1) * width + i] != Obs{42} ||
          final_observations[i] != Obs{42} ||
          final_observations[(rows + 1) * width + i] != Obs{42}) {
        return false;
      }
    }
    return rewards[0] == 42.0F && rewards[rows + 1] == 42.0F && terminals[0] &&
           !terminals[rows + 1] && truncations[0] && !truncations[rows + 1];
  }

  std::size_t rows;
  std::size_t width;
  std::vector<Obs> observations;
  std::vector<Obs> final_observations;
  std::vector<Action> actions;
  std::vector<float> rewards;
  std::unique_ptr<bool[]> terminals;
  std::unique_ptr<bool[]> truncations;
  std::unique_ptr<bool[]> masks;
};

template <Environment E>
struct Run {
  Run(int num_envs, int num_threads, typename E::Config config = {}, bool each_episode = false)
      : engine(config, num_envs, num_threads, each_episode),
        memory(engine.num_rows(), width(), engine.spec().action.size) {
    engine.bind(memory.arrays());
  }

  std::size_t width() const {
    std::size_t size = 1;
    for (const std::size_t extent : engine.spec().observation_shape) size *= extent;
    return size;
  }

  void act(Rng& rng) {
    const auto choices = static_cast<std::uint32_t>(engine.spec().action.nvec[0]);
    for (auto& action : memory.actions) action = static_cast<std::int32_t>(rng.below(choices));
    engine.step();
  }

  Engine<E> engine;
  Memory<E> memory;
};

// The same environment, but every observation is written in full.
template <Environment E>
struct Whole {
  using Obs = typename E::Obs;
  using Action = typename E::Action;
  using Config = typename E::Config;
  static constexpr auto config_fields = E::config_fields;
  static Spec spec(const Config& config) { return E::spec(config); }
  explicit Whole(const Config& config) : env{config} {}
  void reset(Rng& rng) { env.reset(rng); }
  void step(Io<Action> io, Rng& rng) { env.step(io, rng); }
  void observe(std::span<Obs> out) const { env.observe(out); }
  E env;
};

template <Environment E>
void runs_alike(const std::string& name, int steps) {
  constexpr int kEnvs = 37;
  Run<E> one(kEnvs, 1);
  Run<E> three(kEnvs, 3);
  Run<Whole<E>> whole(kEnvs, 1);
  one.engine.reset(5);
  three.engine.reset(5);
  whole.engine.reset(5);
  Rng a(1, 2, 3), b(1, 2, 3), c(1, 2, 3);
  bool threads = true, increments = true;
  for (int step = 0; step < steps; ++step) {
    one.act(a);
    three.act(b);
    whole.act(c);
    threads = threads && one.memory.observations == three.memory.observations &&
              one.memory.rewards == three.memory.rewards;
    increments = increments && one.memory.observations == whole.memory.observations;
  }
  check(threads, name + ": three threads differ from one");
  check(increments, name + ": an update differs from a complete observation");
  check(one.memory.intact() && three.memory.intact(), name + ": wrote outside its rows");
  check(!one.engine.drain().empty(), name + ": no episode ended");
}

void masks_the_absent() {
  Run<Pair> run(1, 1, {}, true);
  auto& m = run.memory;
  run.engine.reset(0);
  m.actions = {0.5F, 0, 0, 0.25F, 0, 0};
  run.engine.step();
  run.engine.step();
  check(m.terminals[2] && m.masks[2] && m.rewards[2] == 0.25F, "unmasked on the step of its death");
  check(!m.terminals[1], "the other one goes on");
  run.engine.step();
  check(!m.masks[2] && m.rewards[2] == 0 && m.observations[4] == 0, "absent: masked, all 0");
  check(m.masks[1] && m.observations[2] == 13, "the other one is as before");
  run.engine.step();
  check(m.terminals[1] && m.observations[2] == 10, "the episode ended and the next one began");
  check(m.final_observations[2] == 14 && m.final_observations[4] == 0, "final observations");
  check(m.masks[2] && m.observations[4] == 10, "all are back in the new episode");
  const auto stats = run.engine.drain();
  check(stats.size() == 1 && stats[0].agent_id == 0, "one episode");
  // (4 * 0.5 + 2 * 0.25) / 2 agents, 4 steps, and the author's own three.
  check(stats[0].sums == std::vector<double>({1.25, 4, 4, 8, 0.3125}), "its statistics");
  check(m.intact(), "pair: wrote outside its rows");
}

void truncates_the_living() {
  Run<Pair> run(3, 2, {.max_steps = 3});
  run.engine.reset(0);
  for (int i = 0; i < 3; ++i) run.engine.step();
  const auto& m = run.memory;
  check(m.truncations[1] && !m.terminals[1], "the living one is truncated");
  check(!m.truncations[2] && !m.terminals[2], "the absent one is not");
}

// Raises in the third step of simulation 13.
struct Thrower {
  using Obs = std::uint8_t;
  using Action = std::int32_t;
  struct Config {};
  static constexpr std::tuple<> config_fields{};
  static Spec spec(const Config&) { return {.observation_shape = {1}, .max_steps = 100}; }
  Config config;
  int tick = 0;
  void reset(Rng& /*rng*/) { tick = 0; }
  void step(Io<Action> io, Rng& /*rng*/) {
    if (++tick == 3 && io.actions[0] == 1) throw std::runtime_error("the author's mistake");
  }
  void observe(std::span<Obs> out) const { out[0] = static_cast<Obs>(tick); }
};

template <class Error, class Call>
std::string message(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void carries_exceptions(int threads) {
  Run<Thrower> run(20, threads);
  run.engine.reset(0);
  run.memory.actions[13] = 1;
  run.engine.step();
  run.engine.step();
  check(message<std::runtime_error>([&] { run.engine.step(); }) == "the author's mistake",
        "an exception of the environment reaches the caller");
  check(message<ResetNeeded>([&] { run.engine.step(); }) == "step before reset: call reset first",
        "a reset is needed after it");
  run.engine.reset(0);
  run.engine.step();
  check(run.memory.observations[1] == 1, "all is well after the reset");
}

void refuses_bad_specs() {
  const auto said = [](Pair::Config config) {
    return message<UsageError>([&] { Engine<Pair>(config, 1, 1, false); });
  };
  const std::string wrong = "the environment's spec is wrong: ";
  check(said({.max_steps = 0}) == "max_steps=0: expected at least 1", "max_steps");
  check(said({.num_agents = 0}) == wrong + "num_agents must be at least 1", "agents");
  check(said({.discrete_floats = true}) ==
            wrong +
                "box() goes with Action = float, discrete() and multi_discrete() with "
                "std::int32_t",
        "kind of action");
}

void draws_evenly() {
  std::vector<int> counts(10);
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (std::uint64_t episode = 0; episode < 100; ++episode) {
      Rng rng(seed, episode, 0);
      ++counts[rng.below(10)];
      const float f = rng.uniform(-1.0F, 1.0F);
      const double d = rng.uniform(2.0, 3.0);
      check(f >= -1 && f <= 1 && d >= 2 && d <= 3, "uniform within its bounds");
    }
  }
  for (const int count : counts) check(count > 880 && count < 1120, "below() is even");  // 4 sigma
  check(Rng(1, 0, 0).next() != Rng(0, 1, 0).next(), "seed and episode are not interchangeable");
  check(Rng(0, 1, 0).next() != Rng(0, 0, 1).next(), "episode and tick are not interchangeable");
}

}  // namespace

int main() {
  runs_alike<breakout::Breakout>("breakout", 400);
  runs_alike<cartpole::Cartpole>("cartpole", 400);
  runs_alike<squared::Squared>("squared", 400);
  masks_the_absent();
  truncates_the_living();
  carries_exceptions(1);
  carries_exceptions(3);
  refuses_bad_specs();
  draws_evenly();
  return failures;
}
