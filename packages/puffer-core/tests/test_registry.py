"""The registry: names, aliases, near misses, missing packages, broken entry points."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from puffer.core import registry
from puffer.core.errors import MissingPackageError, UnknownEnvError
from puffer.core.registry import EnvFamily, EnvSpec, Option


@dataclasses.dataclass
class Entry:
    name: str
    value: str
    loads: Any

    def load(self) -> Any:
        if isinstance(self.loads, Exception):
            raise self.loads
        return self.loads


def make_spec(name: str) -> EnvSpec:
    return EnvSpec(name, dict, options=(Option("size", 11, "side of the grid"),))


MAZE = EnvFamily(("maze/small", "maze/large"), make_spec, aliases={"small": "maze/small"})
Install = Callable[..., None]


def forget() -> None:
    registry._entry_points.cache_clear()
    registry._load.cache_clear()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make entry points look as given, name=what it loads."""

    def install(**families: Any) -> None:
        entries = [Entry(name, f"puffer_{name}:family", f) for name, f in families.items()]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)
        forget()

    yield install
    forget()


def test_ids_are_listed_and_found_by_id_and_alias(install: Install) -> None:
    install(maze=MAZE)
    assert registry.names() == ("maze/large", "maze/small")
    assert registry.find("maze/large").name == "maze/large"
    assert registry.find("small").name == "maze/small"
    assert registry.find("small").options[0].default == 11
    assert registry.problems() == ()


@pytest.mark.parametrize("first", ["maze", "third"])
def test_a_short_name_takes_nobodys_own_name_away(install: Install, first: str) -> None:
    families = {"maze": MAZE, "third": EnvFamily(("small",), make_spec)}
    install(**{first: families.pop(first), **families})
    assert registry.find("small").name == "small"
    assert registry.find("maze/small").name == "maze/small"


def test_an_unknown_name_is_answered_with_near_ones(install: Install) -> None:
    install(maze=MAZE)
    with pytest.raises(
        UnknownEnvError, match=r"unknown environment 'maze/smal': did you mean maze/small"
    ):
        registry.find("maze/smal")
    install()
    with pytest.raises(UnknownEnvError, match="unknown environment 'x': there is none"):
        registry.find("x")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("puffer_squared", "ocean"),
        ("CartPole-v1", "classic-control"),
        ("classic-control/CartPole-v1", "classic-control"),
        ("toy-text/Taxi-v4", "toy-text"),
        ("LunarLander-v3", "box2d"),
        ("mujoco/Ant-v5", "mujoco"),
        ("breakout", "atari"),
        ("ALE/Pong-v5", "atari"),
        ("minigrid", "minigrid"),
        ("BabyAI-GoToObj-v0", "minigrid"),
        ("pistonball_v6", "butterfly"),
        ("bigfish", "procgen"),
        ("nle", "nethack"),
        ("MiniHack-River-v0", "minihack"),
        ("crafter", "crafter"),
        ("nmmo", "nmmo"),
        ("battle_v4", "magent"),
        ("pokemon_red", "pokemon-red"),
    ],
)
def test_a_missing_package_is_answered_with_the_extra(
    install: Install, name: str, extra: str
) -> None:
    install(maze=MAZE)
    with pytest.raises(
        MissingPackageError,
        match=rf"the environment '{name}' is not installed: "
        rf'pip install "puffer-train\[{extra}\]"',
    ):
        registry.find(name)


def test_a_misspelt_name_of_an_installed_family_is_unknown_not_missing(install: Install) -> None:
    install(ocean=EnvFamily(("puffer_squared",), make_spec))
    with pytest.raises(UnknownEnvError, match="did you mean puffer_squared"):
        registry.find("puffer_sqared")
    install(atari=EnvFamily(("atari/breakout",), make_spec))
    for name in ("atari/breakot", "ALE/Breakot-v5"):
        with pytest.raises(UnknownEnvError, match=r"(did you mean|there is) atari/breakout"):
            registry.find(name)


def test_a_name_that_only_begins_like_a_known_one_is_unknown(install: Install) -> None:
    install()
    for name in ("pongo", "Antarctica-v0", "crafters"):
        with pytest.raises(UnknownEnvError):
            registry.find(name)


def test_a_family_that_does_not_load_is_not_called_missing(install: Install) -> None:
    install(atari=RuntimeError("half installed"))
    with pytest.raises(UnknownEnvError, match=r"unknown environment 'breakout'.*half installed"):
        registry.find("breakout")


def test_a_broken_entry_point_leaves_the_others_working(install: Install) -> None:
    install(broken=RuntimeError("no GPU"), wrong=make_spec, maze=MAZE)
    assert registry.find("small").name == "maze/small"
    does_not_load, is_no_family = registry.problems()
    assert does_not_load == (
        "the entry point broken = puffer_broken:family of group puffer.envs does not load "
        "(RuntimeError: no GPU): reinstall or remove its distribution"
    )
    assert is_no_family == (
        "the entry point wrong = puffer_wrong:family of group puffer.envs is a function, "
        "expected a puffer.core.registry.EnvFamily: correct its distribution"
    )
    with pytest.raises(UnknownEnvError, match=r"unknown environment .zzz.: .*; but .* no GPU"):
        registry.find("zzz")
