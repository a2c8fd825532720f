"""Default: the policy for every observation and action space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from puffer.core.pytorch import layer_init, nativize_dtype, nativize_tensor
from puffer.core.spaces import Box, Discrete
from puffer.train.actions import ActionOutput, Mixed


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
        self.heads = Heads(env, hidden_size)
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
        return self.heads.decode(hidden, self.value_head)

    def _flatten(self, observations: Tensor) -> Tensor:
        if self.dtype is None:
            flat = observations.flatten(1).float()
            return flat * self.scale if self.scale != 1.0 else flat
        leaves = _leaves(nativize_tensor(observations, self.dtype))
        return torch.cat([leaf.reshape(len(leaf), -1).float() for leaf in leaves], dim=1)


class Heads(nn.Module):
    """A linear layer for the logits of each category, and mean and log deviation of all numbers.

    Args:
        env: anything with a `single_action_space`; if it is emulated, its action layout says which
            columns of a Box are categories.
        hidden_size: width of what it reads.
    """

    def __init__(self, env: Any, hidden_size: int) -> None:
        super().__init__()
        space = env.single_action_space
        self.single = isinstance(space, Discrete)
        self.shape: tuple[int, ...] | None = None  # of the numbers; None: there are none
        self.categorical: list[bool] = []
        if isinstance(space, Box):
            size = int(np.prod(space.shape))
            categories = [0] * size if env.emulated is None else env.emulated.action.categories
            sizes = [int(n) for n in categories if n]
            if sizes:
                self.categorical = [bool(n) for n in categories]
            self.shape = (size - len(sizes),) if sizes else space.shape
            self.mean = layer_init(nn.Linear(hidden_size, size - len(sizes)), std=0.01)
            self.log_std = nn.Parameter(torch.zeros(self.shape))
        else:
            sizes = [int(space.n)] if isinstance(space, Discrete) else space.nvec.tolist()
        self.layers = nn.ModuleList(
            layer_init(nn.Linear(hidden_size, size), std=0.01) for size in sizes
        )

    def decode(self, hidden: Tensor, value_head: nn.Module) -> tuple[ActionOutput, Tensor]:
        """Return logits, a list of them, a Normal or a `Mixed`, as the space asks for; and values.

        One matrix product does for all, which reads `hidden` once.
        """
        layers: list[Any] = [*self.layers]
        if self.shape is not None:
            layers.append(self.mean)
        *outputs, value = _linear([*layers, value_head], hidden)
        return self.describe(outputs), value

    def describe(self, outputs: list[Tensor]) -> ActionOutput:
        """Return what the policy returns, from the outputs of the layers in their order."""
        if self.shape is None:
            return outputs[0] if self.single else outputs
        mean = outputs.pop().float().view(-1, *self.shape)
        normal = Normal(mean, self.log_std.exp().expand_as(mean), validate_args=False)
        return Mixed(outputs, normal, self.categorical) if outputs else normal


def _linear(layers: list[Any], inputs: Tensor) -> list[Tensor]:
    """Return what each of the layers makes of the same inputs."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    sizes = [layer.out_features for layer in layers]
    return list(torch.split(nn.functional.linear(inputs, weight, bias), sizes, -1))


def _leaves(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    values = tree.values() if hasattr(tree, "values") else tree
    return [leaf for value in values for leaf in _leaves(value)]


def _is_structured(env: Any) -> bool:
    return env.obs_dtype.names is not None
