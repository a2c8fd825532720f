// What a block is made of: vectors with a lane for each simulation, and the lanes' random streams.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "puffer/ocean/env.hpp"
#include "puffer/ocean/levels.hpp"
#include "puffer/ocean/rng.hpp"

namespace puffer::ocean {

#if defined(__GNUC__)
namespace detail {
template <class T, std::size_t kLanes>
struct VectorOf {
  typedef T Type __attribute__((vector_size(sizeof(T) * kLanes)));  // an alias would lose it
};
}  // namespace detail

// A vector of the compiler's (GCC, Clang): arithmetic with vectors and constants, logic, and v[lane];
// less(), equal(), choose() and fill_lanes() do the rest.
template <class T, std::size_t kLanes>
using Vector = typename detail::VectorOf<T, kLanes>::Type;

namespace detail {
// What GCC decides by the instruction set of the function in which it stands, before that is inlined:
// AVX-512 compares into bits, and an `a < b` of such width from elsewhere is taken apart lane by lane,
// as is a number that is repeated. Through memory, for sets differ in how they pass and align vectors.
template <std::size_t kLanes>
struct Early;
#define PUFFER_OCEAN_EARLY(lanes, attributes)                                                \
  template <>                                                                                \
  struct Early<lanes> {                                                                      \
    template <class A, class B, class Mask>                                                  \
    attributes static void less(const void* a, const void* b, void* mask) {                  \
      A x;                                                                                   \
      B y;                                                                                   \
      std::memcpy(&x, a, sizeof(A));                                                         \
      std::memcpy(&y, b, sizeof(B));                                                         \
      const Mask result = x < y;                                                             \
      std::memcpy(mask, &result, sizeof(Mask));                                              \
    }                                                                                        \
    template <class A, class B, class Mask>                                                  \
    attributes static void equal(const void* a, const void* b, void* mask) {                 \
      A x;                                                                                   \
      B y;                                                                                   \
      std::memcpy(&x, a, sizeof(A));                                                         \
      std::memcpy(&y, b, sizeof(B));                                                         \
      const Mask result = x == y;                                                            \
      std::memcpy(mask, &result, sizeof(Mask));                                              \
    }                                                                                        \
    template <class Mask, class V>                                                           \
    attributes static void choose(const void* mask, const void* a, const void* b, void* to) { \
      Mask which;                                                                            \
      V x, y;                                                                                \
      std::memcpy(&which, mask, sizeof(Mask));                                               \
      std::memcpy(&x, a, sizeof(V));                                                         \
      std::memcpy(&y, b, sizeof(V));                                                         \
      const V result = which ? x : y;                                                        \
      std::memcpy(to, &result, sizeof(V));                                                   \
    }                                                                                        \
    template <class V, class T>                                                              \
    attributes static void fill(T number, void* to) {                                        \
      const V result = number - V{}; /* of -0 as well */                                     \
      std::memcpy(to, &result, sizeof(V));                                                   \
    }                                                                                        \
  };
PUFFER_OCEAN_EARLY(lanes_of(Level::kBaseline), )
#if PUFFER_OCEAN_X86
PUFFER_OCEAN_EARLY(lanes_of(Level::kV3), [[gnu::target(PUFFER_OCEAN_V3)]])
PUFFER_OCEAN_EARLY(lanes_of(Level::kV4), [[gnu::target(PUFFER_OCEAN_V4)]])
#endif
#undef PUFFER_OCEAN_EARLY

template <class A, class B>
using MaskOf = std::remove_cvref_t<decltype(std::declval<const A&>() < std::declval<const B&>())>;
}  // namespace detail

// The operations of a block of kLanes that a plain `<`, `==`, `?:` or `V{} + number` would do slowly:

// In each lane -1 where a < b, else 0; one of them may be a number.
template <std::size_t kLanes, class A, class B>
detail::MaskOf<A, B> less(const A& a, const B& b) {
  detail::MaskOf<A, B> mask;
  detail::Early<kLanes>::template less<A, B, decltype(mask)>(&a, &b, &mask);
  return mask;
}

// In each lane -1 where a == b, else 0; one of them may be a number.
template <std::size_t kLanes, class A, class B>
detail::MaskOf<A, B> equal(const A& a, const B& b) {
  detail::MaskOf<A, B> mask;
  detail::Early<kLanes>::template equal<A, B, decltype(mask)>(&a, &b, &mask);
  return mask;
}

// In each lane a where the mask is -1, b where it is 0.
template <std::size_t kLanes, class Mask, class V>
V choose(const Mask& mask, const V& a, const V& b) {
  V chosen;
  detail::Early<kLanes>::template choose<Mask, V>(&mask, &a, &b, &chosen);
  return chosen;
}

// A number in all lanes of a V.
template <std::size_t kLanes, class V, class T>
V fill_lanes(T number) {
  V vector;
  detail::Early<kLanes>::template fill<V>(number, &vector);
  return vector;
}

// Between vectors and memory that is aligned for its elements alone.
template <class V, class T>
V load_lanes(const T* from) {
  V vector;
  std::memcpy(&vector, from, sizeof(V));
  return vector;
}
template <class V, class T>
void store_lanes(T* to, const V& vector) {
  std::memcpy(to, &vector, sizeof(V));
}

// Writes the lanes of a comparison as flags; true if any is set.
template <class Mask>
bool store_flags(bool* flags, Mask mask) {
  using Lane = std::remove_cvref_t<decltype(mask[0])>;
  constexpr std::size_t kLanes = sizeof(Mask) / sizeof(Lane);
  constexpr std::size_t kGroup = std::min(sizeof(Lane), kLanes);  // lanes that make a word of flags
  static constexpr std::array<Lane, kLanes> kOnes = [] {
    std::array<Lane, kLanes> ones{};
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      std::array<bool, sizeof(Lane)> word{};
      word[lane % kGroup] = true;
      ones[lane] = std::bit_cast<Lane>(word);
    }
    return ones;
  }();
  constexpr std::size_t kWords = kGroup * sizeof(Lane) / 8;  // of 64 bits, that hold a group
  std::array<std::uint64_t, kLanes * sizeof(Lane) / 8> words;
  store_lanes(words.data(), mask & load_lanes<Mask>(kOnes.data()));
  std::uint64_t any = 0;
  for (std::size_t first = 0; first < words.size(); first += kWords) {
    std::uint64_t word = 0;
#pragma GCC unroll 8
    for (std::size_t k = first; k < first + kWords; ++k) word |= words[k];
    if constexpr (sizeof(Lane) < 8) word |= word >> 32U;  // lanes lie side by side
    const Lane flag_word = static_cast<Lane>(word);
    std::memcpy(flags, &flag_word, kGroup);
    flags += kGroup;
    any |= static_cast<std::make_unsigned_t<Lane>>(word);
  }
  return any != 0;
}

