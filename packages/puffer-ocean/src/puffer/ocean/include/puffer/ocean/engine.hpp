// Steps the simulations of one environment over arrays that the caller owns. Knows no Python.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "puffer/ocean/pool.hpp"
#include "puffer/ocean/registry.hpp"
#include "puffer/ocean/shares.hpp"
#include "puffer/ocean/trial.hpp"

namespace puffer::ocean {

class Engine {
 public:
  struct Settings {
    int num_envs = 1;
    int num_threads = 1;        // 0: what pays, measured in the first steps
    bool each_episode = false;  // drain() returns every episode, else sums
    std::string kernel = "auto";
  };

  Engine(const EnvEntry& entry, const Options& options, const Settings& settings)
      : name_(entry.name),
        description_(entry.describe(options)),
        num_envs_(static_cast<std::size_t>(positive("num_envs", settings.num_envs))),
        kernel_(choose_kernel(entry, settings.kernel)),
        simulations_(kernel_.make(options, num_envs_)),
        trial_(settings.num_threads == 0 ? most_threads() : 1) {
    // The same on every machine, whatever vectors it has: a state holds the logs.
    const bool lanes = entry.kernels.size() > 1 && spec().num_agents == 1;
    logs_.group_size = std::clamp(std::bit_ceil(num_envs_ / kGroups), lanes ? kMostLanes : 1,
                                  kLargestGroup);
    logs_.groups.assign((num_envs_ + logs_.group_size - 1) / logs_.group_size,
                        Log(entry.stat_names.size(), settings.each_episode));
    if (settings.num_threads != 0) positive("num_threads", settings.num_threads);
    resize(std::max(settings.num_threads, 1));
  }

  const Spec& spec() const { return simulations_->spec(); }
  std::size_t num_envs() const { return num_envs_; }
  std::size_t num_rows() const { return num_envs_ * static_cast<std::size_t>(spec().num_agents); }
  int num_threads() const { return pool_->size(); }
  const std::string& kernel() const { return kernel_.name; }

  // Makes `arrays` the ones to write; a reset must follow.
  void bind(const Arrays& arrays) {
    arrays_ = arrays;
    simulations_->bind(arrays);
    started_ = false;
  }

  bool started() const { return started_; }
  // Steps since the reset.
  std::int64_t steps() const { return steps_; }

  // Begins episode 0 everywhere; simulation k draws from the stream of seed + k.
  void reset(std::uint64_t seed) {
    seed_ = seed;
    steps_ = 0;
    started_ = false;
    for (Log& log : logs_.groups) log.clear();
    share([this](Range range) { simulations_->reset(range, seed_); });
    started_ = true;
  }

  // Advances every simulation; those whose episode ended are in their next one on return.
  // What an environment throws reaches the caller, and a reset must follow.
  void step() {
    require_started("step");
    started_ = false;
    if (trial_.done()) [[likely]] {
      share([this](Range range) { simulations_->step(range, seed_, logs_); });
    } else {
      step_in_trial();
    }
    ++steps_;
    started_ = true;
  }

  // Begins a step in the background; `wait` must follow.
  void start() {
    require_started("step");
    if (!background_) background_ = std::make_unique<Pool>(2);
    background_->launch(background_step_);
  }

  // Returns when the step that `start` began has ended, or throws what it threw.
  void wait() { background_->join(); }

  // Calls take(log) for each group with finished episodes, and empties the logs.
  template <class Take>
  void drain(Take&& take) {
    for (Log& log : logs_.groups) {
      if (log.empty()) continue;
      take(std::as_const(log));
      log.clear();
    }
  }

  // Gives each simulation its own value of an option, from its next episode on.
  void vary(const std::string& option, const Values& values) {
    const std::size_t size = std::visit([](auto all) { return all.size(); }, values);
    if (size != num_envs_) {
      throw UsageError("option " + option + " has " + std::to_string(size) +
                       " values: expected one for each of " + std::to_string(num_envs_) +
                       " simulations");
    }
    simulations_->vary(option, values);
  }

  void draw(std::size_t simulation, Canvas& canvas) const {
    require_started("render");
    if (simulation >= num_envs_) {
      throw UsageError("simulation=" + std::to_string(simulation) + ": expected 0 to " +
                       std::to_string(num_envs_ - 1));
    }
    simulations_->draw(simulation, canvas);
  }

