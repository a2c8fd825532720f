"""Gymnasium's classic control: the small physics problems that come with Gymnasium itself."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Callable
from typing import Any

import gymnasium

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UnknownEnvError, UsageError, near
from puffer.core.registry import EnvFamily, EnvSpec, Option
from puffer.envs.load import require

FAMILY = "classic-control"
RENDER_MODES = ("human", "rgb_array")

# Gymnasium's id -> what it is.
HELP = {
    "CartPole-v1": "Keep a pole upright on a cart, 1 a step; 500 is the best return.",
    "Acrobot-v1": "Swing a two-link pendulum above a line, -1 a step until then.",
    "Pendulum-v1": "Swing a pendulum up and hold it there with a continuous torque.",
}


def env_creator(name: str = "CartPole-v1") -> Callable[..., GymnasiumPufferEnv]:
    """Return a creator of `name`: a function of `make`'s keywords, `buf` among them.

    Args:
        name: an id of Gymnasium's (`CartPole-v1`) or of the registry
            (`classic-control/CartPole-v1`).

    Raises:
        UnknownEnvError: any other name; lists the nearest ones.
    """
    short = name.removeprefix(f"{FAMILY}/")
    if short not in HELP:
        raise UnknownEnvError(f"unknown environment {name!r}: {near(short, HELP)}")
    return functools.partial(make, short)


def make(
    name: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: Gymnasium's id.
        max_episode_steps: an episode is truncated there; None takes Gymnasium's own limit.
        render_mode: `human`, `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: drawing was asked for and pygame is not installed.
    """
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UsageError(f"max_episode_steps={max_episode_steps}: expected an integer >= 1")
    if render_mode is not None:
        if render_mode not in RENDER_MODES:
            raise UsageError(
                f"render_mode={render_mode!r}: {name} draws as {' or '.join(RENDER_MODES)}"
            )
        require("pygame", FAMILY, f"drawing {name}")
    env: gymnasium.Env[Any, Any] = gymnasium.make(
        name,
        max_episode_steps=max_episode_steps,
        render_mode=render_mode,
        disable_env_checker=True,  # emulation checks, once
    )
    return GymnasiumPufferEnv(env, buf=buf)


def _load(full_name: str) -> EnvSpec:
    name = full_name.removeprefix(f"{FAMILY}/")
    limit = gymnasium.spec(name).max_episode_steps
    assert limit is not None  # each of HELP has one
    return EnvSpec(
        name=full_name,
        creator=env_creator(name),
        options=(Option("max_episode_steps", limit, "an episode is truncated there"),),
        settings=_settings()[name],
        help=HELP[name],
    )


@functools.cache
def _settings() -> dict[str, Any]:
    file = importlib.resources.files("puffer.envs") / "classic_control.toml"
    return tomllib.loads(file.read_text("utf-8"))


family = EnvFamily(
    ids=tuple(f"{FAMILY}/{name}" for name in HELP),
    load=_load,
    aliases={name: f"{FAMILY}/{name}" for name in HELP},
)
