// What the compiler tells an author whose struct is not an environment: one sentence.
#pragma once

#include <concepts>

#include "puffer/ocean/env.hpp"

namespace puffer::ocean::detail {

template <class E>
inline constexpr bool kNever = false;

// The first fault alone: one that follows from another would only hide it.
template <class E>
constexpr void check_required_members() {
  if constexpr (!requires { typename E::Obs; }) {
    static_assert(kNever<E>, "an environment needs `using Obs = ...`, an observation's element");
  } else if constexpr (!requires { typename E::Action; }) {
    static_assert(kNever<E>, "an environment needs `using Action = ...`, an action's component");
  } else if constexpr (!requires { typename E::Config; }) {
    static_assert(kNever<E>, "an environment needs a type `Config`, which holds its options");
  } else if constexpr (!ObservationType<typename E::Obs>) {
    static_assert(kNever<E>, "Obs must be std::uint8_t, std::int8_t, std::int32_t, float or Half");
  } else if constexpr (!ActionType<typename E::Action>) {
    static_assert(kNever<E>, "Action must be std::int32_t or float");
  } else if constexpr (!HasOptions<E>) {
    static_assert(kNever<E>,
                  "an environment lists its options: static constexpr std::tuple config_fields");
  } else if constexpr (!HasSpec<E>) {
    static_assert(kNever<E>,
                  "an environment needs `static Spec spec(const Config&)` and E{config}");
  } else if constexpr (!HasReset<E>) {
    static_assert(kNever<E>, "an environment needs `void reset(Rng&)`");
  } else if constexpr (!HasStep<E>) {
    static_assert(kNever<E>, "an environment needs `void step(Io<Action>, Rng&)`");
  } else if constexpr (!HasObserve<E>) {
    static_assert(kNever<E>, "an environment needs `void observe(std::span<Obs>) const`");
  }
}

// An optional member of a wrong type would be ignored without a word.
template <Environment E>
constexpr void check_optional_members() {
  static_assert(!requires { &E::update; } || HasUpdate<E>,
                "`update` must be `void update(std::span<Obs>)`");
  static_assert(!requires { &E::mask; } || HasMask<E>,
                "`mask` must be `void mask(std::span<bool>) const`");
  static_assert(!HasMask<E> || std::integral<typename E::Action>,
                "`mask` goes with Action = std::int32_t: what of a Box is allowed are its bounds");
  static_assert(!(requires { &E::save; } || requires { &E::load; }) || HasSave<E>,
                "`save` and `load` must be `void save(Writer&) const` and `void load(Reader&)`");
  static_assert(!requires { &E::valid; } || HasValid<E>,
                "`valid` must be `bool valid(const Config&) const`");
  static_assert(!requires { typename E::Shared; } || HasShared<E>,
                "`Shared` must have a constructor Shared(const Config&), and the environment a "
                "member `const Shared* shared`");
  static_assert(!requires { &E::draw; } || HasDraw<E>, "`draw` must be `void draw(Canvas&) const`");
  static_assert(!requires { E::stat_fields; } || HasStats<E>,
                "`stat_fields` must be `static constexpr std::tuple stat_fields{field(...), ...}`");
}

}  // namespace puffer::ocean::detail
