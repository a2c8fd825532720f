"""The loss against the paper's formula, and the update on segments."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from puffer.train.config import TrainConfig
from puffer.train.ppo import explained_variance, ppo_loss, update
from puffer.train.storage import Segments

CONFIG = TrainConfig(clip_coef=0.2, vf_coef=0.7, ent_coef=0.03, norm_advantages=False)


def slow_loss(new, value, entropy, old, old_value, advantage, config):
    total_policy = total_value = 0.0
    for i in range(len(new)):
        ratio = float(np.exp(new[i] - old[i]))
        kept = min(max(ratio, 1 - config.clip_coef), 1 + config.clip_coef)
        total_policy -= min(ratio * advantage[i], kept * advantage[i])
        target = advantage[i] + old_value[i]
        error = (value[i] - target) ** 2
        if config.vf_clip_coef is not None:
            step = np.clip(value[i] - old_value[i], -config.vf_clip_coef, config.vf_clip_coef)
            error = max(error, (old_value[i] + step - target) ** 2)
        total_value += 0.5 * error
    n = len(new)
    mean_entropy = float(np.mean(entropy))
    return total_policy / n + config.vf_coef * total_value / n - config.ent_coef * mean_entropy


@pytest.mark.parametrize("vf_clip", [None, 0.3])
def test_loss_equals_the_formula(vf_clip):
    config = dataclasses.replace(CONFIG, vf_clip_coef=vf_clip)
    arrays = np.random.default_rng(1).normal(size=(6, 40)).astype(np.float32)
    loss, parts = ppo_loss(*torch.tensor(arrays), None, config)
    assert float(loss) == pytest.approx(slow_loss(*arrays, config), rel=1e-4)
    assert 0 < float(parts["clip_fraction"]) < 1
    assert float(parts["approx_kl"]) >= 0


@pytest.mark.parametrize("normalize", [True, False])
def test_invalid_transitions_count_nowhere(normalize):
    config = dataclasses.replace(CONFIG, norm_advantages=normalize)
    arrays = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(20) % 3 != 0
    kept, kept_parts = ppo_loss(*arrays[:, valid], None, config)
    spoiled = torch.where(valid, arrays, 1.5)
    masked, masked_parts = ppo_loss(*spoiled, valid.float(), config)
    torch.testing.assert_close(masked, kept)
    torch.testing.assert_close(masked_parts, kept_parts)


def full_segments(horizon=8, agents=12):
    g = torch.Generator().manual_seed(0)
    segments = Segments.allocate(
        horizon, agents, Box(-1, 1, (3,)), Discrete(4), (), torch.device("cpu")
    )
    segments.observations.normal_(generator=g)
    segments.actions.random_(0, 4, generator=g)
    segments.log_probs.fill_(float(np.log(0.25)))
    segments.valid.fill_(True)
    return segments


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.value = nn.Linear(3, 1)

    def forward(self, x):
        return self.body(x), self.value(x)


def test_update_raises_the_probability_of_good_actions():
    segments, net = full_segments(), Net()
    advantages = torch.where(segments.actions == 2, 1.0, -1.0)
    config = TrainConfig(epochs=20, minibatch_size=32, ent_coef=0.0)
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    losses = update(net, optimizer, segments, advantages, config, torch.Generator())
    probabilities = net(segments.observations)[0].softmax(-1)[..., 2]
    assert probabilities.mean() > 0.4
    assert set(losses) >= {"policy_loss", "value_loss", "entropy", "approx_kl", "grad_norm"}


def test_target_kl_ends_the_epochs():
    steps = []
    for target in (None, 1e-6):
        net, segments = Net(), full_segments()
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        optimizer.register_step_post_hook(lambda *_: steps.append(1))
        config = TrainConfig(epochs=10, minibatch_size=96, target_kl=target)
        steps.clear()
        update(
            net, optimizer, segments, torch.randn(8, 12), config, torch.Generator().manual_seed(0)
        )
        assert len(steps) == 10 if target is None else len(steps) < 10


def test_explained_variance_of_a_perfect_and_a_useless_value():
    segments = full_segments()
    segments.values.normal_(generator=torch.Generator().manual_seed(1))
    assert explained_variance(segments, torch.zeros(8, 12)) == pytest.approx(1)
    assert explained_variance(segments, -segments.values + torch.randn(8, 12)) < 0.5
