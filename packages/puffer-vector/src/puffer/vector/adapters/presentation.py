"""Presentation: what the adapters share: spaces, actions and observations, infos, the envs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from gymnasium.vector.utils import batch_space

from puffer.core.actions import ActionLayout
from puffer.core.env import Infos
from puffer.core.errors import ActionError, UsageError
from puffer.core.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from puffer.vector.protocol import VectorEnv

Info = dict[str, Any]


class Presentation:
    """A vector environment in the spaces of its environments, with one info per row.

    Attributes:
        vecenv: the vector environment.
        single_observation_space: the space of one observation.
        single_action_space: the space of one action.
        observe: rows of observations -> a batch as Gymnasium has it, of views wherever possible.
    """

    def __init__(self, vecenv: VectorEnv, *, flat: bool) -> None:
        if not isinstance(vecenv, VectorEnv):
            raise UsageError(
                f"{vecenv!r} is no vector environment: expected what puffer.vector.make returns"
            )
        if vecenv.num_envs != vecenv.num_agents:
            raise UsageError(
                f"a batch has {vecenv.num_envs} of {vecenv.num_agents} rows, but adapters need "
                "all of them: leave batch_size out"
            )
        self.vecenv = vecenv
        self.agents_per_env = vecenv.num_agents // vecenv.total_envs
        layouts = None if flat else vecenv.driver_env.emulated
        self._layout = None if layouts is None else layouts.observation
        if self._layout is None or self._layout.is_array:
            self.observe: Callable[[np.ndarray], Any] = lambda rows: rows
        else:
            self.observe = self._layout.unpack_batch
        self._action_layout = None if layouts is None else layouts.action
        self.single_observation_space: Space[Any] = (
            vecenv.single_observation_space if self._layout is None else self._layout.original
        )
        self.single_action_space: Space[Any] = (
            vecenv.single_action_space if layouts is None else layouts.action.original
        )

    def joint_spaces(self) -> tuple[Space[Any], Space[Any]]:
        """Return the spaces of a batch of observations and of actions, as Gymnasium has them."""
        rows = self.vecenv.num_envs
        return (
            batch_space(self.single_observation_space, rows),
            batch_space(self.single_action_space, rows),
        )

    def flattener(self, split: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Any]:
        """Return the function that turns a batch of actions into the rows that `send` takes.

        Args:
            split: gives the actions of a batch, where they are neither numbers nor arrays.
        """
        layout = self._action_layout
        if layout is None or isinstance(layout.original, Box):
            return lambda actions: actions
        if isinstance(layout.original, Discrete | MultiDiscrete | MultiBinary):
            return _integer_flattener(layout.original, self.vecenv.num_envs)
        rows = self.vecenv.num_envs
        return lambda actions: _pack_actions(layout, split(actions), rows)

    def check_final_observations(self) -> None:
        """Refuse a vector environment that does not keep the last observations, but could.

        It is called after a reset, since not every backend knows them before.
        """
        if self.vecenv.final_observations is not None:
            return
        driver = self.vecenv.driver_env
        if driver.emulated is not None or driver.can_fill_final_observations:
            raise UsageError(
                "adapters hand on the last observation of each episode, which this vector "
                "environment does not keep: give puffer.vector.make final_observations=True"
            )
        warnings.warn(
            f"{type(driver).__name__} does not keep the last observation of an episode: whoever "
            "learns from it takes a truncated episode for a terminated one",
            stacklevel=4,
        )

    def final_observations(self, rows: np.ndarray) -> list[Any] | None:
        """Return the last observations of the episodes that ended in these rows, as new objects.

        None if the environments do not keep them.
        """
        if self.vecenv.final_observations is None:
            return None
        chosen = self.vecenv.final_observations[rows]
        layout = self._layout
        if layout is None or layout.is_array:
            return [chosen[i, ...] for i in range(len(chosen))]
        return [layout.unpack(row) for row in chosen]

    def call(
        self, function: Callable[..., Any], *args: Any, rows: Iterable[int] | None = None
    ) -> list[Any]:
        """Return `function(env, *args)` of the environment of each row, where it lives.

        Args:
            function: takes the environment as the creator made it.
            *args: what else it takes.
            rows: which rows; negative ones count from the end; all of them if None.
        """
        total = self.vecenv.num_envs
        numbers = range(total) if rows is None else [range(total)[row] for row in rows]
        envs = sorted({row // self.agents_per_env for row in numbers})
        results = dict(zip(envs, self.vecenv.call(function, *args, envs=envs), strict=True))
        return [results[row // self.agents_per_env] for row in numbers]


def split_infos(infos: Infos) -> tuple[dict[int, Info], Infos]:
    """Return the infos by the row that they are of, and those that are of no single row."""
    by_row: dict[int, Info] = {}
    rest: Infos = []
    for info in infos:
        if "agent_id" in info:
            row = info["agent_id"]
            own = {key: value for key, value in info.items() if key != "agent_id"}
            by_row[row] = {**by_row.get(row, {}), **own}
        else:
            rest.append(info)
    return by_row, rest


def _integer_flattener(
    space: Discrete | MultiDiscrete | MultiBinary, rows: int
) -> Callable[[Any], Any]:
    start = np.asarray(getattr(space, "start", 0))
    if len(space.shape or ()) < 2 and not start.any():
        return lambda actions: actions
    shape = (rows, *(space.shape or ()))
    flat = (rows, -1) if space.shape else (rows,)

    def flatten(actions: Any) -> np.ndarray:
        given = np.asarray(actions)
        if given.shape != shape or given.dtype.kind not in "iu":
            return given  # `send` says what is wrong with it
        shifted: np.ndarray = given.astype(np.int64) - start
        return shifted.reshape(flat)

    return flatten


def _pack_actions(layout: ActionLayout, actions: Iterable[Any], rows: int) -> np.ndarray:
    flat = np.zeros((rows, *(layout.space.shape or ())), layout.space.dtype)
    samples = list(actions)
    if len(samples) != rows:
        raise ActionError(f"got {len(samples)} actions, expected {rows}")
    for i, sample in enumerate(samples):
        if sample not in layout.original:
            raise ActionError(f"action {sample!r} of agent {i} is outside {layout.original}")
        layout.pack(sample, flat[i, ...])
    return flat
