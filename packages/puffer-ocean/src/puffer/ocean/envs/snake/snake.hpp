// Many snakes in one arena that eat, grow and run into each other. The rules in words: README.md.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include <puffer/ocean/env.hpp>

#include "arena_map.hpp"

namespace snake {
using namespace puffer::ocean;

struct Config {
  int width = 640;
  int height = 360;
  int num_snakes = 256;
  int food = 4096;
  int max_length = 256;
  int vision = 5;
  bool leave_corpse = true;
  double reward_food = 0.1;
  double reward_corpse = 0.1;
  double reward_death = -1;
  int max_steps = 1000;
};

// Deadly tiles are negative, edible ones positive.
enum Tile : std::int8_t { kHead = -3, kBody, kWall, kEmpty, kFood, kCorpse };

// Walls surround the arena, as thick as a snake sees.
struct Body {
  int head = 0;  // places in the map
  int tail = 0;
  int length = 0;               // 0: absent, for want of room
  std::uint32_t moves = 0;      // made since its birth: the place in its ring of moves
  std::uint32_t direction = 0;  // of the last one
};

struct Snake {
  using Obs = std::int8_t;
  using Action = std::int32_t;
  using Config = snake::Config;

  static constexpr std::tuple config_fields{
      field("width", &Config::width, "of the arena, in tiles"),
      field("height", &Config::height, "of the arena, in tiles"),
      field("num_snakes", &Config::num_snakes, "agents in one arena"),
      field("food", &Config::food, "pieces of food that lie about at any time"),
      field("max_length", &Config::max_length, "of a snake, which then eats without growing"),
      field("vision", &Config::vision, "tiles that a snake sees in each direction"),
      field("leave_corpse", &Config::leave_corpse, "the dead leave half of their tiles as food"),
      field("reward_food", &Config::reward_food, "for eating food"),
      field("reward_corpse", &Config::reward_corpse, "for eating of a dead snake"),
      field("reward_death", &Config::reward_death, "for running into something"),
      field("max_steps", &Config::max_steps, "steps until an arena begins anew (truncation)"),
  };

