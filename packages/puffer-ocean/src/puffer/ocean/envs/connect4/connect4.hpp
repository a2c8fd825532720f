// Four in a row against an opponent that looks ahead. The rules in words: README.md.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string>

#include <puffer/ocean/env.hpp>

namespace connect4 {
using namespace puffer::ocean;

inline constexpr int kRows = 6;
inline constexpr int kColumns = 7;
inline constexpr int kCells = kRows * kColumns;
inline constexpr int kDeepest = 6;

// A set of cells: bit 7 * column + height, height 0 at the bottom. The bit above each column stays
// empty, so that no line runs on from one column into the next.
using Board = std::uint64_t;
inline constexpr int kStride = kRows + 1;

constexpr Board sum_of_columns(Board column) {
  Board all = 0;
  for (int c = 0; c < kColumns; ++c) all |= column << (kStride * c);
  return all;
}
inline constexpr Board kBottom = sum_of_columns(1);
inline constexpr Board kFull = sum_of_columns((Board{1} << kRows) - 1);

constexpr Board column_of(int column) { return ((Board{1} << kRows) - 1) << (kStride * column); }

// The cells where the next stone of each column that is not full comes to lie.
constexpr Board landings(Board stones) { return (stones + kBottom) & kFull; }

constexpr bool has_four(Board side) {
  for (const int step : {1, kStride - 1, kStride, kStride + 1}) {
    const Board pairs = side & (side >> step);
    if ((pairs & (pairs >> (2 * step))) != 0) return true;
  }
  return false;
}

// All empty cells, reachable now or not, with which `side` would have four in a row.
constexpr Board threats(Board side, Board stones) {
  Board cells = (side << 1) & (side << 2) & (side << 3);
  for (const int step : {kStride - 1, kStride, kStride + 1}) {
    const Board up = (side << step) & (side << (2 * step));
    const Board down = (side >> step) & (side >> (2 * step));
    cells |= up & ((side << (3 * step)) | (side >> step));
    cells |= down & ((side >> (3 * step)) | (side << step));
  }
  return cells & kFull & ~stones;
}

// The value of a position for the side to move when it looks `plies` moves ahead: the plies that
// are left when it has won, minus those when it has lost, else 0. Plain negamax, except that
// threats are sets of cells: the last two plies are no search.
struct Search {
  // `own`: stones of the side to move; `stones`: all of them. Nobody has four in a row.
  static int value(Board own, Board stones, int plies) {
    if (plies == 0) return 0;
    const Board open = landings(stones);
    if ((threats(own, stones) & open) != 0) return plies;
    if (plies == 1 || open == 0) return 0;
    const Board safe = safe_moves(own ^ stones, stones, open);
    if (safe == 0) return 1 - plies;
    if (plies == 2) return 0;
    int best = 1 - plies;
    for (Board left = safe; left != 0 && best < plies - 2; left &= left - 1) {
      best = std::max(best, after(own, stones, left & -left, plies));
    }
    return best;
  }

  // The moves of the best value.
  static Board best_moves(Board own, Board stones, int plies) {
    const Board open = landings(stones);
    if (plies == 0) return open;
    if (const Board wins = threats(own, stones) & open; wins != 0) return wins;
    if (plies == 1) return open;
    const Board safe = safe_moves(own ^ stones, stones, open);
    if (safe == 0) return open;
    if (plies == 2 || std::has_single_bit(safe)) return safe;
    Board moves = 0;
    int best = -plies;
    for (Board left = safe; left != 0; left &= left - 1) {
      const Board move = left & -left;
      const int result = after(own, stones, move, plies);
      if (result > best) moves = 0;
      if (result >= best) moves |= move;
      best = std::max(best, result);
    }
    return moves;
  }

 private:
  // The moves after which `other` cannot win at once.
  static Board safe_moves(Board other, Board stones, Board open) {
    const Board dangers = threats(other, stones);
    const Board forced = dangers & open;
    const Board here = forced == 0 ? open : std::has_single_bit(forced) ? forced : 0;
    return here & ~(dangers >> 1);  // not below a cell where it would win
  }

  static int after(Board own, Board stones, Board move, int plies) {
    return -value(own ^ stones, stones | move, plies - 1);
  }
};

struct Config {
  int look_ahead = 3;
  int max_steps = kCells;
};

enum Cell : std::int8_t { kOpponent = -1, kEmpty, kAgent };

struct Connect4 {
  using Obs = std::int8_t;
  using Action = std::int32_t;
  using Config = connect4::Config;

  static constexpr std::tuple config_fields{
      field("look_ahead", &Config::look_ahead, "moves that the opponent looks ahead, 0 to 6"),
      field("max_steps", &Config::max_steps, "steps until an episode is truncated"),
  };

