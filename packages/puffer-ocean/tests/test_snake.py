"""Snake against a slow reference of its rules, which sees the whole arena through wide windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.ocean import Snake

HEAD, BODY, WALL, EMPTY, FOOD, REMAINS = -3, -2, -1, 0, 1, 2
STEPS = [(-1, 0), (1, 0), (0, -1), (0, 1)]  # up, down, left, right
WIDTH, HEIGHT, WIDE = 14, 11, 14  # a window that reaches 14 tiles shows all

Tile = tuple[int, int]


def look(window: np.ndarray) -> tuple[np.ndarray, Tile]:
    """Return the arena that a wide window shows, and where its middle is in it."""
    rows, columns = np.nonzero(window != WALL)
    top, left = rows.min(), columns.min()
    assert (rows.max() - top + 1, columns.max() - left + 1) == (HEIGHT, WIDTH)
    arena = window[top : top + HEIGHT, left : left + WIDTH].copy()
    return arena, (int(WIDE - top), int(WIDE - left))


def go(tile: Tile, direction: int, steps: int = 1) -> Tile:
    """Return the tile that lies `steps` away."""
    return tile[0] + steps * STEPS[direction][0], tile[1] + steps * STEPS[direction][1]


class Reference:
    """One arena, from its first observations on."""

    def __init__(self, options: dict[str, Any], windows: np.ndarray, masks: np.ndarray) -> None:
        self.options = options
        self.snakes: list[list[Tile]] = []  # from head to tail
        self.directions: list[int] = []
        self.grid = np.full((HEIGHT, WIDTH), EMPTY)
        for window, mask in zip(windows, masks, strict=True):
            self.snakes.append([])
            self.directions.append(0)
            self.be_born(len(self.snakes) - 1, window, mask)
        self.grow(look(windows[0])[0], options["food"])

    def tile(self, at: Tile) -> int:
        """Return what is on a tile; all around the arena are walls."""
        inside = 0 <= at[0] < HEIGHT and 0 <= at[1] < WIDTH
        return int(self.grid[at]) if inside else WALL

    def be_born(self, i: int, window: np.ndarray, mask: np.ndarray) -> None:
        """Put snake `i` where its window and its mask show it, which must be free."""
        assert np.count_nonzero(mask) == 3
        self.directions[i] = int(np.argmin(mask)) ^ 1
        head = look(window)[1]
        self.snakes[i] = [head, go(head, self.directions[i], -1)]
        for at, kind in zip(self.snakes[i], (HEAD, BODY), strict=True):
            assert self.tile(at) == EMPTY
            self.grid[at] = kind

    def grow(self, seen: np.ndarray, missing: int) -> None:
        """Take over new food from what is seen, where nothing else may differ."""
        new = self.grid != seen
        assert (self.grid[new] == EMPTY).all()
        assert (seen[new] == FOOD).all()
        assert new.sum() == missing
        self.grid = seen.astype(int)

    def step(
        self, actions: np.ndarray, windows: np.ndarray, masks: np.ndarray
    ) -> tuple[list[float], list[bool]]:
        """Return rewards and who died; what is drawn at random is read from what came after."""
        rewards, dead, eaten = [], [], 0
        for i, action in enumerate(actions.tolist()):
            snake = self.snakes[i]
            if action ^ 1 == self.directions[i]:
                action = self.directions[i]
            ahead = go(snake[0], action)
            tile = self.tile(ahead)
            dead.append(tile in (WALL, HEAD, BODY) and ahead != snake[-1])
            if dead[-1]:
                rewards.append(self.options["reward_death"])
                for k, at in enumerate(reversed(snake)):
                    self.grid[at] = (
                        REMAINS if k % 2 == 0 and self.options["leave_corpse"] else EMPTY
                    )
                self.be_born(i, windows[i], masks[i])
                continue
            self.directions[i] = action
            food = tile in (FOOD, REMAINS)
            if not food or len(snake) == self.options["max_length"]:
                self.grid[snake.pop()] = EMPTY
            self.snakes[i] = [ahead, *snake]
            for at in snake[:1]:
                self.grid[at] = BODY
            self.grid[ahead] = HEAD
            eaten += tile == FOOD
            key = {FOOD: "reward_food", REMAINS: "reward_corpse"}.get(tile)
            rewards.append(self.options[key] if key else 0.0)
        self.grow(look(windows[0])[0], eaten)
        return rewards, dead


def options_of(**changes: Any) -> dict[str, Any]:
    """Return the options of an arena in which snakes meet often."""
    plain = {"width": WIDTH, "height": HEIGHT, "num_snakes": 5, "food": 12, "max_length": 20}
    rest = {"leave_corpse": True, "reward_food": 0.5, "reward_corpse": 0.25, "reward_death": -2.0}
    return plain | rest | changes


def careful(rng: np.random.Generator, windows: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return moves of which most avoid what is deadly, and seek what can be eaten."""
    middle = windows.shape[1] // 2
    ahead = np.stack([windows[:, middle + r, middle + c] for r, c in STEPS], axis=1)
    liking = np.where(ahead < 0, -10, ahead) + rng.random(ahead.shape)
    good = np.argmax(np.where(masks, liking, -20), axis=1)
    return np.where(rng.random(len(good)) < 0.03, rng.integers(0, 4, len(good)), good)


