"""Ocean's environments for Gymnasium: importing this registers each one as `puffer/NAME-v0`.

import gymnasium
import puffer.ocean.gymnasium

env = gymnasium.make("puffer/Breakout-v0")
envs = gymnasium.make_vec(
"puffer/Breakout-v0", num_envs=1024, vectorization_mode="vector_entry_point"
)

`puffer_multiagent` has no id: Gymnasium's single environments have one agent. Its rules are a
PettingZoo environment, `puffer.ocean.sanity.multiagent.MultiagentGame`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from puffer.core.buffers import Buffers
from puffer.core.errors import UsageError
from puffer.core.registry import find
from puffer.ocean import envs
from puffer.ocean.extension import RENDER_MODES
from puffer.ocean.native import OceanEnv

NAMESPACE = "puffer"

# Environments of the sanity suite that are Gymnasium's by themselves: id, class, options.
PYTHON_GAMES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Performance", "performance:PerformanceGame", {}),
    ("PerformanceEmpiric", "performance_empiric:CountingGame", {"mean": 10_000.0}),
    ("Spaces", "spaces:SpacesGame", {}),
)


class SingleEnv(gymnasium.Env[np.ndarray, Any]):
    """One simulation of a native environment of one agent, by Gymnasium's rules.

    An episode ends with its own last observation; `reset` begins the next. Without a seed a reset
    goes on with the random stream of the last one that had a seed.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES)}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, name: str, render_mode: str | None = None, **options: Any) -> None:
        """Build `puffer_...` with its own options.

        Raises:
            UsageError: it has several agents, or refuses an option.
        """
        self.render_mode = render_mode
        self._env, self._buffers = _open(name, 1, render_mode=render_mode, **options)
        if self._env.num_agents != 1:
            self._env.close()
            raise UsageError(
                f"{name} has {self._env.num_agents} agents and Gymnasium's single environments "
                "have one: use puffer.vector.make, or gymnasium.make_vec"
            )
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space
        self.metadata = self._env.metadata
        self._over = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode and return `(observation, info)`, the observation as a new array."""
        super().reset(seed=seed)
        # After the end of an episode the engine has already begun the next.
        if seed is not None or not self._over:
            self._env.reset(int(self.np_random.integers(2**62)))
        self._over = False
        return self._env.observations[0].copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act once; the info of a last step has `episode_return`, `score`, `perf` and others."""
        if self._over:
            raise UsageError("step after the end of an episode: call reset first")
        *_, infos = self._env.step(np.asarray(action)[None])
        terminal, truncation = bool(self._env.terminals[0]), bool(self._env.truncations[0])
        self._over = terminal or truncation
        final = self._buffers.final_observations
        rows = final if self._over and final is not None else self._env.observations
        info = {k: v for i in infos for k, v in i.items() if k not in ("agent_id", "episodes")}
        return rows[0].copy(), float(self._env.rewards[0]), terminal, truncation, info

    def render(self) -> Any:
        """Return what `render_mode` promises."""
        return None if self.render_mode is None else self._env.render()

    def close(self) -> None:
        """Release everything; calling it again does nothing."""
        self._env.close()