  static Spec spec(const Config& config) {
    if (config.look_ahead < 0 || config.look_ahead > kDeepest) {
      throw UsageError("look_ahead=" + std::to_string(config.look_ahead) +
                       ": expected 0 (a random opponent) to " + std::to_string(kDeepest));
    }
    return {.observation_shape = {kCells},
            .low = {kOpponent},
            .high = {kAgent},
            .action = discrete(kColumns),
            .max_steps = config.max_steps,
            .steps_per_second = 2};
  }

  explicit Connect4(const Config& config) : look_ahead(config.look_ahead) {}

  void reset(Rng& rng) {
    agent = stones = newest = 0;
    result = 0;
    if (rng.flip()) reply(rng);
  }

  void step(Io<Action> io, Rng& rng) {
    newest = 0;
    const Board move = landings(stones) & column_of(io.actions[0]);
    if (move == 0) {  // against the rules
      result = -1;
    } else {
      agent |= move;
      put(move);
      result = has_four(agent) ? 1 : 0;
    }
    bool over = result != 0 || stones == kFull;
    if (!over) {
      reply(rng);
      if (has_four(agent ^ stones)) result = -1;
      over = result != 0 || stones == kFull;
    }
    io.rewards[0] = static_cast<float>(result);
    io.terminals[0] = over;
  }

  void observe(std::span<Obs> out) const {
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        const Board cell = Board{1} << (kStride * column + kRows - 1 - row);
        out[static_cast<std::size_t>(row * kColumns + column)] = seen(cell);
      }
    }
  }

  // Stones stay where they are: only those of this step are new.
  void update(std::span<Obs> out) const {
    for (Board left = newest; left != 0; left &= left - 1) {
      const int bit = std::countr_zero(left);
      const int row = kRows - 1 - bit % kStride;
      out[static_cast<std::size_t>(row * kColumns + bit / kStride)] = seen(left & -left);
    }
  }

  void mask(std::span<bool> allowed) const {
    for (int column = 0; column < kColumns; ++column) {
      allowed[static_cast<std::size_t>(column)] = (landings(stones) & column_of(column)) != 0;
    }
  }

  void draw(Canvas& canvas) const {
    constexpr float kSide = 64, kMargin = 16;
    constexpr std::array<Color, 3> kColors{Color{238, 210, 68}, Color{12, 20, 48},
                                           Color{226, 70, 70}};  // opponent, empty, agent
    canvas.begin(kColumns * kSide + 2 * kMargin, kRows * kSide + 2 * kMargin, {14, 16, 26});
    canvas.rectangle(kMargin / 2, kMargin / 2, kColumns * kSide + kMargin, kRows * kSide + kMargin,
                     {40, 84, 190});
    for (int bit = 0; bit < kStride * kColumns; ++bit) {
      const Board cell = Board{1} << bit;
      if ((cell & kFull) == 0) continue;
      const float x = kMargin + (static_cast<float>(bit / kStride) + 0.5F) * kSide;
      const float y = kMargin + (static_cast<float>(kRows - bit % kStride) - 0.5F) * kSide;
      if ((cell & newest) != 0) canvas.circle(x, y, kSide * 0.44F, {232, 236, 240});
      canvas.circle(x, y, kSide * 0.4F, kColors[static_cast<std::size_t>(seen(cell) + 1)]);
    }
  }

  float perf() const { return result == 1 ? 1.0F : 0.0F; }

  // Whether a restored game is one that can be played on.
  bool valid(const Config& config) const {
    const Board below = stones & ~kBottom;  // no stone hangs in the air
    return look_ahead == config.look_ahead && result == 0 && (stones & ~kFull) == 0 &&
           (agent & ~stones) == 0 && (newest & ~stones) == 0 && ((below >> 1) & ~stones) == 0 &&
           stones != kFull;
  }

  // ----------------------------------------------------------------------------------------------

  // The opponent's stone: one of its best moves at random.
  void reply(Rng& rng) {
    Board moves = Search::best_moves(agent ^ stones, stones, look_ahead);
    const auto choices = static_cast<std::uint32_t>(std::popcount(moves));
    for (std::uint32_t skip = rng.below(choices); skip > 0; --skip) moves &= moves - 1;
    put(moves & -moves);
  }

  void put(Board move) {
    stones |= move;
    newest |= move;
  }

  Cell seen(Board cell) const {
    return (cell & stones) == 0 ? kEmpty : (cell & agent) != 0 ? kAgent : kOpponent;
  }

  Board agent = 0;
  Board stones = 0;  // of both
  Board newest = 0;  // stones of this step
  int look_ahead;
  int result = 0;  // 1: the agent has won, -1: it has lost

  static constexpr std::tuple stat_fields{
      field("score", &Connect4::result, "1 for a game won, -1 for a game lost"),
      field("perf", &Connect4::perf, "1 for a game won, else 0"),
  };
};

}  // namespace connect4
