"""Every family: its environments keep their contracts, repeat themselves, and leave no traces."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from game_boy import write_rom
from gymnasium.utils.env_checker import check_env as check_gymnasium

import puffer.vector
from puffer.core import PufferEnv, registry, testing
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import MissingPackageError, UnknownEnvError
from puffer.core.registry import EnvSpec

STEPS = 1000
PREFIX = "puffer.envs."


@dataclasses.dataclass(frozen=True)
class Case:
    """What is tested of one family.

    Attributes:
        names: representative ones, without the family's.
        module: what the extra brings; an environment may be missing only where this is.
        options: of the creator, for all of them.
        unrepeatable: why the same seed does not give the same trajectory; "" if it does.
        steps: name -> steps that it is played for, where 1,000 would take minutes.
        package: the distribution whose version counts; "" is that of the module.
    """

    names: tuple[str, ...]
    module: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unrepeatable: str = ""
    steps: Mapping[str, int] = dataclasses.field(default_factory=dict)
    package: str = ""

    def steps_of(self, name: str) -> int:
        return self.steps.get(name.partition("/")[2], STEPS)


CASES = {
    "atari": Case(("breakout", "pong", "montezuma_revenge"), "ale_py"),
    "box2d": Case(("LunarLander-v3", "BipedalWalker-v3", "CarRacing-v3"), "Box2D"),
    "butterfly": Case(
        ("knights_archers_zombies", "cooperative_pong", "pistonball"),
        "pymunk",
        {"max_cycles": 60},
        steps={"cooperative_pong": 250, "pistonball": 200},
        package="pettingzoo",
    ),
    "crafter": Case(
        ("CrafterReward-v1",), "crafter", {"area": 24}, steps={"CrafterReward-v1": 400}
    ),
    "magent": Case(
        ("battle", "adversarial_pursuit", "tiger_deer"),
        "magent2",
        {"max_cycles": 100},
        steps={"battle": 150, "adversarial_pursuit": 150, "tiger_deer": 150},
        package="magent2",
    ),
    "minigrid": Case(
        ("MiniGrid-DoorKey-5x5-v0", "MiniGrid-Fetch-8x8-N3-v0", "BabyAI-GoTo-v0"), "minigrid"
    ),
    "mujoco": Case(
        ("HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5"), "mujoco", package="mujoco"
    ),
    "nmmo": Case(
        ("nmmo",),
        "nmmo",
        {"num_agents": 16, "max_cycles": 60},
        steps={"nmmo": 150},
        package="nmmo",
    ),
    "pokemon-red": Case(
        ("pokemon_red",),
        "pyboy",
        {"rom_path": write_rom()},
        steps={"pokemon_red": 300},
        package="pyboy",
    ),
    "minihack": Case(
        ("MiniHack-River-v0", "MiniHack-KeyRoom-S5-v0", "MiniHack-MultiRoom-N4-v0"),
        "minihack",
        steps={"MiniHack-MultiRoom-N4-v0": 400},
    ),
    "nethack": Case(("NetHackScore-v0", "NetHackStaircase-v0", "NetHackGold-v0"), "nle"),
    "procgen": Case(("bigfish", "coinrun", "maze"), "procgen", package="procgen-mirror"),
    "toy-text": Case(("FrozenLake-v1", "Taxi-v4", "CliffWalking-v1", "Blackjack-v1"), "gymnasium"),
    "classic-control": Case(
        (
            "CartPole-v1",
            "StatelessCartPole-v1",
            "Acrobot-v1",
            "Pendulum-v1",
            "MountainCar-v0",
            "MountainCarContinuous-v0",
        ),
        "gymnasium",
    ),
}
OURS = {
    entry.name: entry.value
    for entry in registry._entry_points().values()
    if entry.value.startswith(PREFIX)
}
EACH = [f"{family}/{name}" for family, case in CASES.items() for name in case.names]


def case_of(name: str) -> Case:
    return CASES[name.partition("/")[0]]


def make(name: str, **kwargs: Any) -> Any:
    """Return a new environment, or skip where its package is absent."""
    case = case_of(name)
    try:
        return registry.find(name).creator(**{**case.options, **kwargs})
    except MissingPackageError as error:
        if importlib.util.find_spec(case.module) is None:
            pytest.skip(str(error))
        raise


def package_of(case: Case) -> str:
    """Return the distribution that brings the family, and its version."""
    top = case.module.partition(".")[0]
    name = case.package or importlib.metadata.packages_distributions().get(top, [top])[0]
    return f"{name} {importlib.metadata.version(name)}"


def play(name: str, **vec: Any) -> tuple[list[bytes], int]:
    """Return what random steps of two environments left in each array, and the episodes."""
    case, spec = case_of(name), registry.find(name)
    episodes, trace = 0, []
    options = dict(case.options)
    with puffer.vector.make(spec.creator, env_kwargs=options, num_envs=2, **vec) as vecenv:
        vecenv.action_space.seed(3)
        space = vecenv.single_observation_space
        observations, _ = vecenv.reset(seed=2**40 + 5)  # learners draw such large ones
        for _ in range(case.steps_of(name) // 2):
            assert (observations >= space.low).all()
            assert (observations <= space.high).all()
            observations, *outcome, infos = vecenv.step(vecenv.action_space.sample())
            assert np.isfinite(outcome[0]).all()
            trace.append(b"".join(np.asarray(a).tobytes() for a in (observations, *outcome)))
            episodes += sum("episode_return" in info for info in infos)
    return trace, episodes


def test_each_family_is_tested() -> None:
    assert set(OURS) == set(CASES)


@pytest.mark.parametrize("family", OURS)
def test_its_names_aliases_and_settings_fit(family: str) -> None:
    entry = registry.families()[family]
    assert set(entry.aliases.values()) <= set(entry.ids)
    for full in entry.ids:
        spec = registry.find(full)
        assert spec.name == full
        assert spec.help.endswith(".")
        assert set(spec.settings) <= {"train", "vec", "env", "policy"}
        assert set(spec.settings.get("env", {})) <= {option.name for option in spec.options}
        assert all(option.help for option in spec.options), spec.options
    for alias, full in entry.aliases.items():
        assert registry.find(alias).name == full


@pytest.mark.parametrize("family", OURS)
def test_an_unknown_name_lists_the_nearest(family: str) -> None:
    name = registry.families()[family].ids[0]
    with pytest.raises(UnknownEnvError, match=f"did you mean.*{name}"):
        registry.find(f"{name}x")


@pytest.mark.parametrize("name", EACH)
def test_it_keeps_the_contract_of_its_interface(
    name: str,
    record_property: Callable[[str, object], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the checker makes environments past us, which leave a log there
    env = make(name)
    record_property("package", package_of(case_of(name)))
    if isinstance(env, PufferEnv):
        env.close()
        spec: EnvSpec = registry.find(name)
        testing.check_env(lambda buf=None: spec.creator(**case_of(name).options, buf=buf))
        return
    with contextlib.closing(env), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(env, gymnasium.Env):
            assert isinstance(env, GymnasiumPufferEnv)
            check_gymnasium(env, skip_render_check=True)
        else:
            from pettingzoo.test import parallel_api_test

            parallel_api_test(env, num_cycles=100)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:2 copies of")  # one native environment would be faster
@pytest.mark.parametrize("name", EACH)
def test_two_workers_repeat_what_one_process_does(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    make(name).close()
    serial, episodes = play(name, backend="serial")
    workers, same = play(name, backend="multiprocessing", num_workers=2)
    assert len(serial) == len(workers) == case_of(name).steps_of(name) // 2
    if reason := case_of(name).unrepeatable:
        record_property("unrepeatable", reason)
        return
    for step, (one, other) in enumerate(zip(serial, workers, strict=True)):
        assert one == other, f"step {step} differs"
    assert episodes == same


SCRIPT = """
import os, sys, warnings
warnings.simplefilter("error")
from puffer.core import registry
env = registry.find(sys.argv[1]).creator(**eval(sys.argv[2]))
env.reset(seed=1)
env.close()
"""


@pytest.mark.parametrize("family", CASES)
def test_it_is_silent_and_leaves_no_files(family: str, tmp_path: Path) -> None:
    case = CASES[family]
    make(f"{family}/{case.names[0]}").close()
    places = {name: tmp_path / name for name in ("cwd", "home", "tmp")}
    for place in places.values():
        place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"{family}/{case.names[0]}", repr(dict(case.options))],
        cwd=places["cwd"],
        env={"HOME": str(places["home"]), "TMPDIR": str(places["tmp"]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(places["cwd"].iterdir())
    assert not list(places["home"].iterdir())


def test_loading_the_registry_imports_no_third_party() -> None:
    modules = sorted({case.module for case in CASES.values()} - {"gymnasium"})
    code = (
        "import sys; from puffer.core import registry; "
        f"[registry.find(n) for f in {tuple(OURS)} for n in registry.families()[f].ids]; "
        f"print(sorted(set({modules}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
