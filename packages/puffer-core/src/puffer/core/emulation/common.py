"""What the emulations share: finding the environment, attaching buffers, action masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import gymnasium
import numpy as np

from puffer.core.buffers import Buffers
from puffer.core.errors import SpaceError, UsageError

Check = Literal["first", "always", "never"]
_CHECKS = ("first", "always", "never")


def make_env(
    env: Any,
    env_creator: Callable[..., Any] | None,
    env_args: Sequence[Any],
    env_kwargs: Mapping[str, Any] | None,
) -> Any:
    """Return the environment that was given as an instance, a class or a creator.

    Raises:
        UsageError: none or two were given, or arguments with an instance.
    """
    if (env is None) is (env_creator is None):
        raise UsageError("expected either env or env_creator, got both or none")
    source = env if env_creator is None else env_creator
    if not isinstance(source, type) and hasattr(source, "reset") and hasattr(source, "step"):
        if env_args or env_kwargs:
            raise UsageError(
                "env_args and env_kwargs were given with an environment that exists already: "
                "pass its class or a creator"
            )
        return source
    if not callable(source):
        raise UsageError(
            f"{source!r} is no environment: expected an instance, a class or a creator function"
        )
    return source(*env_args, **(env_kwargs or {}))


def pass_order_enforcing(env: gymnasium.Env[Any, Any]) -> None:
    """Let the steps of an `env` that was reset go past Gymnasium's OrderEnforcing, if it has one.

    `gymnasium.make` adds that wrapper. From the first reset on it only passes steps on, which takes
    0.2 microseconds: a twentieth of a step of CartPole.
    """
    while isinstance(env, gymnasium.Wrapper):
        if type(env) is gymnasium.wrappers.OrderEnforcing and env.has_reset:
            env.step = env.env.step  # type: ignore[method-assign]
        env = env.env


def check_mode(check: str) -> Check:
    """Return `check` if there is such a mode."""
    if check not in _CHECKS:
        raise UsageError(f"check={check!r}: expected one of {', '.join(map(repr, _CHECKS))}")
    return check  # type: ignore[return-value]


def outcome_writer(buf: Buffers, row: int, name: str) -> Callable[[Any, bool, bool], None]:
    """Return a function that writes the reward, terminal and truncation of a live agent's step.

    Args:
        buf: where to.
        row: the agent's.
        name: how an error calls the reward.
    """
    # Memory views: twice as fast as arrays for one number, and None is no number to them.
    rewards, terminals, truncations, masks = (
        array.data for array in (buf.rewards, buf.terminals, buf.truncations, buf.masks)
    )

    def write(reward: Any, terminal: bool, truncation: bool) -> None:
        try:
            rewards[row] = reward
        except (TypeError, ValueError):
            raise SpaceError(f"{name}: expected a number, got {reward!r}") from None
        terminals[row] = terminal
        truncations[row] = truncation
        masks[row] = True

    return write


def fill_action_mask(row: np.ndarray, observation: Any, info: Mapping[str, Any], name: str) -> None:
    """Write the action mask that an environment gave, or True everywhere if it gave none.

    Environments give it as `info["action_mask"]` or as a key of a Dict observation: one array of
    the sum of nvec, or a tuple with an array for each component. A mask that allows nothing (of an
    agent that waits for its turn) is written as True everywhere, since nobody could sample from it.
    """
    mask = info.get("action_mask")
    if mask is None and isinstance(observation, Mapping):
        mask = observation.get("action_mask")
    if mask is None:
        row[...] = True
        return
    if isinstance(mask, tuple | list):
        mask = np.concatenate([np.ravel(part) for part in mask])
    if np.shape(mask) != row.shape:
        raise SpaceError(f"{name} has shape {np.shape(mask)}, expected {row.shape}")
    row[...] = mask if np.any(mask) else True
