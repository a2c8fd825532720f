// Random steps of every environment, in each kernel, to be run under the sanitizers.
//
// walk STEPS THREADS [NAME]: what is seen stays in its bounds, states come back, damaged ones are
// refused or do no harm, and every kernel does what the scalar one does, bit by bit. Prints a line per environment; exits with the number of failures.
#include <cstdio>
#include <cstdlib>

#include "check.hpp"
#include "run.hpp"

using namespace puffer::ocean;

#define PUFFER_DECLARE(name) EnvEntry puffer_env_##name();
#define PUFFER_LIST(name) puffer_env_##name(),
#include "puffer_envs.inc"
PUFFER_ENVS(PUFFER_DECLARE)

namespace {

void check_bounds(const Run& run, const std::string& name) {
  const Spec& spec = run.engine.spec();
  const auto bound = [](const std::vector<float>& bounds, std::size_t i) {
    return bounds[bounds.size() == 1 ? 0 : i];
  };
  for (std::size_t row = 0; row < run.rows; ++row) {
    if (!run.masks[row]) continue;
    for (std::size_t i = 0; i < run.width; ++i) {
      const double value = run.value(row * run.width + i);
      if (value >= bound(spec.low, i) && value <= bound(spec.high, i)) continue;
      check(false, name + ": element " + std::to_string(i) + " is " + std::to_string(value));
      return;
    }
  }
}

// The defaults, but for arenas that would be too large and too long-lived under the sanitizers.
Options options_of(const EnvEntry& entry) {
  if (entry.name != "snake") return {};
  return {{"width", std::int64_t{40}},
          {"height", std::int64_t{30}},
          {"num_snakes", std::int64_t{8}},
          {"food", std::int64_t{60}},
          {"max_steps", std::int64_t{200}}};
}

void walk(const EnvEntry& entry, const std::string& kernel, std::size_t steps, int threads) {
  const std::string name = entry.name + " (" + kernel + ")";
  const Engine::Settings settings{.num_envs = 37, .num_threads = threads, .kernel = kernel};
  Run run(entry, options_of(entry), settings), twin(entry, options_of(entry), settings);
  Rng rng(7, 0, 0);
  run.engine.reset(1);
  twin.engine.reset(2);
  const std::size_t calls = steps / run.rows + 1;
  bool same = true;
  for (std::size_t call = 0; call < calls; ++call) {
    run.act(rng);
    if (call % 16 == 0) check_bounds(run, name);
    if (!entry.saves || call % 500 != 250) continue;
    twin.engine.set_state(run.engine.state());
    for (int i = 0; i < 20; ++i) {
      Rng again = rng;
      run.act(rng);
      twin.act(again);
      same = same && run.wrote() == twin.wrote();
    }
  }
  check(same, name + ": a restored state went another way");
  check(run.episodes() > 0, name + ": no episode ended");
  std::printf("%s: %zu agent steps\n", name.c_str(), calls * run.rows);
}

// A kernel against the scalar form: all that each step writes, and at times the states.
void compare(const EnvEntry& entry, const std::string& kernel, std::size_t steps, int threads,
             const std::string& dtype) {
  const Engine::Settings settings{.num_envs = 77, .num_threads = threads, .kernel = kernel};
  Run block(entry, options_of(entry), settings, dtype);
  Run scalar(entry, options_of(entry), {.num_envs = 77, .kernel = "scalar"}, dtype);
  Rng a(8, 0, 0), b(8, 0, 0);
  block.engine.reset(3);
  scalar.engine.reset(3);
  const std::size_t calls = steps / block.rows + 1;
  bool same = block.wrote() == scalar.wrote();
  for (std::size_t call = 0; same && call < calls; ++call) {
    block.act(a);
    scalar.act(b);
    same = block.wrote() == scalar.wrote() && block.final_observations == scalar.final_observations;
    if (same && entry.saves && call % 1000 == 7) same = block.engine.state() == scalar.engine.state();
  }
  check(same, entry.name + ": " + kernel + " differs from the scalar form");
}

// Bytes of a state are changed and its checksum set right: whoever writes states can do that.
void forge(const EnvEntry& entry, int rounds) {
  if (!entry.saves) return;
  const Engine::Settings settings{.num_envs = 2, .kernel = "scalar"};
  Run run(entry, options_of(entry), settings);
  Rng rng(11, 0, 0);
  int taken = 0;
  for (int round = 0; round < rounds; ++round) {
    run.engine.reset(static_cast<std::uint64_t>(round));
    for (std::uint32_t i = rng.below(40); i > 0; --i) run.act(rng);
    const std::string state = run.engine.state();
    std::string body(unseal(entry.name, state));
    Reader reader(body);
    reader.read<std::string>();  // the options
    const std::size_t start = body.size() - reader.rest().size();
    for (std::uint32_t i = 1 + rng.below(4); i > 0; --i) {
      const std::size_t at =
          start + rng.below(static_cast<std::uint32_t>(body.size() - start));
      body[at] = static_cast<char>(rng.flip() ? rng.next() : rng.below(2) * 255);
    }
    try {
      run.engine.set_state(seal(entry.name, body));
      ++taken;
      for (int i = 0; i < 60; ++i) run.act(rng);
    } catch (const UsageError&) {
      continue;  // refused
    }
  }
  check(taken > 0, entry.name + ": no forged state was taken, so that none was tried");
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t steps = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
  const int threads = argc > 2 ? std::atoi(argv[2]) : 1;
  const std::string only = argc > 3 ? argv[3] : "";
  for (const EnvEntry& entry : {PUFFER_ENVS(PUFFER_LIST)}) {
    if (!only.empty() && entry.name != only) continue;
    for (const Kernel& kernel : entry.kernels) {
      if (!kernel.usable) continue;
      walk(entry, kernel.name, steps, threads);
      if (kernel.name == "scalar") continue;
      for (const std::string& dtype : entry.observation_dtypes) {
        compare(entry, kernel.name, steps, threads, dtype);
      }
    }
    if (threads == 1) forge(entry, 300);
  }
  return failures;
}
