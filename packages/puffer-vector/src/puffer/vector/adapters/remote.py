"""What adapters ask of one environment, called in the process in which it lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from puffer.core.errors import UsageError
from puffer.vector.recipe import own_env


def get_attribute(env: Any, name: str) -> Any:
    """Return the attribute `name` of the environment or of a wrapper in it."""
    own = own_env(env)
    return own.get_wrapper_attr(name) if isinstance(own, gymnasium.Env) else getattr(own, name)


def set_attribute(env: Any, name: str, value: Any) -> None:
    """Set the attribute `name` of the environment's outermost wrapper."""
    setattr(own_env(env), name, value)


def call(env: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what the method `name` returns, or the attribute if it is none."""
    attribute = get_attribute(env, name)
    return attribute(*args, **kwargs) if callable(attribute) else attribute


def render(env: Any) -> Any:
    """Return what the environment renders."""
    return env.render()


def is_wrapped(env: Any, wrapper: type) -> bool:
    """Return whether the environment is, or has in it, a wrapper of that class."""
    own = own_env(env)
    while isinstance(own, gymnasium.Wrapper):
        if isinstance(own, wrapper):
            return True
        own = own.env
    return False


def set_next_step(env: Any) -> None:
    """Have the environment spend a step on each reset."""
    if not hasattr(env, "resets_next_step"):
        raise UsageError(
            f"{type(env.driver_env).__name__} begins the next episode itself: expected "
            "autoreset_mode SAME_STEP"
        )
    env.resets_next_step = True


def set_reset_options(env: Any, options: Mapping[str, Any]) -> None:
    """Have the next reset give `options` to the environment."""
    if not hasattr(env, "reset_options"):
        raise UsageError(
            f"{type(env).__name__} takes no options at its reset: leave out options={options!r}"
        )
    env.reset_options = dict(options)
