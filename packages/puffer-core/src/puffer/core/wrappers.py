"""Wrappers for what Gymnasium and PettingZoo have no wrapper for.

Where Gymnasium's own does the job, use that before emulation: `gymnasium.wrappers.ClipAction`,
`ResizeObservation`, `RecordEpisodeStatistics`, `TransformObservation` and the rest.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from puffer.core.emulation.parallel import ParallelEnv
from puffer.core.errors import SpaceError, UsageError
from puffer.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from puffer.core.stats import episode_info

AgentDict = dict[Any, Any]
ParallelStep = tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]


class GymToGymnasium(gymnasium.Env[Any, Any]):
    """An environment of the old Gym interface as a Gymnasium one.

    It may return 4-tuples from `step` and the observation alone from `reset`, and be seeded by
    `reset(seed=...)`, by `seed(...)` or not at all. `done` is a truncation where the info has
    `TimeLimit.truncated`, else a termination.
    """

    def __init__(self, env: Any, render_mode: str | None = None) -> None:
        """Wrap `env`.

        Args:
            env: the old environment; its spaces may be of Gym, or of anything similar.
            render_mode: what the old `render(mode)` is asked for.

        Raises:
            SpaceError: a space that has no counterpart in Gymnasium.
        """
        self.env = env
        self.render_mode = render_mode
        self.metadata = {"render_modes": [], **(getattr(env, "metadata", None) or {})}
        self.observation_space = to_gymnasium_space(env.observation_space)
        self.action_space = to_gymnasium_space(env.action_space)
        self._reset_takes_seed = "seed" in inspect.signature(env.reset).parameters
        self._warned = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; options go nowhere, since the old interface has none."""
        super().reset(seed=seed)
        if seed is not None and self._reset_takes_seed:
            result = self.env.reset(seed=seed)
        else:
            if seed is not None:
                self._seed(seed)
            result = self.env.reset()
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            return result
        return result, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act once."""
        result = self.env.step(action)
        if len(result) == 5:
            return result  # type: ignore[no-any-return]
        observation, reward, done, info = result
        truncated = bool(done) and bool(info.get("TimeLimit.truncated", False))
        return observation, reward, bool(done) and not truncated, truncated, info

    def render(self) -> Any:
        """Return what the old `render` gives for `render_mode`."""
        return self.env.render() if self.render_mode is None else self.env.render(self.render_mode)

    def close(self) -> None:
        """Close the environment, if it can be closed."""
        if hasattr(self.env, "close"):
            self.env.close()

    def _seed(self, seed: int) -> None:
        if callable(getattr(self.env, "seed", None)):
            self.env.seed(seed)
        elif not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self.env).__name__} has neither seed() nor reset(seed=...): "
                "its episodes are not reproducible",
                stacklevel=4,
            )


def to_gymnasium_space(space: Any) -> Space[Any]:
    """Return the Gymnasium space that `space`, of Gym or anything similar, stands for.

    Raises:
        SpaceError: there is none.
    """
    if isinstance(space, Space):
        return space
    inner = getattr(space, "spaces", None)
    if isinstance(inner, Mapping):
        return Dict({key: to_gymnasium_space(member) for key, member in inner.items()})
    if inner is not None:
        return Tuple([to_gymnasium_space(member) for member in inner])
    if hasattr(space, "nvec"):
        return MultiDiscrete(space.nvec)
    if hasattr(space, "low") and hasattr(space, "high"):
        return Box(space.low, space.high, space.shape, space.dtype)
    if type(space).__name__ == "MultiBinary":
        return MultiBinary(space.n)
    if hasattr(space, "n"):
        return Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    raise SpaceError(
        f"{space!r} is no space that Gymnasium has: give the environment gymnasium.spaces"
    )


class ParallelWrapper(ParallelEnv):
    """A PettingZoo parallel environment that passes everything on to `env`; a base for others."""

    def __init__(self, env: Any) -> None:
        if not hasattr(env, "possible_agents"):
            raise UsageError(f"{env!r} has no possible_agents: expected a PettingZoo parallel env")
        self.env = env

    def __getattr__(self, name: str) -> Any:
        # Underscored names are ours: asking `env` for them would recurse while unpickling.
        if name.startswith("_") or name == "env":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.env, name)

    def observation_space(self, agent: Any) -> Space[Any]:
        """Return the observation space of `agent`."""
        return self.env.observation_space(agent)  # type: ignore[no-any-return]

    def action_space(self, agent: Any) -> Space[Any]:
        """Return the action space of `agent`."""
        return self.env.action_space(agent)  # type: ignore[no-any-return]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode and return `(observations, infos)`."""
        given = {} if options is None else {"options": options}
        return self.env.reset(seed=seed, **given)  # type: ignore[no-any-return]

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act once; return dicts of observations, rewards, flags and infos."""
        return self.env.step(actions)  # type: ignore[no-any-return]

    def render(self) -> Any:
        """Return what the environment renders."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def state(self) -> Any:
        """Return the environment's global state."""
        return self.env.state()

    @property
    def unwrapped(self) -> Any:
        """The environment under all wrappers."""
        return self.env.unwrapped


