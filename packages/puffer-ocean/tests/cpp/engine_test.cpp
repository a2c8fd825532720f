// The engine without Python, to be run under the sanitizers. Exits with the number of failures.
#include <functional>
#include <string>

#include "check.hpp"
#include "probe/probe.hpp"
#include "run.hpp"

#include "breakout/breakout.hpp"
#include "cartpole/cartpole.hpp"
#include "squared/squared.hpp"

using namespace puffer::ocean;
using probe::Pair;

namespace {

template <class E>
EnvEntry entry(const char* name = "test") {
  return detail::entry<E>(name);
}

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
  Run one(entry<E>(), {}, {.num_envs = kEnvs});
  Run three(entry<E>(), {}, {.num_envs = kEnvs, .num_threads = 3});
  Run whole(entry<Whole<E>>(), {}, {.num_envs = kEnvs});
  for (Run* run : {&one, &three, &whole}) run->engine.reset(5);
  Rng a(1, 2, 3), b(1, 2, 3), c(1, 2, 3);
  bool threads = true, increments = true;
  for (int step = 0; step < steps; ++step) {
    one.act(a);
    three.act(b);
    whole.act(c);
    threads = threads && one.wrote() == three.wrote();
    increments = increments && one.wrote() == whole.wrote();
  }
  check(threads, name + ": three threads differ from one");
  check(increments, name + ": an update differs from a complete observation");
  check(one.episodes() > 0, name + ": no episode ended");
}

void masks_the_absent() {
  Run run(entry<Pair>(), {}, {.each_episode = true});
  run.engine.reset(0);
  run.put(0, 0.5F);
  run.put(3, 0.25F);
  run.engine.step();
  run.engine.step();
  const auto reward = [&](std::size_t agent) { return run.rewards[agent]; };
  check(run.terminals[1] && run.masks[1] && reward(1) == 0.25F, "unmasked as it dies");
  check(!run.terminals[0], "the other one goes on");
  run.engine.step();
  check(!run.masks[1] && reward(1) == 0 && run.value(2) == 0, "absent: masked, all 0");
  check(run.masks[0] && run.value(0) == 13, "the other one is as before");
  const std::string state = run.engine.state();
  const std::string seen(run.observations.begin(), run.observations.end());
  run.engine.step();
  check(run.terminals[0] && run.value(0) == 10, "the episode ended and the next one began");
  float final = 0;
  std::memcpy(&final, run.final_observations.data(), sizeof(final));
  check(final == 14 && run.final_observations[8] == 0, "final observations");
  check(run.masks[1] && run.value(2) == 10, "all are back in the new episode");
  std::vector<Log::Episode> ended;
  run.engine.drain([&](const Log& log) { ended = log.episodes(); });
  check(ended.size() == 1 && ended[0].agent_id == 0, "one episode");
  // (4 * 0.5 + 2 * 0.25) / 2 agents, 4 steps, and the author's own four.
  check(ended[0].stats == std::vector<double>({1.25, 4, 4, 3, 8, 0.3125}), "its statistics");
  run.engine.set_state(state);
  check(!run.masks[1] && std::string(run.observations.begin(), run.observations.end()) == seen,
        "a restored agent is as absent as before");
}

// The engine rounds the rows of an author who writes float alone, absent agents and updates too.
void writes_halves() {
  const EnvEntry pair = entry<Pair>();
  const Options options{{"max_steps", std::int64_t{7}}};
  Run exact(pair, options, {.num_envs = 300}), compact(pair, options, {.num_envs = 300}, "float16");
  exact.engine.reset(1);
  compact.engine.reset(1);
  Rng a(1, 2, 3), b(1, 2, 3);
  bool same = true;
  for (int step = 0; step < 40; ++step) {
    exact.act(a);
    compact.act(b);
    for (std::size_t i = 0; i < exact.rows * exact.width; ++i) {
      same = same && compact.seen<Half>(i).bits() == Half(exact.seen<float>(i)).bits();
    }
  }
  check(same, "compact observations differ from rounded ones");
}

