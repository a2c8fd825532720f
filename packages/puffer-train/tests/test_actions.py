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


def mixed(batch=40, seed=0):
    g = generator(seed)
    logits = [torch.randn(batch, n, generator=g) for n in (3, 2)]
    normal = Normal(torch.randn(batch, 2, generator=g), torch.full((batch, 2), 0.5))
    return act.Mixed(logits, normal, (True, False, False, True))


def test_mixed_actions_are_a_product_in_the_order_of_the_columns():
    output = mixed()
    actions, log_probs = act.sample(output, generator())
    assert actions.shape == (40, 4)
    first, last = (Categorical(logits=p) for p in output.logits)
    want = first.log_prob(actions[:, 0]) + last.log_prob(actions[:, 3])
    want += output.normal.log_prob(actions[:, 1:3]).sum(-1)
    torch.testing.assert_close(log_probs, want)
    again, entropy = act.evaluate(output, actions)
    torch.testing.assert_close(again, want)
    torch.testing.assert_close(
        entropy, first.entropy() + last.entropy() + output.normal.entropy().sum(-1)
    )
    greedy = act.sample(output, greedy=True)[0]
    torch.testing.assert_close(greedy[:, 1:3], output.normal.mean)
    assert torch.equal(greedy[:, 0].long(), output.logits[0].argmax(-1))


@pytest.mark.parametrize("sizes", [(5,), (2, 3)])
def test_forbidden_actions_have_no_probability_and_no_gradient(sizes):
    parts = [torch.randn(300, n, generator=generator(n), requires_grad=True) for n in sizes]
    output = parts[0] if len(parts) == 1 else parts
    masks = torch.rand(300, 5, generator=generator(9)) < 0.6
    columns = torch.split(masks, list(sizes), -1)
    for column in columns:
        column[:, 0] |= ~column.any(-1)
    actions, log_probs = act.sample(output, generator(), masks)
    again, entropy = act.evaluate(output, actions, masks)
    torch.testing.assert_close(again, log_probs)
    chosen = actions.view(300, -1)
    want = 0.0
    for i, (part, column) in enumerate(zip(parts, columns, strict=True)):
        assert column.gather(1, chosen[:, i : i + 1]).all()
        reference = Categorical(logits=part.detach().masked_fill(~column, -torch.inf))
        want = want + reference.log_prob(chosen[:, i])
    torch.testing.assert_close(log_probs.detach(), want)
    (again.sum() + entropy.sum()).backward()
    for part, column in zip(parts, columns, strict=True):
        assert not part.grad[~column].any()
        assert torch.isfinite(part.grad).all()


def test_a_row_that_allows_nothing_is_no_accident():
    logits = torch.tensor([[1.0, 5.0]], requires_grad=True)
    masks = torch.zeros(1, 2, dtype=torch.bool)
    _, log_prob = act.sample(logits, generator(), masks)
    log_prob, entropy = act.evaluate(logits, torch.tensor([1]), masks)
    torch.testing.assert_close(log_prob.exp(), torch.tensor([0.5]))
    assert torch.isfinite(entropy).all()


def test_greedy_choices_are_allowed_ones():
    logits, masks = torch.tensor([[1.0, 5.0, 3.0]]), torch.tensor([[True, False, True]])
    assert act.sample(logits, None, masks, greedy=True)[0].tolist() == [2]
