"""Collection: what each agent saw, did and remembered stands in its own row, in order."""

from __future__ import annotations

import dataclasses
import sys
import time

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from torch import nn

import puffer.vector
from puffer.core import PufferEnv
from puffer.train import Config, TrainConfig, Trainer
from puffer.train import actions as act
from puffer.train.fixed import FixedCollector
from puffer.train.models import Default, LSTMWrapper, MinGRUWrapper
from puffer.train.normalize import NormalizeObservations
from puffer.train.rollout import Collector, EpisodeTracker, to_environment
from puffer.train.storage import Segments

HORIZON = 7
# Where CUDA has begun, workers are no forks and cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Ledger(PufferEnv):
    """Observes (agent, step of its episode) and pays by agent, step and action.

    Agent n's episodes have 3 + n % 4 steps and end in turns by truncation and termination.
    """

    can_fill_final_observations = True
    can_fill_action_masks = True

    def __init__(self, first: int = 0, num_agents: int = 2, slow: float = 0.0, buf=None) -> None:
        self.single_observation_space = Box(-1, 1e6, (2,), np.float32)
        self.single_action_space = Discrete(3)
        self.num_agents = num_agents
        self.ids = first + np.arange(num_agents)
        self.slow = slow
        super().__init__(buf)

    def reset(self, seed: int | None = None):
        self.rng = np.random.default_rng(seed)
        self.tick = np.zeros(self.num_agents, np.int64)
        self.episode = np.zeros(self.num_agents, np.int64)
        self._observe()
        return self.observations, []

    def _observe(self) -> None:
        self.observations[:, 0], self.observations[:, 1] = self.ids, self.tick
        if self.action_masks is not None:
            self.action_masks[...] = True
            self.action_masks[np.arange(self.num_agents), (self.ids + self.tick) % 3] = False

    def step(self, actions):
        if self.slow:
            time.sleep(self.slow * self.rng.random())
        self.rewards[...] = 1000 * self.ids + 10 * self.tick + actions
        self.tick += 1
        ends = self.tick == 3 + self.ids % 4
        self.truncations[...] = ends & (self.episode % 2 == 0)
        self.terminals[...] = ends & (self.episode % 2 == 1)
        if self.final_observations is not None:
            self.final_observations[:, 0], self.final_observations[:, 1] = self.ids, self.tick
        self.episode += ends
        self.tick[ends] = 0
        self._observe()
        return self.observations, self.rewards, self.terminals, self.truncations, []


