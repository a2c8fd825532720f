// The instruction sets for which a loop is compiled, and which of them this machine has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__x86_64__) && defined(__GNUC__)
#define PUFFER_OCEAN_X86 1
#else
#define PUFFER_OCEAN_X86 0
#endif

namespace puffer::ocean {

// The levels of the x86-64 psABI; `kBaseline` is what the compiler was told to build for, and the
// only one elsewhere.
enum class Level : std::uint8_t { kBaseline, kV2, kV3, kV4 };

inline constexpr std::array<std::string_view, 4> kLevelNames{"baseline", "x86-64-v2", "x86-64-v3",
                                                             "x86-64-v4"};

// How many 32-bit lanes one vector register of a level has.
constexpr std::size_t lanes_of(Level level) {
  return level == Level::kV4 ? 16 : level == Level::kV3 ? 8 : 4;
}

inline bool supported(Level level) {
#if PUFFER_OCEAN_X86
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (level == Level::kV4) return v4;
  if (level == Level::kV3) return v3;
  if (level == Level::kV2) return v2;
#endif
  return level == Level::kBaseline;
}

// Calls `function` with all that it calls compiled for a level: one source, several machine codes,
// and none of them leaks into a function that another machine would run. Features are named one by
// one, since the compiler inlines into a function of other features but not of another `arch`.
template <Level level>
struct At {
  template <class Function>
  static void call(Function&& function) {
    function();
  }
};

#if PUFFER_OCEAN_X86
#define PUFFER_OCEAN_V2 "sse3,ssse3,sse4.1,sse4.2,popcnt,cx16"
#define PUFFER_OCEAN_V3 PUFFER_OCEAN_V2 ",avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe"
#define PUFFER_OCEAN_V4 PUFFER_OCEAN_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
template <>
struct At<Level::kV2> {
  template <class Function>
  [[gnu::flatten, gnu::target(PUFFER_OCEAN_V2)]] static void call(Function&& function) {
    function();
  }
};
template <>
struct At<Level::kV3> {
  template <class Function>
  [[gnu::flatten, gnu::target(PUFFER_OCEAN_V3)]] static void call(Function&& function) {
    function();
  }
};
template <>
struct At<Level::kV4> {
  template <class Function>
  [[gnu::flatten, gnu::target(PUFFER_OCEAN_V4)]] static void call(Function&& function) {
    function();
  }
};
#endif

}  // namespace puffer::ocean
