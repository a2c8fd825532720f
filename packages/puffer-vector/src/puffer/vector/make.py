"""make: the one function that turns creators into a vector environment."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from puffer.core.errors import UsageError, near
from puffer.vector.alternating import Alternating
from puffer.vector.multiprocess import Multiprocessing
from puffer.vector.native import Native
from puffer.vector.protocol import VectorEnv
from puffer.vector.recipe import Creator, Recipe
from puffer.vector.serial import Serial

BACKENDS: Mapping[str, type[VectorEnv]] = {
    "serial": Serial,
    "multiprocessing": Multiprocessing,
    "native": Native,
    "alternating": Alternating,
}


def make(
    env_creator_or_creators: Creator | Sequence[Creator],
    env_args: Sequence[Any] | None = None,
    env_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    backend: type[VectorEnv] | str = Serial,
    num_envs: int = 1,
    **options: Any,
) -> VectorEnv:
    """Return `num_envs` environments behind one set of arrays.

    A creator returns a PufferEnv, or a plain Gymnasium or PettingZoo environment, which is emulated
    here. One with a parameter named `buf` is given its rows of the joint buffers.

    Args:
        env_creator_or_creators: called once per environment; or a list with one creator each.
        env_args: positional arguments of all creators; with a list of creators, one list each.
        env_kwargs: keyword arguments of all creators, or a list with one dict each.
        backend: Serial, Multiprocessing, Native or Alternating, or such a name in any case.
        num_envs: how many environments.
        **options: the backend's own, see its class.

    Raises:
        UsageError: arguments that do not fit together, or an option that the backend has not.
        WorkerError: a worker process failed to start.
    """
    backend_class = _find_backend(backend)
    _check_options(backend_class, options)
    recipes = _make_recipes(env_creator_or_creators, env_args, env_kwargs, num_envs)
    return backend_class(recipes, **options)  # type: ignore[call-arg]


def _find_backend(backend: object) -> type[VectorEnv]:
    if isinstance(backend, type) and issubclass(backend, VectorEnv):
        return backend
    if not isinstance(backend, str):
        raise UsageError(
            f"backend={backend!r}: expected a backend class or one of {', '.join(BACKENDS)}"
        )
    name = backend.lower()
    if name == "ray":
        raise UsageError('backend="ray" is not part of this version: use "multiprocessing"')
    if name not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}: {near(name, BACKENDS)}")
    return BACKENDS[name]


def _check_options(backend: type[VectorEnv], options: Mapping[str, Any]) -> None:
    valid = [
        name
        for name, parameter in inspect.signature(backend).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for name in options:
        if name not in valid:
            raise UsageError(
                f"unknown option {name!r} of backend {backend.__name__}: it has {', '.join(valid)}"
            )


def _make_recipes(creators: Any, args: Any, kwargs: Any, num_envs: int) -> list[Recipe]:
    """Return one recipe per environment from shared or separate creators and arguments."""
    if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise UsageError(f"num_envs={num_envs!r}: expected an integer >= 1")
    if callable(creators):
        creators = [creators] * num_envs
    creators = _one_each("env_creator_or_creators", creators, num_envs)
    for index, creator in enumerate(creators):
        if not callable(creator):
            raise UsageError(
                f"env creator {index} is {creator!r}: expected a class or function that returns "
                "an environment"
            )
    return [
        Recipe(creator, tuple(own_args), dict(own_kwargs))
        for creator, own_args, own_kwargs in zip(
            creators, _split_args(args, num_envs), _split_kwargs(kwargs, num_envs), strict=True
        )
    ]


def _split_args(args: Any, num_envs: int) -> Sequence[Any]:
    if args is None:
        return [()] * num_envs
    if not isinstance(args, list | tuple):
        raise UsageError(f"env_args={args!r}: expected a list, or a list with one list per env")
    if args and all(isinstance(own, list | tuple) for own in args):
        return _one_each("env_args", args, num_envs)
    return [args] * num_envs


def _split_kwargs(kwargs: Any, num_envs: int) -> Sequence[Any]:
    if kwargs is None:
        return [{}] * num_envs
    if isinstance(kwargs, Mapping):
        return [kwargs] * num_envs
    if not isinstance(kwargs, list | tuple) or not all(isinstance(k, Mapping) for k in kwargs):
        raise UsageError(f"env_kwargs={kwargs!r}: expected a dict, or a list with one dict per env")
    return _one_each("env_kwargs", kwargs, num_envs)


def _one_each(name: str, values: Any, num_envs: int) -> Sequence[Any]:
    if not isinstance(values, list | tuple):
        raise UsageError(f"{name}={values!r}: expected a callable, or a list with one per env")
    if len(values) != num_envs:
        raise UsageError(f"{name} has {len(values)} entries, expected num_envs={num_envs} of them")
    return values
