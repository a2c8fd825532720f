"""Policies in plain PyTorch. Any module that returns actions and a value will do; there is no base.

`forward(observations)` returns what `puffer.train.actions` understands and the values `(batch, 1)`.
A policy that splits its forward pass into `encode_observations` and `decode_actions` can be wrapped
by `LSTMWrapper`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from puffer.core.pytorch import layer_init, nativize_dtype, nativize_tensor
from puffer.core.spaces import Box, Discrete
from puffer.train.actions import ActionOutput


class Default(nn.Module):
    """One hidden layer over the flattened observation, with a head per action component.

    Args:
        env: anything with `single_observation_space` and `single_action_space`, such as
            `vecenv.driver_env`; if it is emulated, its observations are unpacked leaf by leaf.
        hidden_size: width of the hidden layer.
    """

    def __init__(self, env: Any, hidden_size: int = 128) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        space = env.single_observation_space
        self.dtype = None
        if env.emulated is not None and space.dtype == np.uint8 and _is_structured(env):
            self.dtype = nativize_dtype(env.emulated)
            sample = torch.zeros((1, *space.shape), dtype=torch.uint8)
            input_size = self._flatten(sample).shape[1]
        else:
            input_size = int(np.prod(space.shape))
        # Bytes that span 0 to 255 are pixels; small integers are left alone.
        self.scale = 1 / 255 if space.dtype == np.uint8 and (space.high == 255).all() else 1.0
        self.encoder = layer_init(nn.Linear(input_size, hidden_size))
        self.heads = _Heads(env.single_action_space, hidden_size)
        self.value_head = layer_init(nn.Linear(hidden_size, 1), std=1.0)

    def forward(self, observations: Tensor) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits or distribution, and values `(batch, 1)`."""
        hidden, lookup = self.encode_observations(observations)
        return self.decode_actions(hidden, lookup)

    def encode_observations(self, observations: Tensor) -> tuple[Tensor, None]:
        """Return the hidden layer `(batch, hidden_size)` and no lookup."""
        return torch.relu(self.encoder(self._flatten(observations))), None

    def decode_actions(self, hidden: Tensor, lookup: Any = None) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits or distribution, and values, from the hidden layer."""
        return self.heads(hidden), self.value_head(hidden)

    def _flatten(self, observations: Tensor) -> Tensor:
        if self.dtype is None:
            flat = observations.flatten(1).float()
            return flat * self.scale if self.scale != 1.0 else flat
        leaves = _leaves(nativize_tensor(observations, self.dtype))
        return torch.cat([leaf.flatten(1).float() for leaf in leaves], dim=1)


class LSTMWrapper(nn.Module):
    """An LSTM between the encoder and the decoder of a policy.

    Args:
        env: as for the policy; kept for the signature that policies share.
        policy: has `hidden_size`, `encode_observations` and `decode_actions`.
        input_size: width of the policy's encoding; None takes `policy.hidden_size`.
        hidden_size: width of the LSTM, which the decoder must accept; None likewise.
    """

    def __init__(
        self,
        env: Any,
        policy: Any,
        input_size: int | None = None,
        hidden_size: int | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.input_size = input_size or policy.hidden_size
        self.hidden_size = hidden_size or policy.hidden_size
        self.recurrent = nn.LSTM(self.input_size, self.hidden_size)
        for name, parameter in self.recurrent.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.orthogonal_(parameter)

    def initial_state(
        self, batch: int, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Return the state before an episode: two tensors of zeros `(1, batch, hidden_size)`."""
        return (
            torch.zeros(1, batch, self.hidden_size, device=device),
            torch.zeros(1, batch, self.hidden_size, device=device),
        )

    def forward(
        self,
        observations: Tensor,
        state: tuple[Tensor, ...] | None = None,
        starts: Tensor | None = None,
    ) -> tuple[ActionOutput, Tensor, tuple[Tensor, ...]]:
        """Return actions, values and the new state.

        Args:
            observations: `(batch, *shape)`, one step; or, with `starts`, `(time, batch, *shape)`,
                whose results are flat `(time * batch, ...)`.
            state: before the first step; None is the initial state.
            starts: `(time, batch)` bool; the state is zeroed before these observations.
        """
        steps = 1 if starts is None else observations.shape[0]
        flat = observations if starts is None else observations.flatten(0, 1)
        hidden, lookup = self.policy.encode_observations(flat)
        hidden = hidden.view(steps, -1, self.input_size)
        if state is None:
            state = self.initial_state(hidden.shape[1], hidden.device)
        if starts is None:
            hidden, state = self.recurrent(hidden, state)
        else:
            hidden, state = self._run_segments(hidden, state, starts)
        actions, value = self.policy.decode_actions(hidden.flatten(0, 1), lookup)
        return actions, value, state

    def _run_segments(
        self, inputs: Tensor, state: tuple[Tensor, ...], starts: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run over time in the longest pieces in which no episode of the batch starts."""
        cuts = [0, *(starts[1:].any(1).nonzero().flatten() + 1).tolist(), len(starts)]
        outputs = []
        for first, last in itertools.pairwise(cuts):
            alive = (~starts[first]).to(inputs.dtype).view(1, -1, 1)
            state = tuple(s * alive for s in state)
            output, state = self.recurrent(inputs[first:last], state)
            outputs.append(output)
        return torch.cat(outputs), state


class _Heads(nn.Module):
    """A linear layer per action component, or mean and log deviation of a Box."""

    def __init__(self, space: Any, hidden_size: int) -> None:
        super().__init__()
        self.single = isinstance(space, Discrete)
        self.log_std: nn.Parameter | None = None
        if isinstance(space, Box):
            size = int(np.prod(space.shape))
            self.shape = space.shape
            self.log_std = nn.Parameter(torch.zeros(size))
            sizes = [size]
        else:
            sizes = [int(space.n)] if isinstance(space, Discrete) else space.nvec.tolist()
        self.layers = nn.ModuleList(
            layer_init(nn.Linear(hidden_size, size), std=0.01) for size in sizes
        )

    def forward(self, hidden: Tensor) -> ActionOutput:
        outputs: list[Tensor] = [layer(hidden) for layer in self.layers]
        if self.log_std is not None:
            mean = outputs[0].view(-1, *self.shape)
            return Normal(mean, self.log_std.view(self.shape).exp().expand_as(mean))
        return outputs[0] if self.single else outputs


def _leaves(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    values = tree.values() if hasattr(tree, "values") else tree
    return [leaf for value in values for leaf in _leaves(value)]


def _is_structured(env: Any) -> bool:
    return env.obs_dtype.names is not None
