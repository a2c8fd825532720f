"""Generalized advantage estimation over segments (Schulman et al. 2015, arXiv 1506.02438)."""

from __future__ import annotations

import torch
from torch import Tensor


def compute_advantages(
    rewards: Tensor,
    values: Tensor,
    bootstrap_values: Tensor,
    ends: Tensor,
    valid: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Return the advantage of every transition; the value target is `advantage + value`.

    Transition t of a segment goes from observation t, whose value is `values[t]`, to observation
    t + 1, whose value is `values[t + 1]`, or `bootstrap_values` after the last one. Nothing flows
    across the end of an episode. The reward of a truncated transition is expected to hold
    `gamma * V(final observation)` already (Pardo et al. 2018, arXiv 1712.00378).

    Args:
        rewards: `(T, N)` float32, the reward of transition t.
        values: `(T, N)` float32.
        bootstrap_values: `(N,)` float32, the value of the observation after the segment.
        ends: `(T, N)` bool, the episode ended with transition t, for whatever reason.
        valid: `(T, N)` bool; the advantage of other transitions is 0, and none flows through them.
        gamma: discount per step, 0..1.
        gae_lambda: 0 is the one-step temporal difference, 1 the Monte Carlo return.

    Returns:
        `(T, N)` float32, newly allocated.
    """
    advantages = torch.empty_like(rewards)
    counts = valid.to(rewards.dtype)
    goes_on = (~ends).to(rewards.dtype) * counts
    next_value, advantage = bootstrap_values, torch.zeros_like(bootstrap_values)
    for t in reversed(range(rewards.shape[0])):
        delta = rewards[t] + gamma * goes_on[t] * next_value - values[t]
        advantage = (delta + gamma * gae_lambda * goes_on[t] * advantage) * counts[t]
        advantages[t] = advantage
        next_value = values[t]
    return advantages
