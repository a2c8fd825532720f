"""Gymnasium's classic control: the small physics problems that come with Gymnasium itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.spaces import Box
from puffer.envs.family import declare
from puffer.envs.registered import make_registered, own_limit

FAMILY = "classic-control"
STATELESS = "StatelessCartPole-v1"

HELP = {
    "CartPole-v1": "Keep a pole upright on a cart, 1 a step; 500 is the best return.",
    STATELESS: "CartPole without its velocities: the agent must remember to infer them.",
    "Acrobot-v1": "Swing a two-link pendulum above a line, -1 a step until then.",
    "Pendulum-v1": "Swing a pendulum up and hold it there with a continuous torque.",
    "MountainCar-v0": "Drive a weak car out of a valley by rocking, -1 a step until then.",
    "MountainCarContinuous-v0": "The same with a continuous force; 100 at the top less fuel.",
}


class WithoutVelocities(
    gymnasium.ObservationWrapper[np.ndarray, Any, np.ndarray], gymnasium.utils.RecordConstructorArgs
):
    """CartPole that shows the position of the cart and the angle of the pole, and no velocity.

    The memory test of Wierstra et al. 2007 (Solving Deep Memory POMDPs with Recurrent Policy
    Gradients).
    """

    def __init__(self, env: gymnasium.Env[np.ndarray, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        whole = env.observation_space
        assert isinstance(whole, Box)
        self.observation_space = Box(whole.low[::2], whole.high[::2], dtype=np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return the position and the angle."""
        return observation[::2]


def make(
    name: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: one of `HELP`, Gymnasium's id but for `StatelessCartPole-v1`.
        max_episode_steps: an episode is truncated there; None takes Gymnasium's own limit.
        render_mode: `human`, `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: drawing was asked for and pygame is not installed.
    """
    env = make_registered(
        _gymnasium_id(name), FAMILY, max_episode_steps=max_episode_steps, render_mode=render_mode
    )
    return GymnasiumPufferEnv(WithoutVelocities(env) if name == STATELESS else env, buf=buf)


def _gymnasium_id(name: str) -> str:
    return name.removeprefix("Stateless")


def _defaults(name: str) -> Mapping[str, Any]:
    return own_limit(_gymnasium_id(name))


env_creator, family = declare(FAMILY, make, HELP, defaults=_defaults)
