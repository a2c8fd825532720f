"""Five environments whose values are known in closed form; each proves one part of the trainer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import puffer.vector
from puffer.core import PufferEnv
from puffer.train import Config, TrainConfig, Trainer
from puffer.train.models import Default, LSTMWrapper, MinGRUWrapper
from puffer.train.rollout import forward

GAMMA = 0.8
AGENTS = 64


class Probe(PufferEnv):
    """Episodes of `length` steps that pay on the last one; observes (cue, step)."""

    length = 1

    def __init__(self, buf=None) -> None:
        self.single_observation_space = Box(-1, 10, (2,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents = AGENTS
        super().__init__(buf)

    def reset(self, seed=None):
        self.rng = np.random.default_rng(seed)
        self._begin()
        return self.observations, []

    def _begin(self):
        self.now = 0
        self.cue = self.rng.choice([-1.0, 1.0], AGENTS)
        self._observe()

    def _observe(self):
        self.observations[...] = np.stack([self.cue, np.full(AGENTS, self.now)], 1)

    def pay(self, actions):
        return np.ones(AGENTS)

    def act(self, actions):
        """What an action changes before the next observation."""

    def step(self, actions):
        self.now += 1
        last = self.now == self.length
        self.rewards[...] = self.pay(actions) if last else 0
        self.terminals[...] = last
        self.act(actions)
        if last:
            self._begin()
        else:
            self._observe()
        return self.observations, self.rewards, self.terminals, self.truncations, []


class Value(Probe):
    """The reward is what is seen: the value learns from the observation."""

    def pay(self, actions):
        return self.cue


class Discounting(Probe):
    """One at the end of three steps, whatever is done."""

    length = 3


class Credit(Probe):
    """The first of three actions decides; what it was is seen, the reward comes at the end."""

    length = 3

    def act(self, actions):
        if self.now == 1:
            self.cue = 2.0 * actions - 1

    def _begin(self):
        super()._begin()
        self.observations[:, 0] = self.cue = np.zeros(AGENTS)

    def pay(self, actions):
        return self.cue


class Dependence(Probe):
    """The right action depends on what is seen."""

    def pay(self, actions):
        return np.where((actions == 1) == (self.cue > 0), 1.0, -1.0)


class Memory(Dependence):
    """The cue is shown on the first step and asked for on the second."""

    length = 2

    def _observe(self):
        super()._observe()
        if self.now:
            self.observations[:, 0] = 0


def train(env_class, wrapper=None, **changes):
    """Return a function from an observed sequence (steps, 2) to probabilities and values."""
    settings = {"total_steps": 30_000, "learning_rate": 0.01, "epochs": 2, **changes}
    config = TrainConfig(
        horizon=8, minibatch_size=256, device="cpu", gamma=GAMMA, ent_coef=0.001, **settings
    )
    with puffer.vector.make(env_class, backend="native") as vecenv:
        torch.manual_seed(0)
        policy = Default(vecenv.driver_env, 32)
        if wrapper is not None:
            policy = wrapper(vecenv.driver_env, policy)
        Trainer(Config(env_class.__name__, config), vecenv, policy).train()

    @torch.no_grad()
    def play(*observations):
        state = policy.initial_state(1) if wrapper else ()
        results = []
        for observation in observations:
            logits, value, state = forward(policy, torch.tensor([observation]).float(), state)
            results.append((float(logits.softmax(-1)[0, 1]), float(value)))
        return results

    return play


def test_value_learning():
    play = train(Value)
    assert play((1, 0))[0][1] == pytest.approx(1, abs=0.05)
    assert play((-1, 0))[0][1] == pytest.approx(-1, abs=0.05)


def test_discounting():
    play = train(Discounting)
    values = [play((1, t))[0][1] for t in range(3)]
    assert values == pytest.approx([GAMMA**2, GAMMA, 1], abs=0.05)


@pytest.mark.parametrize("overlap", [False, True])
def test_credit_assignment(overlap):
    play = train(Credit, overlap=overlap)
    probability, value = play((0, 0))[0]
    assert probability > 0.95
    assert value == pytest.approx(GAMMA**2, abs=0.08)
    assert play((1, 2))[0][1] == pytest.approx(1, abs=0.08)


def test_action_dependence():
    play = train(Dependence)
    for cue, right in ((1, 1), (-1, 0)):
        probability, value = play((cue, 0))[0]
        assert abs(probability - right) < 0.05
        assert value == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("wrapper", "overlap"), [(LSTMWrapper, False), (MinGRUWrapper, False), (MinGRUWrapper, True)]
)
def test_memory(wrapper, overlap):
    play = train(Memory, wrapper, total_steps=60_000, overlap=overlap)
    for cue, right in ((1, 1), (-1, 0)):
        (_, first), (probability, second) = play((cue, 0), (0, 1))
        assert abs(probability - right) < 0.05
        assert (first, second) == pytest.approx((GAMMA, 1), abs=0.12)
