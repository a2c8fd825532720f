// What must hold of an environment's Spec before memory is written by it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "puffer/ocean/env.hpp"

namespace puffer::ocean {

inline int positive(const char* name, int value) {
  if (value >= 1) return value;
  throw UsageError(std::string(name) + "=" + std::to_string(value) + ": expected at least 1");
}

// Elements of one agent's observation.
inline std::size_t observation_size(const Spec& spec) {
  std::size_t size = 1;
  for (const std::size_t extent : spec.observation_shape) size *= extent;
  return size;
}

// Choices of one agent, over all components: the width of its row of action masks.
inline std::size_t mask_size(const Spec& spec) {
  return static_cast<std::size_t>(
      std::reduce(spec.action.nvec.begin(), spec.action.nvec.end(), std::int64_t{0}));
}

// Returns `spec`; an author's mistakes in it would become writes out of bounds. `floats`: whether
// the environment's Action is float.
inline Spec checked(Spec spec, bool floats) {
  const auto require = [](bool good, const char* rule) {
    if (!good) throw UsageError(std::string("the environment's spec is wrong: ") + rule);
  };
  const std::size_t size = observation_size(spec);
  const auto bounds = [size](const std::vector<float>& b) {
    return b.size() == 1 || b.size() == size;
  };
  const auto& nvec = spec.action.nvec;
  positive("max_steps", spec.max_steps);
  require(size > 0, "observation_shape holds no element");
  require(bounds(spec.low) && bounds(spec.high), "low and high need 1 bound or 1 per element");
  require(spec.num_agents >= 1, "num_agents must be at least 1");
  require(spec.action.size >= 1, "an agent needs at least 1 action component");
  require(nvec.empty() == floats,
          "box() goes with Action = float, discrete() and multi_discrete() with std::int32_t");
  require(nvec.empty() || nvec.size() == spec.action.size, "action.size differs from its nvec");
  require(std::ranges::all_of(nvec,
                              [](std::int64_t n) {
                                return n >= 1 && n <= std::numeric_limits<std::int32_t>::max();
                              }),
          "every action component needs 1 to 2147483647 choices");
  return spec;
}

// Refuses `other`, the spec of simulation `i` with options of its own, if its rows or spaces are
// not those of `spec`.
inline void require_alike(const Spec& spec, const Spec& other, std::size_t i) {
  const auto outside = [](const Spec& s) {
    return std::tie(s.observation_shape, s.low, s.high, s.action.nvec, s.action.size, s.action.low,
                    s.action.high, s.num_agents);
  };
  if (outside(spec) == outside(other)) return;
  throw UsageError("simulation " + std::to_string(i) +
                   ": this option changes the spaces or the number of agents, which are the same "
                   "for all simulations: make another env");
}

}  // namespace puffer::ocean
