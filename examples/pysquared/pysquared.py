"""Squared three times more, each with less effort and less speed than the C++ struct.

`PySquared` is a `PufferEnv` whose rules are written for all grids at once, in NumPy. `GymSquared`
is what everybody writes first: one grid, as a Gymnasium environment; puffer emulates it as it is.
`benchmarks/bench_ladder.py` measures them, and `puffer-train --env pysquared:PySquared` trains one.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from puffer.core import Buffers, PufferEnv
from puffer.core.stats import episode_info

EMPTY, AGENT, TARGET = 0, 1, 2
ROWS = np.array([0, 1, -1, 0, 0])
COLUMNS = np.array([0, 0, 0, -1, 1])


class PySquared(PufferEnv):
    """Squared for many grids at once: every line of `step` is for all of them."""

    can_fill_final_observations = True

    def __init__(self, num_envs: int = 1024, size: int = 11, buf: Buffers | None = None) -> None:
        self.single_observation_space = Box(EMPTY, TARGET, (size * size,), np.uint8)
        self.single_action_space = Discrete(5)
        self.num_agents, self.size, self.max_steps = num_envs, size, 3 * size
        self.all = np.arange(num_envs)
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Begin new episodes everywhere; grid k draws from the stream of seed + k."""
        base = np.random.SeedSequence().entropy if seed is None else seed
        self.rngs = [np.random.default_rng(base + k) for k in self.all]
        self.row, self.column, self.target, self.tick = np.zeros((4, self.num_agents), np.int64)
        self.rewards[:], self.terminals[:], self.truncations[:] = 0, False, False
        self.masks[:] = True
        self._begin(self.all)
        return self.observations, []

    def step(self, actions: Any) -> Any:
        """Move every agent; where that ends an episode, begin the next."""
        self.actions[:] = actions
        before = self.row * self.size + self.column
        self.row += ROWS[self.actions]
        self.column += COLUMNS[self.actions]
        self.tick += 1
        inside = (
            (self.row >= 0)
            & (self.row < self.size)
            & (self.column >= 0)
            & (self.column < self.size)
        )
        position = np.where(inside, self.row * self.size + self.column, before)
        reached = inside & (position == self.target)
        self.observations[self.all, before] = EMPTY
        self.observations[self.all[inside], position[inside]] = AGENT
        self.rewards[:] = reached.astype(np.float32) - ~inside
        self.terminals[:] = reached | ~inside
        self.truncations[:] = ~self.terminals & (self.tick >= self.max_steps)
        over = np.flatnonzero(self.terminals | self.truncations)
        infos = [
            {**episode_info(float(self.rewards[i]), int(self.tick[i])), "agent_id": int(i)}
            | {"perf": float(self.rewards[i] > 0)}
            for i in over
        ]
        if self.final_observations is not None:
            self.final_observations[over] = self.observations[over]
        self._begin(over)
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def _begin(self, which: np.ndarray) -> None:
        middle = self.size // 2
        self.row[which] = self.column[which] = middle
        self.tick[which] = 0
        target = np.array([self.rngs[i].integers(self.size**2 - 1) for i in which], np.int64)
        self.target[which] = target + (target >= middle * self.size + middle)
        self.observations[which] = EMPTY
        self.observations[which, self.target[which]] = TARGET
        self.observations[which, middle * self.size + middle] = AGENT


class GymSquared(gymnasium.Env[np.ndarray, Any]):
    """Squared as a plain Gymnasium environment."""

    def __init__(self, size: int = 11) -> None:
        self.observation_space = Box(EMPTY, TARGET, (size * size,), np.uint8)
        self.action_space = Discrete(5)
        self.size = size

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.row = self.column = self.size // 2
        self.tick = 0
        middle = self.row * self.size + self.column
        target = int(self.np_random.integers(self.size**2 - 1))
        self.target = target + (target >= middle)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the agent."""
        self.row += int(ROWS[action])
        self.column += int(COLUMNS[action])
        self.tick += 1
        inside = 0 <= self.row < self.size and 0 <= self.column < self.size
        reached = inside and self.row * self.size + self.column == self.target
        over = reached or not inside
        truncated = not over and self.tick >= 3 * self.size
        return self._observe(), float(reached) - float(not inside), over, truncated, {}

    def _observe(self) -> np.ndarray:
        grid = np.zeros(self.size * self.size, np.uint8)
        grid[self.target] = TARGET
        if 0 <= self.row < self.size and 0 <= self.column < self.size:
            grid[self.row * self.size + self.column] = AGENT
        return grid
