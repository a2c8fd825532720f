"""Grid: a policy for views of categories, as MiniGrid's, and for missions in words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError
from puffer.core.pytorch import layer_init, nativize_dtype, nativize_tensor
from puffer.train.actions import ActionOutput
from puffer.train.models.default import Heads

CATEGORIES = 16  # of each channel of a cell
WORDS = 64  # in the vocabulary


class Grid(nn.Module):
    """Embeds the categories of each cell, convolves the view, and reads the mission beside it.

    A cell's vector is the sum of those of its categories, as if they were one-hot. A mission's
    words are embedded in their places.

    Args:
        env: observes an image `(height, width, channels)` of categories below 16; or, emulated,
            `image` with `direction` (below 4) and `mission`, a row of words below 64.
        hidden_size: width of the layer behind all.

    Raises:
        UsageError: it observes something else.
    """

    def __init__(self, env: Any, hidden_size: int = 128) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.dtype = None
        space, names = env.single_observation_space, env.obs_dtype.names
        if names is not None:
            self.dtype = nativize_dtype(env.emulated)
        row = torch.zeros((1, *space.shape), dtype=torch.uint8)
        if names not in (None, ("direction", "image", "mission")) or self._parts(row)[0].dim() != 4:
            raise UsageError(
                f"Grid sees (height, width, channels), alone or with a direction and a mission, "
                f"not {env.env.observation_space}: take another policy"
            )
        image, _, mission = self._parts(row)
        channels, words = image.shape[3], 0 if mission is None else mission.shape[1]
        self.offsets: Tensor
        self.register_buffer("offsets", torch.arange(channels) * CATEGORIES, persistent=False)
        self.cells = nn.Embedding(channels * CATEGORIES, 16)
        self.convolutions = nn.Sequential(
            layer_init(nn.Conv2d(16, 32, 3)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 32, 3)),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.words = nn.Embedding(WORDS, 8) if words else None
        width = 32 * (image.shape[1] - 4) * (image.shape[2] - 4) + 8 * words + (4 if words else 0)
        self.encoder = layer_init(nn.Linear(width, hidden_size))
        self.heads = Heads(env, hidden_size)
        self.value_head = layer_init(nn.Linear(hidden_size, 1), std=1.0)

    def forward(self, observations: Tensor) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits or distribution, and values `(batch, 1)`."""
        return self.decode_actions(self.encode_observations(observations))

    def encode_observations(self, observations: Tensor) -> Tensor:
        """Return the hidden layer `(batch, hidden_size)`."""
        image, direction, mission = self._parts(observations)
        cells = self.cells(image.long() + self.offsets).sum(3)
        encoded = self.convolutions(cells.permute(0, 3, 1, 2))
        if self.words is not None and mission is not None and direction is not None:
            where = nn.functional.one_hot(direction.flatten().long(), 4).float()
            encoded = torch.cat([encoded, where, self.words(mission.long()).flatten(1)], 1)
        return torch.relu(self.encoder(encoded))

    def decode_actions(self, hidden: Tensor, lookup: Any = None) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits or distribution, and values, from the hidden layer."""
        return self.heads.decode(hidden, self.value_head)

    def _parts(self, observations: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the image, and the direction and the mission if there are."""
        if self.dtype is None:
            return observations, None, None
        leaves = nativize_tensor(observations, self.dtype)
        return leaves["image"], leaves["direction"], leaves["mission"]
