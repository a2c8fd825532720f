"""Advantages against the sum that defines them, written out term by term in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from puffer.train.advantage import compute_advantages


def define(rewards, values, bootstrap, ends, valid, gamma, lam):
    """A_t is the sum over k of (gamma lam)^k delta_{t+k}, up to the end of the episode."""
    horizon, agents = rewards.shape
    result = np.zeros((horizon, agents))
    for n in range(agents):
        for t in range(horizon):
            if not valid[t, n]:
                continue
            weight, total = 1.0, 0.0
            for k in range(t, horizon):
                if not valid[k, n]:
                    break
                following = bootstrap[n] if k + 1 == horizon else values[k + 1, n]
                delta = rewards[k, n] - values[k, n]
                delta += 0.0 if ends[k, n] else gamma * following
                total += weight * delta
                if ends[k, n]:
                    break
                weight *= gamma * lam
            result[t, n] = total
    return result


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("horizon", [1, 2, 17])
def test_equals_the_definition(gamma, lam, horizon):
    rng = np.random.default_rng(0)
    shape = (horizon, 50)
    rewards, values = rng.normal(size=shape), rng.normal(size=shape)
    bootstrap = rng.normal(size=50)
    ends, valid = rng.random(shape) < 0.15, rng.random(shape) < 0.9
    tensors = [torch.tensor(x, dtype=torch.float32) for x in (rewards, values, bootstrap)]
    got = compute_advantages(*tensors, torch.tensor(ends), torch.tensor(valid), gamma, lam)
    want = define(rewards, values, bootstrap, ends, valid, gamma, lam)
    np.testing.assert_allclose(got.numpy(), want, atol=2e-5)


def test_every_transition_counts_the_last_one_too():
    rewards = torch.tensor([[0.0], [0.0], [1.0]])
    no = torch.zeros(3, 1, dtype=torch.bool)
    got = compute_advantages(rewards, rewards * 0, torch.tensor([2.0]), no, ~no, 0.5, 1.0)
    torch.testing.assert_close(got.flatten(), torch.tensor([0.5, 1.0, 2.0]))


def test_nothing_flows_across_an_end():
    rewards = torch.tensor([[1.0], [10.0]])
    ends = torch.tensor([[True], [False]])
    got = compute_advantages(
        rewards, rewards * 0, torch.tensor([100.0]), ends, torch.ones_like(ends), 1.0, 1.0
    )
    torch.testing.assert_close(got.flatten(), torch.tensor([1.0, 110.0]))
