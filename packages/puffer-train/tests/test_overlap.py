"""The next segments are collected while this thread learns: one update old, and weighted so."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import puffer.vector
from puffer.core import PufferEnv
from puffer.train import Config, TrainConfig, Trainer, overlap
from puffer.train.models import Default, LSTMWrapper, MinGRUWrapper
from puffer.train.normalize import NormalizeObservations
from puffer.train.parallel import native_threads, one_thread
from puffer.train.rollout import forward
from puffer.train.runs import read_checkpoint

TRAIN = TrainConfig(
    total_steps=20_000,
    horizon=16,
    minibatch_size=128,
    learning_rate=0.01,
    device="cpu",
    overlap=True,
)


def make_trainer(vecenv, wrapper=None, *, hidden_size=32, normalize=False, **changes):
    config = Config("test", dataclasses.replace(TRAIN, **changes))
    torch.manual_seed(0)
    policy = Default(vecenv.driver_env, hidden_size)
    if normalize:
        policy = NormalizeObservations(vecenv.driver_env, policy)
    if wrapper is not None:
        policy = wrapper(vecenv.driver_env, policy)
    return Trainer(config, vecenv, policy)


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.policy.parameters()])


def collecting():
    """Return the threads that collect, of whatever trainer."""
    return [t for t in threading.enumerate() if t.name == "puffer-collect"]


def test_it_learns(make_match):
    summary = make_trainer(make_match(), epochs=2).train()
    assert summary["return_mean"] > 0.85 * 8
    assert summary["length_mean"] == 8


def test_a_recurrent_policy_learns_to_remember(make_match):
    vecenv = make_match(delay=1)
    settings = {"hidden_size": 64, "learning_rate": 0.003, "epochs": 4, "total_steps": 40_000}
    summary = make_trainer(vecenv, MinGRUWrapper, **settings).train()
    assert summary["return_mean"] > 6  # of 7; a policy without memory gets 7 thirds


@pytest.mark.parametrize("native", [True, False])
def test_what_is_learned_from_is_one_update_old(make_match, native):
    """The values in the segments are those of the weights, and moments, of one update before."""
    trainer = make_trainer(make_match(), normalize=True, native=native)
    policies, real, of = [copy.deepcopy(trainer.policy)], trainer._learn, []

    def learn(train):
        seen, values = trainer.segments.observations, trainer.segments.values
        with torch.no_grad():
            theirs = [policy(seen.flatten(0, 1))[1].view_as(values) for policy in policies]
        of.append([k for k, x in enumerate(theirs) if torch.allclose(x, values, atol=1e-6)])
        losses = real(train)
        policies.append(copy.deepcopy(trainer.policy))
        return losses

    trainer._learn = learn
    for _ in range(5):
        trainer.train_update()
    assert of == [[0], [0], [1], [2], [3]]


class Crowd(PufferEnv):
    """Noise, one of three actions forbidden, episodes of 3 to 6 steps; agent 1 is away at times."""

    can_fill_action_masks = True

    def __init__(self, buf=None):
        self.single_observation_space = Box(-9, 9, (4,), np.float32)
        self.single_action_space = Discrete(3)
        self.num_agents = 8
        super().__init__(buf)

    def reset(self, seed=None):
        self.rng = np.random.default_rng(seed)
        self.tick = np.zeros(8, np.int64)
        self.now = 0
        self._observe()
        return self.observations, []

    def _observe(self):
        self.observations[...] = self.rng.normal(size=(8, 4))
        self.masks[1] = self.now % 7 < 4
        self.observations[~self.masks] = 0
        if self.action_masks is not None:
            self.action_masks[...] = True
            self.action_masks[np.arange(8), self.rng.integers(0, 3, 8)] = False

    def step(self, actions):
        self.rewards[...] = actions * self.observations[:, 0]
        self.rewards[~self.masks] = 0
        self.tick += 1
        self.now += 1
        ends = self.tick == 3 + np.arange(8) % 4
        self.terminals[...] = ends & self.masks
        self.tick[ends] = 0
        self._observe()
        return self.observations, self.rewards, self.terminals, self.truncations, []


@torch.no_grad()
def naive_anchor(policy, segments):
    """Log-probabilities and values by `policy`, one transition after the other."""
    policy = copy.deepcopy(policy)
    log_probs, values = segments.log_probs.clone(), segments.values.clone()
    horizon, agents = segments.rewards.shape
    for n in range(agents):
        state = tuple(s[:, n : n + 1] for s in segments.state)
        for t in range(horizon):
            start = segments.starts[t, n : n + 1]
            output, value, state = forward(
                policy, segments.observations[t, n : n + 1], state, start if state else None
            )
            logits = output.double()
            if segments.action_masks is not None:
                logits[~segments.action_masks[t, n : n + 1]] = -torch.inf
            if segments.valid[t, n]:
                log_probs[t, n] = logits.log_softmax(-1)[0, segments.actions[t, n].long()]
                values[t, n] = value
    return log_probs, values


@pytest.mark.parametrize("wrapper", [None, LSTMWrapper, MinGRUWrapper])
@pytest.mark.parametrize("masked", [True, False])
def test_an_update_begins_with_what_the_policy_is_by_now(wrapper, masked):
    with puffer.vector.make(Crowd, backend="native", action_masks=masked) as vecenv:
        # Chunks of 3, 3 and 2 segments.
        trainer = make_trainer(vecenv, wrapper, normalize=True, minibatch_size=3 * 16)
        take, real, changes, given = trainer.ahead.take, trainer._advantages, [], []

        def remember():
            take()
            segments = trainer.segments
            given[:] = naive_anchor(trainer.policy, segments)
            changes.append(float((given[0] - segments.log_probs).abs().max()))
            changes.append(float((given[1] - segments.values).abs().max()))

        def advantages():
            segments = trainer.segments
            assert (segments.action_masks is not None) == masked
            assert not segments.valid.all()
            torch.testing.assert_close(segments.log_probs, given[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(segments.values, given[1], atol=1e-5, rtol=1e-4)
            assert (segments.ratios == 1).all()
            return real()

        trainer.ahead.take, trainer._advantages = remember, advantages
        for _ in range(4):
            trainer.train_update()
    assert max(changes[:2]) < 1e-5  # the first segments are the policy's own
    assert min(changes[2:]) > 1e-3


WORKERS = {"num_envs": 4, "num_workers": 2, "batch_size": 2, "overwork": True}


@pytest.mark.filterwarnings("ignore:.*copies of Match in one process")
@pytest.mark.parametrize(
    ("backend", "vec"),
    [("native", {}), ("alternating", {"num_envs": 2}), ("multiprocessing", WORKERS)],
)
@pytest.mark.parametrize("wrapper", [None, MinGRUWrapper])
def test_the_same_seed_repeats_to_the_bit(make_match, wrapper, backend, vec):
    vec = {**vec, "sync_traj": True} if backend == "multiprocessing" else vec
    runs = []
    for seed, ahead in ((0, True), (0, True), (1, True), (0, False)):
        vecenv = make_match(backend, vec, num_envs=8)
        trainer = make_trainer(vecenv, wrapper, total_steps=3_000, seed=seed, overlap=ahead)
        trainer.train()
        runs.append(weights(trainer))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert not torch.equal(runs[0], runs[3])


@pytest.mark.filterwarnings("ignore:.*copies of Match in one process")
def test_first_ready_batches_learn(make_match):
    vec = {"num_envs": 6, "num_workers": 3, "batch_size": 4, "zero_copy": False, "overwork": True}
    summary = make_trainer(make_match("multiprocessing", vec, num_envs=6), epochs=2).train()
    assert summary["return_mean"] > 6.8


@pytest.fixture
def watched(match_class):
    """A `Match` that calls `on_step` and counts its steps."""

    class Watched(match_class):
        steps = 0
        on_step = staticmethod(lambda: None)

        def step(self, actions):
            self.on_step()
            self.steps += 1
            return super().step(actions)

    made = []

    def make(backend="native", **options):
        made.append(
            puffer.vector.make(Watched, backend=backend, final_observations=True, **options)
        )
        return made[-1]

    yield make
    for vecenv in made:
        vecenv.close()


def test_environments_step_while_it_learns_and_rest_between_updates(watched):
    vecenv = watched()
    trainer, env = make_trainer(vecenv, total_steps=5 * 16 * 32), vecenv.driver_env
    real, resting = trainer._learn, []

    def learn(train):
        losses = real(train)
        learned_from = trainer.updates * 16  # the steps that had been made when the learning began
        until = time.monotonic() + (60 if trainer.updates < 5 else 0.1)
        while env.steps == learned_from and time.monotonic() < until:
            time.sleep(0.001)
        resting.append(env.steps == learned_from)
        return losses

    trainer._learn = learn
    for update in range(1, 6):
        metrics = trainer.train_update()
        assert not collecting()
        # Nothing is counted before it was learned from, and nothing is collected in vain.
        assert trainer.steps == update * 16 * 32
        assert env.steps == 16 * min(update + 1, 5)
        assert metrics["environment"]["episodes"] == 2 * 32
        assert set(metrics["phases"]) == {"wait", "advantage", "update"}
        assert 0 < sum(metrics["phases"].values()) <= metrics["seconds"]
    assert resting == [False] * 4 + [True]
    assert trainer.summary()["episodes"] == 2 * 32  # of the last tenth


def test_what_an_environment_raises_comes_out_after_what_was_learned(watched):
    vecenv = watched()
    trainer, env = make_trainer(vecenv), vecenv.driver_env

    def crash():
        if env.steps == 40:
            raise ZeroDivisionError("the simulator crashed")

    env.on_step = crash
    trainer.train_update()
    trainer.train_update()  # meanwhile it crashes
    assert trainer.steps == 2 * 16 * 32
    with pytest.raises(ZeroDivisionError, match="the simulator crashed"):
        trainer.train_update()
    assert not trainer.at_rest  # so that the command saves the weights
    assert trainer.updates == 2
    assert not collecting()


@pytest.mark.filterwarnings("ignore:.*copies of")
@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(("backend", "options"), [("native", {}), ("alternating", {"num_envs": 2})])
@pytest.mark.parametrize("where", ["learning", "waiting"])
def test_an_interrupt_ends_the_collecting_and_one_may_go_on(
    watched, monkeypatch, where, backend, options, fixed
):
    vecenv = watched(backend, **options)
    vecenv.fixed_batches = fixed
    settings = {"horizon": 400, "total_steps": 10**6, "minibatch_size": 8192}
    trainer, env = make_trainer(vecenv, **settings), vecenv.driver_env
    trainer.train_update()
    begun, before = threading.Event(), env.steps

    def crawl():
        if env.steps == before + 3:
            begun.set()
        time.sleep(0.2)  # 400 steps would take longer than anybody waits

    def interrupt(*_):
        assert begun.wait(60)
        raise KeyboardInterrupt

    env.on_step = crawl
    with monkeypatch.context() as patch:
        if where == "learning":
            patch.setattr(trainer, "_learn", interrupt)
        else:
            patch.setattr(threading.Thread, "join", interrupt)
            patch.setattr(overlap, "PATIENCE_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            trainer.train_update()
    for thread in collecting():
        thread.join(60)
    assert not collecting()
    assert env.steps < before + 20
    env.on_step = lambda: None
    steps = trainer.steps
    metrics = trainer.train_update()
    assert trainer.steps == steps + 400 * vecenv.num_agents
    assert metrics["environment"]["episode_length"] == 8
    assert trainer.segments.ends.nonzero()[:, 0].unique().tolist() == list(range(7, 400, 8))


def test_an_environment_that_hangs_keeps_nobody(watched, monkeypatch):
    vecenv = watched()
    trainer, env = make_trainer(vecenv), vecenv.driver_env
    trainer.train_update()
    monkeypatch.setattr(overlap, "PATIENCE_SECONDS", 0.01)
    hangs, released = threading.Event(), threading.Event()

    def hang():
        hangs.set()
        released.wait()

    def interrupt(train):
        assert hangs.wait(60)
        raise KeyboardInterrupt

    env.on_step = hang
    monkeypatch.setattr(trainer, "_learn", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.train_update()
    (thread,) = collecting()
    assert thread.daemon
    released.set()
    thread.join(60)
    assert not collecting()


SCRIPT = """
import sys
import puffer.vector
from puffer.core.registry import find
from puffer.train import Config, TrainConfig, Trainer
from puffer.train.models import Default

