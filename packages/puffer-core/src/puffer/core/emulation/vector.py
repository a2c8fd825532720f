"""GymnasiumVectorPufferEnv: a Gymnasium vector environment that someone has, as a PufferEnv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from puffer.core.actions import ActionLayout
from puffer.core.buffers import Buffers
from puffer.core.env import Infos, PufferEnv, StepResult
from puffer.core.errors import ResetNeeded, UsageError
from puffer.core.layout import Emulated, Layout
from puffer.core.spaces import Box, Discrete, MultiDiscrete, write_actions
from puffer.core.stats import episode_info


class GymnasiumVectorPufferEnv(PufferEnv):
    """A PufferEnv around a `gymnasium.vector.VectorEnv`, one agent per sub-environment.

    Its autoreset mode decides how episodes end. SAME_STEP is what a PufferEnv does anyway, and
    DISABLED becomes that, by resetting the sub-environments that ended. NEXT_STEP returns the last
    observation with the flags, and spends the following step on the reset: that row is masked,
    though it holds the new episode's first observation, which the agent acts on.

    Attributes:
        env: the vector environment.
        emulated: the layouts of one sub-environment's observations and actions.
        obs_dtype: `observations.view(env.obs_dtype)` shows the structure of the rows.
    """

    can_fill_final_observations = True

    def __init__(
        self,
        env: Any,
        buf: Buffers | None = None,
        max_length: int | None = None,
        autoreset_mode: AutoresetMode | None = None,
    ) -> None:
        """Wrap `env`.

        Args:
            env: a `gymnasium.vector.VectorEnv`, or anything with its interface.
            buf: arrays to write into.
            max_length: how many items a Sequence or Graph space may have.
            autoreset_mode: what the environment does when an episode ends; needed where its
                metadata do not say so (EnvPool: NEXT_STEP).

        Raises:
            UsageError: `env` is no vector environment, or does not tell its autoreset mode.
            SpaceError: a leaf of a space that cannot be made flat.
        """
        for needed in ("num_envs", "single_observation_space", "single_action_space"):
            if not hasattr(env, needed):
                raise UsageError(f"{env!r} has no {needed}: expected a gymnasium.vector.VectorEnv")
        self.env = env
        metadata = getattr(env, "metadata", None) or {}
        mode = autoreset_mode or metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise UsageError(
                f"metadata['autoreset_mode'] of {env!r} is {mode!r}, expected a "
                "gymnasium.vector.AutoresetMode: pass autoreset_mode"
            )
        self._mode = mode
        layouts = Emulated(
            Layout.of(env.single_observation_space, max_length=max_length),
            ActionLayout.of(env.single_action_space, max_length=max_length),
        )
        self.emulated = layouts
        self._observation, self._action = layouts.observation, layouts.action
        self.obs_dtype = layouts.observation.dtype
        self.single_observation_space = layouts.observation.space
        self.single_action_space = layouts.action.space
        self.num_agents = int(env.num_envs)
        self.render_mode = getattr(env, "render_mode", None)
        self._ended = np.zeros(self.num_agents, np.bool_)
        self._returns = np.zeros(self.num_agents)
        self._lengths = np.zeros(self.num_agents, np.int64)
        self._was_reset = False
        self._closed = False
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin new episodes everywhere."""
        # EnvPool's reset takes no seed.
        batch, _ = self.env.reset() if seed is None else self.env.reset(seed=seed)
        if not self._was_reset:
            for sample in iterate(self.env.observation_space, batch):
                self._observation.check(sample)
        self._was_reset = True
        self._observation.pack_batch(batch, self.observations)
        self.rewards[...] = 0.0
        self.terminals[...] = self.truncations[...] = self._ended[...] = False
        self.masks[...] = True
        self._returns[...] = self._lengths[...] = 0
        return self.observations, []

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Advance every sub-environment.

        Raises:
            ResetNeeded: before the first `reset`.
            ActionError: an action outside the flat space; nothing was stepped.
        """
        if not self._was_reset:
            raise ResetNeeded("step was called before reset: call reset first")
        write_actions(actions, self.actions, self.single_action_space)
        batch, rewards, terminals, truncations, info = self.env.step(self._native_actions())
        self._observation.pack_batch(batch, self.observations)
        self.rewards[...] = rewards
        self.terminals[...] = terminals
        self.truncations[...] = truncations
        # After an end with NEXT_STEP, this step was spent on the reset.
        np.logical_not(self._ended, out=self.masks)
        self.rewards[self._ended] = 0.0
        self._returns += self.rewards
        self._lengths += self.masks
        ended = self.terminals | self.truncations
        infos = [self._end_episode(int(i), info) for i in np.flatnonzero(ended)]
        if self._mode is AutoresetMode.NEXT_STEP:
            self._ended[...] = ended
        elif self._mode is AutoresetMode.DISABLED and ended.any():
            batch, _ = self.env.reset(options={"reset_mask": ended.copy()})
            self._observation.pack_batch(batch, self.observations)
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def _native_actions(self) -> Any:
        """Return the actions as the vector environment takes them, in new arrays."""
        space = self.env.single_action_space
        if isinstance(space, Box):
            return self.actions.copy()
        if isinstance(space, Discrete | MultiDiscrete) and np.ndim(space.start) < 2:
            return self.actions.astype(space.dtype) + space.start
        samples = [self._action.unpack(row) for row in self.actions]
        empty: Any = create_empty_array(space, self.num_agents)
        return concatenate(space, samples, empty)

    def _end_episode(self, i: int, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return the info of the episode that sub-environment `i` just ended."""
        final = info.get("final_info", info)
        own = dict(_infos_of(final, i))
        result = episode_info(float(self._returns[i]), int(self._lengths[i]), own)
        self._returns[i], self._lengths[i] = 0.0, 0
        if self.final_observations is not None:
            row = self.final_observations[i, ...]
            if self._mode is AutoresetMode.SAME_STEP:
                self._observation.pack(info["final_obs"][i], row)
            else:
                row[...] = self.observations[i]
        return {**result, "agent_id": i}

    def render(self) -> Any:
        """Return what the vector environment renders."""
        return self.env.render()

    def close(self) -> None:
        """Close the vector environment; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self.env.close()


def _infos_of(info: Mapping[str, Any], i: int) -> Iterator[tuple[str, Any]]:
    """Give the keys and values that a vector info has of sub-environment `i`."""
    for key, values in info.items():
        present = info.get(f"_{key}")
        if isinstance(present, np.ndarray) and present[i]:
            if isinstance(values, Mapping):
                yield key, dict(_infos_of(values, i))
            elif key != "final_obs":
                yield key, values[i]
