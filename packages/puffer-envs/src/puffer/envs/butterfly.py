"""PettingZoo's Butterfly: three cooperative games, in the newest version that is installed."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import PettingZooPufferEnv
from puffer.core.errors import MissingPackageError, UsageError
from puffer.core.spaces import Box, Space
from puffer.core.wrappers import AgentDict, ParallelStep, ParallelWrapper
from puffer.envs.family import declare
from puffer.envs.load import quiet, require
from puffer.envs.registered import check_render_mode

FAMILY = "butterfly"
RENDER_MODES = ("human", "rgb_array")
SIDE = 84
PATIENCE = {"knights_archers_zombies": 900, "cooperative_pong": 900, "pistonball": 125}

HELP = {
    "knights_archers_zombies": "Two knights and two archers against zombies; 1 for each killed.",
    "cooperative_pong": "Two paddles of different shapes keep a ball in play.",
    "pistonball": "Twenty pistons roll a ball to the left wall.",
}


class Plain(ParallelWrapper):
    """Vectors in single precision, and rewards that are floats."""

    def observation_space(self, agent: Any) -> Space[Any]:
        """Return the observation space of `agent`, in float32."""
        space = super().observation_space(agent)
        assert isinstance(space, Box)
        return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode and return `(observations, infos)`."""
        observations, infos = super().reset(seed, options)
        return {a: self.observe(o) for a, o in observations.items()}, infos

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act once; return dicts of observations, rewards, flags and infos."""
        observations, rewards, *rest = super().step(actions)
        shown = {a: self.observe(o) for a, o in observations.items()}
        return (shown, {a: float(r) for a, r in rewards.items()}, *rest)  # type: ignore[return-value]

    def observe(self, observation: np.ndarray) -> np.ndarray:
        """Return what the agent shall see of its observation."""
        shown: np.ndarray = observation.astype(np.float32)
        return shown


class Small(Plain):
    """Images in grey, 84 by 84 pixels, smoothly scaled."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        pygame: Any = require("pygame", FAMILY, "scaling images")
        self._image, self._scale = pygame.image, pygame.transform.smoothscale
        # Of red, green and blue, in 1/256: ITU-R BT.601.
        self._grey = np.array([77, 150, 29], np.uint16)

    def observation_space(self, agent: Any) -> Space[Any]:
        """Return the space of small images."""
        return Box(0, 255, (1, SIDE, SIDE), np.uint8)

    def observe(self, observation: np.ndarray) -> np.ndarray:
        """Return the small image."""
        height, width, _ = observation.shape
        whole = np.ascontiguousarray(observation)
        scaled = self._scale(self._image.frombuffer(whole, (width, height), "RGB"), (SIDE, SIDE))
        pixels = np.frombuffer(self._image.tobytes(scaled, "RGB"), np.uint8)
        weighted = pixels.reshape(SIDE * SIDE, 3) @ self._grey
        return (weighted >> 8).astype(np.uint8).reshape(1, SIDE, SIDE)


def make(
    name: str,
    *,
    max_cycles: int | None = None,
    small: bool = True,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> PettingZooPufferEnv:
    """Return the game, emulated: a PettingZoo environment with one row for each agent.

    Args:
        name: one of `HELP`, PettingZoo's without its version.
        max_cycles: an episode is truncated there; None takes the game's own limit.
        small: images in grey, 84 by 84; else in the colours and the size of the game.
        render_mode: `human`, `rgb_array` or None.
        buf: rows to write; None allocates them.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: PettingZoo, pygame or pymunk is not installed.
    """
    cycles = PATIENCE[name] if max_cycles is None else max_cycles
    if cycles < 1:
        raise UsageError(f"max_cycles={cycles}: expected an integer >= 1")
    check_render_mode(name, render_mode, RENDER_MODES)
    module = _newest(name)
    # On each reset cooperative_pong warns that it has no render mode.
    mode = render_mode or ("rgb_array" if name == "cooperative_pong" else None)
    with quiet():
        env = module.parallel_env(max_cycles=cycles, render_mode=mode)
    images = name != "knights_archers_zombies"
    if images and not small:
        return PettingZooPufferEnv(env, buf=buf)
    return PettingZooPufferEnv(Small(env) if images else Plain(env), buf=buf)


def _newest(name: str) -> Any:
    """Return PettingZoo's module of the game, of the highest version."""
    package = require("pettingzoo.butterfly", FAMILY, name)
    versions = [
        int(module.name.removeprefix(f"{name}_v"))
        for module in pkgutil.iter_modules(package.__path__)
        if module.name.startswith(f"{name}_v")
    ]
    if not versions:
        raise MissingPackageError(
            f"{name} is not in the installed PettingZoo: "
            f'pip install --upgrade "puffer-envs[{FAMILY}]"'
        )
    return require(f"pettingzoo.butterfly.{name}_v{max(versions)}", FAMILY, name)


def _defaults(name: str) -> Mapping[str, Any]:
    return {"max_cycles": PATIENCE[name]}


_VERSIONS = {"knights_archers_zombies": (10, 11), "cooperative_pong": (5, 6), "pistonball": (6,)}

env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    aliases={f"{name}_v{v}": name for name, versions in _VERSIONS.items() for v in versions},
    defaults=_defaults,
    policy={
        "cooperative_pong": "puffer.train.models:Convolutional",
        "pistonball": "puffer.train.models:Convolutional",
    },
)
