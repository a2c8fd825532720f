"""GymnasiumVecEnv: a vector environment as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate

from puffer.core.env import Infos
from puffer.core.errors import UsageError
from puffer.core.stats import mean_infos
from puffer.vector.adapters import remote
from puffer.vector.adapters.presentation import Info, Presentation, split_infos
from puffer.vector.protocol import VectorEnv

Step = tuple[Any, np.ndarray, np.ndarray, np.ndarray, Info]


class GymnasiumVecEnv(gymnasium.vector.VectorEnv[Any, Any, np.ndarray]):
    """A `gymnasium.vector.VectorEnv` with one sub-environment for each row of `vecenv`.

    Use `to_gymnasium`, which tells of the arguments. With SAME_STEP, the step that ends an episode
    returns the next one's first observation, `infos["final_obs"]` and `infos["final_info"]`.

    Attributes:
        vecenv: the vector environment.
        masks: `(num_envs,)` bool, False where a sub-environment holds no live agent; the next step
            overwrites it.
    """

    def __init__(
        self,
        vecenv: VectorEnv,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        flat: bool = False,
        copy: bool = True,
    ) -> None:
        self._shown = shown = Presentation(vecenv, flat=flat)
        self.vecenv = vecenv
        self.copy = copy
        self.num_envs = vecenv.num_envs
        self.single_observation_space = shown.single_observation_space
        self.single_action_space = shown.single_action_space
        self.observation_space, self.action_space = shown.joint_spaces()
        driver = vecenv.driver_env
        self.metadata = {**driver.metadata, "autoreset_mode": self._set_mode(autoreset_mode)}
        self.render_mode = driver.render_mode
        self.spec = getattr(driver, "spec", None)
        self.masks = np.ones(self.num_envs, np.bool_)
        self._flatten = shown.flattener(lambda actions: iterate(self.action_space, actions))
        self._needs_check = self._same_step  # whether the last observations are kept

    def _set_mode(self, mode: AutoresetMode | str) -> AutoresetMode:
        """Have the environments follow the mode, and return it."""
        mode = AutoresetMode(mode)
        if mode is AutoresetMode.DISABLED:
            raise UsageError(
                "autoreset_mode DISABLED: environments begin the next episode themselves, expected "
                "SAME_STEP or NEXT_STEP"
            )
        self._same_step = mode is AutoresetMode.SAME_STEP
        if not self._same_step:
            self._shown.call(remote.set_next_step)
        return mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Info]:
        """Begin new episodes everywhere and return `(observations, infos)`.

        Args:
            seed: sub-environment i gets `seed + i` (of several agents in one env, all get the same
                one); None takes fresh entropy.
            options: what each environment's own `reset` is given.

        Raises:
            UsageError: `seed` is no integer, or the environments take no options.
        """
        super().reset(seed=seed)
        if options:
            if "reset_mask" in options:
                raise UsageError(
                    "options['reset_mask'] resets some sub-environments, which here do so "
                    "themselves: leave it out"
                )
            self._shown.call(remote.set_reset_options, options)
        self.vecenv.async_reset(seed)
        observations, _, _, _, infos, _, self.masks = self.vecenv.recv()
        if self._needs_check:
            self._shown.check_final_observations()
            self._needs_check = False
        if self.copy:
            observations = observations.copy()
        return self._shown.observe(observations), self._gather(*split_infos(infos))

    def step(self, actions: Any) -> Step:
        """Return `(observations, rewards, terminations, truncations, infos)` after one step.

        Rewards are float32. `infos` is empty unless an episode ended or an environment reports.

        Raises:
            ActionError: an action of a wrong shape, dtype or value; nothing was stepped.
            ResetNeeded: before the first `reset`.
        """
        vecenv = self.vecenv
        vecenv.send(self._flatten(actions))
        observations, rewards, terminals, truncations, own_infos, _, self.masks = vecenv.recv()
        if self.copy:
            observations, rewards = observations.copy(), rewards.copy()
            terminals, truncations = terminals.copy(), truncations.copy()
        infos: Info = {}
        ended = terminals | truncations
        if self._same_step and np.count_nonzero(ended):
            infos = self._end_infos(np.flatnonzero(ended), own_infos)
        elif own_infos:
            infos = self._gather(*split_infos(own_infos))
        return self._shown.observe(observations), rewards, terminals, truncations, infos

    def _end_infos(self, ended: np.ndarray, own_infos: Infos) -> Info:
        """Return Gymnasium's dict of arrays, with masks, for the rows that `ended` and others."""
        rows = ended.tolist()
        by_row, reports = split_infos(own_infos)
        ends = {row: by_row.pop(row) for row in rows if row in by_row}
        infos: Info = {}
        present = np.zeros(self.num_envs, np.bool_)
        present[ended] = True
        final = self._shown.final_observations(ended)
        if final is not None:
            last = np.full(self.num_envs, None, object)
            for row, observation in zip(rows, final, strict=True):
                last[row] = observation
            infos["final_obs"], infos["_final_obs"] = last, present
        infos["final_info"], infos["_final_info"] = self._gather(ends), present.copy()
        return {**infos, **self._gather(by_row, reports)} if by_row or reports else infos

    def _gather(self, by_row: dict[int, Info], reports: Sequence[Info] = ()) -> Info:
        """Return the infos of rows, and of no row, as Gymnasium's dict of arrays with masks."""
        if reports:
            by_row[0] = {**by_row.get(0, {}), "report": mean_infos(reports)}
        infos: Info = {}
        for row, info in by_row.items():
            infos = self._add_info(infos, info, row)
        return infos

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return what the method `name` of each environment returns, or its attribute `name`."""
        return tuple(self._shown.call(remote.call, name, args, kwargs))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return the attribute `name` of each environment."""
        return tuple(self._shown.call(remote.get_attribute, name))

    def set_attr(self, name: str, values: Any) -> None:
        """Set the attribute `name` of each environment; a list or tuple has one value for each."""
        each = values if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise UsageError(f"got {len(each)} values of {name!r}, expected {self.num_envs}")
        for row, value in enumerate(each):
            self._shown.call(remote.set_attribute, name, value, rows=[row])

    def render(self) -> tuple[Any, ...] | None:
        """Return what each environment renders."""
        return tuple(self._shown.call(remote.render))

    def __del__(self) -> None:
        # Gymnasium before 1.3 would close here, even after a refusal, what belongs to others.
        pass

    def close_extras(self, **kwargs: Any) -> None:
        """Close the vector environment."""
        self.vecenv.close()
