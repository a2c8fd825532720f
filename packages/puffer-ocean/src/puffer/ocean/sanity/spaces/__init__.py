"""Spaces: two observations of different kinds, an answer to each. See README.md."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

from puffer.core.buffers import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.ocean.render import Picture, open_renderer

Observation = dict[str, Any]


class SpacesGame(gymnasium.Env[Observation, dict[str, Any]]):
    """The rules, as anybody would write them for Gymnasium."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium declares it so
        "render_modes": ["rgb_array", "human", "ansi"],
        "render_fps": 2,
    }

    def __init__(self, max_steps: int = 8, render_mode: str | None = None) -> None:
        if max_steps < 1:
            raise UsageError(f"max_steps={max_steps}: expected at least 1")
        self.observation_space = Dict(
            {"image": Box(-1, 1, (5, 5), np.float32), "flat": Box(-1, 1, (5,), np.int8)}
        )
        self.action_space = Dict({"image": Discrete(2), "flat": Discrete(2)})
        self.max_steps, self.render_mode = max_steps, render_mode
        self._renderer = open_renderer(render_mode, "Spaces")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode with a new question."""
        super().reset(seed=seed)
        self._tick, self._score = 0, 0.0
        self._answers: dict[str, bool] = {}
        return self._ask(), {}

    def step(self, action: dict[str, Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take an answer to each half, and ask anew."""
        self._answers = {
            key: bool(action[key]) == bool(self._shown[key].sum() > 0) for key in ("image", "flat")
        }
        reward = 0.5 * sum(self._answers.values())
        self._tick += 1
        self._score += reward / self.max_steps
        over = self._tick == self.max_steps
        return self._ask(), reward, False, over, {"score": self._score, "perf": self._score}

    def _ask(self) -> Observation:
        self._shown: dict[str, np.ndarray] = {
            "image": self.np_random.uniform(-1, 1, (5, 5)).astype(np.float32),
            "flat": self.np_random.integers(-1, 2, 5).astype(np.int8),
        }
        return self._shown

    def render(self) -> Any:
        """Draw the image in grey, the numbers as tiles, and how the last answers were."""
        shapes: list[tuple[Any, ...]] = []
        for (r, c), value in np.ndenumerate(self._shown["image"]):
            grey = round(127.5 + 127.5 * float(value))
            shapes.append(("rectangle", (grey, grey, grey), 20 + 36 * c, 30 + 36 * r, 36, 36))
        for r, number in enumerate(self._shown["flat"]):
            color = {-1: (200, 80, 80), 0: (96, 104, 116), 1: (80, 170, 110)}[int(number)]
            shapes.append(("rectangle", color, 240, 30 + 36 * r, 60, 34))
            shapes.append(("text", (250, 250, 250), 258, 34 + 36 * r, 20, f"{number:+d}"))
        for key, x in (("image", 20), ("flat", 240)):
            shapes.append(("text", (230, 230, 230), x, 6, 15, key))
            if key in self._answers:
                right = self._answers[key]
                color = (80, 170, 110) if right else (200, 80, 80)
                shapes.append(("text", color, x, 216, 15, "right" if right else "wrong"))
        picture = Picture(320, 244, (24, 28, 36), shapes)
        return self._renderer.show(picture, self.metadata["render_fps"])

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()


class Spaces(GymnasiumPufferEnv):
    """Say of an image and of some numbers whether their sums are positive."""

    HELP: ClassVar[dict[str, str]] = {"max_steps": "questions until an episode is truncated"}

    def __init__(
        self, max_steps: int = 8, *, render_mode: str | None = None, buf: Buffers | None = None
    ) -> None:
        """Build one, whose episodes have `max_steps` questions."""
        super().__init__(SpacesGame(max_steps, render_mode), buf=buf)
