// Breakout's rules, one written-down trace each. Exits with the number of failures.
#include <numbers>

#include <puffer/ocean/env.hpp>

#include "breakout/breakout.hpp"
#include "check.hpp"

using namespace breakout;

namespace {

constexpr double kPi = std::numbers::pi;

// A game in which one step is `ticks` ticks, with the arrays of its one row.
struct Game : Breakout {
  explicit Game(int ticks = 1) : Breakout(Config{.frame_skip = ticks}) {
    Rng rng(0, 0, 0);
    reset(rng);
  }

  // A ball in flight and no bricks but those that a test puts there.
  static Game flying(float x, float y, float x_speed, float y_speed, int ticks = 1) {
    Game game(ticks);
    game.bricks.fill(0);
    game.in_play = true;
    game.x = x;
    game.y = y;
    game.x_speed = x_speed;
    game.y_speed = y_speed;
    game.speed = std::hypot(x_speed, y_speed);
    return game;
  }

  void put(int row, int column) { bricks[static_cast<std::size_t>(row)] |= 1U << column; }
  bool stands(int row, int column) const {
    return ((bricks[static_cast<std::size_t>(row)] >> column) & 1U) != 0;
  }

  void play(std::int32_t move = kStay, std::uint64_t seed = 0) {
    Rng rng(seed, 0, 1);
    terminal = truncation = false;
    reward = 0;
    step({.actions = {&move, 1},
          .rewards = {&reward, 1},
          .terminals = {&terminal, 1},
          .truncations = {&truncation, 1},
          .masks = {&mask, 1}},
         rng);
  }

  float reward = 0;
  bool terminal = false;
  bool truncation = false;
  bool mask = true;
};

void serves_to_either_side() {
  int right = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    Game game;
    check(game.x == 272 && game.y == 135 && game.paddle_x == 257, "a round begins in the middle");
    game.play(kStay, seed);
    check_near(std::abs(game.x_speed), 256 * std::sin(kPi / 3.25), "sideways speed of a serve");
    check_near(game.y_speed, 256 * std::cos(kPi / 3.25), "downward speed of a serve");
    check_near(game.y, 135 + game.y_speed / 60, "the ball flies in the first tick");
    right += game.x_speed > 0;
  }
  check(right > 430 && right < 570, "half of the serves go to the right");
}

void moves_the_paddle() {
  Game game = Game::flying(0, 200, 0, 0);
  game.play(kRight);
  check_near(game.paddle_x, 257 + 620 / 60., "the paddle moves 620 pixels per second");
  for (int i = 0; i < 40; ++i) game.play(kRight);
  check_near(game.paddle_x, 576 - 62, "to the right wall");
  for (int i = 0; i < 60; ++i) game.play(kLeft);
  check_near(game.paddle_x, 0, "and to the left wall");
}

void bounces_off_the_walls() {
  Game right = Game::flying(541, 200, 300, 60);
  right.play();
  check(right.x == 544 && right.x_speed == -300, "right wall");
  check_near(right.y, 200.6, "the tick ends at the contact");
  right.play();
  check_near(right.x, 539, "away from the right wall");

  Game left = Game::flying(2, 200, -300, 60);
  left.play();
  check(left.x == 0 && left.x_speed == 300 && left.y_speed == 60, "left wall");

  Game back = Game::flying(100, 3, 60, -300);
  back.paddle_x = 200;
  back.play();
  check(back.y == 0 && back.y_speed == 300 && back.x_speed == 60, "back wall");
  check(back.paddle_width == 31 && back.paddle_x == 215.5F, "the paddle halves about its middle");
  back.y = 3;
  back.y_speed = -300;
  back.play();
  check(back.paddle_width == 31, "the paddle halves once");
}

void leaves_the_paddle_at_the_angle_of_the_contact() {
  struct {
    float from_left;  // of the paddle to the ball's middle, in widths of the paddle
    double degrees;
  } const table[] = {{0, -45},     {0.25F, -22.5}, {0.5F, 0},  {0.75F, 22.5},
                     {0.9F, 36.0}, {1, 45},        {1.2F, 45}, {-0.2F, -45}};
  for (const float width : {62.0F, 31.0F}) {
    for (const auto& [from_left, degrees] : table) {
      Game game = Game::flying(0, 279, 0, 256);
      game.paddle_width = width;
      game.x = game.paddle_x + from_left * width - 16;
      game.play();
      const std::string what = "contact at " + std::to_string(from_left);
      check(game.y == 280, what + ": on the paddle");
      check_near(game.x_speed, 256 * std::sin(degrees * kPi / 180), what + ": sideways");
      check_near(game.y_speed, -256 * std::cos(degrees * kPi / 180), what + ": upwards");
    }
  }
}

