"""MAgent2: six games of crowds, dozens to hundreds of agents on a grid."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers, PufferEnv
from puffer.core.emulation.padding import pad_observations
from puffer.core.env import Infos, StepResult
from puffer.core.errors import ResetNeeded, UsageError
from puffer.core.layout import Layout
from puffer.core.spaces import Box, Discrete, write_actions
from puffer.core.stats import episode_info
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


class Crowd(PufferEnv):
    """One game: a row for each agent of all sides, or of the one that learns.

    PettingZoo's interface hands out each agent's numbers one by one, which costs twice what the
    engine does; this asks the engine for whole groups and does with them what MAgent2's own
    environment does. The next episode begins on the step after which no agent of ours lives.

    Args:
        game: MAgent2's own PettingZoo environment, which lays out the field and draws.
        side: how the names begin of the agents that have rows; all others act at random.
        buf: rows to write; None allocates them.
    """

    can_fill_final_observations = True
    can_fill_action_masks = True
    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES), "render_fps": 5}

    def __init__(self, game: Any, side: str, buf: Buffers | None = None) -> None:
        self.game = game
        self.render_mode = game.render_mode
        self._engine = game.env
        self.possible_agents = [a for a in game.possible_agents if a.startswith(side)]
        self.num_agents = len(self.possible_agents)
        self._groups = _groups(game, side)
        ours = [group for group in self._groups if group.is_ours]
        layouts = [Layout.of(group.observation_space) for group in ours]
        alike = all(layout.space == layouts[0].space for layout in layouts)
        self.single_observation_space = (layouts[0] if alike else pad_observations(layouts)).space
        numbers = np.repeat([group.num_actions for group in ours], [group.size for group in ours])
        self.single_action_space = Discrete(int(numbers.max()))
        self._allowed = np.arange(numbers.max()) < numbers[:, None]
        self._rng = np.random.default_rng()
        self._returns = np.zeros(self.num_agents)
        self._lengths = np.zeros(self.num_agents, np.int64)
        self._was_reset = self._closed = False
        super().__init__(buf)

    @property
    def num_simulations(self) -> int:
        """One: however many its agents are, they share one seed."""
        return 1

    def attach(self, buf: Buffers) -> None:
        """Make the arrays of `buf` the ones that this env writes; call `reset` afterwards."""
        super().attach(buf)
        for group in self._groups:
            if group.is_ours:
                # Splitting the last axis of rows makes no copy, though the rows be longer.
                rows = self.observations[group.rows].reshape(group.size, -1)
                shape = group.observation_space.shape
                group.images = rows[:, : int(np.prod(shape))].reshape(group.size, *shape)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin a new episode; the seed decides what random opponents do, too."""
        seed = secrets.randbits(31) if seed is None else int(seed)
        self._rng = np.random.default_rng(seed)
        self._was_reset = True
        self._begin(seed)
        self.rewards[...] = 0.0
        self.terminals[...] = self.truncations[...] = False
        return self.observations, []

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Act for the agents that live; if none is left, begin the next episode at once.

        Raises:
            ResetNeeded: before the first `reset`.
            ActionError: an action outside the space; nothing was stepped.
        """
        if not self._was_reset:
            raise ResetNeeded("step was called before reset: call reset first")
        write_actions(actions, self.actions, self.single_action_space)
        for group in self._groups:
            self._engine.set_action(group.handle, self._acts_of(group))
        over = self._engine.step()
        self._frames += 1
        self.masks[...] = False
        self.terminals[...] = self.truncations[...] = False
        for group in self._groups:
            self._take(group, over)
        self._engine.clear_dead()
        self._clear_absent()
        infos = self._count()
        if self.render_mode == "human":
            self.render()
        if not (self.masks & ~self.terminals & ~self.truncations).any():
            self._begin(None)
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def _begin(self, seed: int | None) -> None:
        """Lay out a new field and show it to everybody; rewards and flags stay."""
        self.game.reset(seed)
        self._frames = 0
        self._returns[...] = self._lengths[...] = 0
        self.masks[...] = True
        if self.action_masks is not None:
            self.action_masks[...] = self._allowed
        self.observations[...] = 0.0  # behind the images of those that see less
        for group in self._groups:
            group.alive = self._engine.get_agent_id(group.handle) - group.first
            if group.is_ours:
                self._show(group)

    def _acts_of(self, group: _Group) -> np.ndarray:
        """Return the actions of the group's living agents, as the engine takes them."""
        if not group.is_ours:
            drawn = self._rng.random(len(group.alive)) * group.num_actions
            return drawn.astype(np.int32)
        acts: np.ndarray = self.actions[group.rows][group.alive]
        acts[acts >= group.num_actions] = 0  # what this agent has not
        return acts

    def _take(self, group: _Group, over: bool) -> None:
        """Write what became of the group's agents that lived before the step."""
        dead = ~self._engine.get_alive(group.handle)
        if group.is_ours:
            living = group.alive
            self.masks[group.rows][living] = True
            self.terminals[group.rows][living] = dead | over
            self.truncations[group.rows][living] = self._frames >= self.game.max_cycles
            self.rewards[group.rows][living] = self._engine.get_reward(group.handle)
            self._show(group)
        group.alive = group.alive[~dead]

    def _show(self, group: _Group) -> None:
        """Write what each agent of the group sees."""
        view, features = self._engine.get_observation(group.handle)
        living, channels = group.alive, view.shape[3]
        images = group.images
        assert images is not None
        if images.shape[3] == channels:
            images[living] = view
            return
        if not self.game.extra_features:
            features = features[:, -2:]
        images[living, ..., :channels] = view
        images[living, ..., channels:] = features[:, None, None, :]

    def _clear_absent(self) -> None:
        absent = ~self.masks
        if absent.any():
            self.observations[absent] = 0.0
            self.rewards[absent] = 0.0
            if self.action_masks is not None:
                self.action_masks[absent] = True

    def _count(self) -> Infos:
        """Add up the episodes, and return the infos of the agents whose own has ended."""
        self._returns += self.rewards
        self._lengths += self.masks
        ended = np.flatnonzero(self.terminals | self.truncations)
        if self.final_observations is not None:
            self.final_observations[ended] = self.observations[ended]
        return [
            {**episode_info(float(self._returns[i]), int(self._lengths[i])), "agent_id": i}
            for i in ended.tolist()
        ]

    def render(self) -> Any:
        """Return the field as MAgent2 draws it."""
        return self.game.render()

    def close(self) -> None:
        """Close the window; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self.game.close()


@dataclasses.dataclass(slots=True)
class _Group:
    """Agents of one kind, as the engine holds them.

    Attributes:
        handle: the engine's name for it.
        first: the engine's number of its first agent; the others follow.
        size: how many it has at the beginning.
        num_actions: of each of them.
        observation_space: of each of them.
        is_ours: whether they have rows.
        rows: those.
        images: the observations in those rows, in the shape of the group's.
        alive: which of its agents live, counted within the group.
    """

    handle: Any
    first: int
    size: int
    num_actions: int
    observation_space: Box
    is_ours: bool
    rows: slice
    images: np.ndarray | None = None
    alive: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))


def _groups(game: Any, side: str) -> list[_Group]:
    groups, first, row = [], 0, 0
    for handle, size in zip(game.handles, game.team_sizes, strict=True):
        agent = game.possible_agents[first]
        is_ours = agent.startswith(side)
        rows = slice(row, row + size) if is_ours else slice(0, 0)
        number, space = int(game.action_space(agent).n), game.observation_space(agent)
        groups.append(_Group(handle, first, size, number, space, is_ours, rows))
        first, row = first + size, row + size * is_ours
    return groups


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
) -> Crowd:
    """Return the game as a native environment with one row for each agent.

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
    return Crowd(env, LEARNERS[name] if opponent == "random" else "", buf)


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
