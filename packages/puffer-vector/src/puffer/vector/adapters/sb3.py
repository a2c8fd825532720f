"""SB3VecEnv: a vector environment as a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from puffer.core.env import Infos
from puffer.core.stats import mean_infos
from puffer.vector.adapters import remote
from puffer.vector.adapters.presentation import Info, Presentation, split_infos
from puffer.vector.protocol import VectorEnv

Indices = Any  # None, an integer, or several


class SB3VecEnv(VecEnv):
    """A Stable-Baselines3 `VecEnv` with one environment for each row of `vecenv`.

    Use `to_sb3`, which tells of the arguments. Returned arrays are new ones. The info of a step
    that ends an episode has `terminal_observation`, `TimeLimit.truncated` and `episode`, SB3's
    statistics, beside the environment's own keys.

    Attributes:
        vecenv: the vector environment.
    """

    def __init__(self, vecenv: VectorEnv, *, flat: bool = False) -> None:
        self._shown = shown = Presentation(vecenv, flat=flat)
        self.vecenv = vecenv
        self._flatten = shown.flattener(lambda actions: actions)
        self._was_checked = False
        self._began = time.monotonic()
        super().__init__(vecenv.num_envs, shown.single_observation_space, shown.single_action_space)
        self.metadata = {**vecenv.driver_env.metadata}

    def reset(self) -> Any:
        """Begin new episodes everywhere, by the seed and options given before, if any."""
        self._give_options()
        self.vecenv.async_reset(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        observations = self.vecenv.recv()[0]
        if not self._was_checked:
            self._shown.check_final_observations()
            self._was_checked = True
        return self._shown.observe(observations.copy())

    def _give_options(self) -> None:
        first, *others = self._options
        if all(options == first for options in others):
            if first:
                self._shown.call(remote.set_reset_options, first)
            return
        for row, options in enumerate(self._options):
            if options:
                self._shown.call(remote.set_reset_options, options, rows=[row])

    def step_async(self, actions: Any) -> None:
        """Begin a step; `step_wait` gives what comes of it."""
        self.vecenv.send(np.asarray(self._flatten(actions)))

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[Info]]:
        """Return `(observations, rewards, dones, infos)` of the step that was begun."""
        observations, rewards, terminals, truncations, own_infos, _, _ = self.vecenv.recv()
        dones = terminals | truncations
        infos: list[Info] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        if own_infos:
            self._add_own(infos, own_infos)
        if np.count_nonzero(dones):
            self._add_ends(infos, np.flatnonzero(dones), truncations & ~terminals)
        return self._shown.observe(observations.copy()), rewards.copy(), dones, infos

    def _add_own(self, infos: list[Info], own_infos: Infos) -> None:
        """Give each row its own infos, and row 0 the means of those that are of no single row."""
        by_row, reports = split_infos(own_infos)
        for row, own in by_row.items():
            infos[row].update(own)
        if reports:
            infos[0]["report"] = mean_infos(reports)

    def _add_ends(self, infos: list[Info], ended: np.ndarray, cut: np.ndarray) -> None:
        """Add SB3's keys to the infos of the rows that `ended`; `cut` are those only truncated."""
        final = self._shown.final_observations(ended)
        for i, row in enumerate(ended.tolist()):
            info = infos[row]
            info["TimeLimit.truncated"] = bool(cut[row])
            if final is not None:
                info["terminal_observation"] = final[i]
            if "episode_return" in info:
                seconds = round(time.monotonic() - self._began, 6)
                own = {"r": info["episode_return"], "l": info["episode_length"], "t": seconds}
                info.setdefault("episode", own)

    def close(self) -> None:
        """Close the vector environment; calling it again does nothing."""
        self.vecenv.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return what each environment renders."""
        return self._call(None, remote.render)

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return the attribute of each environment, or of those in `indices`."""
        return self._call(indices, remote.get_attribute, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set the attribute of each environment, or of those in `indices`."""
        self._call(indices, remote.set_attribute, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Return what the method of each environment returns, or of those in `indices`."""
        return self._call(indices, remote.call, method_name, method_args, method_kwargs)

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:
        """Return whether each environment, or those in `indices`, has a wrapper of that class."""
        return self._call(indices, remote.is_wrapped, wrapper_class)

    def _call(self, indices: Indices, function: Any, *args: Any) -> list[Any]:
        return self._shown.call(function, *args, rows=self._get_indices(indices))
