"""The native engine for those who write their own `PufferEnv`: arrays in, steps out."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from puffer.core.env import Infos
from puffer.ocean.extension import (
    Extension,
    OptionValue,
    action_space,
    count,
    count_threads,
    load,
    observation_space,
    seed_or_entropy,
    values_for,
)


def _observation_dtype(extension: Extension, name: str, observations: np.ndarray) -> str:
    """Return the dtype of the array where the environment has it; else binding says what it has."""
    known = name in extension.names()
    dtypes = extension.describe(name)["observation_dtypes"] if known else ()
    dtype = str(np.asarray(observations).dtype)
    return dtype if dtype in dtypes else "auto"


class Engine:
    """Simulations of one native environment that write into the arrays of the caller.

    Attributes:
        single_observation_space: of one agent.
        single_action_space: of one agent.
        num_agents: rows of every array: agents of one simulation times simulations.
        max_steps: steps until an episode is truncated.
    """

    def __init__(
        self,
        name: str,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        terminals: np.ndarray,
        truncations: np.ndarray | None = None,
        masks: np.ndarray | None = None,
        *,
        num_envs: int = 1,
        final_observations: np.ndarray | None = None,
        action_masks: np.ndarray | None = None,
        report_interval: int = 128,
        num_threads: int | str = 0,
        kernel: str = "auto",
        extension: str = "puffer.ocean._native",
        **options: OptionValue,
    ) -> None:
        """Build `num_envs` simulations of the environment `name`.

        Args:
            name: the environment's native name, such as `squared`.
            observations: `(num_agents, *observation_shape)`, written by `reset` and `step`. Of
                float16 they receive what the environment computes in float32, rounded.
            actions: `(num_agents, *action_shape)`; `step` reads them.
            rewards: `(num_agents,)` float32.
            terminals: `(num_agents,)` bool.
            truncations: `(num_agents,)` bool; None to have them nowhere.
            masks: `(num_agents,)` bool, False where an agent is absent; None to have them nowhere.
            num_envs: simulations.
            final_observations: as `observations`; receives the last ones of episodes that ended.
            action_masks: `(num_agents, sum of nvec)` bool, of an environment that has them.
            report_interval: steps between two infos of means; 0 gives one info per episode.
            num_threads: that share the simulations; 0 or `auto` measures in the first steps what
                pays. Results do not depend on it.
            kernel: `scalar`, an instruction set such as `x86-64-v3`, or `auto` for the best.
            extension: the compiled module that holds the environment.
            options: the environment's own.

        Raises:
            UsageError: an unknown name or option, a value that the environment refuses, or an
                array of wrong dtype or shape, not writeable or not contiguous.
        """
        num_envs = count("num_envs", num_envs)
        native = load(extension)
        self._engine = native.Engine(
            name,
            num_envs,
            count_threads(num_threads),
            count("report_interval", report_interval),
            options,
            kernel,
            _observation_dtype(native, name, observations),
        )
        spec = self._engine.spec
        self.single_observation_space = observation_space(spec)
        self.single_action_space = action_space(spec)
        self.num_agents: int = num_envs * spec["num_agents"]
        self.max_steps: int = spec["max_steps"]
        self._name, self._num_envs, self._actions = name, num_envs, actions
        self._fps = spec["steps_per_second"]
        self._renderers: dict[str, Any] = {}
        if truncations is None:
            truncations = np.zeros(self.num_agents, np.bool_)
        if masks is None:
            masks = np.ones(self.num_agents, np.bool_)
        self._engine.bind(
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminals=terminals,
            truncations=truncations,
            masks=masks,
            final_observations=final_observations,
            action_masks=action_masks,
            action_space=self.single_action_space,
        )

    @property
    def num_threads(self) -> int:
        """Threads that share the simulations in the next step."""
        return self._engine.num_threads  # type: ignore[no-any-return]

    @property
    def kernel(self) -> str:
        """The compiled form in use: `scalar`, or the instruction set of a block."""
        return self._engine.kernel  # type: ignore[no-any-return]

    def reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; simulation k draws from the stream of seed + k.

        Raises:
            UsageError: a seed that is no integer from 0 to 2**63 - 1.
        """
        self._engine.reset(seed_or_entropy(seed))

    def step(self, actions: npt.ArrayLike | None = None) -> Infos:
        """Advance every simulation by what is in the array of actions, or by `actions`.

        Returns the infos that are due: see `report_interval`.

        Raises:
            ActionError: an action outside the space; no simulation has been stepped.
        """
        return self._engine.step(self._actions if actions is None else actions)[4]  # type: ignore[no-any-return]

    def step_async(self, actions: npt.ArrayLike | None = None) -> None:
        """Begin a step in the background; `wait` must follow before any other call."""
        self._engine.step_async(self._actions if actions is None else actions)

    def wait(self) -> Infos:
        """Return what `step` returns, when the step that `step_async` began has ended."""
        return self._engine.wait()[4]  # type: ignore[no-any-return]

    def statistics(self) -> Infos:
        """Return the infos of episodes that no info has reported so far; nothing else changes."""
        return self._engine.drain()  # type: ignore[no-any-return]

    def vary(self, **options: npt.ArrayLike) -> None:
        """Give each simulation its own value of options, from its next episode on.

        Raises:
            UsageError: values that the environment refuses, or that would change a space.
        """
        for option, values in options.items():
            self._engine.vary(option, values_for(option, values, self._num_envs))

    def state(self) -> bytes:
        """Return all that decides what comes next: simulations, random streams, statistics."""
        return self._engine.state()  # type: ignore[no-any-return]

    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned, of an engine with the same options and size."""
        self._engine.set_state(bytes(state))

    def render(self, mode: str = "human", simulation: int = 0) -> Any:
        """Return what the mode promises of one simulation: an array, a text, or None."""
        from puffer.ocean import render  # here, for most engines draw nothing

        if mode not in self._renderers:
            self._renderers[mode] = render.open_renderer(mode, self._name)
        picture = render.Picture(**self._engine.draw(simulation))
        return self._renderers[mode].show(picture, self._fps)

    def close(self) -> None:
        """Release everything; calling it again does nothing, any other call is an error."""
        self._engine.close()
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
