"""Environments for the trainer's tests: tiny, exact, and learnable in a second."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.errors import UsageError
from puffer.core.registry import EnvFamily, EnvSpec, Option
from puffer.core.stats import episode_info


class Match(PufferEnv):
    """One point for naming the symbol that is shown; `delay` steps later if it must be remembered.

    Episodes have `length` steps and end by truncation; with `kind` the action space is chosen.
    """

    can_fill_final_observations = True
    can_save_state = True

    def __init__(
        self, num_envs: int = 32, length: int = 8, delay: int = 0, kind: str = "discrete", buf=None
    ) -> None:
        self.single_observation_space = Box(0, 1, (3,), np.float32)
        self.single_action_space = {
            "discrete": Discrete(3),
            "multidiscrete": MultiDiscrete([3, 2]),
            "box": Box(-1, 1, (1,), np.float32),
        }[kind]
        self.num_agents, self.length, self.delay, self.kind = num_envs, length, delay, kind
        super().__init__(buf)

    def reset(self, seed: int | None = None):
        self.rng = np.random.default_rng(seed)
        self.tick = 0
        self.returns = np.zeros(self.num_agents)
        self.history: list[np.ndarray] = []
        self._show()
        return self.observations, []

    def state(self) -> bytes:
        history = [symbols.tolist() for symbols in self.history]
        rng, returns = self.rng.bit_generator.state, self.returns.tolist()
        return json.dumps([self.length, rng, self.tick, returns, history]).encode()

    def set_state(self, state: bytes) -> None:
        try:
            length, rng, self.tick, returns, history = json.loads(state)
        except ValueError:
            length = None
        if length != self.length:
            raise UsageError("this is the state of another Match")
        self.rng = np.random.default_rng()
        self.rng.bit_generator.state = rng
        self.returns = np.array(returns)
        self.history = [np.array(symbols) for symbols in history]
        self.observations[...] = np.eye(3, dtype=np.float32)[self.history[-1]]

    def _show(self) -> None:
        symbols = self.rng.integers(0, 3, self.num_agents)
        self.history.append(symbols)
        self.observations[...] = np.eye(3, dtype=np.float32)[symbols]

    def _score(self) -> np.ndarray:
        wanted = self.history[-1 - self.delay] if self.delay < len(self.history) else None
        if wanted is None:
            return np.zeros(self.num_agents, np.float32)
        if self.kind == "box":
            return 1 - np.abs(self.actions[:, 0] - (wanted - 1))
        if self.kind == "multidiscrete":
            right = (self.actions[:, 0] == wanted) & (self.actions[:, 1] == wanted % 2)
            return right.astype(np.float32)
        return (self.actions == wanted).astype(np.float32)

    def step(self, actions):
        self.actions[...] = actions
        self.rewards[...] = self._score()
        self.returns += self.rewards
        self.tick += 1
        infos: list[dict[str, Any]] = []
        self.truncations[...] = self.tick == self.length
        self._show()
        if self.tick == self.length:
            if self.final_observations is not None:
                self.final_observations[...] = self.observations
            infos = [
                {**episode_info(r, self.length), "agent_id": i} for i, r in enumerate(self.returns)
            ]
            self.tick = 0
            self.returns[:] = 0
            self.history = []
            self._show()
        return self.observations, self.rewards, self.terminals, self.truncations, infos


SETTINGS = {
    "train": {"total_steps": 20_000, "horizon": 16, "minibatch_size": 256, "learning_rate": 0.01},
    "vec": {"backend": "native"},
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tiny networks gain nothing from threads, and on a busy machine they wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request):
    """The CPU, and CUDA where there is one."""
    return torch.device(request.param)


@pytest.fixture
def match_class():
    """The environment's class."""
    return Match


@pytest.fixture
def make_match():
    """Return a function that makes a vector environment of `Match` with options."""
    made = []

    def make(backend="native", vec=None, **options):
        vecenv = puffer.vector.make(
            Match, env_kwargs=options, backend=backend, final_observations=True, **(vec or {})
        )
        made.append(vecenv)
        return vecenv

    yield make
    for vecenv in made:
        vecenv.close()


@pytest.fixture
def match_spec(monkeypatch):
    """Register `Match` under the name `test/match` and return its spec."""
    from puffer.core import registry

    spec = EnvSpec(
        "test/match",
        Match,
        (
            Option("num_envs", 32, "simulations"),
            Option("length", 8, "steps of an episode"),
            Option("delay", 0, "steps to remember"),
            Option("kind", "discrete", "action space"),
        ),
        SETTINGS,
        help="Name the symbol shown.",
    )
    other = EnvSpec("test/other", Match, spec.options, SETTINGS, help="Another one.")
    family = EnvFamily(
        ("test/match", "test/other"), {"test/match": spec, "test/other": other}.__getitem__
    )
    monkeypatch.setattr(registry, "families", lambda: {"test": family})
    return spec
