"""Environments by name: distributions offer families through the entry-point group `puffer.envs`.

A distribution registers one family in its pyproject.toml:

    [project.entry-points."puffer.envs"]
    maze = "puffer_maze:family"

where `puffer_maze.family` is an `EnvFamily`. From then on `puffer-train --env NAME` finds its ids.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from puffer.core.errors import MissingPackageError, UnknownEnvError, near

if TYPE_CHECKING:
    import importlib.metadata

GROUP = "puffer.envs"

# Entry point, and extra of puffer-train -> patterns of the names that it brings.
_EXTRAS = {
    "ocean": ("puffer_*",),
    "classic-control": (
        "CartPole-v*",
        "StatelessCartPole-v*",
        "Acrobot-v*",
        "Pendulum-v*",
        "MountainCar*-v*",
    ),
    "toy-text": ("FrozenLake*-v*", "Taxi-v*", "Blackjack-v*", "CliffWalking*-v*"),
    "box2d": ("LunarLander*-v*", "BipedalWalker*-v*", "CarRacing-v*"),
    "mujoco": (
        "HalfCheetah-v*",
        "Ant-v*",
        "Hopper-v*",
        "Humanoid*-v*",
        "Walker2d-v*",
        "Swimmer-v*",
        "Reacher-v*",
        "Pusher-v*",
        "Inverted*Pendulum-v*",
    ),
    "atari": ("ALE/*", "breakout", "pong", "*NoFrameskip-v4"),
    "minigrid": ("MiniGrid-*", "BabyAI-*"),
    "butterfly": ("knights_archers_zombies*", "pistonball*", "cooperative_pong*"),
    "magent": ("battle_v*", "battlefield_v*", "gather_v*", "combined_arms_v*", "tiger_deer_v*"),
    "procgen": ("bigfish", "coinrun", "procgen-*"),
    "nethack": ("nle", "NetHack*-v0"),
    "minihack": ("MiniHack-*",),
    "crafter": ("Crafter*",),
    "nmmo": ("neural-mmo", "neural_mmo"),
    "pokemon-red": ("pokemon_red",),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One keyword argument of an environment's creator; its type is that of the default."""

    name: str
    default: bool | int | float | str
    help: str


@dataclasses.dataclass(frozen=True, slots=True)
class EnvSpec:
    """What a name stands for.

    Attributes:
        name: the full id.
        creator: called with the options as keywords (and `buf` where it takes it), returns an env.
        options: the keywords that users may set.
        settings: training settings as the TOML has them: tables `train`, `vec`, `env`, `policy`.
        policy: `module:Class` of the policy made for this environment, or None for the default.
        baseline: a checkpoint that ships with the environment, or None.
        help: one line on what it is.
    """

    name: str
    creator: Callable[..., Any]
    options: tuple[Option, ...] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    policy: str | None = None
    baseline: str | None = None
    help: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class EnvFamily:
    """The environments of one distribution.

    Attributes:
        ids: every name that the family can list.
        load: given one of its ids, returns the spec; import the heavy parts here.
        aliases: short name -> id.
    """

    ids: tuple[str, ...]
    load: Callable[[str], EnvSpec]
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)


@functools.cache
def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Return those of our group by name, whether they load or not."""
    import importlib.metadata  # half the time of importing Puffer: who asks for no name needs none

    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


@functools.cache
def _load() -> tuple[dict[str, EnvFamily], tuple[str, ...]]:
    found: dict[str, EnvFamily] = {}
    problems = []
    for entry in _entry_points().values():
        where = f"the entry point {entry.name} = {entry.value} of group {GROUP}"
        try:
            family = entry.load()
        except Exception as error:
            problems.append(
                f"{where} does not load ({type(error).__name__}: {error}): "
                "reinstall or remove its distribution"
            )
            continue
        if isinstance(family, EnvFamily):
            found[entry.name] = family
        else:
            problems.append(
                f"{where} is a {type(family).__name__}, "
                "expected a puffer.core.registry.EnvFamily: correct its distribution"
            )
    return found, tuple(problems)


def families() -> dict[str, EnvFamily]:
    """Return entry point -> family, for every installed distribution that offers one."""
    return _load()[0]


def problems() -> tuple[str, ...]:
    """Return a sentence for each entry point that gives no family; the others work without it."""
    return _load()[1]


def names() -> tuple[str, ...]:
    """Return the ids of all installed families, sorted."""
    return tuple(sorted(name for family in families().values() for name in family.ids))


def find(name: str) -> EnvSpec:
    """Return what `name`, an id or an alias, stands for.

    Raises:
        MissingPackageError: a known name whose package is not installed; says what to install.
        UnknownEnvError: any other name; lists the nearest ones.
    """
    for family in families().values():
        if name in family.ids:
            return family.load(name)
    for family in families().values():  # a short name takes nobody's own name away
        if (full := family.aliases.get(name)) in family.ids:
            return family.load(full)
    extra = _extra_of(name)
    if extra is not None and extra not in _entry_points():
        raise MissingPackageError(
            f'the environment {name!r} is not installed: pip install "puffer-train[{extra}]"'
        )
    aliases = [alias for family in families().values() for alias in family.aliases]
    sentence = f"unknown environment {name!r}: {near(name, [*names(), *aliases])}"
    raise UnknownEnvError("; but ".join([sentence, *problems()]))


def _extra_of(name: str) -> str | None:
    """Return the extra to which `name` belongs by its looks."""
    for extra, patterns in _EXTRAS.items():
        every = (extra, f"{extra}/*", *patterns)
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in every):
            return extra
    return None
