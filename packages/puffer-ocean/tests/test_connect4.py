"""Connect Four against a slow reference of its rules: the board as a list, the search as plain."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.ocean import Connect4

ROWS, COLUMNS = 6, 7
Board = tuple[int, ...]  # cells as the observation has them

LINES = [
    [(row + k * down) * COLUMNS + column + k * right for k in range(4)]
    for row in range(ROWS)
    for column in range(COLUMNS)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    if row + 3 * down < ROWS and 0 <= column + 3 * right < COLUMNS
]


def open_columns(board: Board) -> list[int]:
    """Return the columns whose uppermost cell is empty."""
    return [column for column in range(COLUMNS) if board[column] == 0]


def landing(board: Board, column: int) -> int:
    """Return the cell where a stone comes to lie."""
    return max(cell for cell in range(column, ROWS * COLUMNS, COLUMNS) if board[cell] == 0)


def drop(board: Board, column: int, side: int) -> Board:
    """Return the board with one more stone."""
    cell = landing(board, column)
    return (*board[:cell], side, *board[cell + 1 :])


def has_won(board: Board, side: int) -> bool:
    """Return whether `side` has four in a line."""
    return any(all(board[cell] == side for cell in line) for line in LINES)


LINES_OF = [[line for line in LINES if cell in line] for cell in range(ROWS * COLUMNS)]


@functools.cache
def value(board: Board, side: int, plies: int) -> int:
    """Return what the position is worth to `side`, whose move it is."""
    columns = open_columns(board)
    if plies == 0 or not columns:
        return 0
    return max(move_value(board, column, side, plies) for column in columns)


def move_value(board: Board, column: int, side: int, plies: int) -> int:
    """Return what a move is worth: more for winning soon, less for losing soon."""
    after, cell = drop(board, column, side), landing(board, column)
    if any(after[a] == after[b] == after[c] == after[d] for a, b, c, d in LINES_OF[cell]):
        return plies
    return -value(after, -side, plies - 1)


def best_replies(board: Board, plies: int) -> set[Board]:
    """Return the boards that the opponent may leave behind."""
    if plies == 0:
        return {drop(board, column, -1) for column in open_columns(board)}
    values = {column: move_value(board, column, -1, plies) for column in open_columns(board)}
    best = max(values.values())
    return {drop(board, column, -1) for column, worth in values.items() if worth == best}


def is_start(board: Board) -> bool:
    """Return whether nobody has moved, or the opponent once."""
    stones = [cell for cell, side in enumerate(board) if side]
    return stones == [] or (len(stones) == 1 and stones[0] >= 35 and board[stones[0]] == -1)


def choose(board: Board, rng: np.random.Generator) -> int:
    """Return a move: mostly a sensible one, so that games last and are won."""
    columns = open_columns(board)
    if rng.random() < 0.02:
        return int(rng.integers(COLUMNS))
    for side in (1, -1):
        for column in columns:
            if has_won(drop(board, column, side), side):
                return column
    return int(rng.choice(columns))


@pytest.mark.parametrize(
    ("look_ahead", "num_envs", "steps"),
    [(0, 32, 40), (1, 32, 40), (2, 8, 40), (3, 4, 40), (4, 2, 25), (5, 1, 5)],
)
def test_every_step_follows_the_rules(
    look_ahead: int, num_envs: int, steps: int, make_buffers: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(look_ahead)
    seen: set[float] = set()
    value.cache_clear()
    buffers = make_buffers(Connect4, num_envs)
    with Connect4(num_envs, look_ahead=look_ahead, buf=buffers) as env:
        env.reset(look_ahead)
        for _ in range(steps):
            boards: list[Board] = [tuple(row) for row in env.observations.tolist()]
            moves = [choose(board, rng) for board in boards]
            masks = buffers.action_masks.copy()
            _, rewards, terminals, truncations, _ = env.step(moves)
            assert not truncations.any()
            shown: list[Board] = [tuple(row) for row in env.observations.tolist()]
            for i, (board, move, after) in enumerate(zip(boards, moves, shown, strict=True)):
                reward, terminal = float(rewards[i]), bool(terminals[i])
                assert masks[i].tolist() == [c in open_columns(board) for c in range(COLUMNS)]
                if move not in open_columns(board):
                    assert (reward, terminal) == (-1, True)
                    assert is_start(after)
                    continue
                mine = drop(board, move, 1)
                if has_won(mine, 1):
                    assert (reward, terminal) == (1, True)
                elif not open_columns(mine):
                    assert (reward, terminal) == (0, True)
                elif terminal:
                    # How the game ended is not shown, but the best replies are known.
                    ends = {-1.0 if has_won(b, -1) else 0.0 for b in best_replies(mine, look_ahead)}
                    assert reward in ends
                else:
                    assert reward == 0
                    assert after in best_replies(mine, look_ahead)
                    assert not has_won(after, -1)
                if terminal:
                    assert is_start(after)
                    seen.add(reward)
    assert {1.0, -1.0} <= seen or look_ahead > 2


def test_the_last_position_is_seen_in_final_observations(make_buffers: Callable[..., Any]) -> None:
    with Connect4(64, look_ahead=2, buf=make_buffers(Connect4, 64)) as env:
        env.reset(0)
        rng, lost = np.random.default_rng(0), 0
        for _ in range(40):
            before = env.observations.copy()
            _, rewards, terminals, *_ = env.step(rng.integers(0, 7, 64))
            for i in np.flatnonzero(terminals):
                assert env.final_observations is not None
                final = tuple(env.final_observations[i].tolist())
                if rewards[i] != 0 and np.count_nonzero(final) > np.count_nonzero(before[i]):
                    assert has_won(final, int(rewards[i]))
                    lost += rewards[i] == -1
        assert lost > 20


def test_either_side_begins_half_of_the_games() -> None:
    with Connect4(10_000) as env:
        observations, _ = env.reset(0)
        counts = np.bincount(np.argmin(observations, axis=1)[observations.any(axis=1)])
    # 5,000 expected, standard deviation 50; then 714 in each column, standard deviation 26.
    assert abs(counts.sum() - 5000) < 250
    np.testing.assert_allclose(counts[35:], counts.sum() / 7, atol=130)


def test_the_opponent_picks_among_its_best_moves_alike() -> None:
    with Connect4(14_000, look_ahead=0) as env:
        env.reset(0)
        start = ~env.observations.any(axis=1)
        env.step(np.full(14_000, 3))
        replies = np.argmin(env.observations[start], axis=1) % 7
    np.testing.assert_allclose(np.bincount(replies) / len(replies), 1 / 7, atol=0.02)


def test_a_deeper_opponent_is_stronger() -> None:
    losses = []
    for look_ahead in (0, 1, 2, 4):
        rng = np.random.default_rng(1)
        with Connect4(256, look_ahead=look_ahead, report_interval=1000) as env:
            env.reset(0)
            for _ in range(1000):
                free = env.observations[:, :7] == 0
                (*_, infos) = env.step(np.argmax(rng.random((256, 7)) * free, axis=1))
        losses.append(infos[0]["score"])
        assert 0 <= infos[0]["perf"] <= 1
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(0, abs=0.1)
    assert losses[-1] < -0.95


@pytest.mark.parametrize("look_ahead", [-1, 7])
def test_an_opponent_beyond_reach(look_ahead: int) -> None:
    with pytest.raises(UsageError, match=rf"look_ahead={look_ahead}: expected 0 .* to 6"):
        Connect4(look_ahead=look_ahead)
