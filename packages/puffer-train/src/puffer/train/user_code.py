"""Environments and policies of the user's own, named as `package.module:attribute`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from puffer.core import registry
from puffer.core.errors import UsageError, near
from puffer.core.registry import EnvSpec, Option

_NOT_OPTIONS = ("self", "buf", "render_mode")


@contextmanager
def current_folder_importable() -> Iterator[None]:
    """Let modules of the current folder be imported, as under `python -m`."""
    folder = os.getcwd()
    if "" in sys.path or folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def load_object(name: str, flag: str) -> Any:
    """Return what `package.module:attribute` names.

    Raises:
        UsageError: the module does not import, or has no such attribute.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"{flag} {name}: expected package.module:attribute")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{flag} {name}: {error}: expected a module of the current folder ({os.getcwd()}) or "
            "an installed one"
        ) from error
    except Exception as error:
        raise UsageError(
            f"{flag} {name}: {module_name} does not import ({type(error).__name__}: {error})"
        ) from error
    if not hasattr(module, attribute):
        known = near(attribute, [n for n in vars(module) if not n.startswith("_")])
        raise UsageError(f"{flag} {name}: {module_name} has no {attribute}: {known}")
    return getattr(module, attribute)


def find_env(name: str) -> EnvSpec:
    """Return the environment of that name: one of the registry's, or `package.module:creator`.

    The creator may return a Gymnasium, a PettingZoo or a PufferEnv environment. Those of its
    parameters whose default is a bool, a number or a string become `--env.KEY`.

    Raises:
        UsageError: it is neither.
    """
    if ":" not in name:
        return registry.find(name)
    creator = load_object(name, "--env")
    if not callable(creator):
        raise UsageError(
            f"--env {name}: is a {type(creator).__name__}, expected a class or function that "
            "returns an environment"
        )
    doc = (inspect.getdoc(creator) or "").partition("\n")[0]
    return EnvSpec(name, creator, _options(creator), help=doc or "An environment of your own.")


def _options(creator: Callable[..., Any]) -> tuple[Option, ...]:
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(
        Option(p.name, p.default, f"a parameter of {getattr(creator, '__name__', 'the creator')}")
        for p in parameters
        if p.name not in _NOT_OPTIONS
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and isinstance(p.default, bool | int | float | str)
    )
