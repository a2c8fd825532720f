"""Every native environment as a fixture, a way to play it, and what the tests compile."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import puffer.ocean
from puffer.core.buffers import Buffers
from puffer.core.spaces import Box, Discrete
from puffer.ocean import Snake
from puffer.ocean.envs import family
from puffer.ocean.kit.new import package_files
from puffer.ocean.native import OceanEnv

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


@dataclasses.dataclass
class Trace:
    """Everything that a number of steps returned; axis 0 is time, axis 1 the agent."""

    first: np.ndarray
    observations: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    truncations: np.ndarray
    masks: np.ndarray
    final_observations: np.ndarray | None
    infos: list[list[dict[str, Any]]]
    agents: int = 1  # of a simulation

    def arrays(self) -> Iterator[np.ndarray]:
        """Yield the arrays that every env fills."""
        yield from (self.first, self.observations, self.rewards)
        yield from (self.terminals, self.truncations, self.masks)

    def over(self) -> np.ndarray:
        """Return (steps, simulations): whether an episode ended, as it did for all agents."""
        ended = self.terminals | self.truncations
        return np.asarray(ended.reshape(len(ended), -1, self.agents).all(axis=2))

    def of_agents(self, simulations: np.ndarray) -> np.ndarray:
        """Return what holds of each simulation for each of its agents."""
        return simulations.repeat(self.agents, axis=-1)


def _play(env: OceanEnv, steps: int, *, seed: int = 7, actions: np.ndarray | None = None) -> Trace:
    """Reset, step with `actions` (or random ones, the same in every call), and close."""
    if actions is None:
        actions = _random_actions(env, steps)
    first = env.reset(seed)[0].copy()
    rows: dict[str, list[np.ndarray]] = {f.name: [] for f in dataclasses.fields(Trace)[1:-2]}
    infos = []
    for row in actions[:steps]:
        infos.append(env.step(row)[4])
        for name, values in rows.items():
            array = getattr(env, name)
            if array is not None:
                values.append(array.copy())
    env.close()
    stacked = {name: np.stack(values) if values else None for name, values in rows.items()}
    agents = env.num_agents // env.num_simulations
    return Trace(first=first, infos=infos, agents=agents, **stacked)  # type: ignore[arg-type]


def _random_actions(env: OceanEnv, steps: int, *, seed: int = 3) -> np.ndarray:
    """Return actions for `steps` steps of every agent, whatever the action space."""
    space, rng = env.single_action_space, np.random.default_rng(seed)
    shape = (steps, env.num_agents)
    if isinstance(space, Box):
        return rng.uniform(space.low, space.high, (*shape, *space.shape)).astype(space.dtype)
    if isinstance(space, Discrete):
        return rng.integers(0, space.n, shape)
    return rng.integers(0, space.nvec, (*shape, len(space.nvec)))


def _same_actions(env: OceanEnv) -> np.ndarray:
    """Return one step's actions, the same for every agent."""
    return np.zeros_like(env.actions)


def _buffers(env_class: type[OceanEnv], num_envs: int, **options: Any) -> Buffers:
    """Return new buffers, optional ones among them; every byte of numbers is 0x2A."""
    with env_class(num_envs, **options) as env:
        fields = Buffers.fields(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            final_observations=True,
            action_masks=env_class.can_fill_action_masks,
        )
    buffers = Buffers.allocate(fields)
    for array in buffers.arrays().values():
        if array is not None and array.dtype != np.bool_:
            array.view(np.uint8)[...] = 0x2A
    return buffers


class FewSnakes(Snake):
    """Arenas of two snakes: small enough for many copies, with several agents to a simulation.

    What many snakes do to each other is in test_snake.py.
    """

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        arena = {"num_snakes": 2, "width": 12, "height": 30, "food": 40, "max_length": 9}
        super().__init__(num_envs, **(arena | options))


def _compact(creator: type[OceanEnv]) -> type[OceanEnv]:
    """Return a class of the same name whose observations are float16."""

    def init(self: Any, num_envs: int = 1, **options: Any) -> None:
        creator.__init__(self, num_envs, **({"observation_dtype": "float16"} | options))

    return type(creator.__name__, (creator,), {"__init__": init})


# One that writes them itself, and only what changes; one whose block alone does so; and one
# whose rows the engine rounds.
COMPACT = tuple(f"{name} float16" for name in ("breakout", "cartpole", "continuous"))


@pytest.fixture(params=family.ids + COMPACT)
def env_class(request: pytest.FixtureRequest) -> type[OceanEnv]:
    """Return the class of each native environment in turn, some with compact observations."""
    name, _, dtype = request.param.partition(" ")
    creator: type[OceanEnv] = family.load(f"puffer_{name}" if dtype else name).creator
    if dtype:
        return _compact(creator)
    return FewSnakes if creator is Snake else creator


@pytest.fixture
def play() -> Callable[..., Trace]:
    """Return the function that plays an env."""
    return _play


@pytest.fixture
def random_actions() -> Callable[..., np.ndarray]:
    """Return the function that draws actions for an env."""
    return _random_actions


@pytest.fixture
def same_actions() -> Callable[..., np.ndarray]:
    """Return the function that gives all agents of an env the same action."""
    return _same_actions


@pytest.fixture
def make_buffers() -> Callable[..., Buffers]:
    """Return the function that allocates buffers for `num_envs` of a class."""
    return _buffers


CPP = Path(__file__).parent / "cpp"
MAZE = Path(__file__).parents[3] / "examples" / "puffer-maze"


def _configure(source: Path, build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run CMake's first half on a project that asks for PufferOcean; skip where it is missing."""
    for module in ("cmake", "pybind11", "ninja"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module} to build")
    command = [
        *(sys.executable, "-m", "cmake", "-S", str(source), "-B", str(build), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={Path(sys.executable).with_name('ninja')}",
        f"-DPufferOcean_DIR={puffer.ocean.get_cmake_dir()}",
        f"-Dpybind11_DIR={importlib.import_module('pybind11').get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def configure() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return the function that configures a CMake project against this puffer-ocean."""
    return _configure


@pytest.fixture(scope="session")
def compiled() -> Path:
    """Return the folder of all that `cpp/CMakeLists.txt` builds; what is up to date stays."""
    build = CPP.parents[1] / "build" / f"tests-{sys.implementation.cache_tag}"
    maze = f"-DMAZE={MAZE if MAZE.exists() else ''}"
    kit = build.parent / "kit"  # what `python -m puffer.ocean new catch_it` writes
    for file, text in package_files("catch_it").items():
        path = kit / file
        if not path.exists() or path.read_text("utf-8") != text:  # keeps what is compiled
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    options = (maze, f"-DKIT={kit}")
    for result in (
        _configure(CPP, build, *options, "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0"),
        subprocess.run(
            [sys.executable, "-m", "cmake", "--build", str(build), "-j", "2"],
            capture_output=True,
            text=True,
            check=False,
        ),
    ):
        assert result.returncode == 0, result.stdout + result.stderr
    return build
