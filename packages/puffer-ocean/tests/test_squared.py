"""Squared against a slow reference of its rules."""

from __future__ import annotations

import numpy as np
import pytest

from puffer.ocean import Squared

MOVES = {0: (0, 0), 1: (1, 0), 2: (-1, 0), 3: (0, -1), 4: (0, 1)}


class Reference:
    """One episode, from its first observation on."""

    def __init__(self, first: np.ndarray, size: int, max_steps: int) -> None:
        self.grid = first.reshape(size, size).copy()
        self.size, self.left = size, max_steps
        ((self.row, self.column),) = np.argwhere(self.grid == 1)
        assert (self.row, self.column) == (size // 2, size // 2)
        assert np.count_nonzero(self.grid == 2) == 1
        assert np.count_nonzero(self.grid) == 2

    def step(self, action: int) -> tuple[float, bool, bool]:
        self.left -= 1
        self.grid[self.row, self.column] = 0
        self.row += MOVES[action][0]
        self.column += MOVES[action][1]
        if not (0 <= self.row < self.size and 0 <= self.column < self.size):
            return -1.0, True, False
        reached = bool(self.grid[self.row, self.column] == 2)
        self.grid[self.row, self.column] = 1
        return float(reached), reached, self.left == 0 and not reached


@pytest.mark.parametrize(("size", "max_steps"), [(3, 0), (11, 0), (5, 4), (255, 400)])
def test_every_step_follows_the_rules(size: int, max_steps: int) -> None:
    num_envs, steps = 16, 400
    rng = np.random.default_rng(size)
    with Squared(num_envs, size, max_steps) as env:
        limit = max_steps or 3 * size
        assert env.max_steps == limit
        observations, _ = env.reset(1)
        games = [Reference(row, size, limit) for row in observations]
        for _ in range(steps):
            actions = rng.integers(0, 5, num_envs)
            observations, rewards, terminals, truncations, _ = env.step(actions)
            for i, game in enumerate(games):
                expected = game.step(int(actions[i]))
                assert (rewards[i], terminals[i], truncations[i]) == expected
                if terminals[i] or truncations[i]:
                    games[i] = Reference(observations[i], size, limit)
                else:
                    np.testing.assert_array_equal(observations[i], game.grid.ravel())


def test_the_target_is_uniform_over_all_other_tiles() -> None:
    with Squared(40_000, 3) as env:
        observations, _ = env.reset(0)
        counts = (observations == 2).sum(axis=0)
        assert counts[4] == 0
        # 8 tiles, 5,000 expected in each, standard deviation 66.
        np.testing.assert_allclose(np.delete(counts, 4), 5_000, atol=300)


def test_a_perfect_player_always_scores_one() -> None:
    with Squared(64, report_interval=0) as env:
        observations, _ = env.reset(0)
        scores = []
        for _ in range(60):
            grid = observations.reshape(64, 11, 11)
            row, column = (
                np.argwhere(grid == 2)[:, k] - np.argwhere(grid == 1)[:, k] for k in (1, 2)
            )
            actions = np.where(row > 0, 1, np.where(row < 0, 2, np.where(column < 0, 3, 4)))
            observations, *_, infos = env.step(actions)
            scores += [info["score"] for info in infos]
        assert len(scores) > 100
        assert set(scores) == {1.0}
