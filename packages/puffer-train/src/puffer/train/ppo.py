"""Update: proximal policy optimization on segments (Schulman et al. 2017, arXiv 1707.06347)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from puffer.train import actions as act
from puffer.train.advantage import compute_advantages
from puffer.train.config import TrainConfig
from puffer.train.optim import autocast
from puffer.train.parallel import Crew, replicate
from puffer.train.perceptron import Perceptron
from puffer.train.storage import Segments

Parts = dict[str, Any]  # scalars: tensors or, where compiled code has summed them up, numbers


def ppo_loss(
    log_probs: Tensor,
    values: Tensor,
    entropies: Tensor,
    old_log_probs: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    config: TrainConfig,
) -> tuple[Tensor, Parts]:
    """Return the loss to minimise and what it is made of, all scalars.

        ratio = exp(log_prob - old_log_prob)
        policy = -min(ratio A, clip(ratio, 1 - clip_coef, 1 + clip_coef) A)   (equation 7)
        value = 1/2 (V - target)^2, of the worse of V and V clipped around the old value
        loss = policy + vf_coef value - ent_coef entropy                      (equation 9)

    All inputs are flat `(batch,)`. Terms are averaged with `weights`, which add up to 1 over the
    whole minibatch and are 0 where a transition counts nowhere; None counts all alike.
    """

    def mean(x: Tensor) -> Tensor:
        return x.mean() if weights is None else (x * weights).sum()

    log_ratio = log_probs - old_log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip_coef, 1 + config.clip_coef)
    policy_loss = -mean(torch.minimum(ratio * advantages, clipped * advantages))
    error = (values - targets).square()
    if config.vf_clip_coef is not None:
        near_old = old_values + (values - old_values).clamp(
            -config.vf_clip_coef, config.vf_clip_coef
        )
        error = torch.maximum(error, (near_old - targets).square())
    value_loss = 0.5 * mean(error)
    entropy = mean(entropies)
    loss = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
    with torch.no_grad():
        parts = {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            # http://joschu.net/blog/kl-approx.html, the estimator called k3.
            "approx_kl": mean(ratio - 1 - log_ratio),
            "clip_fraction": mean((ratio != clipped).float()),
        }
    return loss, parts


def update(
    policy: nn.Module,
    optimizer: torch.optim.Optimizer,
    segments: Segments,
    advantages: Tensor,
    config: TrainConfig,
    generator: torch.Generator,
    workers: Crew | Perceptron | Steps | None = None,
) -> dict[str, float]:
    """Take the gradient steps of one update and return the mean of each part of the loss.

    A minibatch consists of whole segments, so that recurrent policies see time in order. Each
    pass draws its segments anew: all of them in random order, or with `prio_alpha` preferred ones
    repeatedly. With a V-trace clip later passes correct the advantages for what the policy has
    become since, by `segments.ratios`. `workers` compute the gradients: threads of torch, code
    without it, or whatever takes whole steps.
    """
    steps = workers if isinstance(workers, Steps) else Steps(policy, optimizer, workers)
    number = segments.num_agents
    size = min(max(1, config.minibatch_size // segments.horizon), number)
    per_pass = math.ceil(number / size)
    passes = config.epochs if config.replay_ratio is None else config.replay_ratio
    steps.begin(segments, config)
    for step in range(max(1, round(passes * per_pass))):
        place = step % per_pass
        if place == 0:
            if step and config.uses_vtrace:
                advantages = segment_advantages(segments, config)
            order, importance = draw_segments(advantages, config, generator)
        part = slice(place * size, (place + 1) * size)
        if not steps.take(
            advantages, order[part], None if importance is None else importance[part]
        ):
            break
    losses = steps.means()
    losses["explained_variance"] = explained_variance(segments, advantages)
    return losses


class Steps:
    """The gradient steps of one update, and the sums of what they report.

    Args:
        policy: learns.
        optimizer: of its parameters.
        workers: compute the gradients.
    """

    def __init__(
        self,
        policy: nn.Module,
        optimizer: torch.optim.Optimizer,
        workers: Crew | Perceptron | None = None,
    ) -> None:
        self.policy, self.optimizer = policy, optimizer
        self.workers = workers or Crew()
        self.advance: Callable[[], Any] = getattr(optimizer, "advance", optimizer.step)
        self.minibatch_loss = _minibatch_loss
        self.sums: Parts = {}

    def begin(self, segments: Segments, config: TrainConfig) -> None:
        """Begin an update on `segments`, with the coefficients that are in force."""
        self.segments, self.config = segments, config
        self.all_valid = bool(segments.valid.all())
        self.count = 0
        self.sums = {}

    def take(self, advantages: Tensor, agents: Tensor, importance: Tensor | None) -> bool:
        """Take a step on the segments of `agents`; return False where `target_kl` forbids it."""
        parts = self._gradients(advantages, agents, importance)
        if self.config.target_kl is not None and float(parts["approx_kl"]) > self.config.target_kl:
            return False
        self._step(parts)
        for key, value in parts.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.count += 1
        return True

    def means(self) -> dict[str, float]:
        """Return the mean over all steps of each part of the loss."""
        if not self.sums:
            return {}
        values = torch.stack([torch.as_tensor(s).float() for s in self.sums.values()]).tolist()
        return {key: value / self.count for key, value in zip(self.sums, values, strict=True)}

    def _gradients(self, advantages: Tensor, agents: Tensor, importance: Tensor | None) -> Parts:
        return _accumulate(
            self.policy,
            self.segments,
            advantages,
            agents,
            importance,
            self.all_valid,
            self.config,
            self.workers,
            self.minibatch_loss,
        )

    def _step(self, parts: Parts) -> None:
        """Apply the gradients, after their norm, which joins the `parts`, is clipped."""
        most, workers = self.config.max_grad_norm, self.workers
        if isinstance(workers, Perceptron):
            parts["grad_norm"] = workers.clip_gradients(most)
        else:
            parts["grad_norm"] = nn.utils.clip_grad_norm_(self.policy.parameters(), most)
        self.advance()


def segment_advantages(segments: Segments, config: TrainConfig) -> Tensor:
    """Return the advantages of `segments`, weighted by `segments.ratios` if V-trace is on."""
    return compute_advantages(
        segments.rewards,
        segments.values,
        segments.bootstrap_values,
        segments.ends,
        segments.valid,
        config.gamma,
        config.gae_lambda,
        segments.ratios if config.uses_vtrace else None,
        *config.vtrace_clips,
    )


@torch.no_grad()
def anchor(policy: nn.Module, segments: Segments, config: TrainConfig) -> None:
    """Begin `segments`, which another policy has collected, from what `policy` is by now.

    Their probabilities and values become those of `policy`, so that the clip keeps it near itself,
    as it is before the update, and not near what it was one update ago (the proximal policy of
    Hilton et al. 2021, arXiv 2110.00641). How much likelier the actions have become since is
    neglected: with V-trace's truncated ratios for that, or a clip around what it was, Breakout
    stays at a hundredth of its score. Values after the segment stay the other policy's.
    """
    size = max(1, (config.microbatch_size or config.minibatch_size) // segments.horizon)
    everyone = torch.arange(segments.num_agents, device=segments.ratios.device)
    for agents in torch.split(everyone, size):
        log_probs, _, values = _evaluate(policy, segments, agents, config)
        valid = segments.valid.index_select(1, agents)
        for stored, new in ((segments.log_probs, log_probs), (segments.values, values)):
            old = stored.index_select(1, agents)
            stored.index_copy_(1, agents, new.view_as(old).where(valid, old))


def draw_segments(
    advantages: Tensor, config: TrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Return the segments of one pass in order, and the importance weight of each.

    Segment i is drawn, with replacement, with probability P_i proportional to
    (sum over t of abs(A_ti))^prio_alpha, and weighs (1/N 1/P_i)^prio_beta: with prio_beta = 1 the
    expected gradient is that of drawing all alike (Schaul et al. 2015, arXiv 1511.05952, section
    3.4; not divided by the largest weight, which would shrink the learning rate).
    """
    number, device = advantages.shape[1], advantages.device
    if config.prio_alpha == 0:
        order = torch.randperm(number, generator=generator, device=generator.device)
        return order.to(device), None
    # The small constant keeps segments in which nothing was unexpected possible.
    priorities = (advantages.abs().sum(0) + 1e-6) ** config.prio_alpha
    probabilities = priorities / priorities.sum()
    order = torch.multinomial(probabilities, number, replacement=True, generator=generator)
    return order, (number * probabilities[order]) ** -config.prio_beta


