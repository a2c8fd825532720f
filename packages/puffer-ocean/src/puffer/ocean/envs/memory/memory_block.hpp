// Memory with an episode in each lane of a vector; the rules are those of memory.hpp.
#pragma once

#include <puffer/ocean/lanes.hpp>

#include "memory.hpp"

namespace memory {

template <std::size_t kLanes>
class MemoryBlock {
  using Ints = Vector<std::int32_t, kLanes>;
  using Words = Vector<std::uint32_t, kLanes>;
  using Floats = Vector<float, kLanes>;

 public:
  explicit MemoryBlock(const Config& config) : rules_(config) {}

  void put(std::size_t lane, const Memory& env) {
    tick_[lane] = env.tick;
    right_[lane] = env.right;
    bits_[lane] = env.bits;
    answers_[lane] = env.answers;
  }

  Memory get(std::size_t lane) const {
    Memory env = rules_;
    env.tick = tick_[lane];
    env.right = right_[lane];
    env.bits = bits_[lane];
    env.answers = answers_[lane];
    return env;
  }

  bool step(Io<std::int32_t> io, Lanes /*lanes*/) {
    const auto answer = load_lanes<Words>(io.actions.data());
    const auto tick = load_lanes<Ints>(tick_.data());
    const Ints place = tick - fill_lanes<kLanes, Ints>(rules_.length + rules_.delay);
    const Ints asked = less<kLanes>(-1, place);
    const auto given = (answer << (Words(place) & 31U)) & Words(asked);
    const Ints good = asked & equal<kLanes>(answer, bits(place));
    const auto reward = fill_lanes<kLanes, Floats>(1.0F / static_cast<float>(rules_.length));
    store_lanes(io.rewards.data(), choose<kLanes>(good, reward, Floats{}));
    store_lanes(answers_.data(), load_lanes<Words>(answers_.data()) | given);
    store_lanes(right_.data(), load_lanes<Ints>(right_.data()) - good);
    store_lanes(tick_.data(), tick + 1);
    return store_flags(io.terminals.data(),
                       equal<kLanes>(tick + 1, 2 * rules_.length + rules_.delay));
  }

  void observe(std::span<float> rows) const {
    const auto tick = load_lanes<Ints>(tick_.data());
    const auto sign = __builtin_convertvector(2 * Ints(bits(tick)) - 1, Floats);
    store_lanes(rows.data(), choose<kLanes>(less<kLanes>(tick, rules_.length), sign, Floats{}));
  }

 private:
  Words bits(const Ints& place) const {
    return load_lanes<Words>(bits_.data()) >> (Words(place) & 31U) & 1U;
  }

  Memory rules_;  // what a new episode is made of
  std::array<std::int32_t, kLanes> tick_{};
  std::array<std::int32_t, kLanes> right_{};
  std::array<std::uint32_t, kLanes> bits_{};
  std::array<std::uint32_t, kLanes> answers_{};
};

}  // namespace memory
