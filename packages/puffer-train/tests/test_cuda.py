"""Training on a GPU: recorded or not it learns, resumes, and takes any policy."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch

from puffer.train import Config, TrainConfig, Trainer
from puffer.train.models import Default, LSTMWrapper, MinGRUWrapper

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

TRAIN = TrainConfig(
    total_steps=30_000,
    horizon=16,
    minibatch_size=256,
    learning_rate=0.02,
    epochs=2,
    gamma=0.5,
    device="cuda",
)
HALVES = {"backend": "alternating", "vec": {"num_envs": 2}, "num_envs": 16}


def make_trainer(vecenv, wrapper=None, **changes):
    torch.manual_seed(0)
    policy = Default(vecenv.driver_env, 32)
    policy = wrapper(vecenv.driver_env, policy) if wrapper else policy
    train = dataclasses.replace(TRAIN, **changes)
    return Trainer(Config("test/match", train), vecenv, policy)


@pytest.mark.parametrize("cuda_graphs", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("wrapper", [None, MinGRUWrapper, LSTMWrapper])
def test_it_learns(make_match, wrapper, optimizer, cuda_graphs):
    vecenv = make_match(**HALVES, delay=0 if wrapper is None else 1)
    trainer = make_trainer(vecenv, wrapper, optimizer=optimizer, cuda_graphs=cuda_graphs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = trainer.train()
    # Of 8 where the symbol is seen, of 7 where it must be remembered; by chance a third of that.
    assert summary["return_mean"] > (7.5 if wrapper is None else 4.5)
    assert summary["steps"] == TRAIN.total_steps // 512 * 512 + 512


def test_a_run_goes_on_after_a_checkpoint(make_match, tmp_path):
    trainer = make_trainer(make_match(**HALVES), MinGRUWrapper, optimizer="muon")
    for _ in range(4):
        trainer.train_update()
    path = trainer.save(tmp_path)
    again = make_trainer(make_match(**HALVES), MinGRUWrapper, optimizer="muon")
    again.load(path)
    for one, other in zip(trainer.policy.parameters(), again.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    for _ in range(4):
        again.train_update()
    assert all(p.isfinite().all() for p in again.policy.parameters())
    assert again.train()["return_mean"] > 6.2


class Curious(Default):
    """Looks at what it observes, which nothing recorded can do."""

    def encode_observations(self, observations):
        hidden, lookup = super().encode_observations(observations)
        return hidden * (1.0 if observations.sum().item() >= 0 else 2.0), lookup


def test_a_policy_that_cannot_be_recorded_is_called_as_it_is(make_match):
    vecenv = make_match(**HALVES)
    torch.manual_seed(0)
    policy = Curious(vecenv.driver_env, 32)
    trainer = Trainer(Config("test/match", TRAIN), vecenv, policy)
    with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph"):
        summary = trainer.train()
    assert summary["return_mean"] > 7.5
