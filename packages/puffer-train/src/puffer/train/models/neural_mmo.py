"""NeuralMMO: a policy for the many leaves of Neural MMO's observations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError
from puffer.core.pytorch import layer_init, nativize_dtype, nativize_tensor
from puffer.train.actions import ActionOutput
from puffer.train.models.default import Heads

MATERIALS = 16  # kinds of tile
SIDE = 15  # of the square of tiles that an agent sees
LISTS = ("Entity", "Inventory", "Market", "Communication")  # rows, some of which are empty
WIDTH = 64  # of the feature of a leaf


class NeuralMMO(nn.Module):
    """Convolves the tiles, pools over lists of entities and items, and reads the agent's task.

    Args:
        env: emulated, with `Tile`, `Entity`, `Inventory`, `Market`, `Communication`, `Task`,
            `AgentId` and `CurrentTick` among its observations.
        hidden_size: width of the layer behind all.

    Raises:
        UsageError: it does not observe these.
    """

    def __init__(self, env: Any, hidden_size: int = 256) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        names = set(env.obs_dtype.names or ())
        needed = {"Tile", *LISTS, "Task", "AgentId", "CurrentTick"}
        if not needed <= names:
            raise UsageError(
                f"NeuralMMO sees {', '.join(sorted(needed))}, but there is no "
                f"{', '.join(sorted(needed - names))}: take another policy"
            )
        self.dtype = nativize_dtype(env.emulated)
        fields: Any = env.obs_dtype.fields
        self.materials = nn.Embedding(MATERIALS, 8)
        self.tiles = nn.Sequential(
            layer_init(nn.Conv2d(8, 16, 3, stride=2)),
            nn.ReLU(),
            layer_init(nn.Conv2d(16, 16, 3, stride=2)),
            nn.ReLU(),
            nn.Flatten(),
            layer_init(nn.Linear(16 * 3 * 3, WIDTH)),
        )
        self.lists = nn.ModuleDict(
            {name: layer_init(nn.Linear(fields[name][0].shape[1], WIDTH)) for name in LISTS}
        )
        self.own = layer_init(nn.Linear(fields["Entity"][0].shape[1], WIDTH))
        self.task = layer_init(nn.Linear(fields["Task"][0].shape[0], WIDTH))
        self.encoder = layer_init(nn.Linear(WIDTH * (3 + len(LISTS)) + 1, hidden_size))
        self.heads = Heads(env, hidden_size)
        self.value_head = layer_init(nn.Linear(hidden_size, 1), std=1.0)

    def forward(self, observations: Tensor) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits, and values `(batch, 1)`."""
        return self.decode_actions(self.encode_observations(observations))

    def encode_observations(self, observations: Tensor) -> Tensor:
        """Return the hidden layer `(batch, hidden_size)`."""
        leaves = nativize_tensor(observations, self.dtype)
        # The last number of a tile is its material; the first two say where it is.
        kinds = leaves["Tile"][:, :, 2].long().clamp(0, MATERIALS - 1)
        grid = self.materials(kinds).view(-1, SIDE, SIDE, 8).permute(0, 3, 1, 2)
        rows = {name: squash(leaves[name]) for name in LISTS}
        parts = [self.tiles(grid)]
        for name, layer in self.lists.items():
            filled = leaves[name].ne(0).any(2, keepdim=True)
            parts.append((torch.relu(layer(rows[name])) * filled).amax(1))
        # Of the entities the one with the agent's own number is itself.
        itself = leaves["Entity"][:, :, :1].eq(leaves["AgentId"].view(-1, 1, 1))
        parts.append(self.own((rows["Entity"] * itself).sum(1)))
        parts.append(self.task(leaves["Task"].float()))
        parts.append(leaves["CurrentTick"].float().view(-1, 1) / 1024)
        return torch.relu(self.encoder(torch.relu(torch.cat(parts, 1))))

    def decode_actions(self, hidden: Tensor, lookup: Any = None) -> tuple[ActionOutput, Tensor]:
        """Return the actions' logits, and values, from the hidden layer."""
        return self.heads.decode(hidden, self.value_head)


def squash(numbers: Tensor) -> Tensor:
    """Return them near 0: they go from flags to positions, levels and prices of thousands."""
    whole = numbers.float()
    return torch.sign(whole) * torch.log1p(whole.abs()) / 4
