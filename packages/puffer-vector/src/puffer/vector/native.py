"""Native: one PufferEnv that holds its simulations itself, with next to nothing in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from puffer.core.env import StepResult
from puffer.core.errors import UsageError
from puffer.vector.inprocess import InProcess
from puffer.vector.recipe import Recipe


class Native(InProcess):
    """One environment in this process; its simulations live inside it.

    Args:
        recipes: exactly one.
        copy: return new arrays each time, which the caller may keep.
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
        copy: bool = False,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        if len(recipes) != 1:
            raise UsageError(
                f"num_envs={len(recipes)} with backend Native: it runs one environment that holds "
                "its simulations itself, use num_envs=1 and the environment's own option "
                f"(env_kwargs={{'num_envs': {len(recipes)}}}), or backend Serial"
            )
        super().__init__(
            recipes, copy=copy, final_observations=final_observations, action_masks=action_masks
        )
        (env,) = self._envs
        self._step = env.step if env.validates_actions else self._checked_step

    def _checked_step(self, actions: npt.ArrayLike) -> StepResult:
        self._write_actions(actions)
        return self._envs[0].step(self._buffers.actions)

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Return the environment's own `step(actions)`."""
        if self._phase != "send":
            self._refuse("step")
        return super().step(actions) if self._copy else self._step(actions)

    def send(self, actions: npt.ArrayLike) -> None:
        """Step the environment; `recv` gives what came of it."""
        if self._phase != "send":
            self._refuse("send")
        self._infos = self._step(actions)[4]
        self._phase = "recv"