  static Spec spec(const Config& config) {
    require("width", config.width, 4, 10'000);
    require("height", config.height, 4, 10'000);
    require("vision", config.vision, 1, 50);
    require("max_length", config.max_length, 2, 32'768);
    require("num_snakes", config.num_snakes, 1, config.width * config.height / 8);
    require("food", config.food, 0, config.width * config.height / 4);
    const auto side = static_cast<std::size_t>(2 * config.vision + 1);
    return {.observation_shape = {side, side},
            .low = {kHead},
            .high = {kCorpse},
            .action = discrete(kMoves),
            .max_steps = config.max_steps,
            .num_agents = config.num_snakes,
            .steps_per_second = 8};
  }

  explicit Snake(const Config& config)
      : options(config),
        ring(std::bit_ceil(static_cast<std::uint32_t>(config.max_length))),
        map(config.height + 2 * config.vision, config.width + 2 * config.vision, kWall),
        bodies(static_cast<std::size_t>(config.num_snakes), Body{.head = at(0, 0), .tail = at(0, 0)}),
        trails(bodies.size() * ring) {}

  void reset(Rng& rng) {
    map.fill(options.vision, options.vision, options.height, options.width, kEmpty);
    deaths = lengths = 0;
    missing_food = options.food;
    for (std::size_t i = 0; i < bodies.size(); ++i) spawn(i, rng, 10'000);
    grow_food(rng, 10'000);
  }

  void step(Io<Action> io, Rng& rng) {
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      fetch(i + kAhead, io.actions);
      if (bodies[i].length == 0) {
        io.masks[i] = spawn(i, rng, kTries);
        continue;
      }
      if (!move(i, static_cast<std::uint32_t>(io.actions[i]), io.rewards[i])) [[unlikely]] {
        die(i);
        io.rewards[i] = static_cast<float>(options.reward_death);
        io.terminals[i] = true;
        spawn(i, rng, kTries);
      }
    }
    if (missing_food > 0) grow_food(rng, kTries);
  }

  void observe(std::span<Obs> out) const {
    switch (options.vision) {
      case 3:
        return copy_windows<7>(out);
      case 5:
        return copy_windows<11>(out);
      default:
        return copy_windows<0>(out);
    }
  }

  // A snake cannot turn back upon itself.
  void mask(std::span<bool> allowed) const {
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      allowed[i * kMoves + (bodies[i].direction ^ 1U)] = false;
    }
  }

  void save(Writer& writer) const {
    writer.write(map.tiles());
    writer.write(bodies);
    writer.write(trails);
    writer.write(missing_food);
    writer.write(deaths);
    writer.write(lengths);
  }
  void load(Reader& reader) {
    reader.read(map.tiles());
    reader.read(bodies);
    reader.read(trails);
    reader.read(missing_food);
    reader.read(deaths);
    reader.read(lengths);
  }
  bool valid(const Config& config) const;

  void draw(Canvas& canvas) const;

  // Mean length of all snakes at the end of their lives, or of the episode.
  double score() const {
    std::int64_t sum = lengths, count = deaths;
    for (const Body& body : bodies) {
      sum += body.length;
      count += body.length > 0;
    }
    return static_cast<double>(sum) / static_cast<double>(std::max<std::int64_t>(count, 1));
  }
  double perf() const { return score() / options.max_length; }
  double deaths_per_snake() const {
    return static_cast<double>(deaths) / static_cast<double>(bodies.size());
  }

  // ----------------------------------------------------------------------------------------------

  static constexpr int kTries = 32;         // to find room, in one step
  static constexpr std::size_t kAhead = 16;  // snakes: what the processor is told to fetch in time

  static void require(const char* name, int value, int least, int most) {
    if (value >= least && value <= most) return;
    throw UsageError(std::string(name) + "=" + std::to_string(value) + ": expected " +
                     std::to_string(least) + " to " + std::to_string(most));
  }

  int at(int row, int column) const {
    return map.at(row + options.vision, column + options.vision);
  }
  int row_of(int tile) const { return map.row_of(tile) - options.vision; }
  int column_of(int tile) const { return map.column_of(tile) - options.vision; }
  bool inside(int tile) const {
    const int row = row_of(tile), column = column_of(tile);
    return tile >= 0 && row >= 0 && row < options.height && column >= 0 && column < options.width;
  }
  int random_tile(Rng& rng) const {
    const auto row = rng.below(static_cast<std::uint32_t>(options.height));
    return at(static_cast<int>(row),
              static_cast<int>(rng.below(static_cast<std::uint32_t>(options.width))));
  }

  std::uint8_t& trail(std::size_t i, std::uint32_t move) {
    return trails[i * ring + (move & (ring - 1))];
  }
  // The way from tile k of a snake, counted from its tail, to the next one.
  std::uint8_t move_after(std::size_t i, int k) const {
    const Body& body = bodies[i];
    const std::uint32_t move = body.moves + 1 + static_cast<std::uint32_t>(k - body.length);
    return trails[i * ring + (move & (ring - 1))];
  }

  // What a step of a snake will touch.
  [[gnu::always_inline]] void fetch(std::size_t i, std::span<const Action> actions) const {
    if (i >= bodies.size()) return;
    const Body& body = bodies[i];
    map.prefetch(body.head);
    map.prefetch(map.next(body.head, static_cast<std::uint32_t>(actions[i])));
    map.prefetch(body.tail);
    __builtin_prefetch(&trails[i * ring + (body.moves & (ring - 1))]);
  }

  // False: it would run into something; then everything is as it was.
  bool move(std::size_t i, std::uint32_t direction, float& reward) {
    Body& body = bodies[i];
    if (direction == (body.direction ^ 1U)) direction = body.direction;  // no turning back
    const int next = map.next(body.head, direction);
    const std::int8_t tile = map[next];
    if (tile < kEmpty && next != body.tail) return false;
    trail(i, body.moves++) = static_cast<std::uint8_t>(direction);
    body.direction = direction;
    map[body.head] = kBody;
    if (tile > kEmpty && body.length < options.max_length) {
      ++body.length;
    } else {
      map[body.tail] = kEmpty;
      body.tail = map.next(body.tail, trail(i, body.moves - static_cast<std::uint32_t>(body.length)));
    }
    map[next] = kHead;
    body.head = next;
    if (tile > kEmpty) [[unlikely]] {
      missing_food += tile == kFood;
      reward = static_cast<float>(tile == kFood ? options.reward_food : options.reward_corpse);
    }
    return true;
  }

  void die(std::size_t i) {
    Body& body = bodies[i];
    ++deaths;
    lengths += body.length;
    int tile = body.tail;
    for (int k = 0; k < body.length; ++k) {
      map[tile] = options.leave_corpse && k % 2 == 0 ? kCorpse : kEmpty;
      if (k + 1 < body.length) tile = map.next(tile, move_after(i, k));
    }
    body.length = 0;
  }

  // Puts a snake of two tiles anywhere; false if none of `tries` places had room.
  bool spawn(std::size_t i, Rng& rng, int tries) {
    Body& body = bodies[i];
    body.length = 0;
    for (int k = 0; k < tries; ++k) {
      const int head = random_tile(rng);
      const std::uint32_t direction = rng.below(kMoves);
      const int tail = map.next(head, direction ^ 1U);
      if (map[head] != kEmpty || map[tail] != kEmpty) continue;
      map[head] = kHead;
      map[tail] = kBody;
      body = {.head = head, .tail = tail, .length = 2, .moves = 1, .direction = direction};
      trail(i, 0) = static_cast<std::uint8_t>(direction);
      return true;
    }
    return false;
  }

  void grow_food(Rng& rng, int tries) {
    for (int missing = missing_food; missing > 0; --missing) {
      for (int k = 0; k < tries; ++k) {
        std::int8_t& tile = map[random_tile(rng)];
        if (tile != kEmpty) continue;
        tile = kFood;
        --missing_food;
        break;
      }
    }
  }

  // Copies the window around each head; a side known to the compiler makes a row a few moves.
  template <int kSide>
  void copy_windows(std::span<Obs> out) const {
    const int side = kSide > 0 ? kSide : 2 * options.vision + 1;
    const auto area = static_cast<std::size_t>(side * side);
    for (std::size_t i = 0; i < bodies.size(); ++i, out = out.subspan(area)) {
      if (i + kAhead < bodies.size()) {
        map.prefetch_window<kSide>(map.corner(bodies[i + kAhead].head, side / 2), side);
      }
      const int corner = map.corner(bodies[i].head, side / 2);
      if (bodies[i].length == 0) {
        std::fill_n(out.data(), area, kEmpty);
      } else if (out.size() >= area + ArenaMap::kBeyond) {
        map.copy_window<kSide>(corner, out.data(), side);
      } else {
        map.copy_exactly(corner, out.data(), side);
      }
    }
  }

  Config options;
  std::uint32_t ring;  // moves that are kept of each snake
  ArenaMap map;
  std::vector<Body> bodies;
  std::vector<std::uint8_t> trails;  // the last moves of each snake, a ring
  int missing_food = 0;
  std::int64_t deaths = 0;
  std::int64_t lengths = 0;  // of those who died, added up

  static constexpr std::tuple stat_fields{
      field("score", &Snake::score, "mean length at the end of a life or of the episode"),
      field("perf", &Snake::perf, "score over max_length"),
      field("deaths", &Snake::deaths_per_snake, "per snake"),
  };
};

// Whether a restored arena is whole: each snake lies along its moves, and the walls stand.
inline bool Snake::valid(const Config& config) const {
  const Snake fresh(config);
  if (map.tiles().size() != fresh.map.tiles().size() || bodies.size() != fresh.bodies.size() ||
      trails.size() != fresh.trails.size() || missing_food < 0 || missing_food > config.food ||
      deaths < 0 || lengths < 0 || std::max(deaths, lengths) > std::int64_t{1} << 40) {
    return false;
  }
  ArenaMap expected = fresh.map;  // walls, and from here on the snakes
  expected.fill(config.vision, config.vision, config.height, config.width, kEmpty);
  if (std::ranges::any_of(trails, [](auto move) { return move >= kMoves; })) return false;
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    const Body& body = bodies[i];
    if (body.length < 0 || body.length == 1 || body.length > config.max_length ||
        body.direction >= kMoves) {
      return false;
    }
    int tile = body.tail;
    for (int k = 0; k < body.length; ++k) {
      if (!inside(tile) || expected[tile] != kEmpty) return false;
      const bool head = k + 1 == body.length;
      expected[tile] = head ? kHead : kBody;
      if (head && tile != body.head) return false;
      if (!head) tile = map.next(tile, move_after(i, k));
    }
    if (body.length == 0 && !(inside(body.head) && inside(body.tail))) return false;
  }
  for (int row = -config.vision; row < config.height + config.vision; ++row) {
    for (int column = -config.vision; column < config.width + config.vision; ++column) {
      const std::int8_t tile = map[at(row, column)], wanted = expected[at(row, column)];
      const bool edible = wanted == kEmpty && tile >= kEmpty && tile <= kCorpse;
      if (tile != wanted && !edible) return false;
    }
  }
  return true;
}

// Draws what a camera over the first snake sees: a large arena as a whole would be mere dots.
inline void Snake::draw(Canvas& canvas) const {
  constexpr float kSide = 20;
  constexpr std::array<Color, 6> kColors{Color{0, 187, 187},  Color{235, 130, 87},
                                         Color{238, 210, 68}, Color{150, 120, 220},
                                         Color{92, 190, 98},  Color{230, 120, 180}};
  constexpr Color kStone{88, 100, 112}, kLeaf{200, 50, 60}, kBone{150, 130, 110};
  // The arena and one row of its wall all around, or as much of that as fits.
  const int rows = std::min(options.height + 2, 36), columns = std::min(options.width + 2, 60);
  const int top = std::clamp(row_of(bodies[0].head) - rows / 2, -1, options.height + 1 - rows);
  const int left =
      std::clamp(column_of(bodies[0].head) - columns / 2, -1, options.width + 1 - columns);
  const auto square = [&](int tile, float margin, Color color) {
    const int row = row_of(tile) - top, column = column_of(tile) - left;
    if (row < 0 || row >= rows || column < 0 || column >= columns) return;
    canvas.rectangle(static_cast<float>(column) * kSide + margin,
                     static_cast<float>(row) * kSide + margin, kSide - 2 * margin,
                     kSide - 2 * margin, color);
  };
  canvas.begin(static_cast<float>(columns) * kSide, static_cast<float>(rows) * kSide, {14, 16, 26});
  for (int row = top; row < top + rows; ++row) {
    for (int column = left; column < left + columns; ++column) {
      const std::int8_t tile = map[at(row, column)];
      if (tile == kWall) square(at(row, column), 0, kStone);
      if (tile == kFood) square(at(row, column), 5, kLeaf);
      if (tile == kCorpse) square(at(row, column), 6, kBone);
    }
  }
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    const Body& body = bodies[i];
    const Color color = kColors[i % kColors.size()];
    int tile = body.tail;
    for (int k = 0; k < body.length; ++k) {
      const bool head = k + 1 == body.length;
      square(tile, head ? 0 : 1, color);
      if (head) square(tile, 6, {14, 16, 26});
      if (!head) tile = map.next(tile, move_after(i, k));
    }
  }
}

}  // namespace snake