void truncates_the_living() {
  Run run(entry<Pair>(), {{"max_steps", std::int64_t{3}}}, {.num_envs = 3, .num_threads = 2});
  run.engine.reset(0);
  for (int i = 0; i < 3; ++i) run.engine.step();
  check(run.truncations[0] && !run.terminals[0], "the living one is truncated");
  check(!run.truncations[1] && !run.terminals[1], "the absent one is not");
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

template <class Error>
std::string message(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void carries_exceptions(int threads, bool background) {
  Run run(entry<Thrower>(), {}, {.num_envs = 20, .num_threads = threads});
  const auto step = [&] {
    if (background) {
      run.engine.start();
      run.engine.wait();
    } else {
      run.engine.step();
    }
  };
  run.engine.reset(0);
  run.put(13, 1);
  step();
  step();
  check(message<std::runtime_error>(step) == "the author's mistake",
        "an exception of the environment reaches the caller");
  check(message<ResetNeeded>(step) == "step before reset: call reset first",
        "a reset is needed after it");
  run.engine.reset(0);
  step();
  check(run.value(0) == 1, "all is well after the reset");
}

void refuses_bad_specs() {
  const auto said = [](const Options& options) {
    return message<UsageError>([&] { Run(entry<Pair>(), options); });
  };
  const std::string wrong = "the environment's spec is wrong: ";
  check(said({{"max_steps", std::int64_t{0}}}) == "max_steps=0: expected at least 1", "max_steps");
  check(said({{"num_agents", std::int64_t{0}}}) == wrong + "num_agents must be at least 1",
        "agents");
  check(said({{"discrete_floats", true}}) ==
            wrong +
                "box() goes with Action = float, discrete() and multi_discrete() with "
                "std::int32_t",
        "kind of action");
}

void steps_in_the_background() {
  Run one(entry<breakout::Breakout>(), {}, {.num_envs = 50, .num_threads = 2});
  Run two(entry<breakout::Breakout>(), {}, {.num_envs = 50});
  one.engine.reset(1);
  two.engine.reset(1);
  Rng a(1, 2, 3), b(1, 2, 3);
  bool same = true;
  for (int step = 0; step < 100; ++step) {
    one.choose(a);
    one.engine.start();
    two.act(b);
    one.engine.wait();
    same = same && one.wrote() == two.wrote();
  }
  check(same, "a step in the background differs");
}

void tries_threads() {
  ThreadTrial alone(1);
  check(alone.done() && alone.threads() == 1, "one core: nothing to try");
  const auto result = [](std::vector<double> seconds) {  // of 1, 2, 4, ... threads
    ThreadTrial trial(8);
    for (int step = 0; step < 100 && !trial.done(); ++step) {
      std::size_t stage = 0;
      while (1 << stage < trial.threads()) ++stage;
      trial.record(seconds[stage] * (1 + 0.5 * (step % 3)));
    }
    check(trial.done(), "a trial ends");
    return trial.threads();
  };
  check(result({1e-6, 0}) == 1, "short steps get one thread");
  check(result({1, 0.95, 0}) == 1, "a gain of 5 % is none");
  check(result({1, 0.6, 0.55, 0}) == 2, "two threads pay");
  check(result({1, 0.5, 0.3, 0.2}) == 8, "all threads pay");
  Run automatic(entry<breakout::Breakout>(), {}, {.num_envs = 300, .num_threads = 0});
  Run plain(entry<breakout::Breakout>(), {}, {.num_envs = 300});
  automatic.engine.reset(1);
  plain.engine.reset(1);
  Rng a(1, 2, 3), b(1, 2, 3);
  bool same = true;
  for (int step = 0; step < 60; ++step) {
    automatic.act(a);
    plain.act(b);
    same = same && automatic.wrote() == plain.wrote();
  }
  check(same, "a trial of threads changes what is played");
}

void rounds_to_half() {
  // Exact both ways: each of the 65,536 patterns but the NaNs comes back.
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto exponent = bits >> 10U & 31U;
    const double fraction = (bits & 1023U) / 1024.0;
    double value = exponent == 0 ? std::ldexp(fraction, -14)
                                 : std::ldexp(1 + fraction, static_cast<int>(exponent) - 15);
    if (exponent == 31) {
      if (fraction != 0) continue;
      value = HUGE_VAL;
    }
    const Half half(static_cast<float>(bits >= 0x8000U ? -value : value));
    check(half.bits() == bits, "half of " + std::to_string(value));
    check(static_cast<float>(half) == static_cast<float>(bits >= 0x8000U ? -value : value),
          "float of " + std::to_string(value));
  }
  const auto bits = [](float value) { return Half(value).bits(); };
  check(bits(1 + 0x1p-11F) == 0x3C00 && bits(1 + 3 * 0x1p-11F) == 0x3C02, "ties go to even");
  check(bits(1 + 0x1.1p-11F) == 0x3C01, "the nearest");
  check(bits(65519.9F) == 0x7BFF && bits(65520) == 0x7C00 && bits(1e30F) == 0x7C00, "infinity");
  check(bits(0x1p-25F) == 0 && bits(0x1.1p-25F) == 1 && bits(-1e-30F) == 0x8000, "tiny");
  check(std::isnan(static_cast<float>(Half(NAN))), "not a number");
  check(bits(std::bit_cast<float>(0xFFC02000U)) == 0xFE01, "a NaN keeps its sign and digits");
}

// Vectors, with and without the instruction, round as one number does.
void rounds_in_lanes() {
  std::vector<float> values{0.0F, -0.0F, HUGE_VALF, -HUGE_VALF, NAN, 65519.9F, 65520, 1e-45F};
  Rng rng(1, 2, 3);
  while (values.size() < 100'003) {  // all kinds of numbers, and many that are halfway
    const auto random = static_cast<std::uint32_t>(rng.next());
    values.push_back(std::bit_cast<float>(random));
    values.push_back(std::bit_cast<float>((random & 0xFFFFE000U) | 0x1000U));
    values.push_back(rng.uniform(-1e-6F, 1e-6F));
    values.push_back(rng.uniform(-1.0F, 1.0F));
  }
  std::vector<Half> portable(values.size()), best(values.size());
  round_with<4>(values, portable.data());
  round_to_halves(values, best.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Half half(values[i]);
    check(portable[i].bits() == half.bits() && best[i].bits() == half.bits(),
          "lanes round " + std::to_string(values[i]) + " otherwise");
  }
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
  writes_halves();
  truncates_the_living();
  for (const int threads : {1, 3}) {
    for (const bool background : {false, true}) carries_exceptions(threads, background);
  }
  refuses_bad_specs();
  steps_in_the_background();
  tries_threads();
  rounds_to_half();
  rounds_in_lanes();
  draws_evenly();
  return failures;
}
