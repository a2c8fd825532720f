// Actions as they come: checked and copied in one pass over plain memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "puffer/ocean/env.hpp"

namespace puffer::ocean {

// True if each of `size` values, `step` apart, is one of 0 to `choices` - 1. Comparing would not do:
// the first level of x86-64 has no vectors of comparisons of 64 bits.
template <class T>
bool all_below(const T* values, std::size_t size, std::size_t step, std::int64_t choices) {
  using Wide = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  const auto last = static_cast<Wide>(choices - 1);
  Wide outside = 0;  // its sign: of a value that is negative, or of its distance to the last choice
  for (std::size_t i = 0; i < size; i += step) {
    const auto value = static_cast<Wide>(values[i]);
    outside |= value | (last - value);
  }
  return outside >> (8 * sizeof(Wide) - 1) == 0;
}

// Copies `given` to `out` if each value is a choice of its component, else leaves `out` alone.
template <class T>
bool take_discrete(const T* given, std::int32_t* out, std::size_t rows,
                   const std::vector<std::int64_t>& nvec) {
  const std::size_t size = rows * nvec.size();
  if (nvec.size() == 1) {  // a loop without strides, for the compiler's sake
    if (!all_below(given, size, 1, nvec[0])) return false;
  } else {
    for (std::size_t c = 0; c < nvec.size(); ++c) {
      if (!all_below(given + c, size - c, nvec.size(), nvec[c])) return false;
    }
  }
  if (static_cast<const void*>(given) == out) return true;
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::int32_t>(given[i]);
  return true;
}

inline bool take_box(const float* given, float* out, std::size_t size, const ActionSpec& action) {
  bool inside = true;  // written so that NaN fails
  for (std::size_t i = 0; i < size; ++i)
    inside &= given[i] >= action.low && given[i] <= action.high;
  if (inside && given != out) std::memcpy(out, given, size * sizeof(float));
  return inside;
}

}  // namespace puffer::ocean