class VecEnv(VectorEnv[np.ndarray, Any, np.ndarray]):
    """Many simulations of a native environment as a Gymnasium vector environment.

    The step that ends an episode returns the first observation of the next one (`SAME_STEP`), and
    `infos["final_obs"]` holds the last ones, `infos["final_info"]` the episodes' statistics. With
    several agents to a simulation, each agent is one of the `num_envs`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's way
        "autoreset_mode": AutoresetMode.SAME_STEP
    }

    def __init__(
        self, name: str, num_envs: int = 1, render_mode: str | None = None, **options: Any
    ) -> None:
        """Build `num_envs` simulations of `puffer_...` with its own options."""
        self.render_mode = render_mode
        self._env, self._buffers = _open(name, num_envs, render_mode=render_mode, **options)
        self.num_envs = self._env.num_agents
        self.metadata = {**self._env.metadata, **type(self).metadata}
        self.single_observation_space = self._env.single_observation_space
        self.single_action_space = self._env.single_action_space
        self.observation_space = self._env.observation_space
        self.action_space = self._env.action_space

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes everywhere; simulation k has seed `seed + k`.

        Raises:
            UsageError: a list of seeds that are not consecutive, or a mask of those to reset.
        """
        if options and "reset_mask" in options:
            raise UsageError("options['reset_mask']: episodes begin by themselves, give no options")
        if isinstance(seed, list | tuple | np.ndarray):
            if list(seed) != list(range(seed[0], seed[0] + self._env.num_simulations)):
                raise UsageError(
                    "a list of seeds must count up by 1, one for each simulation: give the first"
                )
            seed = int(seed[0])
        self._env.reset(secrets.randbits(62) if seed is None else seed)
        return self._env.observations.copy(), {}

    def step(
        self, actions: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act once everywhere; every array returned is a new one."""
        *_, infos = self._env.step(actions)
        env = self._env
        over = env.terminals | env.truncations
        info: dict[str, Any] = {}
        final = self._buffers.final_observations
        if over.any() and final is not None:
            last = np.full(self.num_envs, None, object)
            for i in np.flatnonzero(over):
                last[i] = final[i].copy()
            info = {"final_obs": last, "_final_obs": over.copy()}
            info |= {"final_info": self._final_info(infos), "_final_info": over.copy()}
        return (
            env.observations.copy(),
            env.rewards.astype(np.float64),
            env.terminals.copy(),
            env.truncations.copy(),
            info,
        )

    def _final_info(self, infos: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        result: dict[str, np.ndarray] = {}
        for info in infos:
            for key in info.keys() - {"agent_id", "episodes"}:
                values = result.setdefault(key, np.zeros(self.num_envs))
                result.setdefault(f"_{key}", np.zeros(self.num_envs, bool))[info["agent_id"]] = True
                values[info["agent_id"]] = info[key]
        return result

    def render(self) -> tuple[Any, ...] | None:
        """Return what `render_mode` promises of each simulation."""
        if self.render_mode is None:
            return None
        return tuple(self._env.render(k) for k in range(self._env.num_simulations))

    def close_extras(self, **kwargs: Any) -> None:
        """Release everything."""
        self._env.close()


def ids() -> Iterator[tuple[str, str]]:
    """Yield `(Gymnasium's id, our name)` of every native environment."""
    for name in envs.family.ids:
        words = name.removeprefix("puffer_").split("_")
        yield f"{NAMESPACE}/{''.join(word.capitalize() for word in words)}-v0", name


def _open(name: str, num_envs: int, **options: Any) -> tuple[OceanEnv, Buffers]:
    """Return the env and its arrays, final observations among them."""
    creator = find(name).creator
    options = {**options, "report_interval": 0}
    with creator(num_envs, **{**options, "render_mode": None}) as env:
        fields = Buffers.fields(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            final_observations=True,
        )
    buffers = Buffers.allocate(fields)
    return creator(num_envs, **options, buf=buffers), buffers


def _register() -> None:
    for identifier, name in ids():
        if identifier not in gymnasium.registry:
            gymnasium.register(
                id=identifier,
                entry_point="puffer.ocean.gymnasium:SingleEnv",
                vector_entry_point="puffer.ocean.gymnasium:VecEnv",
                kwargs={"name": name},
                order_enforce=False,
            )
    for game, entry_point, options in PYTHON_GAMES:
        if f"{NAMESPACE}/{game}-v0" not in gymnasium.registry:
            gymnasium.register(
                id=f"{NAMESPACE}/{game}-v0",
                entry_point=f"puffer.ocean.sanity.{entry_point}",
                kwargs=options,
            )


_register()
