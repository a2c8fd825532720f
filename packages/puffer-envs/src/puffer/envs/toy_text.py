"""Gymnasium's toy texts: small worlds of countable states, shown as one-hot vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.spaces import Box, Discrete, Tuple
from puffer.envs.family import declare
from puffer.envs.registered import make_registered, newest

FAMILY = "toy-text"
RENDER_MODES = ("human", "rgb_array", "ansi")

HELP = {
    "FrozenLake-v1": "Cross slippery ice around holes; 1 at the goal.",
    "FrozenLake8x8-v1": "The same on a larger lake.",
    "Taxi-v4": "Fetch a passenger and bring him where he wants to go.",
    "CliffWalking-v1": "Walk along a cliff, -1 a step and -100 for falling.",
    "Blackjack-v1": "Draw cards up to 21, against a dealer.",
}
# Gymnasium ends them never or at its own limit; nobody learns from an endless episode.
LIMITS = {"FrozenLake-v1": 100, "CliffWalking-v1": 200, "Blackjack-v1": 100}
DEFAULT_LIMIT = 200


class OneHot(
    gymnasium.ObservationWrapper[np.ndarray, Any, Any], gymnasium.utils.RecordConstructorArgs
):
    """Shows a state's number as a vector of zeros with a one, and several such behind one another.

    Args:
        env: observes a Discrete, or a Tuple of them.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        space = env.observation_space
        parts = space.spaces if isinstance(space, Tuple) else (space,)
        self._rows = []
        for part in parts:
            assert isinstance(part, Discrete)
            self._rows.append(np.eye(int(part.n), dtype=np.float32))
        self._single = not isinstance(space, Tuple)
        width = sum(len(rows) for rows in self._rows)
        self.observation_space = Box(0.0, 1.0, (width,), np.float32)

    def observation(self, observation: Any) -> np.ndarray:
        """Return the vector."""
        if self._single:
            row: np.ndarray = self._rows[0][observation]
            return row
        pairs = zip(self._rows, observation, strict=True)
        return np.concatenate([rows[int(state)] for rows, state in pairs])


def make(
    name: str,
    *,
    one_hot: bool = True,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: one of `HELP`, Gymnasium's id; of Taxi it is the newest that is installed.
        one_hot: show states as vectors; else as Gymnasium's numbers.
        max_episode_steps: an episode is truncated there; None takes 100 to 200 of them.
        render_mode: `human`, `rgb_array`, `ansi` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: drawing was asked for and pygame is not installed.
    """
    env = make_registered(
        newest(name) if name.startswith("Taxi") else name,
        FAMILY,
        max_episode_steps=LIMITS.get(name, DEFAULT_LIMIT)
        if max_episode_steps is None
        else max_episode_steps,
        render_mode=render_mode,
        render_modes=RENDER_MODES,
    )
    return GymnasiumPufferEnv(OneHot(env) if one_hot else env, buf=buf)


def _defaults(name: str) -> Mapping[str, Any]:
    return {"max_episode_steps": LIMITS.get(name, DEFAULT_LIMIT)}


env_creator, family = declare(
    FAMILY, make, HELP, aliases={"Taxi-v3": "Taxi-v4"}, defaults=_defaults
)
