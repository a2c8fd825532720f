// Walk from the middle of a square grid to a random tile. The template for new environments.
#pragma once

#include <algorithm>
#include <array>

#include <puffer/ocean/env.hpp>

namespace squared {
using namespace puffer::ocean;

struct Config {
  int size = 11;
  int max_steps = 0;
};

enum Tile : std::uint8_t { kEmpty, kAgent, kTarget };
enum Move : std::uint8_t { kStay, kDown, kUp, kLeft, kRight, kMoves };

inline constexpr std::array<int, kMoves> kRows{0, 1, -1, 0, 0};
inline constexpr std::array<int, kMoves> kColumns{0, 0, 0, -1, 1};

struct Squared {
  using Obs = std::uint8_t;
  using Action = std::int32_t;
  using Config = squared::Config;

  static constexpr std::tuple config_fields{
      field("size", &Config::size, "side of the grid, in tiles; odd"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated; 0: 3 * size"),
  };

  static Spec spec(const Config& config) {
    if (config.size < 3 || config.size > 255 || config.size % 2 == 0) {
      throw UsageError("size=" + std::to_string(config.size) +
                       ": expected an odd number from 3 to 255");
    }
    if (config.max_steps < 0) {
      throw UsageError("max_steps=" + std::to_string(config.max_steps) +
                       ": expected at least 1, or 0 for 3 * size");
    }
    const auto side = static_cast<std::size_t>(config.size);
    return {.observation_shape = {side * side},
            .low = {kEmpty},
            .high = {kTarget},
            .action = discrete(kMoves),
            .max_steps = config.max_steps > 0 ? config.max_steps : 3 * config.size,
            .steps_per_second = 8};
  }

  explicit Squared(const Config& config) : size(config.size) {}

  void reset(Rng& rng) {
    row = column = size / 2;
    target = static_cast<int>(rng.below(static_cast<std::uint32_t>(size * size - 1)));
    target += target >= position();  // any tile but the agent's
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    const auto move = static_cast<std::size_t>(io.actions[0]);
    before = position();
    row += kRows[move];
    column += kColumns[move];
    const bool reached = inside() && position() == target;
    io.rewards[0] = static_cast<float>(reached) - static_cast<float>(!inside());
    io.terminals[0] = reached || !inside();
  }

  void observe(std::span<Obs> out) const {
    std::ranges::fill(out, kEmpty);
    out[at(target)] = kTarget;
    if (inside()) out[at(position())] = kAgent;
  }

  // Within an episode only the agent moves, and it is on the grid.
  void update(std::span<Obs> out) const {
    out[at(before)] = kEmpty;
    out[at(position())] = kAgent;
  }

  void draw(Canvas& canvas) const {
    constexpr float kSide = 32;
    constexpr std::array<Color, 2> kBoard{Color{15, 38, 42}, Color{19, 48, 52}};
    const auto tile = [&](int r, int c, Color color) {
      canvas.rectangle(static_cast<float>(c) * kSide, static_cast<float>(r) * kSide, kSide, kSide,
                       color);
    };
    canvas.begin(kSide * static_cast<float>(size), kSide * static_cast<float>(size), kBoard[0]);
    for (int r = 0; r < size; ++r) {
      for (int c = r % 2; c < size; c += 2) tile(r, c, kBoard[1]);
    }
    tile(target / size, target % size, {235, 87, 87});
    tile(row, column, {0, 187, 187});
  }

  float perf(const Episode& episode) const { return episode.total_reward > 0 ? 1.0F : 0.0F; }

  // Whether a restored simulation keeps within its grid.
  bool valid(const Config& config) const {
    return size == config.size && inside() && before >= 0 && before < size * size && target >= 0 &&
           target < size * size;
  }

  bool inside() const { return row >= 0 && row < size && column >= 0 && column < size; }
  int position() const { return row * size + column; }
  static std::size_t at(int position) { return static_cast<std::size_t>(position); }

  int size;
  int row = 0;
  int column = 0;
  int before = 0;  // the agent's position one step ago
  int target = 0;

  static constexpr std::tuple stat_fields{
      field("perf", &Squared::perf, "1 if the target was reached, else 0"),
  };
};

}  // namespace squared
