"""Advantages over segments: generalized advantage estimation with V-trace's clipped weights."""

from __future__ import annotations

import torch
from torch import Tensor

from puffer.train.models.scan import walk_back


def compute_advantages(
    rewards: Tensor,
    values: Tensor,
    bootstrap_values: Tensor,
    ends: Tensor,
    valid: Tensor,
    gamma: float,
    gae_lambda: float,
    ratios: Tensor | None = None,
    rho_clip: float = float("inf"),
    c_clip: float = float("inf"),
) -> Tensor:
    """Return the advantage of every transition; the value target is `advantage + value`.

    Transition t of a segment goes from observation t, whose value is `values[t]`, to observation
    t + 1, whose value is `values[t + 1]`, or `bootstrap_values` after the last one:

        delta_t = rho_t (r_t + gamma V_{t+1} - V_t)
        A_t = delta_t + gamma lambda c_t A_{t+1}

    with rho_t = min(rho_clip, ratio_t) and c_t = min(c_clip, ratio_t). Where the data are the
    policy's own (no `ratios`, or all 1) and the clips at least 1 this is generalized advantage
    estimation (Schulman et al. 2015, arXiv 1506.02438, equation 16); with lambda = 1 it is
    v_t - V_t of V-trace (Espeholt et al. 2018, arXiv 1802.01561, equation 1 and remark 1).

    Nothing flows across the end of an episode. The reward of a truncated transition is expected
    to hold `gamma * V(final observation)` already (Pardo et al. 2018, arXiv 1712.00378).

    Args:
        rewards: `(T, N)` float32, the reward of transition t.
        values: `(T, N)` float32.
        bootstrap_values: `(N,)` float32, the value of the observation after the segment.
        ends: `(T, N)` bool, the episode ended with transition t, for whatever reason.
        valid: `(T, N)` bool; the advantage of other transitions is 0, and none flows through them.
        gamma: discount per step, 0..1.
        gae_lambda: 0 is the one-step temporal difference, 1 the Monte Carlo return.
        ratios: `(T, N)` float32, the probability of the action under the policy to be learned,
            divided by that under the one which chose it; None if they are the same.
        rho_clip: decides towards which policy's values it converges.
        c_clip: decides how far corrections reach back.

    Returns:
        `(T, N)` float32, newly allocated.
    """
    counts = valid.to(rewards.dtype)
    onward = gamma * ((~ends) & valid).to(rewards.dtype)
    next_values = torch.cat([values[1:], bootstrap_values.unsqueeze(0)])
    deltas = (rewards + onward * next_values - values) * counts
    decay = gae_lambda * onward
    if ratios is not None:
        deltas = deltas * ratios.clamp(max=rho_clip)
        decay = decay * ratios.clamp(max=c_clip)
    # What reaches back from A_{t+1} to A_t is the decay of t.
    return walk_back(torch.cat([decay[:1], decay[:-1]]), deltas)