// Clears the flags of those lanes that are set in `others`. In the words in which they were stored,
// for a wider load would wait until they have reached the cache.
template <std::size_t kLanes>
void clear_flags(bool* flags, const bool* others) {
  for (std::size_t lane = 0; lane < kLanes; lane += 4) {
    std::uint32_t four, more;
    std::memcpy(&four, flags + lane, 4);
    std::memcpy(&more, others + lane, 4);
    four &= ~more;
    std::memcpy(flags + lane, &four, 4);
  }
}

// Rounds as Half does, in every lane.
inline Vector<std::uint16_t, 4> round_to_half(const Vector<float, 4>& values) {
  using Bits = Vector<std::uint32_t, 4>;
  using Ints = Vector<std::int32_t, 4>;  // whose comparisons are an instruction
  const auto bits = std::bit_cast<Bits>(values);
  const Bits magnitude = bits & 0x7FFFFFFFU;
  const auto size = std::bit_cast<Ints>(magnitude);
  const Bits normal = (magnitude - (112U << 23U) + 0xFFFU + ((magnitude >> 13U) & 1U)) >> 13U;
  const auto sum = std::bit_cast<Vector<float, 4>>(magnitude) + 0.5F;
  const Bits subnormal = std::bit_cast<Bits>(sum) - std::bit_cast<std::uint32_t>(0.5F);
  const Bits not_a_number = 0x7E00U | ((magnitude >> 13U) & 0x3FFU);
  Bits half = size < 0x38800000 ? subnormal : normal;
  half = size >= 0x47800000 ? Bits{} + 0x7C00U : half;
  half = size > 0x7F800000 ? not_a_number : half;
  return __builtin_convertvector(half | ((bits >> 16U) & 0x8000U), Vector<std::uint16_t, 4>);
}

#if PUFFER_OCEAN_X86
// The same in one instruction, which every machine of the third level has.
[[gnu::target("avx,f16c")]] inline void store_four_by_f16c(Half* to, const Vector<float, 4>& values) {
  const auto halves = __builtin_ia32_vcvtps2ph(values, 0);  // to nearest, ties to even
  std::memcpy(static_cast<void*>(to), &halves, 4 * sizeof(Half));
}
#endif

// Writes four elements, for a block of kLanes: one of 8 lanes or more runs from the third level on.
template <std::size_t kLanes>
void store_four(float* to, const Vector<float, 4>& values) {
  store_lanes(to, values);
}
template <std::size_t kLanes>
void store_four(Half* to, const Vector<float, 4>& values) {
#if PUFFER_OCEAN_X86
  if constexpr (kLanes >= lanes_of(Level::kV3)) return store_four_by_f16c(to, values);
#endif
  const auto halves = round_to_half(values);
  std::memcpy(static_cast<void*>(to), &halves, sizeof(halves));
}

