"""GymnasiumPufferEnv: any Gymnasium environment with flat observations and actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from puffer.core.actions import ActionLayout
from puffer.core.buffers import Buffers
from puffer.core.emulation.common import (
    check_mode,
    fill_action_mask,
    make_env,
    outcome_writer,
    pass_order_enforcing,
)
from puffer.core.errors import ResetNeeded, UsageError
from puffer.core.layout import Emulated, Layout

Step = tuple[np.ndarray, Any, bool, bool, dict[str, Any]]
Stages = tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], np.ndarray]]


class GymnasiumPufferEnv(gymnasium.Env[np.ndarray, Any]):
    """A Gymnasium environment whose observations and actions are flat.

    The wrapped environment is only ever asked to reset, step, render and close. Each call returns a
    newly allocated row; after `attach` it writes rows, rewards, flags and masks into the buffers
    and returns a view, which the next call overwrites.

    Attributes:
        env: the original environment.
        emulated: the layouts of its observations and actions.
        obs_dtype: `observation.view(env.obs_dtype)` shows the structure of a row.
        single_observation_space: the flat Box; the same as `observation_space`.
        single_action_space: the flat space; the same as `action_space`.
    """

    num_agents = 1
    num_simulations = 1
    can_fill_final_observations = False

    def __init__(
        self,
        env: Any = None,
        env_creator: Callable[..., gymnasium.Env[Any, Any]] | None = None,
        env_args: Sequence[Any] = (),
        env_kwargs: Mapping[str, Any] | None = None,
        buf: Buffers | None = None,
        check: str = "first",
        max_length: int | None = None,
    ) -> None:
        """Wrap an environment, given as an instance, a class or a creator.

        Args:
            env: the environment, or its class, or a function that makes it.
            env_creator: a class or function, instead of `env`.
            env_args: arguments for the class or function.
            env_kwargs: keyword arguments for the class or function.
            buf: arrays to write into; see `attach`.
            check: "first" checks the first observation fully and later ones in shape and dtype,
                "always" checks all fully, "never" lets NumPy cast what it can.
            max_length: how many items a Sequence or Graph space may have.

        Raises:
            UsageError: what was given is no Gymnasium environment.
            SpaceError: a leaf of a space that cannot be made flat.
        """
        self.env: gymnasium.Env[Any, Any] = make_env(env, env_creator, env_args, env_kwargs)
        if not isinstance(self.env, gymnasium.Env):
            raise UsageError(
                f"{self.env!r} is not a gymnasium.Env: wrap an old Gym environment with "
                "puffer.core.wrappers.GymToGymnasium, a PettingZoo one with PettingZooPufferEnv"
            )
        self._check = check_mode(check)
        self._check_next = check != "never"
        self.emulated = Emulated(
            Layout.of(self.env.observation_space, max_length=max_length, strict=check != "never"),
            ActionLayout.of(self.env.action_space, max_length=max_length),
        )
        self.obs_dtype = self.emulated.observation.dtype
        self.observation_space = self.single_observation_space = self.emulated.observation.space
        self.action_space = self.single_action_space = self.emulated.action.space
        self.can_fill_action_masks = not isinstance(self.action_space, gymnasium.spaces.Box)
        self._buffers: Buffers | None = None
        self._place = self.emulated.observation.row_maker()
        self._step: Callable[[Any], Step] = _refuse_to_step
        self._closed = False
        if buf is not None:
            self.attach(buf)

    def attach(self, buf: Buffers) -> None:
        """Make the arrays of `buf` (one row each) the ones that `reset` and `step` write."""
        buf.check(self, "GymnasiumPufferEnv")
        self._buffers = buf
        outcome = buf.rewards, buf.terminals, buf.truncations, buf.masks
        self._outcome: list[Any] = [array.data for array in outcome]  # faster for one number
        self._place = self.emulated.observation.bind(buf.observations[0, ...])
        self._step = _refuse_to_step

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a new episode and return `(observation, info)`."""
        # Some environments take no options, or give a meaning to empty ones.
        given = {} if options is None else {"options": options}
        observation, info = self.env.reset(seed=seed, **given)
        row = self._place_checked(observation) if self._check_next else self._place(observation)
        if (buf := self._buffers) is not None:
            rewards, terminals, truncations, masks = self._outcome
            rewards[0], terminals[0], truncations[0], masks[0] = 0.0, False, False, True
            if buf.action_masks is not None:
                fill_action_mask(buf.action_masks[0], observation, info, "action_mask")
        if self._step is _refuse_to_step:
            pass_order_enforcing(self.env)
            self._step = self._stepper()
        return row, info

    def step(self, action: Any) -> Step:
        """Act once and return `(observation, reward, terminated, truncated, info)`.

        Raises:
            ResetNeeded: before the first `reset`.
            ActionError: an action outside the flat space; the environment was not stepped.
            SpaceError: an observation outside its space; the message names the leaf.
        """
        return self._step(action)

    def stages(self) -> Stages:
        """Return the three functions that make a step, for a loop over many environments.

        Together they do what `step` does, but for the outcome and the action mask, which are the
        caller's to write. They hold until the next `attach`.

            observation, reward, terminated, truncated, info = act(read(action))
            place(observation)
        """
        place = self._place_checked if self._check == "always" else self._place
        return self.emulated.action.unpack, self.env.step, place

    def _stepper(self) -> Callable[[Any], Step]:
        """Return the fastest function that does what `step` promises."""
        read, act, place = self.stages()

        def step(action: Any) -> Step:
            observation, reward, terminated, truncated, info = act(read(action))
            return place(observation), reward, terminated, truncated, info

        if self._buffers is None:
            return step
        buf = self._buffers
        action_mask = None if buf.action_masks is None else buf.action_masks[0]
        write_outcome = outcome_writer(buf, 0, "reward")

        def step_in_place(action: Any) -> Step:
            observation, reward, terminated, truncated, info = act(read(action))
            row = place(observation)
            write_outcome(reward, terminated, truncated)
            if action_mask is not None:
                fill_action_mask(action_mask, observation, info, "action_mask")
            return row, reward, terminated, truncated, info

        return step_in_place

    def _place_checked(self, observation: Any) -> np.ndarray:
        self.emulated.observation.check(observation)
        self._check_next = self._check == "always"
        return self._place(observation)

    def render(self) -> Any:
        """Return what the environment renders."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self.env.close()

    @property
    def driver_env(self) -> GymnasiumPufferEnv:
        """The env itself, as vector environments have it."""
        return self

    @property
    def metadata(self) -> dict[str, Any]:  # type: ignore[override]
        """The environment's metadata."""
        return self.env.metadata

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]
        """The environment's render mode."""
        return self.env.render_mode

    @property
    def spec(self) -> Any:  # type: ignore[override]
        """The environment's specification: how the original was made."""
        return self.env.spec

    @property  # type: ignore[misc]
    def np_random(self) -> np.random.Generator:
        """The environment's random number generator."""
        return self.env.np_random

    @property
    def np_random_seed(self) -> int:
        """The seed of the environment's random number generator."""
        return self.env.np_random_seed

    @property
    def _np_random(self) -> np.random.Generator | None:  # type: ignore[override]
        # Gymnasium's check_env reads it.
        return self.env.unwrapped._np_random


def _refuse_to_step(action: Any) -> Step:
    raise ResetNeeded("step was called before reset: call reset first")
