// Erases an environment's type, so that pybind11 is compiled once per extension, not once per env.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "puffer/ocean/engine.hpp"

namespace puffer::ocean {

// Element types as numpy spells them.
template <class T>
constexpr const char* dtype_name() {
  if constexpr (std::same_as<T, std::uint8_t>) return "uint8";
  if constexpr (std::same_as<T, std::int8_t>) return "int8";
  if constexpr (std::same_as<T, std::int32_t>) return "int32";
  if constexpr (std::same_as<T, float>) return "float32";
}

using Value = std::variant<bool, std::int64_t, double, std::string>;
using Options = std::map<std::string, Value, std::less<>>;

struct OptionInfo {
  std::string name;
  Value initial;
  std::string help;
};

using RawArrays = Arrays<void, void>;

// An engine of some environment, by one virtual call per batch.
class AnyEngine {
 public:
  virtual ~AnyEngine() = default;
  virtual const Spec& spec() const = 0;
  virtual std::size_t num_rows() const = 0;
  virtual void bind(const RawArrays& arrays) = 0;
  virtual bool started() const = 0;
  virtual void reset(std::uint64_t seed) = 0;
  virtual void step() = 0;
  virtual std::vector<EpisodeStats> drain() = 0;
  virtual void save(Writer& writer) const = 0;
  virtual void load(Reader& reader) = 0;
  virtual void draw(std::size_t simulation, Canvas& canvas) const = 0;
};

// What a compiled extension knows of one environment.
struct EnvEntry {
  std::string name;
  std::string observation_dtype;
  std::string action_dtype;
  bool draws;
  bool masks;  // fills action masks
  bool saves;
  std::vector<OptionInfo> options;
  std::vector<std::string> stat_names;
  std::unique_ptr<AnyEngine> (*make)(const Options&, int num_envs, int num_threads,
                                     bool each_episode);
};

namespace detail {

template <class T>
constexpr const char* type_name() {
  if constexpr (std::same_as<T, bool>) return "a bool";
  if constexpr (std::integral<T>) return "an int of its range";
  if constexpr (std::floating_point<T>) return "a number";
  return "a str";
}

template <class T>
std::optional<T> convert(const Value& value) {
  if constexpr (std::same_as<T, bool>) {
    if (const auto* v = std::get_if<bool>(&value)) return *v;
  } else if constexpr (std::integral<T>) {
    const auto* v = std::get_if<std::int64_t>(&value);
    if (v != nullptr && std::in_range<T>(*v)) return static_cast<T>(*v);
  } else if constexpr (std::floating_point<T>) {
    if (const auto* v = std::get_if<double>(&value)) return static_cast<T>(*v);
    if (const auto* v = std::get_if<std::int64_t>(&value)) return static_cast<T>(*v);
  } else {
    if (const auto* v = std::get_if<std::string>(&value)) return *v;
  }
  return std::nullopt;
}

template <class T>
Value to_value(const T& value) {
  if constexpr (std::same_as<T, bool>)
    return value;
  else if constexpr (std::integral<T>)
    return static_cast<std::int64_t>(value);
  else if constexpr (std::floating_point<T>)
    return static_cast<double>(value);
  else
    return std::string(value);
}

template <class Config, class Option>
bool assign(Config& config, const Option& option, const std::string& name, const Value& value) {
  if (option.name != name) return false;
  using T = std::remove_reference_t<decltype(config.*option.member)>;
  const std::optional<T> converted = convert<T>(value);
  if (!converted) throw UsageError("option " + name + ": expected " + type_name<T>());
  config.*option.member = *converted;
  return true;
}

template <Environment E>
std::vector<OptionInfo> list_options() {
  const typename E::Config config{};
  std::vector<OptionInfo> list;
  std::apply(
      [&](const auto&... option) {
        (list.push_back(
             {std::string(option.name), to_value(config.*option.member), std::string(option.help)}),
         ...);
      },
      E::config_fields);
  return list;
}

template <Environment E>
typename E::Config parse(const Options& options) {
  typename E::Config config{};
  for (const auto& [name, value] : options) {
    const bool known = std::apply(
        [&](const auto&... option) { return (assign(config, option, name, value) || ...); },
        E::config_fields);
    if (known) continue;
    std::string names;
    for (const auto& option : list_options<E>()) names += " " + option.name;
    throw UsageError("unknown option '" + name + "': the options are" + names);
  }
  return config;
}

// Returns all options with their values and the size of the struct: what a state depends on.
template <Environment E>
std::string describe(const typename E::Config& config) {
  std::string text;
  const auto append = [&](const auto& option) {
    text += std::string(option.name) + "=";
    std::visit(
        [&]<class T>(const T& value) {
          if constexpr (std::same_as<T, std::string>) {
            text += value + " ";
          } else if constexpr (std::same_as<T, double>) {
            std::array<char, 32> digits{};
            std::snprintf(digits.data(), digits.size(), "%.9g ", value);
            text += digits.data();
          } else {
            text += std::to_string(value) + " ";
          }
        },
        to_value(config.*option.member));
  };
  std::apply([&](const auto&... option) { (append(option), ...); }, E::config_fields);
  return text + "(" + std::to_string(sizeof(E)) + " bytes)";
}

template <Environment E>
class Erased final : public AnyEngine {
 public:
  Erased(const Options& options, int num_envs, int num_threads, bool each_episode)
      : config_(parse<E>(options)), engine_(config_, num_envs, num_threads, each_episode) {}

