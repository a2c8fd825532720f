"""Batches: the rows of the groups that form a batch, as views of the shared memory or copied."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers
from puffer.core.buffers import Fields
from puffer.core.spaces import FlatActionSpace, action_writer


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """What one `recv` returns: the rows of some groups."""

    groups: tuple[int, ...]
    buffers: Buffers
    agent_ids: np.ndarray
    write_actions: Callable[[npt.ArrayLike], None]  # into these rows; see action_writer


class Batches(abc.ABC):
    """How the rows of a batch reach the caller, and its actions the environments."""

    @abc.abstractmethod
    def serve(self, groups: tuple[int, ...]) -> Served:
        """Return the rows of `groups`."""

    def scatter(self, served: Served) -> None:  # noqa: B027 - views have nothing to do
        """Pass on the actions that were written into the rows of `served`."""


class Views(Batches):
    """Batches are blocks of neighbours: each one's rows lie together, and are returned in place.

    Args:
        buffers: the shared rows.
        num_groups: whose rows they are.
        groups_per_batch: divides `num_groups`.
        action_space: of one row.
    """

    def __init__(
        self,
        buffers: Buffers,
        num_groups: int,
        groups_per_batch: int,
        action_space: FlatActionSpace,
    ) -> None:
        agent_ids = np.arange(len(buffers.rewards))
        rows = len(agent_ids) * groups_per_batch // num_groups
        self._size = groups_per_batch
        self._blocks = [
            Served(
                tuple(range(i * groups_per_batch, (i + 1) * groups_per_batch)),
                block := buffers.rows(i * rows, (i + 1) * rows),
                agent_ids[i * rows : (i + 1) * rows],
                action_writer(block.actions, action_space),
            )
            for i in range(num_groups // groups_per_batch)
        ]

    def serve(self, groups: tuple[int, ...]) -> Served:
        """Return the block of `groups`."""
        return self._blocks[groups[0] // self._size]


class Gathered(Batches):
    """Batches are any groups: their rows are copied together, always into the same arrays.

    Args:
        buffers: the shared rows.
        num_groups: whose rows they are.
        groups_per_batch: how many form a batch.
        action_space: of one row.
    """

    def __init__(
        self,
        buffers: Buffers,
        num_groups: int,
        groups_per_batch: int,
        action_space: FlatActionSpace,
    ) -> None:
        def by_group(array: np.ndarray, groups: int) -> np.ndarray:
            return array.reshape(groups, -1, *array.shape[1:])

        arrays = {name: a for name, a in buffers.arrays().items() if a is not None}
        num_agents = len(buffers.rewards)
        rows = num_agents * groups_per_batch // num_groups
        fields: Fields = {name: ((rows, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        self._copy = Buffers.allocate(fields)
        self._write_actions = action_writer(self._copy.actions, action_space)
        self._agents = by_group(np.arange(num_agents), num_groups)
        self._shared_actions = by_group(buffers.actions, num_groups)
        self._given_actions = by_group(self._copy.actions, groups_per_batch)
        self._gather = [
            (
                by_group(array, num_groups).take,
                by_group(getattr(self._copy, name), groups_per_batch),
            )
            for name, array in arrays.items()
            if name != "actions"
        ]

    def serve(self, groups: tuple[int, ...]) -> Served:
        """Return the copied rows of `groups`."""
        chosen = np.array(groups)
        for take, copy in self._gather:
            take(chosen, 0, copy, "clip")  # "raise" would make a copy of the copy
        agent_ids = self._agents.take(chosen, 0).ravel()
        return Served(groups, self._copy, agent_ids, self._write_actions)

    def scatter(self, served: Served) -> None:
        """Copy the actions to the rows of the groups."""
        self._shared_actions[np.array(served.groups)] = self._given_actions
