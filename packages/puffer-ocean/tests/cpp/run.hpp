// An engine with arrays of its own: exactly as long as they have to be, so that sanitizers see more.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <puffer/ocean/engine.hpp>

namespace puffer::ocean {

struct Run {
  // With observations of the `dtype` that is asked for.
  explicit Run(const EnvEntry& env, const Options& options = {}, Engine::Settings settings = {},
               const std::string& dtype = "auto")
      : entry(env),
        engine(entry, options, settings),
        rows(engine.num_rows()),
        width(observation_size(engine.spec())),
        observation_dtype(choose_dtype(entry, dtype)),
        element(observation_dtype == "float16" ? 2 : observation_dtype.ends_with("int8") ? 1 : 4),
        observations(rows * width * element, 42),
        final_observations(rows * width * element, 42),
        actions(rows * engine.spec().action.size * 4),
        rewards(rows, 42.0F),
        terminals(new bool[rows]{}),
        truncations(new bool[rows]{}),
        masks(new bool[rows]{}),
        action_masks(new bool[rows * mask_size(engine.spec())]{}) {
    engine.bind({.observations = observations.data(),
                 .actions = actions.data(),
                 .rewards = rewards.data(),
                 .terminals = terminals.get(),
                 .truncations = truncations.get(),
                 .masks = masks.get(),
                 .final_observations = final_observations.data(),
                 .action_masks = entry.masks ? action_masks.get() : nullptr,
                 .halves = observation_dtype != entry.observation_dtypes.front()});
  }
  Run(const Run&) = delete;  // the engine refers to the entry

  // Random actions within the space.
  void choose(Rng& rng) {
    const ActionSpec& action = engine.spec().action;
    for (std::size_t i = 0; i < rows * action.size; ++i) {
      if (action.nvec.empty()) {
        put(i, rng.uniform(std::max(action.low, -1e3F), std::min(action.high, 1e3F)));
      } else {
        const auto choices = static_cast<std::uint32_t>(action.nvec[i % action.size]);
        put(i, static_cast<std::int32_t>(rng.below(choices)));
      }
    }
  }

  void act(Rng& rng) {
    choose(rng);
    engine.step();
  }

  template <class T>
  void put(std::size_t i, T action) {
    std::memcpy(actions.data() + i * sizeof(T), &action, sizeof(T));
  }

  template <class T>
  T seen(std::size_t i) const {
    T value{};
    std::memcpy(&value, observations.data() + i * sizeof(T), sizeof(T));
    return value;
  }

  // Element `i` of the observations, whatever its type.
  double value(std::size_t i) const {
    if (observation_dtype == "uint8") return seen<std::uint8_t>(i);
    if (observation_dtype == "int8") return seen<std::int8_t>(i);
    if (observation_dtype == "int32") return seen<std::int32_t>(i);
    if (observation_dtype == "float16") return seen<Half>(i);
    return seen<float>(i);
  }

  // Everything that a step wrote, to be compared.
  std::string wrote() const {
    std::string all(observations.begin(), observations.end());
    all.append(reinterpret_cast<const char*>(rewards.data()), rows * sizeof(float));
    for (const auto* flags : {&terminals, &truncations, &masks}) {
      all.append(reinterpret_cast<const char*>(flags->get()), rows);
    }
    if (entry.masks) {
      all.append(reinterpret_cast<const char*>(action_masks.get()),
                 rows * mask_size(engine.spec()));
    }
    return all;
  }

  std::size_t episodes() {
    std::size_t number = 0;
    engine.drain([&](const Log& log) { number += log.count() + log.episodes().size(); });
    return number;
  }

  EnvEntry entry;
  Engine engine;
  std::size_t rows;
  std::size_t width;    // elements of an agent's observation
  std::string observation_dtype;
  std::size_t element;  // bytes
  std::vector<unsigned char> observations;
  std::vector<unsigned char> final_observations;
  std::vector<unsigned char> actions;
  std::vector<float> rewards;
  std::unique_ptr<bool[]> terminals;
  std::unique_ptr<bool[]> truncations;
  std::unique_ptr<bool[]> masks;
  std::unique_ptr<bool[]> action_masks;
};

}  // namespace puffer::ocean
