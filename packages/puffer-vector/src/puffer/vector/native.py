"""Native: one PufferEnv that holds its simulations itself, with next to nothing in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from puffer.core.env import Infos, StepResult
from puffer.core.errors import UsageError
from puffer.core.spaces import write_actions
from puffer.vector.protocol import Batch, VectorEnv
from puffer.vector.recipe import Recipe, buffers_of, build_envs


class Native(VectorEnv):
    """One environment in this process; its simulations live inside it.

    Args:
        recipes: exactly one.
        final_observations: whether to allocate `final_observations`, for the environment to fill;
            None: if it can.
        action_masks: whether to allocate `action_masks`, for the environment to fill;
            None: if it can.

    Raises:
        UsageError: more than one environment, or one that cannot fill what is asked.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        if len(recipes) != 1:
            raise UsageError(
                f"num_envs={len(recipes)} with backend Native: it runs one environment that holds "
                "its simulations itself, use num_envs=1 and the environment's own option "
                f"(env_kwargs={{'num_envs': {len(recipes)}}}), or backend Serial"
            )
        (self._env,), _ = build_envs(
            recipes, final_observations=final_observations, action_masks=action_masks
        )
        self._describe(self._env, 1, 1)
        self._buffers = buffers_of(self._env)
        self.final_observations = self._buffers.final_observations
        self.action_masks = self._buffers.action_masks
        self._agent_ids = np.arange(self.num_agents)
        self._infos: Infos = []
        self._step = self._env.step if self._env.validates_actions else self._checked_step

    def _checked_step(self, actions: npt.ArrayLike) -> StepResult:
        write_actions(actions, self._buffers.actions, self.single_action_space)
        return self._env.step(self._buffers.actions)

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Return the environment's own `step(actions)`."""
        if self._phase != "send":
            self._refuse("step")
        return self._step(actions)

    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch."""
        self._check_reset(seed)
        self._phase = "reset"  # stays so if the environment raises
        self._infos = self._env.reset(seed)[1]
        for array in (self._buffers.rewards, self._buffers.terminals, self._buffers.truncations):
            array.fill(0)
        self._phase = "recv"

    def send(self, actions: npt.ArrayLike) -> None:
        """Step the environment; `recv` gives what came of it."""
        if self._phase != "send":
            self._refuse("send")
        self._infos = self._step(actions)[4]
        self._phase = "recv"

    def recv(self) -> Batch:
        """Return the environment's arrays."""
        if self._phase != "recv":
            self._refuse("recv")
        self._phase = "send"
        b = self._buffers
        flags = b.terminals, b.truncations
        return b.observations, b.rewards, *flags, self._infos, self._agent_ids, b.masks

    def hold(self) -> None:
        """Make `recv` return the same arrays again, without infos."""
        if self._phase != "send":
            self._refuse("hold")
        self._infos = []
        self._phase = "recv"

    def close(self) -> None:
        """Close the environment; calling it again does nothing."""
        if self._phase != "closed":
            self._phase = "closed"
            self._env.close()
