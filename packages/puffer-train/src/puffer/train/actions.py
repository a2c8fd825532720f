"""From a policy's output to actions, log-probabilities and entropies, whatever the action space.

A policy returns one tensor of logits (Discrete), a list of them (MultiDiscrete) or a
`torch.distributions.Distribution` over the Box's components (continuous).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

ActionOutput = Tensor | list[Tensor] | Distribution


def sample(
    output: ActionOutput, generator: torch.Generator | None = None, *, greedy: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw actions and return them with their log-probabilities `(batch,)`.

    Actions are int64 `(batch,)` or `(batch, components)`, or the distribution's floats, which may
    lie outside the Box: clip them on their way to the environment, not before. `greedy` takes the
    mode.
    """
    if isinstance(output, Distribution):
        if greedy:
            action = output.mode
        elif isinstance(output, Normal):
            action = torch.normal(output.mean, output.stddev, generator=generator)
        else:
            action = output.sample()
        return action, _sum_components(output.log_prob(action))
    if isinstance(output, Tensor):
        return _sample_logits(output, generator, greedy)
    parts = [_sample_logits(logits, generator, greedy) for logits in output]
    return torch.stack([a for a, _ in parts], -1), torch.stack([p for _, p in parts], -1).sum(-1)


def evaluate(output: ActionOutput, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of `actions` and the entropies, each `(batch,)`."""
    if isinstance(output, Distribution):
        return _sum_components(output.log_prob(actions)), _sum_components(output.entropy())
    if isinstance(output, Tensor):
        return _evaluate_logits(output, actions)
    parts = [_evaluate_logits(logits, actions[..., i]) for i, logits in enumerate(output)]
    log_probs, entropies = zip(*parts, strict=True)
    return torch.stack(log_probs, -1).sum(-1), torch.stack(entropies, -1).sum(-1)


def _sample_logits(
    logits: Tensor, generator: torch.Generator | None, greedy: bool
) -> tuple[Tensor, Tensor]:
    log_probs = logits.float().log_softmax(-1)
    if greedy:
        action = log_probs.argmax(-1)
    else:
        # The smallest of exponential variables divided by their rates is index i with
        # probability p_i: cheaper than torch.multinomial, and it never fails on rounding.
        noise = torch.empty_like(log_probs).exponential_(generator=generator)
        action = (log_probs.exp() / noise).argmax(-1)
    return action, log_probs.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def _evaluate_logits(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    log_probs = logits.float().log_softmax(-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return log_probs.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1), entropy


def _sum_components(per_component: Tensor) -> Tensor:
    return per_component.sum(-1) if per_component.ndim > 1 else per_component