def main():
    train = TrainConfig(device="cpu", horizon=256, minibatch_size=4096, overlap=True)
    options = {OPTIONS}
    creator = find("puffer_squared").creator
    with puffer.vector.make(creator, final_observations=None, **options) as vecenv:
        trainer = Trainer(Config("squared", train), vecenv, Default(vecenv.driver_env, 32))
        trainer.train_update()
        trainer.train_update()
        if LEAVES:
            trainer._learn = lambda train: sys.exit(7)
            trainer.train_update()
    print(trainer.updates, flush=True)
    return trainer

trainer = main()
"""


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize(
    "options", ["'backend': 'native'", "'backend': 'multiprocessing', 'num_envs': 2"]
)
def test_nobody_has_to_close_it(options, leaves, tmp_path):
    script = SCRIPT.replace("OPTIONS", options).replace("LEAVES", str(leaves))
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (7 if leaves else 0, "")
    assert result.stdout == ("" if leaves else "2\n")


def test_a_resumed_run_begins_its_episodes_anew_and_goes_on(make_match, tmp_path):
    first = make_trainer(make_match(), total_steps=4 * 16 * 32)
    first.train_update()
    first.train_update()
    path = first.save(tmp_path)
    assert read_checkpoint(path)[0]["steps"] == 2 * 16 * 32
    second = make_trainer(make_match(), total_steps=4 * 16 * 32)
    with pytest.warns(UserWarning, match="its episodes begin anew") as caught:
        second.load(path)
    assert len(caught) == 1
    assert torch.equal(weights(second), weights(first))
    # Which actions come next is what it would have been, and not once more those of the beginning.
    generators = [trainer.collector.generator.get_state() for trainer in (first, second)]
    assert torch.equal(*generators)
    assert second.train()["steps"] == 4 * 16 * 32
    assert second.phases["wait"] > first.phases["wait"]


def test_at_the_end_nothing_is_under_way_and_the_environments_are_saved(make_match, tmp_path):
    first = make_trainer(make_match(), total_steps=4 * 16 * 32)
    first.train()
    second = make_trainer(make_match(), total_steps=6 * 16 * 32)
    second.load(first.save(tmp_path))  # without a warning
    assert second.train()["steps"] == 6 * 16 * 32


def test_runs_with_and_without_go_on_with_each_other(make_match, tmp_path):
    for first_ahead, second_ahead in ((True, False), (False, True)):
        first = make_trainer(make_match(), overlap=first_ahead)
        first.train_update()
        second = make_trainer(make_match(), overlap=second_ahead)
        if first_ahead:
            with pytest.warns(UserWarning, match="begin anew"):
                second.load(first.save(tmp_path / str(first_ahead)))
        else:
            second.load(first.save(tmp_path / str(first_ahead)))
        assert second.train()["steps"] >= 20_000


def test_vtrace_clips_are_on_and_can_be_chosen():
    infinity = float("inf")
    plain = dataclasses.replace(TRAIN, overlap=False)
    assert (TRAIN.uses_vtrace, TRAIN.vtrace_clips) == (True, (1.0, 1.0))
    assert (plain.uses_vtrace, plain.vtrace_clips) == (False, (infinity, infinity))
    for base, other in ((TRAIN, 1.0), (plain, infinity)):
        chosen = dataclasses.replace(base, vtrace_rho_clip=2.0)
        assert (chosen.uses_vtrace, chosen.vtrace_clips) == (True, (2.0, other))


def test_threads_and_policy_are_not_the_learners(make_match):
    trainer = make_trainer(make_match())
    mine, learners = set(trainer.collector.policy.parameters()), set(trainer.policy.parameters())
    assert not mine & learners
    assert trainer.native is not None
    assert trainer.collector.native is not None
    assert trainer.collector.native is not trainer.native
    assert not trainer.collector.config.cuda_graphs
    with one_thread():
        assert native_threads().size == 1
    assert native_threads().size == puffer.vector.usable_cores()
