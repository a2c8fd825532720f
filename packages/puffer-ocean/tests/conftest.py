"""Every native environment as a fixture, and a way to play it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from puffer.core.buffers import Buffers
from puffer.ocean.envs import family
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

    def arrays(self) -> Iterator[np.ndarray]:
        """Yield the arrays that every env fills."""
        yield from (self.first, self.observations, self.rewards)
        yield from (self.terminals, self.truncations, self.masks)


def _play(env: OceanEnv, steps: int, *, seed: int = 7, actions: np.ndarray | None = None) -> Trace:
    """Reset, step with `actions` (or random ones, the same in every call), and close."""
    if actions is None:
        n = env.single_action_space.n
        actions = np.random.default_rng(3).integers(0, n, (steps, env.num_agents))
    first = env.reset(seed)[0].copy()
    rows: dict[str, list[np.ndarray]] = {f.name: [] for f in dataclasses.fields(Trace)[1:-1]}
    infos = []
    for row in actions[:steps]:
        infos.append(env.step(row)[4])
        for name, values in rows.items():
            array = getattr(env, name)
            if array is not None:
                values.append(array.copy())
    env.close()
    stacked = {name: np.stack(values) if values else None for name, values in rows.items()}
    return Trace(first=first, infos=infos, **stacked)  # type: ignore[arg-type]


def _buffers(env_class: type[OceanEnv], num_envs: int, **options: Any) -> Buffers:
    """Return new buffers, final observations among them, every byte of them 0x2A."""
    with env_class(num_envs, **options) as env:
        fields = Buffers.fields(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            final_observations=True,
        )
    buffers = Buffers.allocate(fields)
    for array in buffers.arrays().values():
        if array is not None and array.dtype != np.bool_:
            array.view(np.uint8)[...] = 0x2A
    return buffers


@pytest.fixture(params=family.ids)
def env_class(request: pytest.FixtureRequest) -> type[OceanEnv]:
    """Return the class of each native environment in turn."""
    return family.load(request.param).creator  # type: ignore[no-any-return]


@pytest.fixture
def play() -> Callable[..., Trace]:
    """Return the function that plays an env."""
    return _play


@pytest.fixture
def make_buffers() -> Callable[..., Buffers]:
    """Return the function that allocates buffers for `num_envs` of a class."""
    return _buffers
