"""Declare a family of environments: its `make` and a table of names are all that it must write."""

from __future__ import annotations

import functools
import importlib.resources
import inspect
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from puffer.core.errors import UnknownEnvError, near
from puffer.core.registry import EnvFamily, EnvSpec, Option

Creator = Callable[..., Any]
COMMON = "all"  # the table of a family's TOML that holds for each of its environments


def declare(
    family: str,
    make: Creator,
    help: Mapping[str, str],
    *,
    default: str | None = None,
    aliases: Mapping[str, str] | None = None,
    policy: str | Mapping[str, str] | None = None,
    defaults: Callable[[str], Mapping[str, Any]] | None = None,
) -> tuple[Callable[..., Creator], EnvFamily]:
    """Return `env_creator(name)` and the `family` for the entry point.

    The training settings are in a TOML beside the module, of the same name: tables such as
    `["CartPole-v1".train]`, over those of `[all.train]`.

    Args:
        family: the extra that brings it; ids are `family/name`.
        make: `make(name, *, ..., render_mode=None, buf=None)` returns an environment, emulated or
            native. Its keywords become options, with the help that the docstring gives under
            `Args:`, where their default is a bool, a number or a string.
        help: name -> what it is. The names are aliases of the ids.
        default: the name that `env_creator()` takes; None: the first.
        aliases: further name -> name.
        policy: `module:Class`, for all or by name; None: the default one.
        defaults: given a name, returns the options whose default it decides.
    """
    others = dict(aliases or {})

    def env_creator(name: str = default or next(iter(help))) -> Creator:
        """Return a creator of `name`: a function of `make`'s keywords, `buf` among them.

        Args:
            name: a name of the family, with or without it in front, or an alias.

        Raises:
            UnknownEnvError: any other name; lists the nearest ones.
        """
        short = name.removeprefix(f"{family}/")
        short = others.get(short, short)
        if short not in help:
            raise UnknownEnvError(f"unknown environment {name!r}: {near(short, [*help, *others])}")
        return functools.partial(make, short)

    def load(full_name: str) -> EnvSpec:
        name = full_name.removeprefix(f"{family}/")
        return EnvSpec(
            name=full_name,
            creator=env_creator(name),
            options=_options(make, {} if defaults is None else defaults(name)),
            settings=_settings(make.__module__, name),
            policy=policy.get(name) if isinstance(policy, Mapping) else policy,
            help=help[name],
        )

    ids = {name: f"{family}/{name}" for name in help}
    known = {**ids, **{alias: ids[name] for alias, name in others.items()}}
    return env_creator, EnvFamily(ids=tuple(ids.values()), load=load, aliases=known)


def _options(make: Creator, defaults: Mapping[str, Any]) -> tuple[Option, ...]:
    """Return an option for each keyword of `make` that has a default a flag can show."""
    described = _described(make)
    options = []
    for name, parameter in inspect.signature(make).parameters.items():
        default = defaults.get(name, parameter.default)
        if parameter.kind is parameter.KEYWORD_ONLY and isinstance(
            default, bool | int | float | str
        ):
            options.append(Option(name, default, described.get(name, "")))
    return tuple(options)


def _described(function: Creator) -> dict[str, str]:
    """Return parameter -> what the docstring says of it."""
    section = (inspect.getdoc(function) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in found}


def _settings(module: str, name: str) -> dict[str, Any]:
    """Return the training settings of one environment: its tables over the common ones."""
    tables = _read(module)
    merged: dict[str, Any] = {}
    for source in (tables.get(COMMON, {}), tables.get(name, {})):
        for section, table in source.items():
            merged[section] = {**merged.get(section, {}), **table}
    return merged


@functools.cache
def _read(module: str) -> dict[str, Any]:
    package, _, stem = module.rpartition(".")
    file = importlib.resources.files(package) / PurePosixPath(f"{stem}.toml")
    return tomllib.loads(file.read_text("utf-8"))
