// Find the way through a maze that is new in every episode.
#pragma once

#include <algorithm>
#include <array>
#include <string>

#include <puffer/ocean/env.hpp>

namespace maze {
using namespace puffer::ocean;

inline constexpr int kMaxRooms = 8;
inline constexpr int kMaxSide = 2 * kMaxRooms + 1;

struct Config {
  int rooms = 3;
  int max_steps = 50;
};

enum Tile : std::uint8_t { kFloor, kWall, kAgent, kExit };

struct Maze {
  using Obs = std::uint8_t;
  using Action = std::int32_t;
  using Config = maze::Config;

  static constexpr std::tuple config_fields{
      field("rooms", &Config::rooms, "rooms along each side, 2 to 8"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    if (config.rooms < 2 || config.rooms > kMaxRooms) {
      throw UsageError("rooms=" + std::to_string(config.rooms) + ": expected 2 to 8");
    }
    const auto side = static_cast<std::size_t>(2 * config.rooms + 1);
    return {.observation_shape = {side, side},
            .low = {kFloor},
            .high = {kExit},
            .action = discrete(4),
            .max_steps = config.max_steps,
            .steps_per_second = 6};
  }

  explicit Maze(const Config& config) : rooms(config.rooms), side(2 * config.rooms + 1) {}

  // Joins the rooms to a tree: each one opens its door to the north or to the west.
  void reset(Rng& rng) {
    tiles.fill(kWall);
    for (int r = 0; r < rooms; ++r) {
      for (int c = 0; c < rooms; ++c) {
        at(2 * r + 1, 2 * c + 1) = kFloor;
        const bool north = c == 0 || (r > 0 && rng.flip());
        if (north && r > 0) at(2 * r, 2 * c + 1) = kFloor;
        if (!north) at(2 * r + 1, 2 * c) = kFloor;
      }
    }
    row = column = side - 2;
    const auto exit_room = static_cast<int>(rng.below(static_cast<std::uint32_t>(rooms)));
    at(1, 2 * exit_room + 1) = kExit;
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    constexpr std::array<int, 4> kRows{1, -1, 0, 0};
    constexpr std::array<int, 4> kColumns{0, 0, 1, -1};
    const auto move = static_cast<std::size_t>(io.actions[0]);
    const Tile next = at(row + kRows[move], column + kColumns[move]);
    if (next != kWall) {
      row += kRows[move];
      column += kColumns[move];
    }
    io.terminals[0] = next == kExit;
    io.rewards[0] = next == kExit ? 1.0F : -0.01F;
  }

  void observe(std::span<Obs> out) const {
    std::copy_n(tiles.begin(), out.size(), out.begin());
    out[static_cast<std::size_t>(row * side + column)] = kAgent;
  }

  void draw(Canvas& canvas) const {
    constexpr float kSize = 32;
    constexpr std::array<Color, 4> kColors{Color{24, 32, 40}, Color{88, 104, 120},
                                           Color{255, 200, 60}, Color{80, 200, 120}};
    canvas.begin(kSize * static_cast<float>(side), kSize * static_cast<float>(side), kColors[0]);
    for (int r = 0; r < side; ++r) {
      for (int c = 0; c < side; ++c) {
        canvas.rectangle(kSize * static_cast<float>(c), kSize * static_cast<float>(r), kSize, kSize,
                         kColors[at(r, c)]);
      }
    }
    canvas.circle(kSize * (static_cast<float>(column) + 0.5F),
                  kSize * (static_cast<float>(row) + 0.5F), kSize * 0.4F, kColors[kAgent]);
  }

  float perf(const Episode& episode) const { return episode.total_reward > 0 ? 1.0F : 0.0F; }

  static constexpr std::tuple stat_fields{field("perf", &Maze::perf, "1 if the exit was found")};

  Tile& at(int r, int c) { return tiles[static_cast<std::size_t>(r * side + c)]; }
  const Tile& at(int r, int c) const { return tiles[static_cast<std::size_t>(r * side + c)]; }

  int rooms;
  int side;
  int row = 0;
  int column = 0;
  std::array<Tile, kMaxSide * kMaxSide> tiles{};
};

}  // namespace maze
