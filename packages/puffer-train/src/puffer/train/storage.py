"""Segments: what collection writes and the update reads, time first: `(horizon, agents, ...)`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from puffer.core.spaces import Box, FlatActionSpace, action_layout

State = tuple[Tensor, ...]  # recurrent state, each tensor `(layers, agents, size)`


@dataclasses.dataclass(slots=True)
class Segments:
    """One segment of `T` transitions for each of `N` agents, on the training device.

    Attributes:
        observations: `(T, N, *shape)`, the observation that transition t starts from.
        actions: `(T, N, *shape)`, as sampled: a Box's actions are not clipped.
        log_probs: `(T, N)` float32, of the action under the policy that chose it.
        values: `(T, N)` float32, of observation t.
        rewards: `(T, N)` float32, after `reward_clip`; a truncation's bootstrap is added to it.
        ends: `(T, N)` bool, the episode ended with transition t.
        starts: `(T, N)` bool, observation t is the first of an episode.
        valid: `(T, N)` bool, the transition belongs to a live agent.
        bootstrap_values: `(N,)` float32, of the observation after the segment.
        state: the recurrent state before observation 0; empty for a feed-forward policy.
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    ends: Tensor
    starts: Tensor
    valid: Tensor
    bootstrap_values: Tensor
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
    ) -> Segments:
        """Return segments of zeros; `state` is copied."""
        action_shape, action_dtype = action_layout(action_space)
        n = (horizon, num_agents)

        def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            observations=zeros(
                (*n, *observation_space.shape), torch_dtype(np.dtype(observation_space.dtype))
            ),
            actions=zeros((*n, *action_shape), torch_dtype(action_dtype)),
            log_probs=zeros(n, torch.float32),
            values=zeros(n, torch.float32),
            rewards=zeros(n, torch.float32),
            ends=zeros(n, torch.bool),
            starts=zeros(n, torch.bool),
            valid=zeros(n, torch.bool),
            bootstrap_values=zeros((num_agents,), torch.float32),
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
