// An environment's options by name: from Python's values to the author's Config and back.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "puffer/ocean/env.hpp"

namespace puffer::ocean {

using Value = std::variant<bool, std::int64_t, double, std::string>;
using Options = std::map<std::string, Value, std::less<>>;

struct OptionInfo {
  std::string name;
  Value initial;
  std::string help;
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

// Calls `visit(option)` for each option of E.
template <class E, class Visit>
void each_option(Visit&& visit) {
  std::apply([&](const auto&... option) { (visit(option), ...); }, E::config_fields);
}

template <class E>
std::vector<OptionInfo> list_options() {
  const typename E::Config config{};
  std::vector<OptionInfo> list;
  each_option<E>([&](const auto& option) {
    list.push_back(
        {std::string(option.name), to_value(config.*option.member), std::string(option.help)});
  });
  return list;
}

// Sets one option of `config`; `name` must be one of E's.
template <class E>
void set_option(typename E::Config& config, const std::string& name, const Value& value) {
  bool known = false;
  each_option<E>([&](const auto& option) {
    if (option.name != name) return;
    using T = std::remove_reference_t<decltype(config.*option.member)>;
    const std::optional<T> converted = convert<T>(value);
    if (!converted) throw UsageError("option " + name + ": expected " + type_name<T>());
    config.*option.member = *converted;
    known = true;
  });
  if (known) return;
  std::string names;
  for (const auto& option : list_options<E>()) names += " " + option.name;
  throw UsageError("unknown option '" + name + "': the options are" + names);
}

template <class E>
typename E::Config parse(const Options& options) {
  typename E::Config config{};
  for (const auto& [name, value] : options) set_option<E>(config, name, value);
  return config;
}

// Returns all options with their values, as a person and a comparison can read them.
template <class E>
std::string describe(const typename E::Config& config) {
  std::string text;
  each_option<E>([&](const auto& option) {
    const Value value = to_value(config.*option.member);
    text += (text.empty() ? "" : " ") + std::string(option.name) + "=";
    if (const auto* word = std::get_if<std::string>(&value)) {
      text += *word;
    } else if (const auto* number = std::get_if<double>(&value)) {
      std::array<char, 32> digits{};
      std::snprintf(digits.data(), digits.size(), "%.17g", *number);
      text += digits.data();
    } else {
      std::visit(
          [&]<class T>(const T& whole) {
            if constexpr (std::integral<T>) text += std::to_string(whole);
          },
          value);
    }
  });
  return text;
}

template <class E>
void save_options(Writer& writer, const typename E::Config& config) {
  each_option<E>([&](const auto& option) { writer.write(config.*option.member); });
}

template <class E>
void load_options(Reader& reader, typename E::Config& config) {
  each_option<E>([&](const auto& option) { reader.read(config.*option.member); });
}

}  // namespace detail
}  // namespace puffer::ocean
