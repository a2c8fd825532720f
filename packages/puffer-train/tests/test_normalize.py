"""Running statistics against NumPy's over everything seen, and where they are used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from puffer.core.errors import UsageError
from puffer.train.config import Config, TrainConfig
from puffer.train.models import Default, LSTMWrapper
from puffer.train.normalize import NormalizeObservations, ReturnScaler, RunningMoments
from puffer.train.storage import Segments
from puffer.train.trainer import Trainer, shape_rewards


def test_moments_equal_those_of_everything_at_once():
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 5, (n, 2)) + n for n in (1, 7, 0, 300)]
    moments = RunningMoments((2,))
    for batch in batches:
        moments.observe(torch.tensor(batch))
    everything = np.concatenate(batches)
    np.testing.assert_allclose(moments.mean, everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.deviation, everything.std(0), rtol=1e-5)
    assert int(moments.count) == 308


def define_returns(rewards, ends, valid, gamma):
    """The discounted sum of an episode's rewards so far, for every transition that counts."""
    sums = []
    for n in range(rewards.shape[1]):
        for t in range(len(rewards)):
            if not valid[t, n]:
                continue
            total, k, weight = 0.0, t, 1.0
            while k >= 0 and valid[k, n] and (k == t or not ends[k, n]):
                total += weight * rewards[k, n]
                weight *= gamma
                k -= 1
            sums.append(total)
    return np.array(sums)


def test_returns_are_measured_over_segments_as_over_time():
    rng = np.random.default_rng(0)
    rewards = rng.normal(2, 3, (20, 5)).astype(np.float32)
    ends, valid = rng.random((20, 5)) < 0.2, rng.random((20, 5)) < 0.9
    rewards[~valid] = 0
    scaler = ReturnScaler(5)
    for part in (slice(0, 8), slice(8, 20)):
        arrays = (torch.tensor(x[part]) for x in (rewards, ends, valid))
        deviation = scaler.observe(*arrays, 0.9)
    want = define_returns(rewards.astype(np.float64), ends, valid, 0.9).std()
    assert float(deviation) == pytest.approx(want, rel=1e-4)


def test_rewards_are_clipped_then_scaled_then_continued():
    segments = Segments.allocate(2, 3, Box(-1, 1, (1,)), Discrete(2), (), torch.device("cpu"))
    segments.rewards[...] = torch.tensor([[5.0, -0.5, -9.0], [0.0, 1.0, 2.0]])
    segments.cut_values[1, 2] = 10.0
    segments.valid.fill_(True)
    config = TrainConfig(reward_clip=1.0, gamma=0.5)
    shape_rewards(segments, config)
    assert segments.rewards.tolist() == [[1, -0.5, -1], [0, 1, 1 + 0.5 * 10]]
    scaler = ReturnScaler(3)
    segments.rewards[...] = torch.tensor([[5.0, -0.5, -9.0], [0.0, 1.0, 2.0]])
    shape_rewards(segments, config, scaler)
    deviation = float(scaler.moments.deviation)
    assert deviation not in (0.0, 1.0)
    assert float(segments.rewards[0, 1]) == pytest.approx(-0.5 / deviation)
    assert float(segments.rewards[1, 2]) == pytest.approx(1 / deviation + 5)


@pytest.mark.parametrize("recurrent", [False, True])
def test_the_trainer_shows_it_what_was_seen(make_match, recurrent):
    vecenv = make_match()
    config = Config("test/match", TrainConfig(horizon=16, device="cpu", norm_returns=True))
    policy = NormalizeObservations(vecenv.driver_env, Default(vecenv.driver_env, 16))
    normalizer = policy
    if recurrent:
        policy = LSTMWrapper(vecenv.driver_env, policy)
    trainer = Trainer(config, vecenv, policy)
    trainer.train_update()
    seen = trainer.segments.observations.flatten(0, 1)
    torch.testing.assert_close(normalizer.moments.mean, seen.mean(0))
    trainer.train_update()
    assert int(normalizer.moments.count) == 2 * 16 * 32
    assert "moments.mean" in dict(normalizer.named_buffers())  # so checkpoints hold it
    assert int(trainer.scaler.moments.count) == 2 * 16 * 32
    fresh = normalizer.normalize(seen)
    assert float(fresh.mean()) == pytest.approx(0, abs=0.1)
    assert float(normalizer.normalize(seen * 1e6).max()) == 10


def test_the_first_pass_sees_what_actions_were_chosen_by(make_match):
    """The ratio of probabilities is 1 before the first step of every update."""
    vecenv = make_match()
    train = TrainConfig(horizon=16, minibatch_size=10**6, device="cpu")
    policy = NormalizeObservations(vecenv.driver_env, Default(vecenv.driver_env, 16))
    trainer = Trainer(Config("test/match", train), vecenv, policy)
    for _ in range(3):
        assert abs(trainer.train_update()["losses"]["approx_kl"]) < 1e-6


def test_structured_observations_are_refused():
    import gymnasium

    from puffer.core.emulation import GymnasiumPufferEnv

    class Structured(gymnasium.Env):
        observation_space = Dict({"a": Box(0, 1, (2,)), "b": Discrete(3)})
        action_space = Discrete(2)

    env = GymnasiumPufferEnv(env=Structured())
    with pytest.raises(UsageError, match="are structured, rows of bytes: normalize their leaves"):
        NormalizeObservations(env, Default(env))
