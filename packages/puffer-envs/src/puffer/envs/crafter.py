"""Crafter: survival in a small open world, with 22 achievements to unlock."""

from __future__ import annotations

import collections
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Discrete
from puffer.envs.family import declare
from puffer.envs.load import require
from puffer.envs.registered import check_render_mode

FAMILY = "crafter"
RENDER_MODES = ("rgb_array",)
FRAME = (576, 576)  # what people see, pixels; agents see `size`

HELP = {
    "CrafterReward-v1": "Survive and make things; 1 for each first achievement, 0.1 for health.",
    "CrafterNoReward-v1": "The same world without rewards; the score counts the achievements.",
}


class Crafter(gymnasium.Env[np.ndarray, Any]):
    """Crafter in Gymnasium's interface, which repeats itself for the same seed.

    The infos of the last step of an episode have `unlocked_NAME` (1 or 0) for each achievement,
    their number as `score`, and their share as `perf`.
    """

    metadata = {  # noqa: RUF012 (Gymnasium declares it for the instance)
        "render_modes": list(RENDER_MODES),
        "render_fps": 10,
    }

    def __init__(self, engine: Any, render_mode: str | None = None) -> None:
        """Wrap `engine`, a `crafter.Env`."""
        self.env = engine
        self.render_mode = render_mode
        space = engine.observation_space
        self.observation_space = Box(0, 255, tuple(int(n) for n in space.shape), np.uint8)
        self.action_space = Discrete(int(engine.action_space.n))
        _keep_order(engine._world)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in a new world."""
        # The engine draws each episode's world from this seed and the episode's number.
        fresh = seed is None and self._np_random is None
        super().reset(seed=seed)
        if fresh or seed is not None:
            self.env._seed = self.np_random_seed
            self.env._episode = 0
        return self.env.reset(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act once; what time ends is a truncation, what death ends a termination."""
        observation, reward, done, info = self.env.step(int(action))
        # The engine hands out its own array, which moves with the player.
        info = {**info, "player_pos": info["player_pos"].copy()}
        terminal = done and info["discount"] == 0
        if done:
            counts = info["achievements"]
            unlocked = {f"unlocked_{name}": int(n > 0) for name, n in counts.items()}
            total = sum(unlocked.values())
            info = {**info, **unlocked, "score": total, "perf": total / len(unlocked)}
        return observation, float(reward), terminal, done and not terminal, info

    def render(self) -> Any:
        """Return the frame, larger than what the agent sees."""
        return None if self.render_mode is None else self.env.render(FRAME)


class _InOrder(dict[Any, None]):
    """A set that is walked through in the order in which it was filled."""

    def add(self, item: Any) -> None:
        self[item] = None

    def remove(self, item: Any) -> None:
        del self[item]


def _keep_order(world: Any) -> None:
    """Keep the creatures of `world` in order.

    It has them in sets, which it walks through to choose who disappears: in the order of their
    addresses in memory, so that no seed would give the same episode twice.
    """
    reset = world.reset

    def reset_in_order(seed: int | None = None) -> None:
        reset(seed)
        world._chunks = collections.defaultdict(_InOrder)

    world.reset = reset_in_order


def make(
    name: str,
    *,
    size: int = 64,
    view: int = 9,
    area: int = 64,
    length: int = 10_000,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: one of `HELP`, Crafter's own.
        size: width and height of an observation, in pixels.
        view: how many cells it shows from left to right.
        area: width and height of the world, in cells.
        length: an episode is truncated there.
        render_mode: `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: a number below 1, an image too small for the view, or a render mode that there
            is not.
        MissingPackageError: crafter is not installed.
    """
    for option, value in (("view", view), ("area", area), ("length", length)):
        if value < 1:
            raise UsageError(f"{option}={value}: expected an integer >= 1")
    if size < view:
        raise UsageError(f"size={size}: expected at least a pixel for each of {view} cells")
    check_render_mode(name, render_mode, RENDER_MODES)
    crafter: Any = require("crafter", FAMILY, name)
    engine = crafter.Env(
        area=(area, area),
        view=(view, view),
        size=(size, size),
        reward=name == "CrafterReward-v1",
        length=length,
        seed=0,  # else it takes one from NumPy's global state; reset gives another
    )
    return GymnasiumPufferEnv(Crafter(engine, render_mode), buf=buf)


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    aliases={"crafter": "CrafterReward-v1"},
    policy="puffer.train.models:Convolutional",
)