class Counter(nn.Module):
    """Its state counts the steps since the episode began; see `worth` for its value."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def initial_state(self, batch, device="cpu"):
        return (torch.zeros(1, batch, 1, device=device),)

    def forward(self, observations, state):
        count = state[0] + 1
        shown = observations[:, 1:2] if observations.shape[1] > 1 else observations * 0
        return observations.new_zeros(len(observations), 3), count[0] + 100 * shown, (count,)


def worth(tick):
    """Counter's value of Ledger's observation `tick`: what it remembers, and what it sees."""
    return tick + 1 + 100 * tick


WAYS = {
    "native": ("native", None, 12),
    "alternating": ("alternating", {}, 2),
    "serial": ("serial", {}, 2),
    "all workers": ("multiprocessing", {"num_workers": 3}, 2),
    "halves": ("multiprocessing", {"num_workers": 2, "batch_size": 3}, 2),
    "first ready": (
        "multiprocessing",
        {"num_workers": 3, "batch_size": 4, "zero_copy": False},
        2,
    ),
    "any one": ("multiprocessing", {"num_workers": 6, "batch_size": 1, "zero_copy": False}, 2),
}


MIXED = {"first ready", "any one"}  # their batches are not always of the same agents


@pytest.fixture
def ledger(request):
    backend, vec, agents = WAYS[request.param]
    options = {"final_observations": True, "action_masks": True, "backend": backend}
    if vec is None:
        make = {"env_kwargs": {"num_agents": agents}}
    else:
        kwargs = [{"first": i * agents, "slow": 0.002 * (i % 3 == 0)} for i in range(6)]
        make = {"env_kwargs": kwargs, "num_envs": 6, **vec}
        if backend == "multiprocessing":
            make["overwork"] = True
    with puffer.vector.make(Ledger if vec is None else [Ledger] * 6, **make, **options) as vecenv:
        assert vecenv.fixed_batches == (request.param not in MIXED)
        yield vecenv


COLLECTORS = pytest.mark.parametrize("collector_class", [Collector, FixedCollector])


def on_cpu(segments):
    """Return a copy of the segments on the CPU."""
    copied = {
        field.name: value.cpu()
        for field in dataclasses.fields(segments)
        if isinstance(value := getattr(segments, field.name), torch.Tensor)
    }
    return dataclasses.replace(segments, **copied, state=tuple(s.cpu() for s in segments.state))


@pytest.mark.parametrize(
    ("ledger", "collector_class"),
    [
        *((way, Collector) for way in WAYS),
        *((way, FixedCollector) for way in WAYS if way not in MIXED),
    ],
    indirect=["ledger"],
)
def test_every_row_is_one_agent_in_order(ledger, collector_class, device):
    config = TrainConfig(horizon=HORIZON)
    policy = Counter()
    generator = torch.Generator(device).manual_seed(0)
    collector = collector_class(ledger, policy, config, device, generator)
    n = ledger.num_agents
    assert n == 12
    filled = Segments.allocate(
        HORIZON,
        n,
        ledger.single_observation_space,
        ledger.single_action_space,
        collector.state,
        device,
    )
    ledger.async_reset(0)
    agents = torch.arange(n)
    length = 3 + agents % 4
    finished = 0
    for _ in range(6):
        collector.collect(filled)
        segments = on_cpu(filled)
        assert torch.equal(segments.observations[:, :, 0], agents.expand(HORIZON, n).float())
        tick = segments.observations[:, :, 1].long()
        ends = tick + 1 == length
        assert torch.equal(segments.ends, ends)
        assert torch.equal(tick[1:], torch.where(ends, 0, tick + 1)[:-1])
        assert torch.equal(segments.starts, tick == 0)
        actions = segments.actions.long()
        assert torch.equal(segments.rewards.long(), 1000 * agents + 10 * tick + actions)
        # Masks forbid one action at each step, and a third of the choices went.
        forbidden = (agents + tick) % 3
        assert not (actions == forbidden).any()
        masks = segments.action_masks
        assert torch.equal(masks, actions.new_tensor(range(3)) != forbidden.unsqueeze(-1))
        torch.testing.assert_close(segments.log_probs, torch.full((HORIZON, n), -np.log(2)).float())
        # Memory follows the agent, and ends with the episode.
        assert torch.equal(segments.values.long(), worth(tick))
        following = torch.where(ends[-1], 0, tick[-1] + 1)
        assert torch.equal(segments.bootstrap_values.long(), worth(following))
        remembered = segments.state[0][0, :, 0].long()
        assert torch.equal(remembered[tick[0] > 0], tick[0][tick[0] > 0])
        cut = segments.cut_values > 0
        assert (cut <= ends).all()
        assert torch.equal(segments.cut_values[cut].long(), worth(tick + 1)[cut])
        assert segments.valid.all()
        finished += int(ends.sum())
    assert cut.any()
    assert (ends & ~cut).any()
    returns, lengths = collector.tracker.drain()
    assert len(returns) >= finished  # steps for the others' sake are counted, too
    assert set(lengths.tolist()) == {3, 4, 5, 6}


class Mortal(PufferEnv):
    """Three agents; the second dies on the 4th step and returns on the 7th."""

    def __init__(self, buf=None) -> None:
        self.single_observation_space = Box(-1, 100, (2,), np.float32)
        self.single_action_space = Discrete(3)
        self.num_agents = 3
        super().__init__(buf)

    def reset(self, seed=None):
        self.now = 0
        self._observe(np.ones(3, bool))
        return self.observations, []

    def _observe(self, alive):
        self.observations[...] = np.where(alive[:, None], [[0, self.now], [1, self.now], [2, 9]], 0)

    def step(self, actions):
        self.now += 1
        dead = 4 < self.now < 7
        self.terminals[...] = [False, self.now == 4, False]
        self.masks[...] = [True, not dead, True]
        self.rewards[...] = [1, 0 if dead else 10, 100]
        self._observe(np.array([True, self.now < 4 or self.now >= 7, True]))
        return self.observations, self.rewards, self.terminals, self.truncations, []


def test_an_episode_that_was_lost_counts_for_nothing():
    tracker = EpisodeTracker(2)
    no, yes = np.zeros(2, bool), np.ones(2, bool)
    tracker.step(slice(None), np.ones(2), no, yes)
    tracker.step(slice(None), np.zeros(2), yes, np.array([False, True]))
    returns, lengths = tracker.drain()
    assert (returns.tolist(), lengths.tolist()) == ([1], [2])
    tracker.step(slice(None), np.ones(2), yes, yes)
    returns, lengths = tracker.drain()
    assert (returns.tolist(), lengths.tolist()) == ([1, 1], [1, 1])


@COLLECTORS
def test_the_dead_take_no_part_and_begin_afresh(collector_class, device):
    with puffer.vector.make(Mortal, backend="native") as vecenv:
        config = TrainConfig(horizon=10)
        generator = torch.Generator(device)
        collector = collector_class(vecenv, Counter(), config, device, generator)
        spaces = vecenv.single_observation_space, vecenv.single_action_space
        filled = Segments.allocate(10, 3, *spaces, collector.state, device)
        filled.state[0].fill_(-7)
        vecenv.async_reset(0)
        collector.collect(filled)
    segments = on_cpu(filled)
    # Transition t arrives at now = t + 1; those of 5, 6 and the return at 7 have no actor.
    assert segments.valid[:, 1].tolist() == [1, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert segments.valid[:, (0, 2)].all()
    assert segments.ends[:, 1].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    remembered = segments.values - 100 * segments.observations[..., 1]
    assert remembered[:4, 1].tolist() == [1, 2, 3, 4]
    assert remembered[7:, 1].tolist() == [1, 2, 3]  # alive again: nothing is remembered
    assert remembered[:, 0].tolist() == list(range(1, 11))
    returns, lengths = collector.tracker.drain()
    assert (returns.tolist(), lengths.tolist()) == ([40], [4])
    assert torch.equal(segments.state[0], torch.zeros(1, 3, 1))


@pytest.mark.parametrize("wrapper", [None, LSTMWrapper, MinGRUWrapper])
def test_both_collectors_see_the_same_to_the_bit(wrapper):
    """From the same seeds, over the ends of episodes and of segments."""

    def collect(collector_class):
        options = {"final_observations": True, "action_masks": True, "backend": "alternating"}
        kwargs = [{"first": first, "num_agents": 6} for first in (0, 6)]
        with puffer.vector.make([Ledger] * 2, env_kwargs=kwargs, num_envs=2, **options) as vecenv:
            torch.manual_seed(0)
            policy = Default(vecenv.driver_env, 16)
            policy = wrapper(vecenv.driver_env, policy) if wrapper else policy
            train = TrainConfig(horizon=HORIZON, device="cpu")
            trainer = Trainer(Config("ledger", train), vecenv, policy)
            generator = torch.Generator().manual_seed(3)
            collector = collector_class(vecenv, policy, train, trainer.device, generator)
            for _ in range(4):
                collector.collect(trainer.segments)
                yield on_cpu(trainer.segments), collector.state_dict()

    for (one, state), (other, same) in zip(
        collect(Collector), collect(FixedCollector), strict=True
    ):
        for field in dataclasses.fields(one):
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            if field.name == "cut_values":  # asked for together: rounding may differ
                assert mine.any()
                torch.testing.assert_close(mine, theirs)
            elif field.name != "state":
                assert torch.equal(mine, theirs), field.name
        assert torch.equal(state["starts"], same["starts"])
        assert (state["acted"] == same["acted"]).all()
        pairs = zip((*one.state, *state["state"]), (*other.state, *same["state"]), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


HEAD = {
    None: "policy.heads.layers.0.weight",
    LSTMWrapper: "policy.policy.heads.layers.0.weight",
    MinGRUWrapper: "policy.policy.heads.layers.0.weight",
}


@pytest.mark.parametrize("wrapper", HEAD)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_update_sees_what_collection_saw(wrapper, precision, device):
    """Before the first step every ratio of probabilities is 1: masks, memory and ends agree."""
    options = {"final_observations": True, "action_masks": True, "backend": "native"}
    with puffer.vector.make(Ledger, env_kwargs={"num_agents": 12}, **options) as vecenv:
        torch.manual_seed(0)
        policy = NormalizeObservations(vecenv.driver_env, Default(vecenv.driver_env, 16))
        if wrapper is not None:
            policy = wrapper(vecenv.driver_env, policy)
        if precision == "float32":  # let memory decide; fresh heads give all actions alike
            torch.nn.init.normal_(policy.get_parameter(HEAD[wrapper]))
        train = TrainConfig(
            horizon=HORIZON,
            minibatch_size=10**6,
            device=device.type,
            precision=precision,
            reward_clip=1,
        )
        trainer = Trainer(Config("ledger", train), vecenv, policy)
        for _ in range(4):
            losses = trainer.train_update()["losses"]
            assert abs(losses["approx_kl"]) < (1e-6 if precision == "float32" else 1e-3)
            assert losses["clip_fraction"] == 0
            assert losses["entropy"] <= np.log(2) + 1e-6  # one of three actions is forbidden
            assert trainer.segments.state == () or trainer.segments.state[0].dtype == torch.float32


class Parts(gymnasium.Env):
    """Name the cue with a category and meet it with a number; both together are a mixed action."""

    observation_space = Dict({"cue": Discrete(3), "noise": Box(-1, 1, (2,), np.float32)})
    action_space = Dict({"force": Box(-2, 2, (2,), np.float32), "move": Discrete(3)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.now = 0
        return self._observe(), {}

    def _observe(self):
        self.cue = int(self.np_random.integers(3))
        return {"cue": self.cue, "noise": self.np_random.uniform(-1, 1, 2).astype(np.float32)}

    def step(self, action):
        assert self.action_space.contains(action)
        reward = float(action["move"] == self.cue) - float(np.abs(action["force"] - 0.5).mean())
        self.now += 1
        return self._observe(), reward, False, self.now == 8, {}


def test_mixed_actions_and_structured_observations_learn():
    options = {"num_envs": 16, "backend": "serial", "final_observations": True}
    with puffer.vector.make(Parts, **options) as vecenv:
        torch.manual_seed(0)
        policy = Default(vecenv.driver_env, 32)
        output = policy(torch.as_tensor(vecenv.reset(seed=0)[0]))[0]
        assert isinstance(output, act.Mixed)
        assert list(output.categorical) == [False, False, True]
        train = TrainConfig(
            total_steps=30_000, horizon=16, minibatch_size=128, epochs=3, device="cpu", gamma=0.5
        )
        summary = Trainer(Config("parts", train), vecenv, policy).train()
    assert summary["return_mean"] > 8 * (0.85 - 0.5)  # by chance it is 8 * (1/3 - 0.9)
    assert float(policy.heads.log_std.detach().exp().mean()) < 0.6


def test_actions_of_integer_boxes_are_rounded_within_bounds():
    sampled = torch.tensor([[-7.2, 1.6], [0.4, 99.0]])
    whole = to_environment(sampled, Box(-3, 3, (2,), np.int8))
    assert whole.tolist() == [[-3, 2], [0, 3]]
    assert to_environment(sampled, Box(-3, 3, (2,), np.float32)).tolist()[0][1] == pytest.approx(
        1.6
    )
    segments = Segments.allocate(
        2, 3, Box(-1, 1, (1,)), Box(-3, 3, (2,), np.int8), (), torch.device("cpu")
    )
    assert segments.actions.dtype == torch.float32  # the probability is that of what was sampled
