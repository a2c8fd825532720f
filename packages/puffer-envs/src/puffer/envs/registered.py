"""What Gymnasium's own registry makes: limits, render modes, and what drawing needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from puffer.core.errors import UsageError
from puffer.envs.load import quiet, require


def make_registered(
    name: str,
    family: str,
    *,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    render_modes: Sequence[str] = ("human", "rgb_array"),
    drawn_by: str = "pygame",
    **kwargs: Any,
) -> gymnasium.Env[Any, Any]:
    """Return the environment that Gymnasium calls `name`.

    Args:
        name: Gymnasium's id.
        family: ours, the extra that brings what draws it.
        max_episode_steps: an episode is truncated there; None takes Gymnasium's own limit.
        render_mode: one of `render_modes`, or None.
        render_modes: those that there are.
        drawn_by: the package that drawing needs.
        **kwargs: the environment's own.

    Raises:
        UsageError: a limit below 1, or a render mode that there is not.
        MissingPackageError: drawing was asked for and its package is not installed.
    """
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UsageError(f"max_episode_steps={max_episode_steps}: expected an integer >= 1")
    check_render_mode(name, render_mode, render_modes)
    if render_mode is not None and render_mode != "ansi":
        require(drawn_by, family, f"drawing {name}")
    with quiet():
        return gymnasium.make(
            name,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            disable_env_checker=True,  # emulation checks, once
            **kwargs,
        )


def check_render_mode(name: str, render_mode: str | None, known: Sequence[str]) -> None:
    """Refuse a render mode that `name` has not, and a window where there is no display."""
    if render_mode is not None and render_mode not in known:
        raise UsageError(f"render_mode={render_mode!r}: {name} draws as {' or '.join(known)}")
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if render_mode == "human" and sys.platform == "linux" and not os.environ.keys() & displays:
        raise UsageError(
            f"render_mode='human': there is no display for the window of {name}: set DISPLAY, or "
            "draw with render_mode='rgb_array' (puffer-train: --video FILE)"
        )


def own_limit(name: str) -> Mapping[str, Any]:
    """Return the option `max_episode_steps` with Gymnasium's limit for `name`, if it has one."""
    limit = gymnasium.spec(name).max_episode_steps
    return {} if limit is None else {"max_episode_steps": limit}


def newest(name: str) -> str:
    """Return the id of the highest installed version of what `name`, such as `Taxi-v4`, names."""
    stem = name.rpartition("-v")[0]
    found = [spec for spec in gymnasium.registry.values() if spec.name == stem]
    return max(found, key=lambda spec: spec.version or 0).id if found else name
