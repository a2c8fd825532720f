"""The loss against the paper's formula, and the update on segments."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from puffer.train import ppo
from puffer.train.config import TrainConfig
from puffer.train.optim import OrthogonalMomentum, make_optimizer, orthogonalize
from puffer.train.parallel import Crew
from puffer.train.ppo import (
    draw_segments,
    explained_variance,
    normalize,
    ppo_loss,
    update,
)
from puffer.train.recorded import RecordedSteps
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
    tensors = torch.tensor(arrays)
    loss, parts = ppo_loss(*tensors, tensors[5] + tensors[4], None, config)
    assert float(loss) == pytest.approx(slow_loss(*arrays, config), rel=1e-4)
    assert 0 < float(parts["clip_fraction"]) < 1
    assert float(parts["approx_kl"]) >= 0


def whole_loss(arrays, weights, config):
    """The loss of a minibatch as `update` takes it: targets first, then normalization."""
    *others, advantages = arrays
    scaled = normalize(advantages, weights) if config.norm_advantages else advantages
    return ppo_loss(*others, scaled, advantages + others[4], weights, config)


@pytest.mark.parametrize("norm_advantages", [True, False])
def test_invalid_transitions_count_nowhere(norm_advantages):
    config = dataclasses.replace(CONFIG, norm_advantages=norm_advantages)
    arrays = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(20) % 3 != 0
    kept, kept_parts = whole_loss(arrays[:, valid], None, config)
    spoiled = torch.where(valid, arrays, 1.5)
    masked, masked_parts = whole_loss(spoiled, valid / valid.sum(), config)
    torch.testing.assert_close(masked, kept)
    torch.testing.assert_close(masked_parts, kept_parts)


def full_segments(horizon=8, agents=12, device="cpu"):
    g = torch.Generator().manual_seed(0)
    segments = Segments.allocate(
        horizon, agents, Box(-1, 1, (3,)), Discrete(4), (), torch.device(device)
    )
    segments.observations.copy_(torch.randn(horizon, agents, 3, generator=g))
    segments.actions.copy_(torch.randint(0, 4, (horizon, agents), generator=g))
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


def gradients(segments, advantages, config, seed=0, crew=None):
    """Return the flat gradient that one `update` of a single minibatch leaves."""
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    update(net, optimizer, segments, advantages, config, torch.Generator().manual_seed(seed), crew)
    return torch.cat([p.grad.flatten() for p in net.parameters()])


ONE = TrainConfig(minibatch_size=96, max_grad_norm=1e9)


def test_microbatches_add_up_to_the_minibatch():
    segments = full_segments()
    segments.valid[::3, ::2] = False
    advantages = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    whole = gradients(segments, advantages, ONE)
    for size in (8, 24, 40):
        parts = gradients(segments, advantages, dataclasses.replace(ONE, microbatch_size=size))
        torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("crew", [None, Crew(parts=3, threads=2)])
def test_masked_transitions_count_nowhere(crew):
    advantages = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    few, many = full_segments(agents=6), full_segments()
    for name in ("observations", "actions"):
        getattr(few, name).copy_(getattr(many, name)[:, :6])
    many.valid[:, 6:] = False
    torch.testing.assert_close(
        gradients(many, advantages, ONE, crew=crew), gradients(few, advantages[:, :6], ONE)
    )


@pytest.mark.parametrize("prio", [0.0, 0.6])
def test_threads_add_up_to_the_minibatch(prio):
    segments = full_segments()
    segments.valid[::3, ::2] = False
    advantages = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    config = dataclasses.replace(ONE, prio_alpha=prio, vtrace_rho_clip=1.0)
    whole = gradients(segments, advantages, config)
    ratios = segments.ratios.clone()
    alone = gradients(segments, advantages, config, crew=Crew(parts=5, threads=1))
    torch.testing.assert_close(alone, whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(segments.ratios, ratios)
    # To the bit: a run must not depend on the number of cores.
    assert torch.equal(gradients(segments, advantages, config, crew=Crew(5, 3)), alone)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 3},
        {"prio_alpha": 0.6, "vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0, "epochs": 2},
        {"minibatch_size": 40},  # the last one is smaller
        {"target_kl": 1e-4, "epochs": 4},
    ],
)
def test_recorded_steps_are_the_same_steps(optimizer, changes, device):
    """Through tensors that stay in place, with coefficients that change between updates."""
    config = TrainConfig(minibatch_size=24, optimizer=optimizer, max_grad_norm=0.1)
    config = dataclasses.replace(config, **changes)
    outcomes = []
    for recorded in (False, True):
        torch.manual_seed(0)
        net, segments = Net().to(device), full_segments(device=device)
        segments.valid[::3, ::2] = False
        steps = make_optimizer(config, net)
        draws, generator = torch.Generator().manual_seed(0), torch.Generator(device).manual_seed(0)
        worker = RecordedSteps(net, steps, generator) if recorded else None
        losses = []
        for clip in (0.2, 0.1, 0.01):
            segments.values.copy_(torch.randn(8, 12, generator=draws))
            segments.valid[0, 0] = clip > 0.05
            advantages = torch.randn(8, 12, generator=draws).to(device)
            now = dataclasses.replace(config, clip_coef=clip, ent_coef=clip / 10)
            losses.append(update(net, steps, segments, advantages, now, generator, worker))
        weights = torch.cat([p.detach().cpu().flatten() for p in net.parameters()])
        outcomes.append((weights, segments.ratios.cpu(), losses))
    (weights, ratios, losses), (again, same_ratios, same_losses) = outcomes
    torch.testing.assert_close(again, weights, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(same_ratios, ratios)
    for one, other in zip(losses, same_losses, strict=True):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"epochs": 3}, 12),
        ({"replay_ratio": 1.5}, 6),
        ({"replay_ratio": 0.25}, 1),
        ({"replay_ratio": 0.01}, 1),
        ({"replay_ratio": 2.0, "epochs": 7}, 8),
        ({"minibatch_size": 1000}, 1),
    ],
)
def test_replay_ratio_counts_minibatches(changes, steps):
    taken = []
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.0)
    optimizer.register_step_post_hook(lambda *_: taken.append(1))
    config = dataclasses.replace(TrainConfig(minibatch_size=24), **changes)
    update(net, optimizer, full_segments(), torch.randn(8, 12), config, torch.Generator())
    assert len(taken) == steps


def test_one_pass_sees_every_segment_once():
    order, weights = draw_segments(torch.randn(8, 12), TrainConfig(), torch.Generator())
    assert sorted(order.tolist()) == list(range(12))
    assert order.tolist() != list(range(12))
    assert weights is None


def test_one_pass_shows_every_segment_to_the_policy():
    segments, net, seen = full_segments(), Net(), []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    config = TrainConfig(minibatch_size=40)
    update(net, optimizer, segments, torch.randn(8, 12), config, torch.Generator())
    assert [len(batch) for batch in seen] == [40, 40, 16]
    whole = segments.observations.flatten(0, 1)
    assert torch.equal(torch.cat(seen).sort(0)[0], whole.sort(0)[0])


def test_gradients_are_of_the_last_minibatch_alone_and_clipped():
    segments = full_segments()
    advantages = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    once = gradients(segments, advantages, ONE)
    torch.testing.assert_close(
        gradients(segments, advantages, dataclasses.replace(ONE, epochs=3)), once
    )
    small = dataclasses.replace(ONE, max_grad_norm=0.01)
    assert float(once.norm()) > 0.02
    assert float(gradients(segments, advantages, small).norm()) == pytest.approx(0.01, rel=1e-3)


def test_segments_are_drawn_by_their_advantages():
    advantages = torch.tensor([[1.0, -2.0, 4.0], [0.0, 2.0, -4.0]])  # sums 1, 4, 8
    config = TrainConfig(prio_alpha=0.5, prio_beta=1.0)
    share = torch.tensor([1.0, 2.0, 8**0.5])
    share /= share.sum()
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_segments(advantages, config, generator) for _ in range(4000)]
    order = torch.cat([o for o, _ in drawn])
    weights = torch.cat([w for _, w in drawn])
    frequencies = torch.bincount(order, minlength=3) / len(order)
    torch.testing.assert_close(frequencies, share, atol=0.02, rtol=0)
    torch.testing.assert_close(weights, 1 / (3 * share[order]))
    # Weighted, the expectation is the mean over all segments, whatever was preferred.
    anything = torch.tensor([3.0, -1.0, 10.0])
    assert float((weights * anything[order]).mean()) == pytest.approx(4.0, abs=0.15)
    half = draw_segments(advantages, dataclasses.replace(config, prio_beta=0.5), generator)
    torch.testing.assert_close(half[1], (3 * share[half[0]]) ** -0.5)


def test_importance_weights_keep_the_expected_gradient():
    segments = full_segments()
    advantages = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    advantages *= torch.linspace(0.2, 3, 12)
    config = dataclasses.replace(ONE, norm_advantages=False)
    whole = gradients(segments, advantages, config)
    preferring = dataclasses.replace(config, prio_alpha=1.0, prio_beta=1.0)
    draws = torch.stack([gradients(segments, advantages, preferring, s) for s in range(200)])
    error = (draws.mean(0) - whole).abs() / (draws.std(0) / 200**0.5 + 1e-8)
    assert float(error.max()) < 4.5  # deviations of the mean
    unweighted = dataclasses.replace(preferring, prio_beta=0.0)
    draws = torch.stack([gradients(segments, advantages, unweighted, s) for s in range(200)])
    error = (draws.mean(0) - whole).abs() / (draws.std(0) / 200**0.5 + 1e-8)
    assert float(error.max()) > 8


def test_later_passes_correct_for_the_policy_learned_since(monkeypatch):
    """With a V-trace clip, the second pass weighs by the ratios of the first one."""
    seen = []
    real = ppo.compute_advantages

    def watch(*args):
        seen.append(args[7].clone())
        return real(*args)

    monkeypatch.setattr(ppo, "compute_advantages", watch)
    net, segments = Net(), full_segments()
    torch.nn.init.zeros_(net.body.weight)
    torch.nn.init.zeros_(net.body.bias)  # the policy that chose, with probability 1/4 each
    config = TrainConfig(
        epochs=2, minibatch_size=48, vtrace_rho_clip=1.0, learning_rate=0.1, gae_lambda=1.0
    )
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    update(net, optimizer, segments, torch.randn(8, 12), config, torch.Generator())
    assert len(seen) == 1
    ratios = seen[0]
    first_half = (ratios - 1).abs().amax(0) < 1e-5  # learned from before the first step
    assert first_half.sum() == 6


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_every_optimizer_lowers_the_loss(optimizer):
    torch.manual_seed(0)
    net = Net()
    config = TrainConfig(optimizer=optimizer, learning_rate=0.02)
    chosen = make_optimizer(config, net)
    x = torch.randn(64, 3)

    def loss():
        return (net(x)[0] - x.sum(1, keepdim=True)).square().mean() + net(x)[1].square().mean()

    before = loss().item()
    for _ in range(60):
        chosen.zero_grad()
        loss().backward()
        chosen.step()
    assert loss().item() < 0.5 * before


def test_decay_shrinks_weights_with_adamw_only():
    norms = {}
    for name in ("adam", "adamw", "muon"):
        torch.manual_seed(0)
        net = Net()
        config = TrainConfig(optimizer=name, learning_rate=0.1, weight_decay=0.5)
        chosen = make_optimizer(config, net)
        for p in net.parameters():
            p.grad = torch.zeros_like(p)
        before = net.body.weight.detach().norm()
        chosen.step()
        norms[name] = float(net.body.weight.detach().norm() / before)
    assert norms == pytest.approx({"adam": 1.0, "adamw": 0.95, "muon": 1.0})


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (1, 30), (4, 4)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.min() > 0.4
    assert values.max() < 1.3


def test_muon_is_torchs_in_more_digits():
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(40, 20, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    one = OrthogonalMomentum([ours], 0.1)
    other = torch.optim.Muon([theirs], 0.1, momentum=0.95, weight_decay=0.0)
    for _ in range(5):
        ours.grad = theirs.grad = torch.randn(40, 20, generator=generator)
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
    assert (ours - start).abs().max() > 0.1


def test_muon_leaves_filters_and_biases_to_adam():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(2, 2))
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    rate = 0.01
    before = [p.detach().clone() for p in net.parameters()]
    make_optimizer(TrainConfig(optimizer="muon", learning_rate=rate), net).step()
    moved = [(b - p.detach()) for b, p in zip(before, net.parameters(), strict=True)]
    filters, _, matrix, bias = moved
    torch.testing.assert_close(filters, torch.full_like(filters, rate), atol=1e-5, rtol=0)
    torch.testing.assert_close(bias, torch.full_like(bias, rate), atol=1e-5, rtol=0)
    # A gradient of rank 1 stays so, with a singular value near 1.
    assert 0.6 * rate < float(torch.linalg.matrix_norm(matrix, 2)) < 1.3 * rate


def test_bfloat16_is_close_and_keeps_weights_in_float32():
    segments = full_segments()
    advantages = torch.randn(8, 12, generator=torch.Generator().manual_seed(0))
    full = gradients(segments, advantages, ONE)
    low = gradients(segments, advantages, dataclasses.replace(ONE, precision="bfloat16"))
    assert low.dtype == torch.float32
    assert 0 < float((low - full).norm() / full.norm()) < 0.02
