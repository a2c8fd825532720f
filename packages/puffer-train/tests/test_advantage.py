"""Advantages against the sum that defines them, written out term by term in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puffer.train.advantage import compute_advantages


def define(rewards, values, bootstrap, ends, valid, gamma, lam, rho=None, c=None):
    """A_t is the sum over k of (gamma lam)^k (product of c before k) rho_k delta_k.

    The sum ends with the episode, before a transition that does not count, or with the segment.
    """
    horizon, agents = rewards.shape
    rho = np.ones_like(rewards) if rho is None else rho
    c = np.ones_like(rewards) if c is None else c
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
                total += weight * rho[k, n] * delta
                if ends[k, n]:
                    break
                weight *= gamma * lam * c[k, n]
            result[t, n] = total
    return result


probabilities = st.sampled_from([0.0, 0.1, 0.5, 1.0])
clips = st.sampled_from([0.3, 1.0, 2.5, math.inf])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    horizon=st.integers(1, 24),
    agents=st.integers(1, 5),
    ended=probabilities,
    cut=probabilities,
    masked=probabilities,
    gamma=st.sampled_from([0.0, 0.9, 0.99, 1.0]),
    lam=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    off_policy=st.booleans(),
    rho_clip=clips,
    c_clip=clips,
)
def test_equals_the_definition(
    seed, horizon, agents, ended, cut, masked, gamma, lam, off_policy, rho_clip, c_clip
):
    rng = np.random.default_rng(seed)
    shape = (horizon, agents)
    rewards, values = rng.normal(size=shape), rng.normal(size=shape)
    bootstrap = rng.normal(size=agents)
    terminals, truncations = rng.random(shape) < ended, rng.random(shape) < cut
    valid = rng.random(shape) >= masked
    ratios = np.exp(rng.normal(size=shape)) if off_policy else None
    # What a truncation cut off counts, what follows a termination does not.
    rewards = rewards + gamma * np.where(truncations & ~terminals, rng.normal(size=shape), 0)
    ends = terminals | truncations
    got = compute_advantages(
        *(torch.tensor(x, dtype=torch.float64) for x in (rewards, values, bootstrap)),
        torch.tensor(ends),
        torch.tensor(valid),
        gamma,
        lam,
        None if ratios is None else torch.tensor(ratios),
        rho_clip,
        c_clip,
    )
    weights = () if ratios is None else (np.minimum(ratios, rho_clip), np.minimum(ratios, c_clip))
    want = define(rewards, values, bootstrap, ends, valid, gamma, lam, *weights)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-9)


def test_single_precision_is_close():
    rng = np.random.default_rng(0)
    shape = (64, 50)
    arrays = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=50)
    flags = rng.random(shape) < 0.15, rng.random(shape) < 0.9
    got = compute_advantages(
        *(torch.tensor(x, dtype=torch.float32) for x in arrays), *map(torch.tensor, flags), 0.99, 1
    )
    np.testing.assert_allclose(got.numpy(), define(*arrays, *flags, 0.99, 1), atol=1e-4)


def on_policy_and_off(lam, ratios, **clip):
    g = torch.Generator().manual_seed(0)
    rewards, values, boot = (torch.randn(s, generator=g) for s in ((9, 4), (9, 4), (4,)))
    flags = torch.rand(9, 4, generator=g) < 0.2, torch.rand(9, 4, generator=g) < 0.9
    args = (rewards, values, boot, *flags, 0.9, lam)
    return args, compute_advantages(*args), compute_advantages(*args, ratios, **clip)


@pytest.mark.parametrize("clip", [1.0, math.inf])
def test_on_policy_it_is_gae_whatever_the_clips(clip):
    _, gae, weighted = on_policy_and_off(0.95, torch.ones(9, 4), rho_clip=clip, c_clip=clip)
    torch.testing.assert_close(weighted, gae)


def test_at_lambda_1_it_is_the_recursion_of_vtrace():
    """v_s = V_s + rho_s delta_s + gamma c_s (v_{s+1} - V_{s+1}), remark 1 of the paper."""
    ratios = torch.rand(9, 4, generator=torch.Generator().manual_seed(1)) * 2
    args, _, got = on_policy_and_off(1.0, ratios, rho_clip=1.0, c_clip=0.8)
    rewards, values, boot, ends, valid, gamma, _ = args
    for n in range(4):
        v_next, value_next = float(boot[n]), float(boot[n])
        for t in reversed(range(9)):
            value, discount = float(values[t, n]), gamma * float(~ends[t, n])
            rho, c = min(1.0, float(ratios[t, n])), min(0.8, float(ratios[t, n]))
            v = value + rho * (float(rewards[t, n]) + discount * value_next - value)
            v += discount * c * (v_next - value_next)
            v = v if valid[t, n] else value
            assert float(got[t, n]) == pytest.approx(v - value, abs=1e-5)
            v_next, value_next = v, value


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
