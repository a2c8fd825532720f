// What the author of an environment needs, and nothing of the engine that runs it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "puffer/ocean/canvas.hpp"
#include "puffer/ocean/errors.hpp"
#include "puffer/ocean/half.hpp"
#include "puffer/ocean/rng.hpp"
#include "puffer/ocean/state.hpp"

namespace puffer::ocean {

// The actions of one agent: made by discrete(), multi_discrete() or box().
struct ActionSpec {
  std::vector<std::int64_t> nvec;  // choices per component; empty for a Box
  std::size_t size = 1;            // components
  float low = 0;                   // bounds of a Box
  float high = 0;
};

inline ActionSpec discrete(std::int64_t choices) { return {.nvec = {choices}}; }
inline ActionSpec multi_discrete(const std::vector<std::int64_t>& nvec) {
  return {.nvec = nvec, .size = nvec.size()};
}
inline ActionSpec box(std::size_t size, float low, float high) {
  return {.nvec = {}, .size = size, .low = low, .high = high};
}

// The outside of one simulation.
struct Spec {
  std::vector<std::size_t> observation_shape;  // of one agent
  std::vector<float> low{0};                   // one bound for all elements, or one for each
  std::vector<float> high{1};
  ActionSpec action = discrete(2);
  int max_steps = 1;            // the engine truncates an episode after this many steps
  int num_agents = 1;           // rows per simulation
  float steps_per_second = 30;  // natural speed, for those who watch
};

// One simulation's rows for the length of one step. Rewards and flags come in as 0, masks as true:
// set the mask of an absent agent to false on every step that it is absent.
template <class Action>
struct Io {
  std::span<const Action> actions;  // agents x components
  std::span<float> rewards;
  std::span<bool> terminals;
  std::span<bool> truncations;
  std::span<bool> masks;
};

// An episode as the engine has counted it.
struct Episode {
  float total_reward = 0;  // mean over the agents
  std::int32_t length = 0;
};

// Names a member for Python: an option in `config_fields`, a statistic in `stat_fields`.
template <class Member>
struct Field {
  std::string_view name;
  Member member;
  std::string_view help;
};

template <class Member>
constexpr Field<Member> field(std::string_view name, Member member, std::string_view help) {
  return {name, member, help};
}

// The parts of the contract. PUFFER_ENV names the first one that an environment lacks.
template <class E>
concept HasTypes = requires {
  typename E::Obs;
  typename E::Action;
  typename E::Config;
};

template <class T>
concept ObservationType =
    std::same_as<T, std::uint8_t> || std::same_as<T, std::int8_t> ||
    std::same_as<T, std::int32_t> || std::same_as<T, float> || std::same_as<T, Half>;

template <class T>
concept ActionType = std::same_as<T, std::int32_t> || std::same_as<T, float>;

template <class T>
concept Tuple = requires { typename std::tuple_size<std::remove_cvref_t<T>>::type; };

template <class E>
concept HasOptions = Tuple<decltype(E::config_fields)>;

template <class E>
concept HasSpec = requires(const typename E::Config& config) {
  { E::spec(config) } -> std::same_as<Spec>;
  E{config};
};

template <class E>
concept HasReset = requires(E& env, Rng& rng) { env.reset(rng); };

template <class E>
concept HasStep = requires(E& env, Io<typename E::Action> io, Rng& rng) { env.step(io, rng); };

template <class E>
concept HasObserve = requires(const E& env, std::span<typename E::Obs> rows) { env.observe(rows); };

template <class E>
concept Environment =
    HasTypes<E> && ObservationType<typename E::Obs> && ActionType<typename E::Action> &&
    HasOptions<E> && HasSpec<E> && HasReset<E> && HasStep<E> && HasObserve<E>;

// Optional: `void update(std::span<Obs>)` writes what changed since the last `observe` or `update`
// of the same rows. The engine uses it within episodes. Rows of agents that are absent are 0 after
// each call, whatever it wrote: write all of those that come back.
template <class E>
concept HasUpdate = requires(E& env, std::span<typename E::Obs> row) { env.update(row); };

// Optional: `void draw(Canvas&) const`.
template <class E>
concept HasDraw = requires(const E& env, Canvas& canvas) { env.draw(canvas); };

// Optional, with discrete actions: `void mask(std::span<bool> allowed) const` marks the actions that
// are not allowed now: agents x sum of nvec, true on entry. Leave each component of each agent one
// that is allowed. What a forbidden action does is the environment's rule.
template <class E>
concept HasMask = requires(const E& env, std::span<bool> allowed) { env.mask(allowed); };

// Optional: `void save(Writer&) const` and `void load(Reader&)`, for simulations whose state is not
// their bytes alone. `load` is called on a new E{config} and reads in the order of `save`.
template <class E>
concept HasSave = requires(const E& env, Writer& writer, E& fresh, Reader& reader) {
  env.save(writer);
  fresh.load(reader);
};

// A simulation that can be saved: by `save`, or as the bytes that it consists of. It must then hold
// no pointers.
template <class E>
concept Saveable = HasSave<E> || std::is_trivially_copyable_v<E>;

// Optional: `bool valid(const Config&) const` says whether a restored simulation may be stepped.
// Those need it whose members are indices, sizes or enumerations: bytes may come from anywhere.
template <class E>
concept HasValid = requires(const E& env, const typename E::Config& config) {
  { env.valid(config) } -> std::convertible_to<bool>;
};

// Optional: `struct Shared` made from a Config, what all simulations of an engine read and none
// writes: a large map. The engine makes it once and sets the member `const Shared* shared`, which
// is null in the constructor, before the first reset. `Shared` may have `bool fits(const Config&)
// const`: whether a simulation with options of its own can use it; without it options cannot vary.
template <class E>
concept HasShared = std::constructible_from<typename E::Shared, const typename E::Config&> &&
                    requires(E& env, const typename E::Shared* shared) { env.shared = shared; };

// Optional: `stat_fields`, numbers taken at the end of each episode. A member is a variable, a
// const function, or a const function of `const Episode&`. `score` is the return and `perf` unknown
// unless they are among them.
template <class E>
concept HasStats = Tuple<decltype(E::stat_fields)>;

template <class E, class Member>
double read_stat(const E& env, const Episode& episode, const Field<Member>& stat) {
  if constexpr (std::invocable<Member, const E&, const Episode&>) {
    return static_cast<double>(std::invoke(stat.member, env, episode));
  } else {
    return static_cast<double>(std::invoke(stat.member, env));
  }
}

}  // namespace puffer::ocean
