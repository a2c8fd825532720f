"""Performance: an environment that takes time, and measures who else does. See README.md."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from puffer.core.buffers import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.ocean.render import Picture, open_renderer


class PerformanceGame(gymnasium.Env[np.ndarray, Any]):
    """Works for a random time in each step; `work` says how."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it so
        "render_modes": ["rgb_array", "human", "ansi"],
        "render_fps": 10,
    }

    def __init__(
        self,
        mean: float = 0.001,
        std: float = 0.0,
        bandwidth: int = 1,
        max_steps: int = 100,
        render_mode: str | None = None,
    ) -> None:
        if min(mean, std) < 0:
            raise UsageError(f"a step's work of {mean} give or take {std}: expected numbers >= 0")
        if bandwidth < 1 or max_steps < 1:
            raise UsageError(
                f"bandwidth={bandwidth}, max_steps={max_steps}: expected at least 1 of each"
            )
        self.observation_space = Box(0, 1, (bandwidth,), np.float32)
        self.action_space = Discrete(2)
        self.max_steps, self.render_mode = max_steps, render_mode
        self._mean, self._std = mean, std
        self._renderer = open_renderer(render_mode, "Performance")
        self._times: deque[tuple[float, float]] = deque(maxlen=16)  # own work, all else

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._tick, self._worked = 0, 0.0
        self._begun = self._ended = time.perf_counter()
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Work, and report the share of the episode's time that was work."""
        start = time.perf_counter()
        self.work(max(0.0, self.np_random.normal(self._mean, self._std)))
        observation = self._observe()
        end = time.perf_counter()
        self._times.append((end - start, start - self._ended))
        self._ended = end
        self._worked += end - start
        self._tick += 1
        share = self._worked / max(end - self._begun, 1e-9)
        info = {"score": share, "perf": share, "seconds": end - self._begun}
        return observation, 0.0, False, self._tick == self.max_steps, info

    def work(self, amount: float) -> None:
        """Sleep `amount` seconds: the core is free for others."""
        time.sleep(amount)

    def _observe(self) -> np.ndarray:
        return self.np_random.random(self.observation_space.shape, np.float32)

    def render(self) -> Any:
        """Draw the last steps as a strip of bars: own work in green, all else in grey."""
        longest = max((sum(pair) for pair in self._times), default=1.0)
        shapes: list[tuple[Any, ...]] = [
            ("text", (80, 190, 120), 14, 8, 14, "own work"),
            ("text", (150, 158, 170), 100, 8, 14, "waiting for the rest"),
        ]
        for i, (own, other) in enumerate(self._times):
            full, x = 160 / longest, 14 + 18 * i
            shapes.append(("rectangle", (80, 190, 120), x, 200 - own * full, 14, own * full))
            shapes.append(
                ("rectangle", (88, 96, 108), x, 200 - (own + other) * full, 14, other * full)
            )
        shapes.append(("line", (200, 204, 210), 8, 201, 308, 201, 2))
        picture = Picture(316, 212, (22, 26, 34), shapes)
        return self._renderer.show(picture, self.metadata["render_fps"])

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()


class Performance(GymnasiumPufferEnv):
    """Sleep for a while in each step, and report how much time was lost beside it."""

    HELP: ClassVar[dict[str, str]] = {
        "delay_mean": "seconds of a step",
        "delay_std": "their deviation",
        "bandwidth": "numbers in an observation",
        "max_steps": "steps until an episode is truncated",
    }

    def __init__(
        self,
        delay_mean: float = 0.001,
        delay_std: float = 0.0,
        bandwidth: int = 1,
        max_steps: int = 100,
        *,
        render_mode: str | None = None,
        buf: Buffers | None = None,
    ) -> None:
        """Build one whose steps sleep `delay_mean` seconds, give or take `delay_std`."""
        game = PerformanceGame(delay_mean, delay_std, bandwidth, max_steps, render_mode)
        super().__init__(game, buf=buf)
