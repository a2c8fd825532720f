// Random numbers that depend on where they are drawn, never on the order or thread of drawing.
#pragma once

#include <cstdint>

namespace puffer::ocean {

// A counter-based generator: draw c is a hash of (seed, episode, tick, c). The engine hands a fresh
// one to every call, so nothing has to be stored and every replay is exact. The hash is the
// finalizer of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t episode, std::uint64_t tick)
      : key_(mix(mix(seed + kStride) + episode)), counter_(tick << 32U) {}

  std::uint64_t next() { return mix(key_ + kStride * ++counter_); }

  // A uniform integer in [0, n), n > 0.
  std::uint32_t below(std::uint32_t n) {
    return static_cast<std::uint32_t>(((next() >> 32U) * n) >> 32U);
  }

  // A uniform number between `low` and `high`.
  float uniform(float low, float high) {
    return low + (high - low) * (static_cast<float>(next() >> 40U) * 0x1p-24F);
  }
  double uniform(double low, double high) {
    return low + (high - low) * (static_cast<double>(next() >> 11U) * 0x1p-53);
  }

  // True half of the time.
  bool flip() { return (next() >> 63U) != 0; }

 private:
  static constexpr std::uint64_t kStride = 0x9E3779B97F4A7C15ULL;

  static constexpr std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31U);
  }

  std::uint64_t key_;
  std::uint64_t counter_;
};

}  // namespace puffer::ocean
