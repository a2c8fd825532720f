"""Segments: what collection writes and the update reads, time first: `(horizon, agents, ...)`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from puffer.core.spaces import Box, FlatActionSpace, action_layout, num_action_logits

State = tuple[Tensor, ...]  # recurrent state, each tensor `(layers, agents, size)`


@dataclasses.dataclass(slots=True)
class Segments:
    """One segment of `T` transitions for each of `N` agents, on the training device.

    Attributes:
        observations: `(T, N, *shape)`, the observation that transition t starts from.
        actions: `(T, N, *shape)`, as sampled: a Box's actions are neither clipped nor rounded.
        action_masks: `(T, N, sum of nvec)` bool, the actions that were allowed; None: all.
        log_probs: `(T, N)` float32, of the action under the policy that chose it; see `ppo.anchor`.
        values: `(T, N)` float32, of observation t.
        rewards: `(T, N)` float32, as the environment gave them, until `shape_rewards`.
        cut_values: `(T, N)` float32, of the observation that a truncation cut off; else 0.
        ends: `(T, N)` bool, the episode ended with transition t.
        starts: `(T, N)` bool, observation t is the first of an episode.
        valid: `(T, N)` bool, the transition belongs to a live agent.
        bootstrap_values: `(N,)` float32, of the observation after the segment.
        ratios: `(T, N)` float32, the action's probability when it was last learned from, divided
            by `log_probs`'; 1 before.
        state: the recurrent state before observation 0; empty for a feed-forward policy.
    """

    observations: Tensor
    actions: Tensor
    action_masks: Tensor | None
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    cut_values: Tensor
    ends: Tensor
    starts: Tensor
    valid: Tensor
    bootstrap_values: Tensor
    ratios: Tensor
    state: State

    @classmethod
    def allocate(
        cls,
        horizon: int,
        num_agents: int,
        observation_space: Box,
        action_space: FlatActionSpace,
        state: State,
        device: torch.device,
        *,
        action_masks: bool = False,
    ) -> Segments:
        """Return segments of zeros; `state` is copied."""
        action_shape, action_dtype = action_layout(action_space)
        if isinstance(action_space, Box) and action_dtype.kind != "f":
            action_dtype = np.dtype(np.float32)  # what the distribution gave, before rounding
        n = (horizon, num_agents)

        def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            observations=zeros(
                (*n, *observation_space.shape), torch_dtype(np.dtype(observation_space.dtype))
            ),
            actions=zeros((*n, *action_shape), torch_dtype(action_dtype)),
            action_masks=zeros((*n, num_action_logits(action_space)), torch.bool)
            if action_masks
            else None,
            log_probs=zeros(n, torch.float32),
            values=zeros(n, torch.float32),
            rewards=zeros(n, torch.float32),
            cut_values=zeros(n, torch.float32),
            ends=zeros(n, torch.bool),
            starts=zeros(n, torch.bool),
            valid=zeros(n, torch.bool),
            bootstrap_values=zeros((num_agents,), torch.float32),
            ratios=zeros(n, torch.float32),
            state=tuple(s.clone() for s in state),
        )

    @property
    def horizon(self) -> int:
        """Transitions in a segment."""
        return self.rewards.shape[0]

    @property
    def num_agents(self) -> int:
        """Segments."""
        return self.rewards.shape[1]


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return torch's name of a numpy dtype."""
    return torch.from_numpy(np.empty(0, dtype)).dtype
