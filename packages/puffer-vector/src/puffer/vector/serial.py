"""Serial: all environments in this process, one after another. It defines the semantics."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers, PufferEnv
from puffer.core.env import Infos
from puffer.core.spaces import write_actions
from puffer.vector.protocol import Batch, VectorEnv
from puffer.vector.recipe import Recipe, build_envs


class EnvGroup:
    """Environments on neighbouring rows of one set of buffers, run one after another.

    Args:
        envs: at least one, alike, in the order of their rows.
        buffers: the rows of all of them.
        first_env: the number of `envs[0]` in the whole vector.
    """

    def __init__(self, envs: Sequence[PufferEnv], buffers: Buffers, first_env: int = 0) -> None:
        self._envs = envs
        self._buffers = buffers
        self._numbers = range(first_env, first_env + len(envs))
        self._turns = [
            (number, env.step, env.actions, number * env.num_agents)
            for number, env in zip(self._numbers, envs, strict=True)
        ]

    @property
    def num_simulations(self) -> int:
        """How many seeds a reset uses."""
        return sum(env.num_simulations for env in self._envs)

    def reset(self, seed: int | None) -> Infos:
        """Begin new episodes everywhere, with clean rewards and flags."""
        infos: Infos = []
        for number, env in zip(self._numbers, self._envs, strict=True):
            try:
                given = env.reset(seed)[1]
            except Exception as error:
                error.add_note(f"raised by env {number} in reset(seed={seed})")
                raise
            if given:
                infos += _in_whole(given, number * env.num_agents)
            if seed is not None:
                seed += env.num_simulations
        for array in (self._buffers.rewards, self._buffers.terminals, self._buffers.truncations):
            array.fill(0)
        return infos

    def step(self) -> Infos:
        """Advance every environment by the actions that stand in the buffers."""
        infos: Infos = []
        for number, step, actions, first_row in self._turns:
            try:
                given = step(actions)[4]
            except Exception as error:
                error.add_note(f"raised by env {number} in step(actions={actions})")
                raise
            if given:
                infos += _in_whole(given, first_row)
        return infos

    def close(self) -> None:
        """Close every environment, even if one of them raises."""
        with contextlib.ExitStack() as stack:
            for env in self._envs:
                stack.callback(env.close)


def _in_whole(infos: Infos, first_row: int) -> Infos:
    """Return the infos of an environment with its rows' numbers in the whole vector."""
    return [
        {**info, "agent_id": info["agent_id"] + first_row} if "agent_id" in info else info
        for info in infos
    ]


class Serial(VectorEnv):
    """All environments in this process, one after another.

    Args:
        recipes: one per environment.
        final_observations: whether to allocate `final_observations`, for the environments to fill;
            None: if they can.
        action_masks: whether to allocate `action_masks`, for the environments to fill;
            None: if they can.

    Raises:
        UsageError: environments that differ in spaces or agents, or cannot fill what is asked.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        envs, buffers = build_envs(
            recipes, final_observations=final_observations, action_masks=action_masks
        )
        self._describe(envs[0], len(envs), len(envs))
        self.final_observations = buffers.final_observations
        self.action_masks = buffers.action_masks
        self._group = EnvGroup(envs, buffers)
        self._buffers = buffers
        self._agent_ids = np.arange(self.num_agents)
        self._agents_per_env = envs[0].num_agents
        self._infos: Infos = []

    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch."""
        self._check_reset(seed)
        self._phase = "reset"  # stays so if an environment raises
        self._infos = self._group.reset(seed)
        self._phase = "recv"

    def send(self, actions: npt.ArrayLike) -> None:
        """Step every environment; `recv` gives what came of it."""
        if self._phase != "send":
            self._refuse("send")
        write_actions(
            actions,
            self._buffers.actions,
            self.single_action_space,
            agents_per_env=self._agents_per_env,
        )
        self._phase = "reset"  # stays so if an environment raises
        self._infos = self._group.step()
        self._phase = "recv"

    def recv(self) -> Batch:
        """Return the arrays of all environments."""
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
        """Close every environment; calling it again does nothing."""
        if self._phase != "closed":
            self._phase = "closed"
            self._group.close()
