"""The arrays that environments write and learners read: one row per agent, owned by the caller."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from puffer.core.errors import UsageError
from puffer.core.spaces import Box, FlatActionSpace, action_layout, num_action_logits

Fields = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


@dataclasses.dataclass(slots=True)
class Buffers:
    """One row per agent in every array.

    Attributes:
        observations: `(num_agents, *observation_shape)`, the observation space's dtype.
        actions: `(num_agents, *action_shape)`, int32 for discrete kinds, else the Box's dtype.
        rewards: `(num_agents,)` float32.
        terminals: `(num_agents,)` bool; the episode ended by the environment's rules.
        truncations: `(num_agents,)` bool; the episode was cut off, by a time limit say.
        masks: `(num_agents,)` bool; False where a slot holds no live agent.
        final_observations: as `observations`, or None if not asked for; a row is valid on the step
            that ended its episode and holds the last observation of that episode.
        action_masks: `(num_agents, sum of nvec)` bool, or None if not asked for.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    truncations: np.ndarray
    masks: np.ndarray
    final_observations: np.ndarray | None = None
    action_masks: np.ndarray | None = None

    @staticmethod
    def fields(
        observation_space: Box,
        action_space: FlatActionSpace,
        num_agents: int,
        *,
        final_observations: bool = False,
        action_masks: bool = False,
    ) -> Fields:
        """Return name -> (shape, dtype) of each array, without allocating anything."""
        n = (num_agents,)
        observation = ((*n, *observation_space.shape), np.dtype(observation_space.dtype))
        action_shape, action_dtype = action_layout(action_space)
        flag = (n, np.dtype(np.bool_))
        fields: Fields = {
            "observations": observation,
            "actions": ((*n, *action_shape), action_dtype),
            "rewards": (n, np.dtype(np.float32)),
            "terminals": flag,
            "truncations": flag,
            "masks": flag,
        }
        if final_observations:
            fields["final_observations"] = observation
        if action_masks:
            fields["action_masks"] = ((*n, num_action_logits(action_space)), np.dtype(np.bool_))
        return fields

    @classmethod
    def allocate(cls, fields: Fields) -> Buffers:
        """Return new arrays: zeros, but all agents alive and all actions allowed."""
        arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in fields.items()}
        for name in ("masks", "action_masks"):
            if name in arrays:
                arrays[name][...] = True
        return cls(**arrays)

    def check(self, env: Any, owner: str) -> None:
        """Raise `UsageError` unless these are the arrays that `env` can write.

        Args:
            env: has `single_observation_space`, `single_action_space`, `num_agents`,
                `can_fill_final_observations` and `can_fill_action_masks`.
            owner: how the error calls it.
        """
        for optional in ("final_observations", "action_masks"):
            if getattr(self, optional) is not None and not getattr(env, f"can_fill_{optional}"):
                raise UsageError(f"{owner} cannot fill {optional}: do not ask for them")
        fields = self.fields(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            final_observations=self.final_observations is not None,
            action_masks=self.action_masks is not None,
        )
        for name, array in self.arrays().items():
            if array is not None and (array.shape, array.dtype) != fields[name]:
                raise UsageError(
                    f"{owner}: buffer {name} is {array.dtype}{array.shape}, "
                    f"expected {fields[name][1]}{fields[name][0]}"
                )

    def rows(self, start: int, stop: int) -> Buffers:
        """Return views of the rows `start` to `stop`."""
        return Buffers(
            *(None if a is None else a[start:stop] for a in self.arrays().values())  # type: ignore[arg-type]
        )

    def arrays(self) -> dict[str, np.ndarray | None]:
        """Return name -> array, in the order of the attributes."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