void speeds_up() {
  Game game;
  for (int hit = 1; hit <= 20; ++hit) {
    game.in_play = true;
    game.x = game.paddle_x;
    game.y = 279;
    game.head_for(0, 1);
    game.play();
    const int expected = std::min(256 + 64 * (hit / 4), 448);
    check_near(game.speed, expected, "speed after paddle hit " + std::to_string(hit));
    check_near(std::hypot(game.x_speed, game.y_speed), expected, "of the ball itself");
  }
}

void scores_by_the_row() {
  constexpr int kExpected[] = {7, 7, 4, 4, 1, 1};
  for (int row = 0; row < 6; ++row) {
    const std::string what = "row " + std::to_string(row);
    const float bottom = 50 + 12 * static_cast<float>(row + 1);
    Game game = Game::flying(320, bottom + 1, 60, -240);
    game.put(row, 10);
    game.put(row, 3);
    game.play();
    check(game.reward == static_cast<float>(kExpected[row]), what + ": points");
    check(game.score == kExpected[row] && !game.stands(row, 10) && game.stands(row, 3),
          what + ": that brick alone is gone");
    check(game.y == bottom && game.y_speed > 0 && game.x_speed > 0, what + ": back down");
    check_near(game.y_speed / game.x_speed, 4, what + ": the direction is mirrored");
    const double speed = row < 3 ? 448 : std::hypot(60, 240);
    check_near(std::hypot(game.x_speed, game.y_speed), speed, what + ": speed");
  }
}

void hits_bricks_from_every_side() {
  Game above = Game::flying(320, 3, 0, 400);
  above.bricks.fill(0);
  above.put(0, 10);
  for (int i = 0; i < 3; ++i) above.play();
  check(above.y == 18 && above.y_speed < 0 && above.score == 7, "from above");

  Game left = Game::flying(286, 60, 300, 0);
  left.put(1, 10);  // x from 320
  left.play();
  check(left.x == 288 && left.x_speed < 0 && left.score == 7, "from the left");

  Game right = Game::flying(354, 60, -300, 0);
  right.put(1, 10);  // x to 352
  right.play();
  check(right.x == 352 && right.x_speed > 0 && right.score == 7, "from the right");
}

void takes_the_brick_it_covers_more_of() {
  for (const int offset : {4, 28}) {  // of the ball's left edge in column 10
    Game game = Game::flying(320 + static_cast<float>(offset), 123, 0, -300);
    game.put(5, 10);
    game.put(5, 11);
    game.play();
    check(game.stands(5, 10) == (offset == 28) && game.stands(5, 11) == (offset == 4),
          "the brick under most of the ball goes, one in a tick");
    check(game.score == 1, "one brick, one point");
  }
}

void loses_a_life() {
  Game game = Game::flying(10, 284, 0, 448, 4);
  game.put(5, 0);
  game.score = 17;
  game.paddle_width = 31;
  for (int i = 0; game.lives == 5 && i < 10; ++i) game.play();
  check(game.lives == 4 && !game.terminal && game.reward == 0, "a life less, no penalty");
  check(game.score == 17 && game.stands(5, 0) && !game.stands(5, 1), "wall and score stay");
  check(game.paddle_width == 62 && game.paddle_x == 257, "a new paddle");
  check(game.speed == 256 && game.hits == 0, "a slow ball");
  for (int life = 4; life > 0; --life) {
    game.in_play = true;
    game.y = 319;
    game.y_speed = 300;
    game.x = 10;
    game.play();
    check(game.lives == life - 1 && !game.terminal, "lives go down to 0");
  }
  game.in_play = true;
  game.y = 319;
  game.y_speed = 300;
  game.x = 10;
  game.play();
  check(game.terminal && game.lives == 0, "the ball lost with no life left ends the game");
}

