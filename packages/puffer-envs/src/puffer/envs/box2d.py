"""Gymnasium's Box2D: landing, walking and driving in a two-dimensional world."""

from __future__ import annotations

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.envs.family import declare
from puffer.envs.load import require
from puffer.envs.registered import make_registered, own_limit

FAMILY = "box2d"

HELP = {
    "LunarLander-v3": "Land between two flags with three engines; 200 counts as solved.",
    "LunarLanderContinuous-v3": "The same with engines that can be throttled.",
    "BipedalWalker-v3": "Walk to the far end on two legs of two joints; 300 counts as solved.",
    "BipedalWalkerHardcore-v3": "The same over stumps, pits and stairs.",
    "CarRacing-v3": "Drive a new track each time, seen from above; 900 counts as solved.",
}


def make(
    name: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: one of `HELP`, Gymnasium's id.
        max_episode_steps: an episode is truncated there; None takes Gymnasium's own limit.
        render_mode: `human`, `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: Box2D or pygame is not installed.
    """
    require("Box2D", FAMILY, name, below=(3, 14))
    if name == "CarRacing-v3":
        require("pygame", FAMILY, name)  # also what the agent sees is drawn by it
    env = make_registered(
        name, FAMILY, max_episode_steps=max_episode_steps, render_mode=render_mode
    )
    return GymnasiumPufferEnv(env, buf=buf)


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    defaults=own_limit,
    policy={"CarRacing-v3": "puffer.train.models:Convolutional"},
)
