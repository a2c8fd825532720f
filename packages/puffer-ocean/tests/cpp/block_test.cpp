// A block against its scalar form, under the sanitizers. Exits with the number of failures.
#include <string>

#include "check.hpp"
#include "probe/drift.hpp"
#include "run.hpp"

using namespace puffer::ocean;

namespace {

// Every kernel against the scalar one: bit by bit, whatever the number of simulations and threads.
void blocks_equal_the_scalar_form(const EnvEntry& tested, int num_envs, int num_threads) {
  for (const Kernel& kernel : tested.kernels) {
    if (!kernel.usable || kernel.name == "scalar") continue;
    Run scalar(tested, {}, {.num_envs = num_envs, .each_episode = true, .kernel = "scalar"});
    const std::string name = kernel.name + ", " + std::to_string(num_envs) + " simulations";
    Run block(tested, {},
              {.num_envs = num_envs, .num_threads = num_threads, .each_episode = true,
               .kernel = kernel.name});
    block.engine.reset(1);
    Rng before(9, 9, 9);
    for (int step = 0; step < 50; ++step) block.act(before);
    std::ranges::fill(block.final_observations, 42);
    scalar.engine.reset(3);
    block.engine.reset(3);  // forgets what it has played
    check(scalar.wrote() == block.wrote(), name + ": the first observations differ");
    Rng a(1, 2, 3), b(1, 2, 3);
    bool same = true, finals = true;
    for (int step = 0; step < 300; ++step) {
      scalar.act(a);
      block.act(b);
      same = same && scalar.wrote() == block.wrote();
      finals = finals && scalar.final_observations == block.final_observations;
    }
    check(same, name + ": differs from the scalar form");
    check(finals, name + ": its final observations differ");
    check(scalar.engine.state() == block.engine.state(), name + ": their states differ");
    // Each continues what the other one saved.
    const std::string state = scalar.engine.state();
    scalar.act(a);
    block.engine.set_state(state);
    block.act(b);
    check(scalar.wrote() == block.wrote(), name + ": a restored block differs");
    scalar.engine.set_state(block.engine.state());
    std::vector<double> wind(static_cast<std::size_t>(num_envs));
    for (std::size_t i = 0; i < wind.size(); ++i) wind[i] = static_cast<double>(i) / 64;
    for (Run* run : {&scalar, &block}) run->engine.vary("wind", std::span<const double>(wind));
    for (int step = 0; step < 100; ++step) {
      scalar.act(a);
      block.act(b);
      same = same && scalar.wrote() == block.wrote();
    }
    check(same, name + ": differs where options vary");
    check(scalar.engine.state() == block.engine.state(), name + ": states with options differ");
    block.engine.set_state(scalar.engine.state());
    scalar.act(a);
    block.act(b);
    check(scalar.wrote() == block.wrote(), name + ": restored options differ");
  }
}

}  // namespace

int main() {
  const EnvEntry drift = detail::entry<probe::Drift, probe::DriftBlock>("drift");
  blocks_equal_the_scalar_form(drift, 1, 1);
  blocks_equal_the_scalar_form(drift, 64, 1);
  blocks_equal_the_scalar_form(drift, 203, 3);
  return failures;
}
