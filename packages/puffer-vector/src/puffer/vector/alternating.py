"""Alternating: environments that take turns: one is stepped while actions are chosen for others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers, PufferEnv
from puffer.core.env import Infos
from puffer.core.spaces import FlatActionSpace, action_writer
from puffer.vector.group import in_whole
from puffer.vector.inprocess import InProcess
from puffer.vector.protocol import Batch
from puffer.vector.recipe import Recipe


class Alternating(InProcess):
    """Environments of this process whose batches come round one after the other.

    A batch is the rows of one environment. Those that have `step_async` and `wait`, as all of
    puffer.ocean, are stepped by their own threads from `send` until their batch comes round again:
    a learner with two of them loses no time to either. Others are stepped within `send`.

    Args:
        recipes: one for each environment.
        copy: return new arrays each time, which the caller may keep.
        final_observations: whether to allocate `final_observations`, for environments to fill;
            None: if they can.
        action_masks: whether to allocate `action_masks`, for environments to fill; None: if they
            can.

    Raises:
        UsageError: environments that do not agree, or cannot fill what is asked.
    """

    _in_turns = True

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        copy: bool = False,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        super().__init__(
            recipes, copy=copy, final_observations=final_observations, action_masks=action_masks
        )
        self._parts = [
            _Part(env, number, self._buffers, self._agent_ids, self.single_action_space)
            for number, env in enumerate(self._envs)
        ]
        self._turn = 0

    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch.

        It may be called at any time: it waits for steps under way and drops what came of them.
        """
        self._check_reset(seed)
        self._settle(drop=True)
        super().async_reset(seed)

    def send(self, actions: npt.ArrayLike) -> None:
        """Begin a step of the environment of the last batch; `recv` gives the next one."""
        if self._phase != "send":
            self._refuse("send")
        self._parts[self._turn].begin(actions)
        self._pass_on()

    def recv(self) -> Batch:
        """Return the rows of the environment whose turn it is, once it has been stepped."""
        if self._phase != "recv":
            self._refuse("recv")
        parts = self._parts
        if all(part.held for part in parts):
            for part in parts:
                part.held = False
        while parts[self._turn].held:
            self._turn = (self._turn + 1) % len(parts)
        part = parts[self._turn]
        infos, self._infos = self._infos + part.finish(), []
        part.infos = []
        self._phase = "send"
        return self._deliver(part.rows, infos, part.agent_ids)

    def hold(self) -> None:
        """Leave the environment of the last batch as it is; see `VectorEnv.hold`."""
        if self._phase != "send":
            self._refuse("hold")
        self._parts[self._turn].held = True
        self._pass_on()

    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned; `recv` gives the first batch."""
        self._check_saves("set_state")
        self._settle(drop=True)
        super().set_state(state)
        for part in self._parts:
            part.held = True

    def call(
        self, function: Callable[..., Any], *args: Any, envs: Iterable[int] | None = None
    ) -> list[Any]:
        """Return `function(env, *args)` of each environment, or of those numbered `envs`."""
        self._settle()
        return super().call(function, *args, envs=envs)

    def close(self) -> None:
        """Close every environment; calling it again does nothing."""
        if self._phase != "closed":
            self._settle(drop=True)
        super().close()

    def _pass_on(self) -> None:
        self._turn = (self._turn + 1) % len(self._parts)
        self._phase = "recv"

    def _settle(self, *, drop: bool = False) -> None:
        """Wait for all steps under way, and forget what came of them if asked to."""
        for part in self._parts:
            with contextlib.suppress(*[Exception] * drop):
                part.finish()
            if drop:
                part.infos, part.held = [], False
        if drop:
            self._turn = 0

    def _at_rest(self) -> bool:
        alone = self._phase == "send" and len(self._parts) == 1
        return alone or all(part.held for part in self._parts)


class _Part:
    """One environment, its rows, and whether a step of it is under way."""

    def __init__(
        self,
        env: PufferEnv,
        number: int,
        buffers: Buffers,
        agent_ids: np.ndarray,
        space: FlatActionSpace,
    ) -> None:
        first, last = number * env.num_agents, (number + 1) * env.num_agents
        self.env: Any = env
        self.number = number
        self.rows = buffers.rows(first, last)
        self.agent_ids = agent_ids[first:last]
        self.held = False
        self.infos: Infos = []
        self._busy = False
        self._background = hasattr(env, "step_async") and hasattr(env, "wait")
        self._write = action_writer(self.rows.actions, space, agents_per_env=env.num_agents)

    def begin(self, actions: npt.ArrayLike) -> None:
        """Take a step, in the background where the environment can."""
        if not self.env.validates_actions:
            self._write(actions)
            actions = self.rows.actions
        if self._background:
            self.env.step_async(actions)
            self._busy = True
        else:
            self._keep(self.env.step, actions)

    def finish(self) -> Infos:
        """Wait for the step under way, if there is one, and return `infos`."""
        if self._busy:
            self._busy = False
            self._keep(self.env.wait)
        return self.infos

    def _keep(self, step: Callable[..., Any], *actions: npt.ArrayLike) -> None:
        """Take what comes of `step`; an error says whose it was."""
        try:
            infos = step(*actions)[4]
        except Exception as error:
            error.add_note(f"raised by env {self.number} in a step")
            raise
        self.infos = in_whole(infos, int(self.agent_ids[0])) if infos else []
