"""CartPole against Gymnasium's, step by step."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from puffer.core.errors import UsageError
from puffer.ocean import Cartpole


def test_a_thousand_episodes_are_those_of_gymnasium() -> None:
    """From the same start and with the same actions, to 1e-5 on every step of every episode."""
    num_envs, max_steps = 1000, 200
    rng = np.random.default_rng(0)
    oracles = [CartPoleEnv() for _ in range(num_envs)]
    clumsiness = np.linspace(0, 1, num_envs)  # from balancing all the way to pushing at random
    with Cartpole(num_envs, max_steps=max_steps) as env:
        observations, _ = env.reset(0)
        for oracle, start in zip(oracles, observations, strict=True):
            oracle.reset(seed=0)
            oracle.state = start.astype(np.float64)
        playing = np.ones(num_envs, bool)
        for step in range(1, max_steps + 1):
            balancing = observations @ np.array([0.1, 0.3, 1.0, 0.5]) > 0
            random = rng.random(num_envs) < clumsiness
            actions = np.where(random, rng.integers(0, 2, num_envs), balancing)
            observations, rewards, terminals, truncations, _ = env.step(actions)
            expected = observations.copy()
            for i in np.flatnonzero(playing):
                row, reward, terminated, _, _ = oracles[i].step(int(actions[i]))
                assert (terminals[i], rewards[i]) == (terminated, reward)
                assert truncations[i] == (step == max_steps and not terminated)
                if not (terminated or truncations[i]):
                    expected[i] = row
            np.testing.assert_allclose(observations, expected, rtol=0, atol=1e-5)
            playing &= ~(terminals | truncations)
            if step == max_steps - 1:
                assert playing.sum() > 200  # many went the whole way
    assert not playing.any()


def test_final_observations_are_those_of_gymnasium(make_buffers) -> None:  # type: ignore[no-untyped-def]
    with Cartpole(100, buf=make_buffers(Cartpole, 100)) as env:
        observations, _ = env.reset(0)
        oracles = [CartPoleEnv() for _ in range(100)]
        for oracle, start in zip(oracles, observations, strict=True):
            oracle.reset(seed=0)
            oracle.state = start.astype(np.float64)
        playing = np.ones(100, bool)
        while playing.any():
            terminals = env.step(np.ones(100, np.int32))[2]
            for i in np.flatnonzero(playing):
                expected = oracles[i].step(1)[0]
                if terminals[i]:
                    assert env.final_observations is not None
                    final = env.final_observations[i]
                    np.testing.assert_allclose(final, expected, rtol=0, atol=1e-5)
            playing &= ~terminals


def test_spaces_and_start_are_those_of_gymnasium() -> None:
    oracle = gymnasium.make("CartPole-v1")
    with Cartpole(50_000) as env:
        assert env.single_observation_space == oracle.observation_space
        assert env.single_action_space == oracle.action_space
        start, _ = env.reset(0)
        assert abs(start).max() <= 0.05
        # Uniform on +-0.05: standard deviation 0.0289; mean 0 to 5 standard errors.
        np.testing.assert_allclose(start.std(axis=0), 0.1 / 12**0.5, rtol=0.02)
        np.testing.assert_allclose(start.mean(axis=0), 0, atol=5 * 0.0289 / 50_000**0.5)


def test_a_balanced_pole_has_a_perfect_score() -> None:
    with Cartpole(64, max_steps=100, report_interval=100) as env:
        observations, _ = env.reset(0)
        for _ in range(100):
            actions = observations @ np.array([0.1, 0.3, 1.0, 0.5]) > 0
            observations, *_, infos = env.step(actions.astype(int))
    (info,) = infos
    assert info["episode_return"] == info["score"] == info["episode_length"] == 100
    assert info["perf"] == 1


def test_a_limit_that_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="max_steps=0: expected at least 1"):
        Cartpole(max_steps=0)
