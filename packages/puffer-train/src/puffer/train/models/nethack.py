"""NetHack: a policy for NLE's and MiniHack's observations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError
from puffer.core.pytorch import layer_init, nativize_dtype, nativize_tensor
from puffer.train.actions import ActionOutput
from puffer.train.models.default import Heads

GLYPHS = 5977  # NLE's glyphs are 0 to 5976, the last of which is none
MESSAGE = 128  # characters of the message that are read
SIGHT = 4  # cells to each side of the agent that the crop shows


class NetHack(nn.Module):
    """Embeds the glyphs, convolves the map and a crop around the agent, reads numbers and message.

    As the baselines of Küttler et al. 2020 (The NetHack Learning Environment, arXiv 2006.13760)
    do, with a map that is looked at coarsely.

    Args:
        env: emulated, with `glyphs` and `blstats` among its observations, and `message` if it is
            to be read; others are passed over.
        hidden_size: width of the layer behind all.

    Raises:
        UsageError: it does not observe these.
    """

    def __init__(self, env: Any, hidden_size: int = 256) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        names = env.obs_dtype.names or ()
        if not {"glyphs", "blstats"} <= set(names):
            raise UsageError(
                f"NetHack sees glyphs and blstats, not {', '.join(names) or 'a lone array'}: "
                "add them to keys, or take another policy"
            )
        self.dtype = nativize_dtype(env.emulated)
        self.reads = "message" in names
        self.glyphs = nn.Embedding(GLYPHS, 8)
        self.map = nn.Sequential(
            layer_init(nn.Conv2d(8, 16, 5, stride=3)),
            nn.ReLU(),
            layer_init(nn.Conv2d(16, 32, 3, stride=2)),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.crop = nn.Sequential(
            layer_init(nn.Conv2d(8, 32, 3)),
            nn.ReLU(),
            layer_init(nn.Conv2d(32, 32, 3)),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.characters = nn.Embedding(256, 8)
        self.words = nn.Sequential(layer_init(nn.Conv1d(8, 32, 8, stride=4)), nn.ReLU())
        row = torch.zeros((1, *env.single_observation_space.shape), dtype=torch.uint8)
        with torch.no_grad():
            width = self._features(row).shape[1]
        self.encoder = layer_init(nn.Linear(width, hidden_size))
        self.heads = Heads(env, hidden_size)
        self.value_head = layer_init(nn.Linear(hidden_size, 1), std=1.0)

    def forward(self, observations: Tensor) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits, and values `(batch, 1)`."""
        return self.decode_actions(self.encode_observations(observations))

    def encode_observations(self, observations: Tensor) -> Tensor:
        """Return the hidden layer `(batch, hidden_size)`."""
        return torch.relu(self.encoder(self._features(observations)))

    def decode_actions(self, hidden: Tensor, lookup: Any = None) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits, and values, from the hidden layer."""
        return self.heads.decode(hidden, self.value_head)

    def _features(self, observations: Tensor) -> Tensor:
        leaves = nativize_tensor(observations, self.dtype)
        stats = leaves["blstats"]
        glyphs = leaves["glyphs"].long()
        numbers = stats.float()
        parts = [
            self.map(self.glyphs(glyphs).permute(0, 3, 1, 2)),
            self.crop(self.glyphs(crop(glyphs, stats[:, :2].long())).permute(0, 3, 1, 2)),
            # They go from fractions of the dungeon's size to scores of thousands.
            torch.sign(numbers) * torch.log1p(numbers.abs()) / 4,
        ]
        if self.reads:
            characters = self.characters(leaves["message"][:, :MESSAGE].long())
            parts.append(self.words(characters.transpose(1, 2)).amax(2))
        return torch.cat(parts, 1)


def crop(glyphs: Tensor, where: Tensor) -> Tensor:
    """Return the cells around `where`, `(batch, 9, 9)`; outside the map there is no glyph.

    Args:
        glyphs: `(batch, height, width)` int64.
        where: `(batch, 2)` int64, column and row.
    """
    padded = nn.functional.pad(glyphs, (SIGHT, SIGHT, SIGHT, SIGHT), value=GLYPHS - 1)
    side = torch.arange(2 * SIGHT + 1, device=glyphs.device)
    batch = torch.arange(len(glyphs), device=glyphs.device).view(-1, 1, 1)
    rows = (where[:, 1, None] + side).unsqueeze(2)
    columns = (where[:, 0, None] + side).unsqueeze(1)
    return padded[batch, rows, columns]
