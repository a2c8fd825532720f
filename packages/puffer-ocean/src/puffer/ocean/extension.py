"""Compiled extensions: found, checked, and read for what their environments look like."""

from __future__ import annotations

import functools
import importlib
import secrets
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np

from puffer.core.errors import MissingPackageError, PufferError, UsageError
from puffer.core.spaces import Box, Discrete, FlatActionSpace, MultiDiscrete

RENDER_MODES = ("rgb_array", "human", "ansi")  # of what draws; see render.py

PROTOCOL = 4  # the `PUFFER_OCEAN_PROTOCOL` of the extensions that this file can drive

OptionValue = bool | int | float | str


class Extension(Protocol):
    """What `puffer_add_envs` of the CMake package compiles."""

    __puffer_protocol__: int

    def names(self) -> list[str]:
        """Return the environments of this extension."""

    def describe(self, name: str) -> dict[str, Any]:
        """Return what holds of an environment whatever its options are.

        The keys are `options` (name, default, help), `stats`, `draws`, `masks`, `saves`,
        `kernels`, the compiled forms that this machine can run, and `observation_dtypes`, its own
        before those that it can be asked for.
        """

    Engine: Any


@functools.cache
def load(module: str) -> Extension:
    """Return the compiled extension of that name.

    Raises:
        MissingPackageError: it was not built for this Python.
        PufferError: it was built with other headers than this puffer-ocean's.
    """
    try:
        extension = importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"the compiled extension {module} does not load ({error}): "
            "reinstall its distribution, which needs a C++20 compiler"
        ) from error
    built = getattr(extension, "__puffer_protocol__", None)
    if built != PROTOCOL:
        raise PufferError(
            f"{module} was built for protocol {built} and this puffer-ocean speaks {PROTOCOL}: "
            "reinstall the older one of the two"
        )
    return cast(Extension, extension)


def seed_or_entropy(seed: int | None) -> int:
    """Return `seed`, or a fresh one for None.

    Raises:
        UsageError: a seed that is no integer from 0 to 2**63 - 1.
    """
    if seed is None:
        return secrets.randbits(62)
    if not _is_integer(seed) or not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed!r}: expected an integer from 0 to 2**63 - 1, or None")
    return int(seed)


def count(name: str, value: Any) -> int:
    """Return `value`, a number of things, for the native engine, which knows the least of each.

    Raises:
        UsageError: no integer, or none that 32 bits hold.
    """
    if _is_integer(value) and -(2**31) <= value < 2**31:
        return int(value)
    raise UsageError(f"{name}={value!r}: expected an integer below 2**31")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def count_threads(num_threads: int | str) -> int:
    """Return what the native engine takes for `num_threads`: 0 is to find out what pays."""
    if isinstance(num_threads, str) and num_threads == "auto":
        return 0
    if not _is_integer(num_threads) or not 0 <= int(num_threads) < 2**31:
        raise UsageError(
            f"num_threads={num_threads!r}: expected at least 1, or 0 or 'auto' to measure what pays"
        )
    return int(num_threads)


def values_for(option: str, values: Any, num_envs: int) -> np.ndarray:
    """Return one value of an option for each simulation; a single one stands for all.

    Raises:
        UsageError: another number of values.
    """
    array = np.asarray(values)
    if array.shape not in ((), (num_envs,)):
        raise UsageError(
            f"option {option} has values of shape {array.shape}: expected one value, or one for "
            f"each of {num_envs} simulations"
        )
    return np.ascontiguousarray(np.broadcast_to(array, (num_envs,)))


def observation_space(spec: Mapping[str, Any]) -> Box:
    """Return the space of one agent's observations."""
    shape, dtype = tuple(spec["observation_shape"]), np.dtype(spec["observation_dtype"])
    low, high = (_bound(spec[name], shape, dtype) for name in ("low", "high"))
    return Box(low, high, dtype=dtype.type)


def action_space(spec: Mapping[str, Any]) -> FlatActionSpace:
    """Return the space of one agent's actions."""
    nvec = spec["nvec"]
    if not nvec:
        low, high, shape = spec["action_low"], spec["action_high"], (spec["action_size"],)
        return Box(low, high, shape, np.float32)
    return Discrete(nvec[0]) if len(nvec) == 1 else MultiDiscrete(nvec)


def _bound(bound: list[float], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    with np.errstate(over="ignore"):  # beyond what float16 holds is infinity, as it is in rows
        values = np.asarray(bound, dtype)
    return np.full(shape, values[0], dtype) if len(values) == 1 else values.reshape(shape)
