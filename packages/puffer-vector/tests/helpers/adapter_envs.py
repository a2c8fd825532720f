"""Gymnasium environments for the adapters, importable by worker processes too."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

SPACES: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3),
    "shifted": spaces.Discrete(3, start=-7),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "matrix": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[1, 0], [0, -2]])),
    "multi-binary": spaces.MultiBinary(3),
    "binary-matrix": spaces.MultiBinary([2, 2]),
    "box": spaces.Box(-1, 1, (2, 2), np.float64),
    "dict": spaces.Dict({"move": spaces.Discrete(5), "speed": spaces.Box(0, 1, (2,))}),
    "tuple": spaces.Tuple((spaces.Discrete(2, start=1), spaces.Dict({"a": spaces.MultiBinary(2)}))),
}


def make_cartpole() -> gymnasium.Env[Any, Any]:
    """Return Gymnasium's CartPole."""
    return gymnasium.make("CartPole-v1")


class RandomEnv(gymnasium.Env[Any, Any]):
    """Observes samples of its space and ends with chance 1/8, half of the times by truncation."""

    action_space = SPACES["dict"]

    def _info(self) -> dict[str, Any]:
        return {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        chance = self.np_random.random()
        ends = chance < 1 / 16, 1 / 16 <= chance < 1 / 8
        observation = self.observation_space.sample()
        return observation, self.t / 4, *ends, self._info() if any(ends) else {}


class NestedEnv(RandomEnv):
    """Has every kind of leaf, and a mixed action."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (3, 2, 2), np.uint8),
                "vector": spaces.Box(-1, 1, (5,), np.float32),
                "pair": spaces.Tuple((spaces.Discrete(4, start=2), spaces.MultiBinary(3))),
                "deep": spaces.Dict({"many": spaces.MultiDiscrete([3, 4])}),
            }
        )


class DictEnv(RandomEnv):
    """Observes a Dict of arrays and a category."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (3, 2, 2), np.uint8),
                "vector": spaces.Box(-1, 1, (5,), np.float32),
                "category": spaces.Discrete(4),
            }
        )


class PictureEnv(RandomEnv):
    """Observes an image."""

    action_space = SPACES["discrete"]

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 8, (4, 4), np.float32)


class TellingEnv(RandomEnv):
    """Gives all kinds of infos at the end of an episode."""

    action_space = SPACES["discrete"]

    def __init__(self) -> None:
        self.observation_space = spaces.Discrete(9)

    def _info(self) -> dict[str, Any]:
        return {
            "whole": self.t,
            "real": self.t / 2,
            "flag": self.t % 2 == 0,
            "array": np.full((2,), self.t, np.int16),
            "text": f"after {self.t}",
            "nested": {"deep": self.t},
        }


class StillEnv(gymnasium.Env[Any, Any]):
    """Keeps the action that it was given, of the space of that name."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)

    def __init__(self, name: str) -> None:
        self.action_space = SPACES[name]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.last_action = action
        return np.zeros(1, np.float32), 0.0, False, False, {}


class OptionsEnv(StillEnv):
    """Keeps the options of its reset, draws its power, and has a method."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self) -> None:
        super().__init__("discrete")
        self.power = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.options = options
        return super().reset(seed=seed)

    def double(self, name: str) -> Any:
        return 2 * getattr(self, name)

    def render(self) -> Any:
        return np.array([[[0, 0, self.power]]], np.uint8)
