"""InProcess: what the backends share whose environments live in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from puffer.core.env import Infos, StepResult
from puffer.core.spaces import action_writer
from puffer.vector import state as packed
from puffer.vector.calls import choose_envs
from puffer.vector.group import EnvGroup
from puffer.vector.protocol import Batch, VectorEnv
from puffer.vector.recipe import Recipe, build_envs, warn_of_copies


class InProcess(VectorEnv):
    """Environments of the calling process, reset together and received together or in turns."""

    _in_turns = False  # a batch is one environment

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        copy: bool = False,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        self._copy = copy
        self._envs, self._buffers = build_envs(
            recipes, final_observations=final_observations, action_masks=action_masks
        )
        if not self._in_turns:  # else there is a reason for several
            warn_of_copies(recipes[0], self._envs[0], len(recipes), stacklevel=4)
        self._describe(self._envs[0], len(recipes), 1 if self._in_turns else len(recipes))
        self._group = EnvGroup(self._envs, self._buffers)
        self._unable_to_save = self._group.unable_to_save
        self.final_observations = self._buffers.final_observations
        self.action_masks = self._buffers.action_masks
        self._write_actions = action_writer(
            self._buffers.actions,
            self.single_action_space,
            agents_per_env=self.num_agents // self.total_envs,
        )
        self._agent_ids = np.arange(self.num_agents)
        self._infos: Infos = []
        self._held = False

    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch."""
        self._check_reset(seed)
        self._phase = "reset"  # stays so if an environment raises
        self._infos = self._group.reset(seed)
        self._held = False
        self._phase = "recv"

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Act for the agents of the last batch and return the next one.

        `recv` has nothing to wait for or to choose here, so it is left out: 0.2 microseconds.
        """
        if self._copy or self._in_turns:
            return super().step(actions)
        self.send(actions)
        self._phase = "send"
        b = self._buffers
        return b.observations, b.rewards, b.terminals, b.truncations, self._infos

    def recv(self) -> Batch:
        """Return the arrays of all environments."""
        if self._phase != "recv":
            self._refuse("recv")
        self._phase = "send"
        self._held = False
        return self._deliver(self._buffers, self._infos, self._agent_ids)

    def hold(self) -> None:
        """Make `recv` return the same arrays again, without infos."""
        if self._phase != "send":
            self._refuse("hold")
        self._infos = []
        self._held = True
        self._phase = "recv"

    def state(self) -> bytes:
        """Return what decides all that comes next, in every environment."""
        self._check_saves("state")
        self._check_rest("state")
        return packed.pack(self._group.state())

    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned; `recv` gives the first batch."""
        self._check_saves("set_state")
        states = packed.unpack(state, self.total_envs)
        self._phase = "reset"  # stays so if an environment raises
        self._group.set_state(states)
        self._infos = []
        self._held = True
        self._phase = "recv"

    def _at_rest(self) -> bool:
        return self._phase == "send" or (self._phase == "recv" and self._held)

    def call(
        self, function: Callable[..., Any], *args: Any, envs: Iterable[int] | None = None
    ) -> list[Any]:
        """Return `function(env, *args)` of each environment, or of those numbered `envs`."""
        if self._phase == "closed":
            self._refuse("call")
        return [function(self._envs[i], *args) for i in choose_envs(envs, self.total_envs)]

    def close(self) -> None:
        """Close every environment; calling it again does nothing."""
        if self._phase != "closed":
            self._phase = "closed"
            self._group.close()
