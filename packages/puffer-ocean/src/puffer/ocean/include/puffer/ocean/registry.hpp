// What a compiled extension knows of its environments, and the line that makes one known.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "puffer/ocean/block.hpp"
#include "puffer/ocean/contract.hpp"
#include "puffer/ocean/options.hpp"
#include "puffer/ocean/scalar.hpp"

namespace puffer::ocean {

// Element types as numpy spells them.
template <class T>
constexpr const char* dtype_name() {
  if constexpr (std::same_as<T, std::uint8_t>) return "uint8";
  if constexpr (std::same_as<T, std::int8_t>) return "int8";
  if constexpr (std::same_as<T, std::int32_t>) return "int32";
  if constexpr (std::same_as<T, float>) return "float32";
  if constexpr (std::same_as<T, Half>) return "float16";
}

template <class Obs>
std::vector<std::string> observation_dtypes() {
  if constexpr (std::same_as<Obs, float>) return {dtype_name<float>(), dtype_name<Half>()};
  return {dtype_name<Obs>()};
}

// An environment compiled for one instruction set; the scalar form is one for all.
struct Kernel {
  std::string name;
  bool usable;  // on this machine
  std::unique_ptr<Simulations> (*make)(const Options&, std::size_t num_envs);
};

struct EnvEntry {
  std::string name;
  std::vector<std::string> observation_dtypes;  // the author's, then what it can be rounded to
  std::string action_dtype;
  bool draws;
  bool masks;  // fills action masks
  bool saves;
  std::vector<OptionInfo> options;
  std::vector<std::string> stat_names;
  std::vector<Kernel> kernels;  // the scalar one, then those with ever wider vectors
  std::string (*describe)(const Options&);  // all options with their values
};

// Returns the kernel of that name; for `auto` the widest that this machine has, unless the
// environment variable PUFFER_OCEAN_KERNEL names another one that exists.
inline const Kernel& choose_kernel(const EnvEntry& entry, std::string_view name) {
  const Kernel* best = &entry.kernels.front();
  std::string names;
  for (const Kernel& kernel : entry.kernels) {
    if (!kernel.usable) continue;
    best = &kernel;
    names += " " + kernel.name;
  }
  const bool automatic = name == "auto";
  if (automatic) {
    const char* forced = std::getenv("PUFFER_OCEAN_KERNEL");
    if (forced == nullptr) return *best;
    name = forced;
    best = &entry.kernels.front();
  }
  for (const Kernel& kernel : entry.kernels) {
    if (kernel.usable && kernel.name == name) return kernel;
  }
  if (automatic) return *best;
  throw UsageError("kernel='" + std::string(name) + "': on this machine " + entry.name + " has" +
                   names);
}

// Returns `name` if the environment's observations come in that dtype; its own for "auto".
inline std::string choose_dtype(const EnvEntry& entry, const std::string& name) {
  if (name == "auto") return entry.observation_dtypes.front();
  std::string names;
  for (const std::string& dtype : entry.observation_dtypes) {
    if (dtype == name) return name;
    names += " " + dtype;
  }
  throw UsageError("observation_dtype='" + name + "': " + entry.name + " has" + names);
}

namespace detail {

template <Environment E>
std::shared_ptr<const Rules<E>> make_rules(const Options& options) {
  return std::make_shared<const Rules<E>>(parse<E>(options));
}

// Compiles only for an environment; the one error says what it lacks.
template <class E>
EnvEntry entry(const char* name) {
  check_required_members<E>();
  if constexpr (Environment<E>) {
    check_optional_members<E>();
    return {.name = name,
            .observation_dtypes = observation_dtypes<typename E::Obs>(),
            .action_dtype = dtype_name<typename E::Action>(),
            .draws = HasDraw<E>,
            .masks = HasMask<E>,
            .saves = Saveable<E>,
            .options = list_options<E>(),
            .stat_names = stat_names<E>(),
            .kernels = {{"scalar", true,
                         [](const Options& options, std::size_t n) -> std::unique_ptr<Simulations> {
                           return std::make_unique<Scalar<E>>(make_rules<E>(options), n);
                         }}},
            .describe = [](const Options& options) {
              return detail::describe<E>(parse<E>(options)) + " (" + std::to_string(sizeof(E)) +
                     " bytes)";
            }};
  } else {
    return {};
  }
}

template <class E, template <std::size_t> class B, Level level>
Kernel block_kernel() {
  return {std::string(kLevelNames[static_cast<std::size_t>(level)]), supported(level),
          [](const Options& options, std::size_t n) -> std::unique_ptr<Simulations> {
            return std::make_unique<Blocks<E, B, level>>(make_rules<E>(options), n);
          }};
}

template <class E, template <std::size_t> class B>
EnvEntry with_blocks(EnvEntry entry) {
#if PUFFER_OCEAN_X86  // what lacks the second level there is old enough for the scalar form
  entry.kernels.push_back(block_kernel<E, B, Level::kV2>());
  entry.kernels.push_back(block_kernel<E, B, Level::kV3>());
  entry.kernels.push_back(block_kernel<E, B, Level::kV4>());
#else
  entry.kernels.push_back(block_kernel<E, B, Level::kBaseline>());
#endif
  return entry;
}

// An environment that has a block as well.
template <class E, template <std::size_t> class B>
EnvEntry entry(const char* name) {
  EnvEntry entry = detail::entry<E>(name);
  if constexpr (!Block<B<lanes_of(Level::kBaseline)>, E>) {
    static_assert(kNever<E>,
                  "a block needs B(const Config&), put(lane, env), get(lane), bool step(io, lanes), "
                  "observe(rows)");
    return entry;
  } else {
    return with_blocks<E, B>(std::move(entry));
  }
}

}  // namespace detail
}  // namespace puffer::ocean
// The last line of an environment's .cpp file; `name` is what CMake and Python call it, and what
// follows is the struct and, where there is one, the template of its block.
#define PUFFER_ENV(name, ...)                                  \
  ::puffer::ocean::EnvEntry puffer_env_##name() {              \
    return ::puffer::ocean::detail::entry<__VA_ARGS__>(#name); \
  }