void passes_beside_the_paddle() {
  Game beside = Game::flying(257 - 32, 279, 0, 256);  // touches, but covers nothing of it
  beside.play();
  check(beside.y > 280 && beside.y_speed > 0, "a ball beside the paddle falls");
  Game below = Game::flying(250, 281, 0, 256);
  below.play();
  check(below.y_speed > 0, "a ball below its top cannot be saved");
}

void plays_a_second_screen() {
  Game game = Game::flying(320, 123, 0, -256);
  game.put(5, 10);
  game.score = 431;
  game.play();
  check(game.score == 432 && game.reward == 1 && !game.terminal, "the first screen is done");
  check(!game.stands(5, 10), "the wall stays away");
  game.x = game.paddle_x;
  game.y = 279;
  game.play();
  check(game.bricks == std::array<std::uint32_t, 6>{kFullRow, kFullRow, kFullRow, kFullRow,
                                                    kFullRow, kFullRow},
        "until the paddle is hit");
  std::array<float, 118> row{};
  row.fill(1);
  game.update(std::span<float>(row));
  check(row[10] == 0 && row[117] == 0, "an update shows the new wall");

  game.bricks.fill(0);
  game.put(0, 10);
  game.score = 857;
  game.x = 320;
  game.y = 63;
  game.head_for(0, -1);
  game.play();
  check(game.score == 864 && game.reward == 7 && game.terminal, "864 points end the game");
}

void adds_up_the_ticks_of_a_step() {
  Game game = Game::flying(320, 100, 0, -448, 4);
  game.put(3, 10);  // its lower edge at 98
  game.play();
  check(game.reward == 4, "a contact in the first tick");
  check_near(game.y, 98 + 3 * 448 / 60., "and three ticks of the way back");
}

void shows_what_is() {
  Game game = Game::flying(144, 165, 128, -256);
  game.bricks.fill(kFullRow);
  game.bricks[2] &= ~(1U << 4);
  game.score = 216;
  game.lives = 3;
  game.paddle_x = 288;
  game.paddle_width = 31;
  std::array<float, 118> row{};
  game.observe(std::span<float>(row));
  const double expected[] = {0.5, 312. / 330, 0.25, 0.5, 0.25, -0.5, 0.2, 0.25, 0.6, 0.5};
  for (std::size_t i = 0; i < 10; ++i) {
    check_near(row[i], expected[i], "observation element " + std::to_string(i));
  }
  for (std::size_t brick = 0; brick < 108; ++brick) {
    check(row[10 + brick] == (brick == 2 * 18 + 4 ? 1.0F : 0.0F), "1 where a brick is gone");
  }
}

// Whatever happens, a ball is nowhere inside a brick, and points and bricks agree.
void keeps_its_books() {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Game game;
    Rng rng(seed, 7, 7);
    for (int tick = 0; tick < 4000 && !game.terminal; ++tick) {
      const float aim = game.x + 16 - game.paddle_x - game.paddle_width * rng.uniform(0.0F, 1.0F);
      game.play(aim > 8    ? kRight
                : aim < -8 ? kLeft
                           : kStay,
                seed + static_cast<std::uint64_t>(tick));
      int missing = 0;
      for (int brick = 0; brick < 108; ++brick) {
        const int row = brick / 18, column = brick % 18;
        if (!game.stands(row, column)) {
          missing += kPoints[static_cast<std::size_t>(row)];
          continue;
        }
        const float left = 32 * static_cast<float>(column), top = 50 + 12 * static_cast<float>(row);
        const bool apart =
            game.x + 32 <= left || game.x >= left + 32 || game.y + 32 <= top || game.y >= top + 12;
        check(apart, "the ball is inside a brick");
      }
      check(missing == game.score, "a point is missing");
      check(game.x >= 0 && game.x <= 544 && game.y >= 0, "the ball has left the field");
      const double speed = game.in_play ? game.speed : 0;
      check(std::abs(std::hypot(game.x_speed, game.y_speed) - speed) < 0.01, "speed of the ball");
    }
  }
}

}  // namespace

int main() {
  serves_to_either_side();
  moves_the_paddle();
  bounces_off_the_walls();
  leaves_the_paddle_at_the_angle_of_the_contact();
  speeds_up();
  scores_by_the_row();
  hits_bricks_from_every_side();
  takes_the_brick_it_covers_more_of();
  loses_a_life();
  passes_beside_the_paddle();
  plays_a_second_screen();
  adds_up_the_ticks_of_a_step();
  shows_what_is();
  keeps_its_books();
  return failures;
}