// Writes four elements of each lane, `rows[stride * lane]` and the next three: a[lane] to d[lane].
template <std::size_t kLanes, class Element>
void store_rows(Element* rows, std::size_t stride, const float* a, const float* b, const float* c,
                const float* d) {
  using Four = Vector<float, 4>;
#if defined(__clang__)
#define PUFFER_OCEAN_MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define PUFFER_OCEAN_MIX(x, y, ...) __builtin_shuffle(x, y, Vector<std::int32_t, 4>{__VA_ARGS__})
#endif
#pragma GCC unroll 4
  for (std::size_t lane = 0; lane < kLanes; lane += 4) {
    const auto p = load_lanes<Four>(a + lane), q = load_lanes<Four>(b + lane);
    const auto r = load_lanes<Four>(c + lane), s = load_lanes<Four>(d + lane);
    const Four pq01 = PUFFER_OCEAN_MIX(p, q, 0, 4, 1, 5), pq23 = PUFFER_OCEAN_MIX(p, q, 2, 6, 3, 7);
    const Four rs01 = PUFFER_OCEAN_MIX(r, s, 0, 4, 1, 5), rs23 = PUFFER_OCEAN_MIX(r, s, 2, 6, 3, 7);
    Element* const out = rows + stride * lane;
    store_four<kLanes>(out, PUFFER_OCEAN_MIX(pq01, rs01, 0, 1, 4, 5));
    store_four<kLanes>(out + stride, PUFFER_OCEAN_MIX(pq01, rs01, 2, 3, 6, 7));
    store_four<kLanes>(out + 2 * stride, PUFFER_OCEAN_MIX(pq23, rs23, 0, 1, 4, 5));
    store_four<kLanes>(out + 3 * stride, PUFFER_OCEAN_MIX(pq23, rs23, 2, 3, 6, 7));
  }
#undef PUFFER_OCEAN_MIX
}
#endif

template <std::size_t kLanes>
void round_with(std::span<const float> from, Half* to) {
  std::size_t k = 0;
#if defined(__GNUC__)
  for (; k + 4 <= from.size(); k += 4) {
    store_four<kLanes>(to + k, load_lanes<Vector<float, 4>>(from.data() + k));
  }
#endif
  for (; k < from.size(); ++k) to[k] = from[k];
}

// Writes `from`, rounded, by the best means of this machine.
inline void round_to_halves(std::span<const float> from, Half* to) {
  if (!supported(Level::kV3)) return round_with<lanes_of(Level::kBaseline)>(from, to);
  At<Level::kV3>::call([from, to] { round_with<lanes_of(Level::kV3)>(from, to); });
}

// Calls visit(lane) for each flag that is set, in order. Bits, for branches on flags mispredict.
template <std::size_t kLanes, class Visit>
void for_each_set(const std::array<bool, kLanes>& flags, Visit&& visit) {
  std::uint32_t bits = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    bits |= static_cast<std::uint32_t>(flags[lane]) << lane;
  }
  for (; bits != 0; bits &= bits - 1) visit(static_cast<std::size_t>(std::countr_zero(bits)));
}

// Calls visit(k) for each of `count` simulations, a multiple of kLanes, of which either flag is set.
template <std::size_t kLanes, class Visit>
void for_each_set(const bool* flags, const bool* others, std::size_t count, Visit&& visit) {
  using Word = std::conditional_t<kLanes < 8, std::uint32_t, std::uint64_t>;
  constexpr std::size_t kBytes = sizeof(Word);
  // Gathers the lowest bits of all bytes in the highest one, that of the first byte lowest.
  constexpr auto kGather = static_cast<Word>(kBytes == 4 ? 0x01020408 : 0x0102040810204080);
  for (std::size_t first = 0; first < count; first += 64) {
    std::uint64_t bits = 0;
    for (std::size_t k = 0; k < std::min<std::size_t>(64, count - first); k += kBytes) {
      Word word, more;
      std::memcpy(&word, flags + first + k, kBytes);
      std::memcpy(&more, others + first + k, kBytes);
      word |= more;
      if constexpr (std::endian::native == std::endian::big) {
        auto bytes = std::bit_cast<std::array<std::uint8_t, kBytes>>(word);
        std::ranges::reverse(bytes);
        word = std::bit_cast<Word>(bytes);
      }
      bits |= static_cast<std::uint64_t>(word * kGather >> 8 * (kBytes - 1)) << k;
    }
    for (; bits != 0; bits &= bits - 1) {
      visit(first + static_cast<std::size_t>(std::countr_zero(bits)));
    }
  }
}

// The rows of one lane, of a simulation whose actions have one component.
template <class Action>
Io<Action> of_lane(const Io<Action>& io, std::size_t lane) {
  return {.actions = io.actions.subspan(lane, 1),
          .rewards = io.rewards.subspan(lane, 1),
          .terminals = io.terminals.subspan(lane, 1),
          .truncations = io.truncations.subspan(lane, 1),
          .masks = io.masks.subspan(lane, 1)};
}

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
