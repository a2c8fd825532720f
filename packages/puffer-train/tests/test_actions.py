"""Sampling and log-probabilities against torch's distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Normal

from puffer.train import actions as act


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_discrete_agrees_with_categorical():
    logits = torch.randn(200, 5, generator=generator())
    actions, log_probs = act.sample(logits, generator())
    reference = Categorical(logits=logits)
    torch.testing.assert_close(log_probs, reference.log_prob(actions))
    again, entropy = act.evaluate(logits, actions)
    torch.testing.assert_close(again, log_probs)
    torch.testing.assert_close(entropy, reference.entropy())


def test_samples_follow_the_probabilities():
    logits = torch.tensor([0.5, 0.2, 0.3]).log().expand(60_000, 3)
    actions, _ = act.sample(logits, generator())
    frequencies = torch.bincount(actions, minlength=3) / len(actions)
    torch.testing.assert_close(frequencies, torch.tensor([0.5, 0.2, 0.3]), atol=0.01, rtol=0)


def test_impossible_actions_are_never_drawn():
    logits = torch.tensor([0.0, -torch.inf, 0.0]).expand(10_000, 3)
    actions, log_probs = act.sample(logits, generator())
    assert not (actions == 1).any()
    assert torch.isfinite(log_probs).all()


def test_multidiscrete_is_a_product():
    parts = [torch.randn(50, n, generator=generator(n)) for n in (2, 3, 4)]
    actions, log_probs = act.sample(parts, generator())
    assert actions.shape == (50, 3)
    references = [Categorical(logits=p) for p in parts]
    want = sum(r.log_prob(actions[:, i]) for i, r in enumerate(references))
    torch.testing.assert_close(log_probs, want)
    torch.testing.assert_close(
        act.evaluate(parts, actions)[1], sum(r.entropy() for r in references)
    )


def test_continuous_sums_over_components():
    normal = Normal(torch.zeros(7, 2), torch.full((7, 2), 0.5))
    actions, log_probs = act.sample(normal, generator())
    torch.testing.assert_close(log_probs, normal.log_prob(actions).sum(-1))
    torch.testing.assert_close(act.evaluate(normal, actions)[1], normal.entropy().sum(-1))


@pytest.mark.parametrize("output", [torch.tensor([[0.0, 3.0]]), Normal(torch.ones(1, 1), 1.0)])
def test_greedy_takes_the_mode(output):
    assert act.sample(output, greedy=True)[0].flatten().tolist() == [1]


def test_the_same_generator_repeats():
    logits = torch.zeros(100, 10)
    first, second = (act.sample(logits, generator(3))[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, act.sample(logits, generator(4))[0])