  const Spec& spec() const override { return engine_.spec(); }
  std::size_t num_rows() const override { return engine_.num_rows(); }
  void bind(const RawArrays& raw) override {
    engine_.bind({.observations = static_cast<Obs*>(raw.observations),
                  .actions = static_cast<const Action*>(raw.actions),
                  .rewards = raw.rewards,
                  .terminals = raw.terminals,
                  .truncations = raw.truncations,
                  .masks = raw.masks,
                  .final_observations = static_cast<Obs*>(raw.final_observations),
                  .action_masks = raw.action_masks});
  }
  bool started() const override { return engine_.started(); }
  void reset(std::uint64_t seed) override { engine_.reset(seed); }
  void step() override { engine_.step(); }
  std::vector<EpisodeStats> drain() override { return engine_.drain(); }
  void save(Writer& writer) const override {
    if constexpr (Saveable<E>) {
      writer.write(describe<E>(config_));
      writer.write(static_cast<std::uint64_t>(engine_.num_rows()));
      engine_.save(writer);
    }
  }
  void load(Reader& reader) override {
    if constexpr (Saveable<E>) {
      const auto options = reader.read<std::string>();
      if (options != describe<E>(config_)) {
        throw UsageError("the state was made with other options: " + options + ", this env has " +
                         describe<E>(config_));
      }
      const auto rows = reader.read<std::uint64_t>();
      if (rows != engine_.num_rows()) {
        throw UsageError("the state is of " + std::to_string(rows) + " agents, this env has " +
                         std::to_string(engine_.num_rows()));
      }
      engine_.load(reader);
    }
  }
  void draw(std::size_t simulation, Canvas& canvas) const override {
    engine_.draw(simulation, canvas);
  }

 private:
  using Obs = typename E::Obs;
  using Action = typename E::Action;
  typename E::Config config_;
  Engine<E> engine_;
};

template <Environment E>
EnvEntry entry_of(const char* name) {
  return {.name = name,
          .observation_dtype = dtype_name<typename E::Obs>(),
          .action_dtype = dtype_name<typename E::Action>(),
          .draws = HasDraw<E>,
          .masks = HasMask<E>,
          .saves = Saveable<E>,
          .options = list_options<E>(),
          .stat_names = Engine<E>::stat_names(),
          .make = [](const Options& options, int num_envs, int num_threads,
                     bool each_episode) -> std::unique_ptr<AnyEngine> {
            return std::make_unique<Erased<E>>(options, num_envs, num_threads, each_episode);
          }};
}

// False, but only once E is known. An assertion of the concept itself would list why it fails.
template <class E>
inline constexpr bool kNever = false;

// Names the first thing that E lacks, and compiles nothing else of it: one error, not a cascade.
template <class E>
constexpr bool is_environment() {
  if constexpr (!HasTypes<E>) {
    static_assert(kNever<E>, "an environment names its types: using Obs, using Action, Config");
  } else if constexpr (!ObservationType<typename E::Obs>) {
    static_assert(kNever<E>, "Obs must be std::uint8_t, std::int8_t, std::int32_t or float");
  } else if constexpr (!ActionType<typename E::Action>) {
    static_assert(kNever<E>, "Action must be std::int32_t or float");
  } else if constexpr (!HasOptions<E>) {
    static_assert(kNever<E>,
                  "an environment lists its options: static constexpr std::tuple config_fields");
  } else if constexpr (!HasSpec<E>) {
    static_assert(kNever<E>, "an environment needs `static Spec spec(const Config&)` and E{config}");
  } else if constexpr (!HasReset<E>) {
    static_assert(kNever<E>, "an environment needs `void reset(Rng&)`");
  } else if constexpr (!HasStep<E>) {
    static_assert(kNever<E>, "an environment needs `void step(Io<Action>, Rng&)`");
  } else if constexpr (!HasObserve<E>) {
    static_assert(kNever<E>, "an environment needs `void observe(std::span<Obs>) const`");
  } else if constexpr (HasMask<E>) {
    static_assert(std::integral<typename E::Action>,
                  "`mask` goes with Action = std::int32_t: what of a Box is allowed are its bounds");
  }
  return Environment<E>;
}

// Erases the type of an environment.
template <class E>
EnvEntry entry(const char* name) {
  if constexpr (is_environment<E>()) return entry_of<E>(name);
  return {};
}

}  // namespace detail
}  // namespace puffer::ocean

// The last line of an environment's .cpp file; `name` is what CMake and Python call it.
#define PUFFER_ENV(name, Type)                          \
  ::puffer::ocean::EnvEntry puffer_env_##name() {       \
    return ::puffer::ocean::detail::entry<Type>(#name); \
  }
