"""From a policy's output to actions, log-probabilities and entropies, whatever the action space.

A policy returns one tensor of logits (Discrete), a list of them (MultiDiscrete), a
`torch.distributions.Distribution` over the Box's components (continuous), or `Mixed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal


@dataclasses.dataclass(frozen=True, slots=True)
class Mixed:
    """Of a flat Box some of whose columns are categories: see `puffer.core.actions`.

    Attributes:
        logits: `(batch, categories)` for each categorical column, in order.
        normal: of the other columns, `(batch, columns)`.
        categorical: for each column of the Box, whether it is a category.
    """

    logits: Sequence[Tensor]
    normal: Normal
    categorical: Sequence[bool]

    def join(self, categories: Sequence[Tensor], numbers: Tensor) -> Tensor:
        """Return whole actions `(batch, columns)` from their two kinds of columns."""
        names, floats = iter(categories), iter(numbers.unbind(-1))
        columns = [
            next(names).to(numbers.dtype) if is_category else next(floats)
            for is_category in self.categorical
        ]
        return torch.stack(columns, -1)

    def split(self, actions: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the categorical columns, and the others `(batch, columns)`."""
        categories = [c for i, c in enumerate(actions.unbind(-1)) if self.categorical[i]]
        numbers = [c for i, c in enumerate(actions.unbind(-1)) if not self.categorical[i]]
        return categories, torch.stack(numbers, -1)


ActionOutput = Tensor | Sequence[Tensor] | Distribution | Mixed


def sample(
    output: ActionOutput,
    generator: torch.Generator | None = None,
    masks: Tensor | None = None,
    *,
    greedy: bool = False,
) -> tuple[Tensor, Tensor]:
    """Draw actions and return them with their log-probabilities `(batch,)`.

    Actions are int64 `(batch,)` or `(batch, components)`, or the distribution's floats, which may
    lie outside the Box: clip them on their way to the environment, not before.

    Args:
        output: a policy's output.
        generator: the source of randomness; None is torch's global one.
        masks: `(batch, sum of nvec)` bool, the actions that are allowed; None: all.
        greedy: take the mode.
    """
    if isinstance(output, Distribution):
        action = _draw(output, generator, greedy)
        return action, _sum_components(output.log_prob(action))
    if isinstance(output, Mixed):
        parts = [_sample_logits(logits, generator, greedy) for logits in output.logits]
        numbers = _draw(output.normal, generator, greedy)
        log_prob = evaluate(output.normal, numbers)[0]
        return output.join([a for a, _ in parts], numbers), sum((p for _, p in parts), log_prob)
    allowed = apply_masks(output, masks)
    if isinstance(allowed, Tensor):
        return _sample_logits(allowed, generator, greedy)
    parts = [_sample_logits(logits, generator, greedy) for logits in allowed]
    return torch.stack([a for a, _ in parts], -1), torch.stack([p for _, p in parts], -1).sum(-1)


def evaluate(
    output: ActionOutput, actions: Tensor, masks: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of `actions` and the entropies, each `(batch,)`."""
    if isinstance(output, Distribution):
        return _sum_components(output.log_prob(actions)), _sum_components(output.entropy())
    if isinstance(output, Mixed):
        categories, numbers = output.split(actions)
        parts = [
            _evaluate_logits(logits, column)
            for logits, column in zip(output.logits, categories, strict=True)
        ]
        log_prob, entropy = evaluate(output.normal, numbers)
        return sum((p for p, _ in parts), log_prob), sum((e for _, e in parts), entropy)
    allowed = apply_masks(output, masks)
    if isinstance(allowed, Tensor):
        return _evaluate_logits(allowed, actions)
    parts = [_evaluate_logits(logits, actions[..., i]) for i, logits in enumerate(allowed)]
    log_probs, entropies = zip(*parts, strict=True)
    return torch.stack(log_probs, -1).sum(-1), torch.stack(entropies, -1).sum(-1)


def apply_masks(output: Tensor | Sequence[Tensor], masks: Tensor | None) -> Any:
    """Return logits, with those of forbidden actions so low that none is ever drawn.

    They are finite, so that a row in which nothing is allowed (an agent that does not live) has
    equal probabilities instead of NaN.
    """
    if masks is None:
        return output
    if isinstance(output, Tensor):
        return output.float().masked_fill(~masks, -1e9)
    parts = torch.split(masks, [logits.shape[-1] for logits in output], -1)
    return [apply_masks(logits, part) for logits, part in zip(output, parts, strict=True)]


def _draw(distribution: Distribution, generator: torch.Generator | None, greedy: bool) -> Tensor:
    if greedy:
        return distribution.mode
    if isinstance(distribution, Normal):
        return torch.normal(distribution.mean, distribution.stddev, generator=generator)
    return distribution.sample()


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
    # A Box of any shape: all but the batch's dimension.
    return per_component.flatten(1).sum(-1) if per_component.ndim > 1 else per_component