class PettingZooTruncatedWrapper(ParallelWrapper):
    """A parallel environment of the old interface (4-tuples from `step`) with truncations.

    `reset` may return the observations alone. `done` is a truncation where the agent's info has
    `TimeLimit.truncated`, else a termination.
    """

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode and return `(observations, infos)`."""
        result: Any = super().reset(seed, options)
        if isinstance(result, tuple):
            return result
        return result, {agent: {} for agent in result}

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act once; return dicts of observations, rewards, flags and infos."""
        result: Any = super().step(actions)
        if len(result) == 5:
            return result  # type: ignore[no-any-return]
        observations, rewards, dones, infos = result
        truncations = {
            agent: bool(done) and bool(infos.get(agent, {}).get("TimeLimit.truncated", False))
            for agent, done in dones.items()
        }
        terminals = {agent: bool(done) and not truncations[agent] for agent, done in dones.items()}
        return observations, rewards, terminals, truncations, infos


class MultiagentEpisodeStats(ParallelWrapper):
    """Adds episode statistics to the info of each agent on the step that ends its episode.

    The keys are those of `puffer.core.stats.episode_info`. For one agent, Gymnasium has
    `RecordEpisodeStatistics`.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._returns: dict[Any, float] = {}
        self._lengths: dict[Any, int] = {}

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode and return `(observations, infos)`."""
        self._returns, self._lengths = {}, {}
        return super().reset(seed, options)

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act once; return dicts of observations, rewards, flags and infos."""
        observations, rewards, terminals, truncations, infos = super().step(actions)
        infos = dict(infos)
        for agent, reward in rewards.items():
            total = self._returns.get(agent, 0.0) + float(reward)
            length = self._lengths.get(agent, 0) + 1
            self._returns[agent], self._lengths[agent] = total, length
            if terminals.get(agent) or truncations.get(agent):
                infos[agent] = episode_info(total, length, infos.get(agent))
                del self._returns[agent], self._lengths[agent]
        return observations, rewards, terminals, truncations, infos


class MeanOverAgents(ParallelWrapper):
    """Gives each agent the same info: the means, over the agents, of every number in their infos.

    A key that some agents lack is averaged over those that have it; other values are dropped.
    """

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act once; return dicts of observations, rewards, flags and infos."""
        observations, rewards, terminals, truncations, infos = super().step(actions)
        values: dict[str, list[float]] = {}
        for info in infos.values():
            for key, value in info.items():
                if isinstance(value, int | float | np.number) and math.isfinite(value):
                    values.setdefault(key, []).append(float(value))
        means = {key: math.fsum(numbers) / len(numbers) for key, numbers in values.items()}
        return observations, rewards, terminals, truncations, {a: dict(means) for a in infos}