@pytest.mark.parametrize(
    "changes", [{}, {"leave_corpse": False, "max_length": 4}, {"num_snakes": 1, "food": 38}]
)
def test_every_step_follows_the_rules(
    changes: dict[str, Any], make_buffers: Callable[..., Any]
) -> None:
    options = options_of(**changes)
    rng = np.random.default_rng(0)
    buffers = make_buffers(Snake, 1, vision=WIDE, **options)
    deaths = longest = 0
    with Snake(1, vision=WIDE, max_steps=100_000, **options, buf=buffers) as env:
        windows = env.reset(1)[0]
        arena = Reference(options, windows, buffers.action_masks)
        for _ in range(1200):
            moves = careful(rng, windows, buffers.action_masks)
            before = windows.copy()
            _, rewards, terminals, truncations, _ = env.step(moves)
            assert env.masks.all()
            assert not truncations.any()
            if terminals.all():  # all died at once: the arena is a new one
                arena = Reference(options, windows, buffers.action_masks)
                continue
            expected, dead = arena.step(moves, windows, buffers.action_masks)
            assert rewards.tolist() == expected
            assert terminals.tolist() == dead
            for i, window in enumerate(windows):
                seen, head = look(window)
                np.testing.assert_array_equal(seen, arena.grid)
                assert head == arena.snakes[i][0]
                assert int(np.argmin(buffers.action_masks[i])) == arena.directions[i] ^ 1
            assert not np.array_equal(before, windows)
            deaths += sum(dead)
            longest = max(longest, *map(len, arena.snakes))
    assert deaths > 20 or options["num_snakes"] == 1
    assert longest >= min(options["max_length"], 8)


@pytest.mark.parametrize("vision", [1, 2, 3, 5, 7])
def test_a_window_is_a_part_of_the_arena(vision: int) -> None:
    rng = np.random.default_rng(0)
    options = options_of()
    with Snake(3, vision=vision, **options) as env, Snake(3, vision=WIDE, **options) as wide:
        env.reset(4)
        wide.reset(4)
        part = slice(WIDE - vision, WIDE + vision + 1)
        for _ in range(60):
            np.testing.assert_array_equal(env.observations, wide.observations[:, part, part])
            moves = rng.integers(0, 4, 15)
            env.step(moves)
            wide.step(moves)


