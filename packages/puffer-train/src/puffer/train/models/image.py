"""Policies for images: the Nature CNN and IMPALA's residual network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError
from puffer.core.pytorch import layer_init
from puffer.core.spaces import Box
from puffer.train.actions import ActionOutput
from puffer.train.models.default import Heads


class Image(nn.Module):
    """A policy over one image, `(channels, height, width)` or `(height, width, channels)`.

    The shorter of the first and the last axis is that of the channels. Subclasses say which
    convolutions. Bytes are scaled to 0..1.

    Args:
        env: anything with `single_observation_space` and `single_action_space`.
        hidden_size: width of the layer behind the convolutions.
        layer_norm: give that layer's sums mean 0 and deviation 1 before the nonlinearity (Ba et
            al. 2016, arXiv 1607.06450), and scale bytes to -1..1, since the norm would amplify
            what all images share: where rewards are rare, units that noise shrinks to nothing
            otherwise stop the learning.

    Raises:
        UsageError: the observations are no images, or smaller than the convolutions need.
    """

    def __init__(self, env: Any, hidden_size: int, layer_norm: bool = False) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        space = env.single_observation_space
        if not isinstance(space, Box) or len(space.shape) != 3:
            raise UsageError(
                f"{type(self).__name__} sees images, of three axes, not {space}: take another one"
            )
        self.channels_last = space.shape[2] < space.shape[0]
        channels = space.shape[2] if self.channels_last else space.shape[0]
        is_bytes = space.dtype == np.uint8
        self.scale = 1 / 255 if is_bytes else 1.0
        self.centred = layer_norm and is_bytes
        self.convolutions = self._convolutions(channels)
        try:
            with torch.no_grad():
                width = self.convolutions(self._image(torch.zeros(1, *space.shape))).shape[1]
        except RuntimeError as error:
            raise UsageError(
                f"{type(self).__name__}: images of {space.shape} are too small for it ({error}): "
                "take another policy"
            ) from None
        self.encoder = layer_init(nn.Linear(width, hidden_size))
        self.norm = nn.LayerNorm(hidden_size) if layer_norm else None
        self.heads = Heads(env, hidden_size)
        self.value_head = layer_init(nn.Linear(hidden_size, 1), std=1.0)

    def _convolutions(self, channels: int) -> nn.Module:
        """Return what turns images `(batch, channels, height, width)` into rows."""
        raise NotImplementedError

    def forward(self, observations: Tensor) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits or distribution, and values `(batch, 1)`."""
        return self.decode_actions(self.encode_observations(observations))

    def encode_observations(self, observations: Tensor) -> Tensor:
        """Return the hidden layer `(batch, hidden_size)`."""
        sums = self.encoder(self.convolutions(self._image(observations)))
        return torch.relu(sums if self.norm is None else self.norm(sums.float()))

    def decode_actions(self, hidden: Tensor, lookup: Any = None) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits or distribution, and values, from the hidden layer."""
        return self.heads.decode(hidden, self.value_head)

    def _image(self, observations: Tensor) -> Tensor:
        image = observations.float() * self.scale
        if self.centred:
            image = (image - 0.5) * 2
        return image.permute(0, 3, 1, 2) if self.channels_last else image


class Convolutional(Image):
    """The network of Mnih et al. 2015 (Human-level control through deep reinforcement learning).

    Arguments of `Image`.
    """

    def __init__(self, env: Any, hidden_size: int = 512, layer_norm: bool = False) -> None:
        super().__init__(env, hidden_size, layer_norm)

    def _convolutions(self, channels: int) -> nn.Module:
        return nn.Sequential(
            layer_init(nn.Conv2d(channels, 32, 8, stride=4)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 64, 4, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(64, 64, 3, stride=1)),
            nn.ReLU(),
            nn.Flatten(),
        )


class ResNet(Image):
    """The large network of Espeholt et al. 2018 (IMPALA, arXiv 1802.01561).

    Args:
        env: as for `Image`.
        hidden_size: as for `Image`.
        layer_norm: as for `Image`.
        widths: channels of the three stages; Cobbe et al. 2020 (Procgen) take these, too.
    """

    def __init__(
        self,
        env: Any,
        hidden_size: int = 256,
        layer_norm: bool = False,
        widths: tuple[int, ...] = (16, 32, 32),
    ) -> None:
        self._widths = widths
        super().__init__(env, hidden_size, layer_norm)

    def _convolutions(self, channels: int) -> nn.Module:
        stages: list[nn.Module] = []
        for width in self._widths:
            stages += [
                nn.Conv2d(channels, width, 3, padding=1),
                nn.MaxPool2d(3, stride=2, padding=1),
                _Residual(width),
                _Residual(width),
            ]
            channels = width
        return nn.Sequential(*stages, nn.ReLU(), nn.Flatten())


class _Residual(nn.Module):
    """Two convolutions, and what they were given added to them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs with something added."""
        inner = self.first(torch.relu(inputs))
        total: Tensor = inputs + self.second(torch.relu(inner))
        return total
