// Between the engine and the forms in which an environment is compiled: what each form can do.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "puffer/ocean/canvas.hpp"
#include "puffer/ocean/env.hpp"
#include "puffer/ocean/state.hpp"

namespace puffer::ocean {

// The caller's memory, one row per agent; the last two arrays may be null.
struct Arrays {
  void* observations = nullptr;
  const void* actions = nullptr;
  float* rewards = nullptr;
  bool* terminals = nullptr;
  bool* truncations = nullptr;
  bool* masks = nullptr;
  void* final_observations = nullptr;
  bool* action_masks = nullptr;
  bool halves = false;  // observations are float16, of an environment whose Obs is float
};

// Simulations `first` to `last` - 1.
struct Range {
  std::size_t first;
  std::size_t last;
};

// The statistics of the episodes that finished in a group of simulations.
class Log {
 public:
  struct Episode {
    std::size_t agent_id;  // first row of the simulation
    std::vector<double> stats;
  };

  // With `each`, keeps every episode, else sums alone.
  Log(std::size_t num_stats, bool each) : each_(each), sums_(num_stats) {}

  void add(std::size_t agent_id, std::span<const double> stats) {
    if (each_) {
      episodes_.push_back({agent_id, {stats.begin(), stats.end()}});
    } else {
      ++count_;
      for (std::size_t k = 0; k < sums_.size(); ++k) sums_[k] += stats[k];
    }
  }

  bool empty() const { return count_ == 0 && episodes_.empty(); }
  std::size_t count() const { return count_; }
  const std::vector<double>& sums() const { return sums_; }
  const std::vector<Episode>& episodes() const { return episodes_; }

  void clear() {
    count_ = 0;
    sums_.assign(sums_.size(), 0);
    episodes_.clear();
  }

  void save(Writer& writer) const {
    writer.write(static_cast<std::uint64_t>(count_));
    writer.write(sums_);
    writer.write(static_cast<std::uint64_t>(episodes_.size()));
    for (const Episode& episode : episodes_) {
      writer.write(static_cast<std::uint64_t>(episode.agent_id));
      writer.write(episode.stats);
    }
  }

  void load(Reader& reader) {
    count_ = static_cast<std::size_t>(reader.read<std::uint64_t>());
    const std::size_t num_stats = sums_.size();
    reader.read(sums_);
    Reader::require(sums_.size() == num_stats);
    episodes_.clear();
    for (auto left = reader.read<std::uint64_t>(); left > 0; --left) {
      Episode episode{static_cast<std::size_t>(reader.read<std::uint64_t>()), {}};
      reader.read(episode.stats);
      Reader::require(episode.stats.size() == num_stats);
      episodes_.push_back(std::move(episode));
    }
  }

 private:
  bool each_;
  std::size_t count_ = 0;
  std::vector<double> sums_;
  std::vector<Episode> episodes_;
};

// The logs of an engine: one per group, and every group is stepped by one thread, so that sums do
// not depend on the number of threads.
struct Logs {
  std::vector<Log> groups;
  std::size_t group_size = 1;  // a power of two

  void add(std::size_t simulation, std::size_t agent_id, std::span<const double> stats) {
    groups[simulation >> std::countr_zero(group_size)].add(agent_id, stats);
  }
};

// One value of an option for each simulation.
using Values = std::variant<std::span<const bool>, std::span<const std::int64_t>,
                            std::span<const double>>;

// All simulations of an engine, in one compiled form. Calls for disjoint ranges, which begin at a
// multiple of the group size, may come from different threads at once.
class Simulations {
 public:
  virtual ~Simulations() = default;

  virtual const Spec& spec() const = 0;
  // Makes `arrays` the ones to write.
  virtual void bind(const Arrays& arrays) { arrays_ = arrays; }

  // Begins episode 0; simulation k draws from the stream of seed + k.
  virtual void reset(Range range, std::uint64_t seed) = 0;
  // Advances; those whose episode ended are in their next one on return.
  virtual void step(Range range, std::uint64_t seed, Logs& logs) = 0;
  // Writes what is seen now: observations and action masks; clears rewards and flags, leaves masks.
  virtual void show(Range range) = 0;
  // Sets an option of each simulation from its next episode on; refuses all or takes all.
  virtual void vary(const std::string& option, const Values& values) = 0;
  virtual void draw(std::size_t simulation, Canvas& canvas) const = 0;

  // True if `save` and `load` work.
  virtual bool saves() const = 0;
  virtual void save(Writer& writer) const = 0;
  // Returns the simulations that `save` wrote, with the options of these.
  virtual std::unique_ptr<Simulations> load(Reader& reader) const = 0;

 protected:
  Arrays arrays_;
};

}  // namespace puffer::ocean
