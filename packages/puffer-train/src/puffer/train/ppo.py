"""Update: proximal policy optimization on segments (Schulman et al. 2017, arXiv 1707.06347)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from puffer.train import actions as act
from puffer.train.config import TrainConfig
from puffer.train.storage import Segments


def ppo_loss(
    log_probs: Tensor,
    values: Tensor,
    entropies: Tensor,
    old_log_probs: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    valid: Tensor | None,
    config: TrainConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss to minimise and what it is made of, all scalars.

    All inputs are flat `(batch,)`. `advantages` are the raw ones; the value target is
    `advantages + old_values`. Transitions that are not `valid` (None: all are) count nowhere.
    """
    weights = None if valid is None else valid / valid.sum().clamp(min=1)

    def mean(x: Tensor) -> Tensor:
        return x.mean() if weights is None else (x * weights).sum()

    targets = advantages + old_values
    if config.norm_advantages:
        centred = advantages - mean(advantages)
        advantages = centred / (mean(centred.square()).sqrt() + 1e-8)
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
) -> dict[str, float]:
    """Take the gradient steps of one update and return the mean of each part of the loss.

    A minibatch consists of whole segments, so that recurrent policies see time in order.
    """
    per_minibatch = max(1, config.minibatch_size // segments.horizon)
    all_valid = bool(segments.valid.all())
    sums: dict[str, Tensor] = {}
    count = 0
    for _ in range(config.epochs):
        order = torch.randperm(segments.num_agents, generator=generator, device=generator.device)
        for agents in torch.split(order.to(segments.rewards.device), per_minibatch):
            loss, parts = _minibatch_loss(policy, segments, advantages, agents, all_valid, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            parts["grad_norm"] = nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
            optimizer.step()
            for key, value in parts.items():
                sums[key] = sums.get(key, torch.zeros_like(value)) + value
            count += 1
        if config.target_kl is not None and float(parts["approx_kl"]) > config.target_kl:
            break
    losses = {key: float(value) / count for key, value in sums.items()}
    losses["explained_variance"] = explained_variance(segments, advantages)
    return losses


def explained_variance(segments: Segments, advantages: Tensor) -> float:
    """Return 1 - Var[target - value] / Var[target] over valid transitions; NaN if targets agree."""
    errors = advantages[segments.valid]
    targets = errors + segments.values[segments.valid]
    variance = float(targets.var()) if targets.numel() > 1 else 0.0
    return 1 - float(errors.var()) / variance if variance > 0 else float("nan")


def _minibatch_loss(
    policy: nn.Module,
    segments: Segments,
    advantages: Tensor,
    agents: Tensor,
    all_valid: bool,
    config: TrainConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run the policy on the segments of `agents` and return `ppo_loss` of them."""

    def flat(x: Tensor) -> Tensor:
        return x.index_select(1, agents).flatten(0, 1)

    output: Any
    if segments.state:
        state = tuple(s.index_select(1, agents) for s in segments.state)
        output, values, _ = policy(
            segments.observations.index_select(1, agents),
            state,
            segments.starts.index_select(1, agents),
        )
    else:
        output, values = policy(flat(segments.observations))
    log_probs, entropies = act.evaluate(output, flat(segments.actions))
    return ppo_loss(
        log_probs,
        values.flatten(),
        entropies,
        flat(segments.log_probs),
        flat(segments.values),
        flat(advantages),
        None if all_valid else flat(segments.valid).float(),
        config,
    )
