// Visit several targets on the edge of a grid, in eight directions, from the middle each time.
#pragma once

#include <algorithm>
#include <array>
#include <string>

#include <puffer/ocean/env.hpp>

namespace squared_targets {
using namespace puffer::ocean;

inline constexpr int kMaxDistance = 8;
inline constexpr std::size_t kMaxTiles = (2 * kMaxDistance + 1) * (2 * kMaxDistance + 1);

struct Config {
  int distance = 3;
  int targets = 4;
  int max_steps = 0;
};

enum Tile : std::uint8_t { kEmpty, kAgent, kTarget };

// Clockwise from the upper left.
inline constexpr std::array<int, 8> kRows{-1, -1, -1, 0, 1, 1, 1, 0};
inline constexpr std::array<int, 8> kColumns{-1, 0, 1, 1, 1, 0, -1, -1};

struct SquaredTargets {
  using Obs = std::uint8_t;
  using Action = std::int32_t;
  using Config = squared_targets::Config;

  static constexpr std::tuple config_fields{
      field("distance", &Config::distance, "steps from the middle to the edge, 1 to 8"),
      field("targets", &Config::targets, "targets, 1 to as many as the edge has tiles"),
      field("max_steps", &Config::max_steps,
            "steps until an episode is truncated; 0: (targets + 1) * distance, one way to spare"),
  };

  static Spec spec(const Config& config) {
    if (config.distance < 1 || config.distance > kMaxDistance) {
      throw UsageError("distance=" + std::to_string(config.distance) + ": expected 1 to 8");
    }
    if (config.targets < 1 || config.targets > 8 * config.distance) {
      throw UsageError("targets=" + std::to_string(config.targets) + ": expected 1 to " +
                       std::to_string(8 * config.distance) + ", the tiles of the edge");
    }
    if (config.max_steps < 0) {
      throw UsageError("max_steps=" + std::to_string(config.max_steps) +
                       ": expected at least 1, or 0 for (targets + 1) * distance");
    }
    const auto side = static_cast<std::size_t>(2 * config.distance + 1);
    return {
        .observation_shape = {side * side},
        .low = {kEmpty},
        .high = {kTarget},
        .action = discrete(8),
        .max_steps =
            config.max_steps > 0 ? config.max_steps : (config.targets + 1) * config.distance,
        .steps_per_second = 6};
  }

  explicit SquaredTargets(const Config& config)
      : distance(config.distance), side(2 * config.distance + 1), targets(config.targets) {}

  void reset(Rng& rng) {
    std::fill_n(tiles.begin(), side * side, kEmpty);
    for (int placed = 0; placed < targets; ++placed) {
      // The k-th tile of the edge that has no target yet.
      auto k = static_cast<int>(rng.below(static_cast<std::uint32_t>(8 * distance - placed)));
      int place = 0;
      while (tiles[edge(place)] == kTarget || k-- > 0) ++place;
      tiles[edge(place)] = kTarget;
    }
    row = column = distance;
    tiles[position()] = kAgent;
    hits = 0;
  }

  void step(Io<Action> io, Rng& /*rng*/) {
    const auto move = static_cast<std::size_t>(io.actions[0]);
    left = position();
    tiles[left] = kEmpty;
    row += kRows[move];
    column += kColumns[move];
    reached = position();
    if (tiles[reached] == kTarget) {
      tiles[reached] = kEmpty;
      ++hits;
      io.rewards[0] = 1.0F / static_cast<float>(targets);
    }
    if (std::max(std::abs(row - distance), std::abs(column - distance)) == distance) {
      row = column = distance;
    }
    tiles[position()] = kAgent;
    io.terminals[0] = hits == targets;
  }

  void observe(std::span<Obs> out) const { std::copy_n(tiles.begin(), out.size(), out.begin()); }

  // Within an episode the tiles that were left and reached change, and the one where the agent is.
  void update(std::span<Obs> out) const {
    for (const std::size_t tile : {left, reached, position()}) out[tile] = tiles[tile];
  }

  // Whether a restored simulation keeps within its grid; between steps nobody is on its edge.
  bool valid(const Config& config) const {
    const auto within = [&](int at) { return at > 0 && at < side - 1; };
    const auto area = static_cast<std::size_t>(side * side);
    return distance == config.distance && side == 2 * distance + 1 && targets == config.targets &&
           within(row) && within(column) && hits >= 0 && hits < targets && left < area &&
           reached < area && std::ranges::all_of(tiles, [](auto tile) { return tile <= kTarget; });
  }

  void draw(Canvas& canvas) const {
    constexpr float kSize = 36;
    constexpr std::array<Color, 3> kColors{Color{30, 38, 58}, Color{0, 187, 187},
                                           Color{235, 87, 87}};
    const float length = kSize * static_cast<float>(side);
    canvas.begin(length, length, {16, 20, 32});
    for (int r = 0; r < side; ++r) {
      for (int c = 0; c < side; ++c) {
        const float x = kSize * static_cast<float>(c), y = kSize * static_cast<float>(r);
        const Tile tile = tiles[static_cast<std::size_t>(r * side + c)];
        const bool on_edge = r == 0 || c == 0 || r == side - 1 || c == side - 1;
        canvas.rectangle(x + 1, y + 1, kSize - 2, kSize - 2,
                         on_edge ? Color{44, 54, 80} : kColors[kEmpty]);
        if (tile == kAgent) canvas.rectangle(x + 5, y + 5, kSize - 10, kSize - 10, kColors[kAgent]);
        if (tile != kTarget) continue;
        canvas.circle(x + kSize / 2, y + kSize / 2, kSize * 0.36F, kColors[kTarget]);
        canvas.circle(x + kSize / 2, y + kSize / 2, kSize * 0.18F, {250, 220, 210});
      }
    }
  }

  float perf() const { return static_cast<float>(hits) / static_cast<float>(targets); }

  static constexpr std::tuple stat_fields{
      field("score", &SquaredTargets::perf, "share of the targets that were visited"),
      field("perf", &SquaredTargets::perf, "the same"),
  };

  std::size_t position() const { return static_cast<std::size_t>(row * side + column); }

  // The tiles of the edge, clockwise from the upper left corner.
  std::size_t edge(int place) const {
    const int length = side - 1, along = place % length;
    const std::array<int, 4> r{0, along, length, length - along};
    const std::array<int, 4> c{along, length, length - along, 0};
    const auto which = static_cast<std::size_t>(place / length);
    return static_cast<std::size_t>(r[which] * side + c[which]);
  }

  int distance;
  int side;
  int targets;
  int row = 0;
  int column = 0;
  int hits = 0;
  std::size_t left = 0;     // tile that the last step began on
  std::size_t reached = 0;  // tile that it led to
  std::array<Tile, kMaxTiles> tiles{};
};

}  // namespace squared_targets
