"""The trainer learns, repeats, bootstraps what is truncated and stops at what is not finite."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.errors import UsageError
from puffer.train import Config, TrainConfig, Trainer, evaluate
from puffer.train.models import Default, LSTMWrapper
from puffer.train.optim import anneal
from puffer.train.trainer import TrainingDiverged, derive_seed, pick_device

TRAIN = TrainConfig(
    total_steps=20_000, horizon=16, minibatch_size=128, learning_rate=0.01, device="cpu"
)


def make_trainer(vecenv, recurrent=False, *, hidden_size=32, logger=None, **changes):
    config = Config("test/match", dataclasses.replace(TRAIN, **changes))
    torch.manual_seed(0)
    policy = Default(vecenv.driver_env, hidden_size)
    if recurrent:
        policy = LSTMWrapper(vecenv.driver_env, policy)
    return Trainer(config, vecenv, policy, logger)


@pytest.mark.parametrize(("kind", "best"), [("discrete", 8), ("multidiscrete", 8), ("box", 8)])
def test_learns_every_kind_of_action(make_match, kind, best):
    summary = make_trainer(make_match(kind=kind), epochs=2).train()
    assert summary["return_mean"] > 0.85 * best
    assert summary["steps"] >= 20_000
    assert summary["length_mean"] == 8


def test_a_recurrent_policy_remembers_and_another_cannot(make_match):
    means = [
        make_trainer(
            make_match(delay=1),
            recurrent,
            hidden_size=64,
            learning_rate=0.003,
            epochs=4,
            total_steps=40_000,
        ).train()["return_mean"]
        for recurrent in (False, True)
    ]
    assert means[0] < 4  # 7 steps at a chance of a third
    assert means[1] > 6  # of 7


def test_the_same_seed_repeats_and_another_does_not(make_match):
    weights = []
    for seed in (0, 0, 1):
        trainer = make_trainer(make_match(), total_steps=3_000, seed=seed)
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.policy.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("fixed", [True, False])
def test_vtrace_changes_nothing_in_a_first_pass(make_match, fixed):
    """The policy is then still the one that acted: every weight is 1."""
    weights = []
    for clips in ({}, {"vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0}):
        vecenv = make_match()
        vecenv.fixed_batches = fixed
        trainer = make_trainer(vecenv, total_steps=3_000, **clips)
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.policy.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_backends_agree_bitwise(make_match):
    weights = []
    for backend, vec, options in (
        ("native", {}, {"num_envs": 1}),
        ("serial", {"num_envs": 1}, {"num_envs": 1}),
        ("multiprocessing", {"num_envs": 1}, {"num_envs": 1}),
    ):
        trainer = make_trainer(make_match(backend, vec, **options), total_steps=600)
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.policy.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


@pytest.mark.filterwarnings("ignore:.*copies of Match in one process")
def test_asynchronous_batches_learn(make_match):
    vec = {"num_envs": 4, "num_workers": 2, "batch_size": 2, "overwork": True}
    vecenv = make_match("multiprocessing", vec, num_envs=8)
    summary = make_trainer(vecenv, epochs=2).train()
    assert summary["return_mean"] > 6.8


class Constant(PufferEnv):
    """Pays 1 a step for ever; cut off after `length` steps, by truncation or by termination."""

    can_fill_final_observations = True

    def __init__(self, length=5, truncate=True, reward=1.0, buf=None):
        self.single_observation_space = Box(0, 1, (1,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents = 16
        self.length, self.truncate, self.reward = length, truncate, reward
        super().__init__(buf)

    def reset(self, seed=None):
        self.tick = np.arange(16) % self.length
        self.observations[...] = 1
        return self.observations, []

    def step(self, actions):
        self.actions[...] = actions
        self.tick += 1
        end = self.tick == self.length
        self.tick[end] = 0
        self.rewards[...] = self.reward
        (self.truncations if self.truncate else self.terminals)[...] = end
        if self.final_observations is not None:
            self.final_observations[...] = np.where(end, 1, -9).reshape(-1, 1)
        return self.observations, self.rewards, self.terminals, self.truncations, []


class NoFinal(Constant):
    can_fill_final_observations = False


def value_learned(env_class, final=True, **options):
    with puffer.vector.make(
        env_class, env_kwargs=options, backend="native", final_observations=final
    ) as vecenv:
        trainer = make_trainer(
            vecenv, total_steps=15_000, gamma=0.8, vf_coef=1.0, max_grad_norm=10, epochs=4
        )
        trainer.train()
        with torch.no_grad():
            return float(trainer.policy(torch.ones(1, 1))[1])


class Crashing(Constant):
    """Pays for the second action; its process dies on the 50th step that it makes."""

    can_fill_final_observations = False

    def __init__(self, buf=None):
        super().__init__(length=8, buf=buf)
        self.left = 50

    def step(self, actions):
        self.left -= 1
        if not self.left and multiprocessing.parent_process() is not None:
            os._exit(1)
        result = super().step(actions)
        self.rewards[...] = actions
        return result


@pytest.mark.filterwarnings("ignore:this environment gives no final observations")
def test_training_goes_on_while_workers_are_replaced():
    options = {"num_envs": 2, "num_workers": 2, "overwork": True, "max_restarts": 8}
    vecenv = puffer.vector.make(Crashing, backend="multiprocessing", **options)
    with vecenv, pytest.warns(RuntimeWarning, match=r"worker . \(env .\) exited with code 1"):
        summary = make_trainer(vecenv, total_steps=32 * 192, epochs=2).train()
    assert summary["return_mean"] > 6


def test_truncation_bootstraps_and_termination_does_not():
    assert value_learned(Constant) == pytest.approx(1 / (1 - 0.8), rel=0.05)
    ended = np.mean([sum(0.8**k for k in range(n)) for n in range(1, 6)])
    assert value_learned(Constant, truncate=False) == pytest.approx(ended, rel=0.1)


def test_without_final_observations_truncation_ends_with_one_warning():
    with pytest.warns(UserWarning, match="truncated episodes are treated as terminated") as caught:
        value = value_learned(NoFinal, final=False)
    assert len(caught) == 1
    assert value < 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_stops_before_the_update(bad):
    with puffer.vector.make(
        Constant, env_kwargs={"reward": bad, "truncate": False}, backend="native"
    ) as vecenv:
        trainer = make_trainer(vecenv)
        before = [p.clone() for p in trainer.policy.parameters()]
        with pytest.raises(
            TrainingDiverged, match="rewards of agent 0 are not finite at its step 1 "
        ):
            trainer.train_update()
        for old, new in zip(before, trainer.policy.parameters(), strict=True):
            assert torch.equal(old, new)


def test_rewards_are_clipped_only_if_asked():
    for clip, want in ((None, 3.0), (0.5, 0.5)):
        with puffer.vector.make(
            Constant, env_kwargs={"reward": 3.0, "truncate": False}, backend="native"
        ) as vecenv:
            trainer = make_trainer(vecenv, reward_clip=clip)
            trainer.train_update()
            assert trainer.segments.rewards.unique().tolist() == [want]


def test_evaluate_plays_the_first_episodes_of_each_agent(make_match):
    vecenv = make_match(num_envs=8)
    policy = Default(vecenv.driver_env)
    first = evaluate(policy, vecenv, 20, seed=3)
    assert first["episodes"] == 24  # three of each agent
    assert first["length_mean"] == 8
    again = evaluate(policy, vecenv, 20, seed=3)
    assert first["return_mean"] == again["return_mean"]
    assert first["return_std"] > 0


def test_evaluate_of_a_recurrent_policy(make_match):
    vecenv = make_match(num_envs=8)
    policy = LSTMWrapper(vecenv.driver_env, Default(vecenv.driver_env))
    assert evaluate(policy, vecenv, 8, seed=0)["episodes"] == 8


def test_seeds_share_no_streams():
    seeds = {derive_seed(s, p) for s in range(100) for p in ("environment", "sampling", "weights")}
    assert len(seeds) == 300
    assert min(abs(a - b) for a in list(seeds)[:50] for b in list(seeds)[50:]) > 10_000


@pytest.mark.filterwarnings("ignore:.*copies of Match in one process")
def test_first_ready_batches_learn(make_match):
    """Batches of whichever workers are ready, three of them two at a time."""
    vec = {"num_envs": 6, "num_workers": 3, "batch_size": 4, "zero_copy": False, "overwork": True}
    vecenv = make_match("multiprocessing", vec, num_envs=6)
    summary = make_trainer(vecenv, epochs=2).train()
    assert summary["return_mean"] > 6.8


@pytest.mark.parametrize(
    ("name", "cuda", "sentence"),
    [
        ("warp", False, "'warp' is no device: expected auto, cpu"),
        ("cuda", False, "no CUDA device that torch can use: use --train.device cpu"),
        ("cuda:7", True, "'cuda:7', but there are 2 CUDA devices: use cuda:0"),
        ("mps", False, "there is no MPS here: use --train.device cpu"),
    ],
)
def test_devices_that_are_not_there(name, cuda, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match=sentence):
        pick_device(name)


@pytest.mark.parametrize(
    ("kind", "left"),
    [("cosine", 0.5 * (1 + np.cos(0.3 * np.pi))), ("linear", 0.7), ("constant", 1)],
)
@pytest.mark.parametrize(
    ("schedule", "key"),
    [
        ("lr_schedule", "learning_rate"),
        ("clip_schedule", "clip_coef"),
        ("ent_schedule", "ent_coef"),
    ],
)
def test_annealing(schedule, key, kind, left):
    constant = dict.fromkeys(("lr_schedule", "clip_schedule", "ent_schedule"), "constant")
    config = TrainConfig(**{**constant, schedule: kind}, learning_rate=0.1, ent_coef=0.2)
    now = anneal(config, 0.3)
    assert getattr(now, key) == pytest.approx(left * getattr(config, key))
    for other in {"learning_rate", "clip_coef", "ent_coef"} - {key}:
        assert getattr(now, other) == getattr(config, other)
    assert anneal(config, 1.7).ent_coef >= 0


def test_the_correction_of_priorities_becomes_exact():
    config = TrainConfig(prio_beta=0.2)
    assert [anneal(config, p).prio_beta for p in (0, 0.5, 1)] == pytest.approx([0.2, 0.6, 1])


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_the_learning_rate_falls_as_the_schedule_says(make_match, optimizer):
    trainer = make_trainer(
        make_match(), total_steps=2048, lr_schedule="linear", optimizer=optimizer
    )
    parts = getattr(trainer.optimizer, "parts", [trainer.optimizer])
    rates = []
    while not trainer.done:
        trainer.train_update()
        rates.append([group["lr"] for part in parts for group in part.param_groups])
    want = [0.01 * share for share in (1, 0.75, 0.5, 0.25)]
    for group in zip(*rates, strict=True):
        assert list(group) == pytest.approx(want)
