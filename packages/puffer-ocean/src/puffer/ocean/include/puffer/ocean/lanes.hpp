// What a block is made of: vectors with a lane for each simulation, and the lanes' random streams.
#pragma once

#include <cstddef>
#include <cstdint>

#include "puffer/ocean/rng.hpp"

namespace puffer::ocean {

#if defined(__GNUC__)
namespace detail {
template <class T, std::size_t kLanes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(sizeof(T) * kLanes)));  // an alias would lose it
};
}  // namespace detail

// A vector of the compiler's (GCC, Clang): arithmetic, comparisons (each lane 0 or -1), `mask ? a :
// b`, and v[lane].
template <class T, std::size_t kLanes>
using Vector = typename detail::VectorOf<T, kLanes>::Type;
#endif

// The random streams of a block's lanes in the present step.
struct Lanes {
  std::uint64_t seed;  // of lane 0; lane k has seed + k
  const std::uint32_t* episodes;
  const std::int32_t* ticks;

  Rng operator[](std::size_t lane) const {
    return {seed + lane, episodes[lane], static_cast<std::uint64_t>(ticks[lane])};
  }
};

}  // namespace puffer::ocean
