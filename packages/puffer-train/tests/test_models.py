"""Policies: shapes for every space, and recurrence that treats time as collection does."""

from __future__ import annotations

import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from puffer.train import actions as act
from puffer.train.cleanrl import Policy, RecurrentPolicy
from puffer.train.models import Default, LSTMWrapper


@pytest.mark.parametrize("kind", ["discrete", "multidiscrete", "box"])
def test_default_fits_every_action_space(match_class, kind):
    env = match_class(num_envs=5, kind=kind)
    observations = torch.as_tensor(env.reset(seed=0)[0])
    output, value = Default(env)(observations)
    actions, log_probs = act.sample(output)
    assert value.shape == (5, 1)
    assert log_probs.shape == (5,)
    if kind != "box":
        env.step(actions.numpy())


def test_default_unpacks_structured_observations():
    import gymnasium
    import numpy as np

    from puffer.core.emulation import GymnasiumPufferEnv

    class Structured(gymnasium.Env):
        observation_space = Dict(
            {"image": Box(0, 255, (4, 4), np.uint8), "vector": Box(-1, 1, (3,), np.float32)}
        )
        action_space = Discrete(2)

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            return self._observe(), {}

        def step(self, action):
            return self._observe(), 0.0, False, False, {}

        def _observe(self):
            return {
                "image": np.full((4, 4), 255, np.uint8),
                "vector": np.array([0.5, -0.5, 1.0], np.float32),
            }

    env = GymnasiumPufferEnv(env=Structured())
    observation, _ = env.reset(seed=0)
    policy = Default(env, hidden_size=8)
    assert policy.encoder.in_features == 19
    flat = policy._flatten(torch.as_tensor(observation).unsqueeze(0))
    assert sorted(set(flat.flatten().tolist())) == [-0.5, 0.5, 1.0, 255.0]


def test_lstm_over_segments_equals_stepping_with_resets(match_class):
    torch.manual_seed(0)
    env = match_class(num_envs=6)
    policy = LSTMWrapper(env, Default(env, hidden_size=16))
    time = 9
    observations = torch.randn(time, 6, 3)
    starts = torch.rand(time, 6) < 0.2
    state = tuple(torch.randn(1, 6, 16) for _ in range(2))
    logits, values, last = policy(observations, state, starts)
    stepped = state
    for t in range(time):
        alive = (~starts[t]).float().view(1, -1, 1)
        out, value, stepped = policy(observations[t], tuple(s * alive for s in stepped))
        torch.testing.assert_close(logits.view(time, 6, -1)[t], out)
        torch.testing.assert_close(values.view(time, 6)[t], value.flatten())
    torch.testing.assert_close(last, stepped)


def test_lstm_as_the_tutorial_calls_it(match_class):
    env = match_class(num_envs=1)
    policy = LSTMWrapper(env, Default(env))
    state = (torch.zeros(1, 1, policy.hidden_size), torch.zeros(1, 1, policy.hidden_size))
    actions, value, state = policy(torch.as_tensor(env.reset(seed=0)[0]), state)
    assert actions.shape == (1, 3)
    assert value.shape == (1, 1)
    assert state[0].shape == (1, 1, policy.hidden_size)


def test_cleanrl_adapters(match_class):
    env = match_class(num_envs=4)
    observations = torch.as_tensor(env.reset(seed=0)[0])
    base = Default(env)
    action, log_prob, entropy, value = Policy(base).get_action_and_value(observations)
    again = Policy(base).get_action_and_value(observations, action)
    torch.testing.assert_close(again[1], log_prob)
    assert entropy.shape == (4,)
    torch.testing.assert_close(Policy(base).get_value(observations), value)
    recurrent = RecurrentPolicy(LSTMWrapper(env, base))
    action, _, _, value, state = recurrent.get_action_and_value(observations)
    assert action.shape == (4,)
    torch.testing.assert_close(recurrent.get_value(observations), value)
    assert len(state) == 2


def test_small_policies_run_on_one_thread(match_class, monkeypatch):
    import puffer.vector
    from puffer.train.launch import choose_threads

    monkeypatch.setattr(puffer.vector, "usable_cores", lambda: 6)
    env = match_class()
    assert choose_threads(Default(env), env, 8192) == 1
    assert choose_threads(Default(env, hidden_size=4096), env, 2**17) == 6
    assert choose_threads(LSTMWrapper(env, Default(env, hidden_size=16)), env, 64) == 1
