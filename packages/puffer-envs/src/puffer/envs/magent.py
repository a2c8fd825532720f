"""MAgent2: six games of crowds, dozens to hundreds of agents on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import PettingZooPufferEnv
from puffer.core.errors import UsageError
from puffer.core.wrappers import AgentDict, ParallelStep, ParallelWrapper
from puffer.envs.family import declare
from puffer.envs.load import quiet, require
from puffer.envs.registered import check_render_mode

FAMILY = "magent"
RENDER_MODES = ("human", "rgb_array")

HELP = {
    "battle": "Two armies of 81 agents fight on a small field.",
    "battlefield": "Two armies of 12 agents fight among obstacles.",
    "adversarial_pursuit": "25 slow predators tag 50 fast prey.",
    "combined_arms": "Two armies of 45 melee and 36 ranged agents fight.",
    "gather": "495 agents compete for food.",
    "tiger_deer": "20 tigers hunt 101 deer, and need each other for it.",
}
_MODULES = {
    "battle": "battle_v4",
    "battlefield": "battlefield_v5",
    "adversarial_pursuit": "adversarial_pursuit_v4",
    "combined_arms": "combined_arms_v6",
    "gather": "gather_v5",
    "tiger_deer": "tiger_deer_v4",
}
# Sides of the field, where they may be chosen; steps to an episode; whose agents the learner plays
# against others.
SIZES = {"battlefield": 80, "gather": 0}
CYCLES = {"battle": 1000, "battlefield": 1000, "combined_arms": 1000, "tiger_deer": 300}
DEFAULT_SIZE, DEFAULT_CYCLES = 45, 500
LEARNERS = {
    "battle": "red",
    "battlefield": "red",
    "combined_arms": "red",
    "adversarial_pursuit": "predator",
    "tiger_deer": "tiger",
}


class AgainstRandom(ParallelWrapper):
    """Leaves the agents whose names begin with `side`; all others act at random.

    Args:
        env: the game.
        side: how the names begin of those who stay.
    """

    def __init__(self, env: Any, side: str) -> None:
        super().__init__(env)
        self.possible_agents = [a for a in env.possible_agents if a.startswith(side)]
        self.agents: list[str] = []
        self._ours = frozenset(self.possible_agents)
        self._choices = {
            a: int(env.action_space(a).n) for a in env.possible_agents if a not in self._ours
        }
        self._rng = np.random.default_rng()

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin an episode; the seed decides what the others do, too."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        observations, infos = super().reset(seed, options)
        self.agents = [a for a in self.env.agents if a in self._ours]
        return self._of_ours(observations), self._of_ours(infos)

    def step(self, actions: Mapping[Any, Any]) -> ParallelStep:
        """Act, and let the others act; without any of ours left the episode is over."""
        others = [a for a in self.env.agents if a not in self._ours]
        drawn = self._rng.random(len(others))
        acts = {a: int(x * self._choices[a]) for a, x in zip(others, drawn.tolist(), strict=True)}
        results = super().step({**actions, **acts})
        self.agents = [a for a in self.env.agents if a in self._ours]
        return tuple(self._of_ours(result) for result in results)  # type: ignore[return-value]

    def _of_ours(self, told: AgentDict) -> AgentDict:
        return {agent: value for agent, value in told.items() if agent in self._ours}


def make(
    name: str,
    *,
    opponent: str = "self",
    map_size: int | None = None,
    max_cycles: int | None = None,
    minimap_mode: bool = False,
    extra_features: bool = False,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> PettingZooPufferEnv:
    """Return the game, emulated: a PettingZoo environment with one row for each agent.

    Where the agents of a game see and do differing things, rows and actions are as wide as the
    widest; an action that an agent has not stands for its first, and is masked where masks are.

    Args:
        name: one of `HELP`, without PettingZoo's version.
        opponent: `self`: the learner plays all agents; `random`: one side, against chance.
        map_size: side of the field, in cells; None takes the game's own. Gather has one size.
        max_cycles: an episode is truncated there; None takes the game's own limit.
        minimap_mode: show each agent the whole field, coarsely, too.
        extra_features: show each agent its place, last action and last reward, too.
        render_mode: `human`, `rgb_array` or None.
        buf: rows to write; None allocates them.

    Raises:
        UsageError: a number out of range, or an opponent or a render mode that there is not.
        MissingPackageError: MAgent2 is not installed.
    """
    cycles = CYCLES.get(name, DEFAULT_CYCLES) if max_cycles is None else max_cycles
    size = SIZES.get(name, DEFAULT_SIZE) if map_size is None else map_size
    if cycles < 1:
        raise UsageError(f"max_cycles={cycles}: expected an integer >= 1")
    if name == "gather":
        if size:
            raise UsageError(f"map_size={size}: gather has one size, leave it out")
    elif size < 12:
        raise UsageError(f"map_size={size}: expected an integer >= 12")
    if opponent not in ("self", "random") or (opponent == "random" and name not in LEARNERS):
        known = "self or random" if name in LEARNERS else "self, since there is one side alone"
        raise UsageError(f"opponent={opponent!r}: {name} is played against {known}")
    check_render_mode(name, render_mode, RENDER_MODES)
    module = require(f"magent2.environments.{_MODULES[name]}", FAMILY, name)
    with quiet():
        env = module.parallel_env(
            max_cycles=cycles,
            minimap_mode=minimap_mode,
            extra_features=extra_features,
            render_mode=render_mode,
            **({"map_size": size} if size else {}),
        )
    if opponent == "random":
        env = AgainstRandom(env, LEARNERS[name])
    return PettingZooPufferEnv(env, buf=buf, pad=True)


def _defaults(name: str) -> Mapping[str, Any]:
    size = SIZES.get(name, DEFAULT_SIZE)
    return {"max_cycles": CYCLES.get(name, DEFAULT_CYCLES), **({"map_size": size} if size else {})}


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    aliases={module: name for name, module in _MODULES.items()},
    defaults=_defaults,
)
