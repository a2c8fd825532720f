"""MuJoCo: Gymnasium's robots of version 5, with observations in single precision."""

from __future__ import annotations

import os
import sys
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import MissingPackageError
from puffer.envs.family import declare
from puffer.envs.load import quiet, require
from puffer.envs.registered import make_registered, own_limit

FAMILY = "mujoco"

HELP = {
    "HalfCheetah-v5": "Run with a two-legged cheetah in a plane.",
    "Ant-v5": "Walk with a four-legged ant.",
    "Hopper-v5": "Hop on one leg.",
    "Walker2d-v5": "Walk on two legs in a plane.",
    "Humanoid-v5": "Walk with a humanoid of 17 joints.",
    "HumanoidStandup-v5": "Stand up with it.",
    "Swimmer-v5": "Swim with a snake of three links.",
    "Reacher-v5": "Reach for a point with an arm of two joints.",
    "Pusher-v5": "Push a cylinder to its place with an arm of seven joints.",
    "InvertedPendulum-v5": "Keep a pole upright on a cart.",
    "InvertedDoublePendulum-v5": "Keep two poles, one upon the other, upright on a cart.",
}


class Drawn(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Says what a machine without OpenGL lacks, where drawing fails."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def render(self) -> Any:
        """Return what the environment draws."""
        try:
            with quiet():
                return self.env.render()
        except Exception as error:
            raise MissingPackageError(
                f"drawing {self.unwrapped.spec.id if self.unwrapped.spec else self} needs OpenGL, "
                f"which does not work ({error}): apt install libegl1, and set MUJOCO_GL=egl"
            ) from error


def make(
    name: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Without a display it is drawn through EGL, unless the variable MUJOCO_GL says otherwise.

    Args:
        name: one of `HELP`, Gymnasium's id.
        max_episode_steps: an episode is truncated there; None takes Gymnasium's own limit.
        render_mode: `human`, `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: MuJoCo, or what it draws with, is not installed.
    """
    if render_mode == "rgb_array" and sys.platform == "linux" and "DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")
    engine: Any = require("mujoco", FAMILY, name)
    warned = engine.get_mju_user_warning()
    # The engine writes to standard error that a model of Gymnasium's uses what is deprecated.
    engine.set_mju_user_warning(lambda message: None)
    try:
        env = make_registered(
            name,
            FAMILY,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            drawn_by="imageio",
        )
    finally:
        engine.set_mju_user_warning(warned)
    with quiet():  # bounds lose precision
        env = gymnasium.wrappers.DtypeObservation(env, np.float32)
    return GymnasiumPufferEnv(env if render_mode is None else Drawn(env), buf=buf)


env_creator, family = declare(FAMILY, make, HELP, defaults=own_limit)
