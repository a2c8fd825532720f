"""Calls: functions that the caller sends to environments in worker processes, and the answers."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from puffer.core.errors import UsageError


def choose_envs(envs: Iterable[int] | None, total: int) -> list[int]:
    """Return the numbers of the environments that are meant: all if None.

    Raises:
        UsageError: there is no environment of that number.
    """
    if envs is None:
        return list(range(total))
    chosen = list(envs)
    for number in chosen:
        if not 0 <= number < total:
            raise UsageError(f"there is no env {number}: expected 0 to {total - 1}")
    return chosen


def pack_call(function: Callable[..., Any], args: Sequence[Any]) -> bytes:
    """Return the message that asks a worker for `function(env, *args)`.

    Raises:
        UsageError: they cannot be sent.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps((function, args)))
    except Exception as error:  # pickle raises all kinds
        raise UsageError(
            f"{function} or its arguments cannot be sent to a worker process ({error}): "
            "use backend Serial, or what can be pickled"
        ) from error


def answer_call(envs: Sequence[Any], message: bytes) -> bytes:
    """Return the pickled results of the call for each of `envs`, or raise what it raises."""
    import cloudpickle

    function, args = pickle.loads(message)
    return bytes(cloudpickle.dumps([function(env, *args) for env in envs]))
