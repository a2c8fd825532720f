"""PettingZooPufferEnv: any PettingZoo environment, flat, with a constant number of agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from puffer.core.actions import ActionLayout
from puffer.core.buffers import Buffers
from puffer.core.emulation.common import check_mode, fill_action_mask, make_env, outcome_writer
from puffer.core.emulation.padding import PaddedAction, bind_padded, pad_observations
from puffer.core.emulation.parallel import ParallelEnv
from puffer.core.errors import ResetNeeded, SpaceError, UsageError
from puffer.core.layout import Emulated, Layout
from puffer.core.spaces import Box, FlatActionSpace, Space

AgentDict = dict[Any, Any]
Step = tuple[AgentDict, AgentDict, AgentDict, AgentDict, AgentDict]


class PettingZooPufferEnv(ParallelEnv):
    """A PettingZoo parallel environment whose observations and actions are flat.

    The dicts that `reset` and `step` return hold live agents alone. The buffers have one row per
    possible agent, in that order; the row of an absent agent is zero and masked. On the step of its
    death an agent is still unmasked, with its flags. Without `attach` each call returns newly
    allocated rows; with it, views that the next call overwrites.

    Attributes:
        env: the original environment; an AEC one is converted by PettingZoo first.
        emulated: the layouts of its observations and actions.
        layouts: those of each agent; the same unless they were padded.
        obs_dtype: `observations[agent].view(env.obs_dtype)` shows the structure of a row.
        possible_agents: the agent of each row.
        agents: those alive now.
        num_agents: the number of rows, which never changes; `len(agents)` live now.
        single_observation_space: the flat Box of one agent.
        single_action_space: the flat action space of one agent.
    """

    num_simulations = 1
    can_fill_final_observations = False

    def __init__(
        self,
        env: Any = None,
        env_creator: Callable[..., Any] | None = None,
        env_args: Sequence[Any] = (),
        env_kwargs: Mapping[str, Any] | None = None,
        buf: Buffers | None = None,
        check: str = "first",
        max_length: int | None = None,
        pad: bool = False,
    ) -> None:
        """Wrap an environment, given as an instance, a class or a creator.

        Args:
            env: the environment, or its class, or a function that makes it.
            env_creator: a class or function, instead of `env`.
            env_args: arguments for the class or function.
            env_kwargs: keyword arguments for the class or function.
            buf: arrays to write into; see `attach`.
            check: "first" checks each agent's first observation fully and later ones in shape and
                dtype, "always" checks all fully, "never" lets NumPy cast what it can.
            max_length: how many items a Sequence or Graph space may have.
            pad: give agents with differing spaces rows as wide as the widest; then `emulated` and
                `obs_dtype` tell of the padded row, and `layouts[agent]` of the agent's own.

        Raises:
            UsageError: what was given is no PettingZoo environment.
            SpaceError: agents whose spaces differ, or a leaf that cannot be made flat.
        """
        self.env = _to_parallel(make_env(env, env_creator, env_args, env_kwargs))
        self.possible_agents = list(self.env.possible_agents)
        if not self.possible_agents:
            raise UsageError(f"{self.env} has no possible_agents: expected at least one")
        self.agents: list[Any] = []
        self._slots = {agent: i for i, agent in enumerate(self.possible_agents)}
        self._check = check_mode(check)
        self._unchecked = set() if check == "never" else set(self.possible_agents)
        self.layouts = self._own_layouts(max_length, pad)
        own = list(self.layouts.values())
        self.emulated = own[0]
        self._padded_action: PaddedAction | None = None
        if any(layouts is not own[0] for layouts in own):
            self._padded_action = PaddedAction(self.possible_agents, [e.action for e in own])
            self.emulated = Emulated(
                pad_observations([e.observation for e in own]),
                ActionLayout.of(self._padded_action.space),
            )
        self.obs_dtype = self.emulated.observation.dtype
        self.single_observation_space: Box = self.emulated.observation.space
        self.single_action_space: FlatActionSpace = self.emulated.action.space
        self.can_fill_action_masks = not isinstance(self.single_action_space, Box)
        self._was_reset = False
        self._closed = False
        self._buf: Buffers | None = None
        self._places = [self._row_maker(layouts.observation) for layouts in own]
        self._unpacks = [self._unpacker(layouts.action) for layouts in own]
        if buf is not None:
            self.attach(buf)

    @property
    def num_agents(self) -> int:
        """The number of rows."""
        return len(self.possible_agents)

    def attach(self, buf: Buffers) -> None:
        """Make the arrays of `buf` the ones that `reset` and `step` write; then call `reset`."""
        buf.check(self, "PettingZooPufferEnv")
        self._buf = buf
        self._outcome_writers = [
            outcome_writer(buf, i, f"reward of agent {agent!r}") for agent, i in self._slots.items()
        ]
        bind = Layout.bind if self._padded_action is None else bind_padded
        self._places = [
            bind(layouts.observation, buf.observations[i, ...])
            for i, layouts in enumerate(self.layouts.values())
        ]

    def observation_space(self, agent: Any) -> Space[Any]:
        """Return the flat observation space, the same for each agent."""
        return self.single_observation_space

    def action_space(self, agent: Any) -> Space[Any]:
        """Return the flat action space, the same for each agent."""
        return self.single_action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[AgentDict, AgentDict]:
        """Begin a new episode and return `(observations, infos)` of the agents that are alive."""
        # Some environments take no options.
        given = {} if options is None else {"options": options}
        observations, infos = self.env.reset(seed=seed, **given)
        self._was_reset = True
        self.agents = list(self.env.agents)
        rows, _, _, _, infos = self._publish(set(self.agents), observations, {}, {}, {}, infos)
        return rows, infos

    def step(self, actions: Mapping[Any, Any]) -> Step:
        """Act with each live agent; return dicts of observations, rewards, flags and infos.

        Actions of agents that are not alive are passed over.

        Raises:
            ResetNeeded: before the first `reset`.
            UsageError: an action of an agent that there is not.
            ActionError: an action outside the flat space; the environment was not stepped.
            SpaceError: an observation outside its space; the message names agent and leaf.
        """
        if not self._was_reset:
            raise ResetNeeded("step was called before reset: call reset first")
        for agent in actions:
            if agent not in self._slots:
                raise UsageError(
                    f"there is no agent {agent!r}: expected actions of {self.possible_agents}"
                )
        native = {
            agent: self._unpacks[self._slots[agent]](actions[agent])
            for agent in self.agents
            if agent in actions
        }
        present = set(self.agents)
        results = self.env.step(native)
        self.agents = list(self.env.agents)
        present.update(self.agents)
        return self._publish(present, *results)

    def _publish(
        self,
        present: set[Any],
        observations: AgentDict,
        rewards: AgentDict,
        terminals: AgentDict,
        truncations: AgentDict,
        infos: AgentDict,
    ) -> Step:
        """Return the dicts of the agents in `present`, having filled the buffers, if any."""
        seen = [agent for agent in observations if agent in present]
        results: Step = (
            {agent: self._place(agent, observations[agent]) for agent in seen},
            {agent: rewards.get(agent, 0.0) for agent in seen},
            {agent: terminals.get(agent, False) for agent in seen},
            {agent: truncations.get(agent, False) for agent in seen},
            {key: info for key, info in infos.items() if key not in self._slots}
            | {agent: infos.get(agent, {}) for agent in seen},
        )
        if self._buf is not None:
            self._fill(self._buf, observations, *results)
        return results

    def _place(self, agent: Any, observation: Any) -> np.ndarray:
        try:
            slot = self._slots[agent]
        except KeyError:
            raise SpaceError(
                f"the environment gave an observation of agent {agent!r}, which is not among its "
                f"possible_agents {self.possible_agents}"
            ) from None
        try:
            if agent in self._unchecked:
                self.layouts[agent].observation.check(observation)
                if self._check == "first":
                    self._unchecked.discard(agent)
            return self._places[slot](observation)
        except SpaceError as error:
            raise SpaceError(f"agent {agent!r}: {error}") from None

    def _fill(
        self,
        buf: Buffers,
        observations: AgentDict,
        rows: AgentDict,
        rewards: AgentDict,
        terminals: AgentDict,
        truncations: AgentDict,
        infos: AgentDict,
    ) -> None:
        """Write all but the observations; clear the rows of agents that are not in `rows`."""
        buf.masks[...] = False
        for agent in rows:
            slot = self._slots[agent]
            self._outcome_writers[slot](rewards[agent], terminals[agent], truncations[agent])
            if buf.action_masks is not None:
                self._fill_action_mask(
                    buf.action_masks[slot], agent, observations[agent], infos[agent]
                )
        if len(rows) < self.num_agents:
            absent = ~buf.masks
            buf.observations[absent] = 0
            buf.rewards[absent] = 0.0
            buf.terminals[absent] = False
            buf.truncations[absent] = False
            if buf.action_masks is not None:
                buf.action_masks[absent] = True

    def _fill_action_mask(self, row: np.ndarray, agent: Any, observation: Any, info: Any) -> None:
        name = f"action_mask of agent {agent!r}"
        if self._padded_action is None:
            fill_action_mask(row, observation, info, name)
            return
        allowed = self._padded_action.allowed(self.layouts[agent].action)
        own = np.empty(int(self.layouts[agent].action.categories.sum()), np.bool_)
        fill_action_mask(own, observation, info, name)
        row[...] = allowed
        row[np.flatnonzero(allowed)[: own.size]] = own

    def _own_layouts(self, max_length: int | None, pad: bool) -> dict[Any, Emulated]:
        """Return the layouts of each agent; agents with equal spaces share one object."""
        kinds: list[tuple[Any, Any, Emulated]] = []
        found: dict[Any, Emulated] = {}
        for agent in self.possible_agents:
            spaces = self.env.observation_space(agent), self.env.action_space(agent)
            layouts = next((e for *known, e in kinds if (*known,) == spaces), None)
            if layouts is None:
                if kinds and not pad:
                    raise SpaceError(self._differing(agent, *spaces))
                layouts = Emulated(
                    Layout.of(spaces[0], max_length=max_length, strict=self._check != "never"),
                    ActionLayout.of(spaces[1], max_length=max_length),
                )
                kinds.append((*spaces, layouts))
            found[agent] = layouts
        return found

    def _differing(self, agent: Any, *own: Space[Any]) -> str:
        first = self.possible_agents[0]
        others = self.env.observation_space(first), self.env.action_space(first)
        kind = 0 if own[0] != others[0] else 1
        return (
            f"agent {agent!r} has {('observation', 'action')[kind]} space {own[kind]}, but "
            f"{first!r} has {others[kind]}: pass pad=True to make all as wide as the widest"
        )

    def _row_maker(self, layout: Layout) -> Callable[[Any], np.ndarray]:
        if self._padded_action is None:
            return layout.row_maker()
        return lambda sample: bind_padded(layout, self.emulated.observation.new_row())(sample)

    def _unpacker(self, layout: ActionLayout) -> Callable[[Any], Any]:
        return self._padded_action.unpacker(layout) if self._padded_action else layout.unpack

    def render(self) -> Any:
        """Return what the environment renders."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment; calling it again does nothing."""
        if not self._closed:
            self._closed = True
            self.env.close()

    @property
    def driver_env(self) -> PettingZooPufferEnv:
        """The env itself, as vector environments have it."""
        return self

    @property
    def metadata(self) -> dict[str, Any]:
        """The environment's metadata."""
        return getattr(self.env, "metadata", {"render_modes": []})

    @property
    def render_mode(self) -> str | None:
        """The environment's render mode."""
        return getattr(self.env, "render_mode", None)


def _to_parallel(env: Any) -> Any:
    """Return `env` with the parallel API, converted by PettingZoo if it is an AEC one."""
    if not hasattr(env, "possible_agents"):
        raise UsageError(
            f"{env!r} is no PettingZoo environment: expected one with possible_agents "
            "(a Gymnasium environment goes into GymnasiumPufferEnv)"
        )
    if not hasattr(env, "agent_iter"):
        return env
    from pettingzoo.utils import conversions  # type: ignore[import-untyped, unused-ignore]

    if env.metadata.get("is_parallelizable", False):
        return conversions.aec_to_parallel(env)
    return conversions.turn_based_aec_to_parallel(env)