@pytest.mark.parametrize("vision", [1, 2, 3, 5, 7, 20])
def test_nothing_is_written_beyond_the_rows(vision: int, make_buffers: Callable[..., Any]) -> None:
    """Windows are copied in wider moves than their rows, but not over the end of the array."""
    options = options_of(vision=vision)
    buffers = make_buffers(Snake, 3, **options)
    rows = len(buffers.observations)
    room = np.full((rows + 60, *buffers.observations.shape[1:]), 42, np.int8)
    buffers.observations = room[:rows]
    with Snake(3, **options, buf=buffers) as env, Snake(3, **options) as usual:
        for one in (env, usual):
            one.reset(2)
        for moves in np.random.default_rng(0).integers(0, 4, (100, 15)):
            env.step(moves)
            usual.step(moves)
            np.testing.assert_array_equal(room[:rows], usual.observations)
            assert (room[rows:] == 42).all()


def test_a_snake_without_room_is_absent_until_there_is() -> None:
    """Snakes that eat all the time fill a small arena; those who die then find no room."""
    rng = np.random.default_rng(0)
    absent = returned = 0
    options = {"width": 8, "height": 8, "num_snakes": 8, "food": 16, "vision": 3}
    with Snake(16, **options, max_steps=5000) as env:  # type: ignore[arg-type]
        env.reset(0)
        everywhere = np.ones((128, 4), bool)
        was_absent = np.zeros(128, bool)
        for _ in range(2500):
            moves = careful(rng, env.observations, everywhere)
            _, rewards, terminals, truncations, _ = env.step(moves)
            gone = ~env.masks
            assert not rewards[gone].any()
            assert not terminals[gone].any()
            assert not env.observations[gone].any()
            absent += gone.sum()
            returned += (was_absent & ~gone).sum()
            was_absent = gone
            assert not truncations.any()
    assert absent > 10
    assert returned > 5


def play(env: Snake, moves: np.ndarray) -> list[bytes]:
    """Step with each row of `moves`; return all that each step wrote."""
    steps = []
    for row in moves:
        env.step(row)
        arrays = (env.observations, env.rewards, env.terminals, env.truncations, env.masks)
        steps.append(b"".join(array.tobytes() for array in arrays))
    return steps


def test_threads_change_nothing() -> None:
    moves = np.random.default_rng(0).integers(0, 4, (300, 35))
    runs = []
    for num_threads in (1, 2, 3):
        options = options_of(max_steps=100, vision=3, num_threads=num_threads)
        with Snake(7, **options) as env:
            env.reset(5)
            runs.append(play(env, moves))
    assert runs[0] == runs[1] == runs[2]


def test_a_restored_arena_continues_bit_by_bit() -> None:
    options = options_of(max_steps=100, vision=3)
    moves = np.random.default_rng(0).integers(0, 4, (200, 35))
    with Snake(7, **options) as env, Snake(7, **options) as other:
        env.reset(5)
        play(env, moves[:90])
        state = env.state()
        expected = play(env, moves[90:])
        other.set_state(state)
        assert other.state() == state
        assert play(other, moves[90:]) == expected


def test_statistics_tell_of_lengths_and_deaths() -> None:
    options = options_of(max_length=10)
    with Snake(4, vision=2, max_steps=50, report_interval=0, **options) as env:
        env.reset(0)
        rng, deaths, infos = np.random.default_rng(0), np.zeros(4), []
        for _ in range(50):
            *_, terminals, _, infos = env.step(rng.integers(0, 4, 20))
            deaths += terminals.reshape(4, 5).sum(axis=1)
    assert [info["agent_id"] for info in infos] == [0, 5, 10, 15]
    assert [info["deaths"] for info in infos] == pytest.approx(deaths / 5)
    for info in infos:
        assert 2 <= info["score"] <= 10
        assert info["perf"] == pytest.approx(info["score"] / 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 3}, "width=3: expected 4 to 10000"),
        ({"vision": 0}, "vision=0: expected 1 to 50"),
        ({"max_length": 1}, "max_length=1: expected 2 to 32768"),
        ({"width": 8, "height": 8, "num_snakes": 9, "food": 0}, "num_snakes=9: expected 1 to 8"),
        ({"width": 8, "height": 8, "num_snakes": 1, "food": 17}, "food=17: expected 0 to 16"),
    ],
)
def test_options_that_make_no_arena(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Snake(**options)