  // Returns all that decides what comes next.
  std::string state() const {
    require_saves();
    require_started("state");
    Writer writer;
    writer.write(description_);
    writer.write(static_cast<std::uint64_t>(num_envs_));
    writer.write(seed_);
    writer.write(steps_);
    simulations_->save(writer);
    for (std::size_t row = 0; row < num_rows(); ++row) writer.write(arrays_.masks[row]);
    writer.write(static_cast<std::uint64_t>(logs_.groups.size()));
    for (const Log& log : logs_.groups) log.save(writer);
    return seal(name_, writer.bytes());
  }

  // Continues from what `state` returned; where the bytes are refused, all is as it was.
  void set_state(std::string_view state) {
    require_saves();
    Reader reader(unseal(name_, state));
    const auto description = reader.read<std::string>();
    if (description != description_) {
      throw UsageError("the state was made with other options: " + description +
                       ", this env has " + description_);
    }
    const auto num_envs = reader.read<std::uint64_t>();
    if (num_envs != num_envs_) {
      throw UsageError("the state is of " + std::to_string(num_envs) +
                       " simulations, this env has " + std::to_string(num_envs_));
    }
    const auto seed = reader.read<std::uint64_t>();
    const auto steps = reader.read<std::int64_t>();
    auto simulations = simulations_->load(reader);
    std::vector<std::uint8_t> masks(num_rows());
    for (auto& mask : masks) mask = reader.read<bool>();
    std::vector<Log> logs = logs_.groups;
    Reader::require(reader.read<std::uint64_t>() == logs.size());
    for (Log& log : logs) log.load(reader);
    Reader::require(reader.empty());
    seed_ = seed;
    steps_ = steps;
    simulations_ = std::move(simulations);
    logs_.groups = std::move(logs);
    std::ranges::copy(masks, arrays_.masks);
    share([this](Range range) { simulations_->show(range); });
    started_ = true;
  }

 private:
  static constexpr std::size_t kMostLanes = 16;  // of any kernel: no group splits a block
  static constexpr std::size_t kGroups = 64;  // enough to share among threads
  static constexpr std::size_t kLargestGroup = 256;

  int most_threads() const {
    const auto cores = static_cast<int>(std::thread::hardware_concurrency());
    return std::clamp(cores, 1, static_cast<int>(std::min<std::size_t>(num_envs_, 256)));
  }

  void resize(int num_threads) {
    const int limit = static_cast<int>(std::min<std::size_t>(logs_.groups.size(), 1U << 20U));
    pool_.reset();
    pool_ = std::make_unique<Pool>(std::min(num_threads, limit));
    shares_ = std::make_unique<Shares>(logs_.groups.size(), static_cast<std::size_t>(pool_->size()));
  }

  // Calls work(range) in all threads until everything is done; ranges are whole groups.
  template <class Work>
  void share(Work&& work) {
    if (pool_->size() == 1) return work(Range{0, num_envs_});
    shares_->open();
    pool_->run([&](int worker) {
      shares_->work(static_cast<std::size_t>(worker), [&](std::size_t first, std::size_t last) {
        work(Range{first * logs_.group_size, std::min(last * logs_.group_size, num_envs_)});
      });
    });
  }

  void step_in_trial() {
    if (pool_->size() != trial_.threads()) resize(trial_.threads());
    const auto start = std::chrono::steady_clock::now();
    share([this](Range range) { simulations_->step(range, seed_, logs_); });
    trial_.record(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (trial_.done()) resize(trial_.threads());
  }

  void require_started(const char* call) const {
    if (!started_) throw ResetNeeded(std::string(call) + " before reset: call reset first");
  }

  void require_saves() const {
    if (simulations_->saves()) return;
    throw UsageError("environment " + name_ +
                     " has no save() and load(), and is not trivially copyable: it cannot save "
                     "its state");
  }

  std::string name_;
  std::string description_;  // of the options
  std::size_t num_envs_;
  const Kernel& kernel_;
  std::unique_ptr<Simulations> simulations_;
  ThreadTrial trial_;
  Logs logs_;
  Arrays arrays_;
  std::uint64_t seed_ = 0;
  std::int64_t steps_ = 0;
  bool started_ = false;
  std::unique_ptr<Shares> shares_;  // of the pool's threads
  std::unique_ptr<Pool> pool_;
  struct BackgroundStep {
    Engine* engine;
    void operator()(int /*worker*/) const { engine->step(); }
  } background_step_{this};
  std::unique_ptr<Pool> background_;  // its one thread steps in place of the caller; made last
};

}  // namespace puffer::ocean
