"""Neural MMO 2: 128 agents who forage, fight, trade and follow tasks in one world."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import PettingZooPufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Dict, Space
from puffer.core.wrappers import AgentDict, ParallelStep, ParallelWrapper
from puffer.envs.family import declare
from puffer.envs.load import quiet, require

FAMILY = "nmmo"
INSTALL = "python -m puffer.envs.install nmmo"
TARGETS = "ActionTargets"  # the leaf of Neural MMO's that says which actions are allowed

HELP = {"nmmo": "Survive, gather, fight and trade among 128 agents, each with a task of its own."}


class World(ParallelWrapper):
    """Neural MMO with its allowed actions as one `action_mask`, and plain infos.

    The info of an agent's last step has `task_progress`, how much of its task was done, 0 to 1.

    Args:
        env: `nmmo.Env`.
        folder: where its maps are, for as long as it needs them.
    """

    def __init__(self, env: Any, folder: tempfile.TemporaryDirectory[str]) -> None:
        super().__init__(env)
        self._folder = folder
        self._spaces: dict[Any, Dict] = {}
        self._parts: list[tuple[str, str]] = []  # the same for each agent
        self.metadata = {"name": "nmmo", "render_modes": []}

    def observation_space(self, agent: Any) -> Space[Any]:
        """Return the leaves that are arrays, with `action_mask` in the place of the targets."""
        if agent not in self._spaces:
            leaves = dict(self.env.observation_space(agent).spaces)
            allowed = sum(int(np.prod(leaf.shape)) for leaf in _leaves(leaves.pop(TARGETS)))
            leaves["action_mask"] = Box(0, 1, (allowed,), np.int8)
            self._spaces[agent] = Dict(leaves)
        return self._spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode."""
        with quiet():
            observations, infos = super().reset(seed, options)
        return {a: self._shown(o) for a, o in observations.items()}, {a: {} for a in infos}

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act for all who live."""
        observations, rewards, terminals, truncations, infos = super().step(actions)
        shown = {a: self._shown(o) for a, o in observations.items()}
        ended = {a for a in infos if terminals.get(a) or truncations.get(a)}
        told = {a: _progress(info) if a in ended else {} for a, info in infos.items()}
        return shown, {a: float(r) for a, r in rewards.items()}, terminals, truncations, told

    def _shown(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        self._parts = self._parts or _mask_parts(observation)
        return _with_mask(observation, self._parts)

    def render(self) -> None:
        """Draw nothing: Neural MMO's client is a program of its own."""

    def close(self) -> None:
        """Close the world and remove its maps."""
        self.env.close()
        self._folder.cleanup()


def _leaves(node: Any) -> list[Any]:
    """Return the leaves of nested dicts or Dict spaces, in their order."""
    spaces = getattr(node, "spaces", node)
    if not isinstance(spaces, Mapping):
        return [node]
    return [leaf for key in spaces for leaf in _leaves(spaces[key])]


def _mask_parts(observation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return where the masks are, in the order of the action space, whose keys are sorted."""
    targets = observation[TARGETS]
    return [
        (action, argument) for action in sorted(targets) for argument in sorted(targets[action])
    ]


def _with_mask(observation: Mapping[str, Any], parts: list[tuple[str, str]]) -> dict[str, Any]:
    shown = dict(observation)
    targets = shown.pop(TARGETS)
    mask = b"".join([targets[action][argument] for action, argument in parts])
    shown["action_mask"] = np.frombuffer(mask, np.int8)
    return shown


def _progress(info: Mapping[str, Any]) -> dict[str, float]:
    done = [float(task["progress"]) for task in info.get("task", {}).values()]
    return {"task_progress": max(done)} if done else {}


def make(
    name: str,
    *,
    num_agents: int = 128,
    max_cycles: int = 1024,
    map_size: int = 128,
    num_maps: int = 1,
    map_seed: int = 0,
    buf: Buffers | None = None,
) -> PettingZooPufferEnv:
    """Return the world, emulated: a PettingZoo environment with one row for each agent.

    Args:
        name: `nmmo`.
        num_agents: who begin an episode.
        max_cycles: steps after which an episode ends for all.
        map_size: side of the world, in tiles; on a smaller one it finds no place for all it needs.
        num_maps: how many worlds are made; an episode takes one of them.
        map_seed: decides what they look like.
        buf: rows to write; None allocates them.

    Raises:
        UsageError: a number that is too low.
        MissingPackageError: Neural MMO is not installed.
    """
    least = {"num_agents": 1, "max_cycles": 1, "map_size": 128, "num_maps": 1, "map_seed": 0}
    given = (num_agents, max_cycles, map_size, num_maps, map_seed)
    for (key, low), value in zip(least.items(), given, strict=True):
        if value < low:
            raise UsageError(f"{key}={value}: expected an integer >= {low}")
    nmmo: Any = require("nmmo", FAMILY, "Neural MMO", remedy=INSTALL)
    folder = tempfile.TemporaryDirectory(prefix="puffer-nmmo-")
    config: Any = type(
        "Config",
        (nmmo.config.Default,),
        {
            "PATH_MAPS": folder.name,
            "PLAYER_N": num_agents,
            "HORIZON": max_cycles,
            "MAP_CENTER": map_size,
            "MAP_N": num_maps,
        },
    )
    with quiet():
        env = nmmo.Env(config(), seed=map_seed)
    return PettingZooPufferEnv(World(env, folder), buf=buf)


env_creator, family = declare(FAMILY, make, HELP, policy="puffer.train.models:NeuralMMO")
