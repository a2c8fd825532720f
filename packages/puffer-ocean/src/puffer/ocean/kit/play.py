"""Lets a person play an environment with the keyboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from puffer.core.errors import UsageError
from puffer.core.registry import EnvSpec
from puffer.core.spaces import Box, Discrete
from puffer.ocean.native import OceanEnv
from puffer.ocean.window import CONTROLS as WINDOW_CONTROLS
from puffer.ocean.window import Window

CONTROLS = f"The keys act; in the window: {WINDOW_CONTROLS}"


def play(
    spec: EnvSpec,
    options: Mapping[str, Any],
    *,
    seed: int | None = None,
    speed: float = 1.0,
    max_steps: int | None = None,
    window: Window | None = None,
) -> Iterator[str]:
    """Play until the window is closed, and yield a line for each finished episode.

    An environment whose `keys` have an action for no key (`""`) goes on by itself, others wait for
    a key. Digits are the actions of a Discrete space.

    Args:
        spec: a native environment of one agent.
        options: its own options.
        seed: of the first episode; None is fresh entropy.
        speed: how many times as fast as its own.
        max_steps: stop after this many; None goes on.
        window: where to; None opens one.

    Raises:
        UsageError: it is not native, has several agents, or has no keys.
    """
    if not isinstance(spec.creator, type) or not issubclass(spec.creator, OceanEnv):
        raise UsageError(f"{spec.name} cannot be played: only native environments can")
    env = spec.creator(**{**options, "num_envs": 1, "report_interval": 0})
    if env.num_agents != 1:
        raise UsageError(f"{spec.name} has {env.num_agents} agents: only one can be played")
    keys = action_keys(env)
    window = window or Window(speed)
    yield "Actions: " + ", ".join(f"{key} {_show(keys[key])}" for key in keys if key)
    rate = env.metadata["render_fps"]
    try:
        env.reset(seed)
        window.show(env.picture(), rate)
        steps = 0
        while max_steps is None or steps < max_steps:
            action = _choose(window, keys)
            *_, infos = env.step(np.asarray([action], env.actions.dtype))
            steps += 1
            for info in infos:
                yield (
                    f"score {info['score']:.6g} after {info['episode_length']:.0f} steps"
                    + ("" if np.isnan(info["perf"]) else f", {info['perf']:.0%} of the best")
                )
            window.show(env.picture(), rate)
    finally:
        window.close()
        env.close()


def action_keys(env: OceanEnv) -> dict[str, Any]:
    """Return key -> action: the environment's `keys` and, for a Discrete space, the digits.

    Raises:
        UsageError: there are none.
    """
    keys: dict[str, Any] = {}
    if isinstance(env.single_action_space, Discrete):
        keys = {str(digit): digit for digit in range(min(10, int(env.single_action_space.n)))}
    elif isinstance(env.single_action_space, Box) and env.keys:
        keys = {key: np.asarray(action, np.float32) for key, action in env.keys.items()}
    keys |= {key: action for key, action in env.keys.items() if key not in keys}
    if not keys:
        raise UsageError(f"{type(env).__name__} has no keys to play with: set its `keys`")
    return keys


def _choose(window: Window, keys: Mapping[str, Any]) -> Any:
    """Return the action of the keys that are down, else of none; wait where none has an action."""
    for key in [*window.pressed, *sorted(window.held)]:
        if key in keys:
            return keys[key]
    if "" in keys:
        return keys[""]
    while (key := window.wait_for_key()) not in keys:
        pass
    return keys[key]


def _show(action: Any) -> str:
    return str(action if np.ndim(action) == 0 else np.asarray(action).tolist())