def explained_variance(segments: Segments, advantages: Tensor) -> float:
    """Return 1 - Var[target - value] / Var[target] over valid transitions; NaN if targets agree."""
    errors = advantages[segments.valid]
    targets = errors + segments.values[segments.valid]
    variance = float(targets.var()) if targets.numel() > 1 else 0.0
    return 1 - float(errors.var()) / variance if variance > 0 else float("nan")


def normalize(advantages: Tensor, weights: Tensor | None) -> Tensor:
    """Return `advantages` with mean 0 and deviation 1 as `weights` count them."""
    if weights is None:
        centred = advantages - advantages.mean()
        return centred / (centred.square().mean().sqrt() + 1e-8)
    shares = weights / weights.sum().clamp(min=1e-8)
    centred = advantages - (advantages * shares).sum()
    return centred / ((centred.square() * shares).sum().sqrt() + 1e-8)


def _accumulate(
    policy: nn.Module,
    segments: Segments,
    advantages: Tensor,
    agents: Tensor,
    importance: Tensor | None,
    all_valid: bool,
    config: TrainConfig,
    workers: Crew | Perceptron,
    minibatch_loss: Callable[..., tuple[Tensor, Parts, Tensor]],
) -> Parts:
    """Give the parameters the gradient of the minibatch `agents`; return its loss's parts."""
    size = len(agents)
    rows = size if isinstance(workers, Perceptron) else -(-size // workers.parts)
    if config.microbatch_size is not None:
        rows = min(rows, max(1, config.microbatch_size // segments.horizon))
    raw = advantages.index_select(1, agents)
    weights = None
    if rows < size or importance is not None or not all_valid:
        valid = segments.valid.index_select(1, agents).float()
        weights = valid / valid.sum().clamp(min=1)
        if importance is not None:
            weights = weights * importance
    scaled = normalize(raw, weights) if config.norm_advantages else raw
    if isinstance(workers, Perceptron):
        return workers.gradients(segments, raw, scaled, agents, weights, config)
    parameters = [p for p in policy.parameters() if p.requires_grad]

    def gradients(job: tuple[nn.Module, slice]) -> tuple[tuple[Tensor, ...], Parts, Tensor]:
        replica, part = job
        loss, parts, ratios = minibatch_loss(
            replica,
            segments,
            raw[:, part],
            scaled[:, part],
            agents[part],
            None if weights is None else weights[:, part].flatten(),
            config,
        )
        return torch.autograd.grad(loss, parameters, materialize_grads=True), parts, ratios

    cuts = [slice(first, first + rows) for first in range(0, size, rows)]
    jobs = [(policy if len(cuts) == 1 else replicate(policy), part) for part in cuts]
    sums, total, ratios = zip(*workers.map(gradients, jobs), strict=True)
    for parameter, *grads in zip(parameters, *sums, strict=True):
        parameter.grad = functools.reduce(torch.Tensor.add_, grads)
    if config.uses_vtrace:
        segments.ratios.index_copy_(1, agents, torch.cat(ratios, 1))
    return {key: sum(parts[key] for parts in total[1:]) + value for key, value in total[0].items()}


def _minibatch_loss(
    policy: nn.Module,
    segments: Segments,
    raw: Tensor,
    scaled: Tensor,
    agents: Tensor,
    weights: Tensor | None,
    config: TrainConfig,
) -> tuple[Tensor, Parts, Tensor]:
    """Run the policy on the segments of `agents`; return `ppo_loss` and the ratios `(T, N)`."""
    log_probs, entropies, values = _evaluate(policy, segments, agents, config)
    old_log_probs = segments.log_probs.index_select(1, agents).flatten()
    old_values = segments.values.index_select(1, agents).flatten()
    ratios = (log_probs.detach() - old_log_probs).exp().view(-1, len(agents))
    loss, parts = ppo_loss(
        log_probs,
        values,
        entropies,
        old_log_probs,
        old_values,
        scaled.flatten(),
        raw.flatten() + old_values,
        weights,
        config,
    )
    return loss, parts, ratios


def _evaluate(
    policy: nn.Module, segments: Segments, agents: Tensor, config: TrainConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return flat log-probabilities and entropies of the actions of `agents`, and the values."""

    def flat(x: Tensor) -> Tensor:
        return x.index_select(1, agents).flatten(0, 1)

    output: Any
    with autocast(config, agents.device):
        if segments.state:
            state = tuple(s.index_select(1, agents) for s in segments.state)
            output, values, _ = policy(
                segments.observations.index_select(1, agents),
                state,
                segments.starts.index_select(1, agents),
            )
        else:
            output, values = policy(flat(segments.observations))
    masks = None if segments.action_masks is None else flat(segments.action_masks)
    log_probs, entropies = act.evaluate(output, flat(segments.actions), masks)
    return log_probs, entropies, values.flatten().float()
