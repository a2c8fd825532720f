"""Adapters that make an emulated environment obey PufferEnv: autoreset, statistics, final rows."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers, PufferEnv
from puffer.core.emulation.common import fill_action_mask
from puffer.core.env import Infos, StepResult
from puffer.core.errors import ResetNeeded, SpaceError
from puffer.core.stats import episode_info


def with_autoreset(env: Any) -> PufferEnv:
    """Return a PufferEnv around a Gymnasium or PettingZoo environment, emulated where it is not."""
    from puffer.core.emulation import emulate

    emulated = emulate(env)
    if isinstance(emulated, PufferEnv):
        return emulated
    if hasattr(emulated, "possible_agents"):
        return PettingZooAutoreset(emulated)
    return GymnasiumAutoreset(emulated)


class _Autoreset(PufferEnv):
    """What both adapters share: the emulated environment writes the rows, we begin episodes.

    Attributes:
        reset_options: what the next `reset`, and no other, gives the environment as its options.
    """

    can_fill_final_observations = True
    reset_options: dict[str, Any] | None = None

    def __init__(self, env: Any) -> None:
        self.env = env
        self.can_fill_action_masks = env.can_fill_action_masks  # type: ignore[misc]
        self.emulated = env.emulated
        self.render_mode = env.render_mode
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.num_agents = env.num_agents
        super().__init__()

    @property
    def num_simulations(self) -> int:
        """One: however many its agents are, they share one seed."""
        return 1

    @property
    def driver_env(self) -> Any:
        """The emulated environment, which policies ask for `emulated` and `env`."""
        return self.env

    def attach(self, buf: Buffers) -> None:
        """Make the emulated environment write the rows of `buf`."""
        super().attach(buf)
        # The final rows are ours to fill: the emulated environment knows one episode at a time.
        self.env.attach(dataclasses.replace(buf, final_observations=None))

    def _reset_env(self, seed: int | None) -> None:
        options, self.reset_options = self.reset_options, None
        # Gymnasium's reset(seed=None) goes on with the old generator; ours promises fresh entropy.
        self.env.reset(secrets.randbits(31) if seed is None else int(seed), options)

    def render(self) -> Any:
        """Return what the environment draws."""
        return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


class GymnasiumAutoreset(_Autoreset):
    """A GymnasiumPufferEnv as a PufferEnv of one agent.

    Attributes:
        resets_next_step: whether the step that ends an episode returns its last observation, and
            the one after it, masked, is spent on the reset (Gymnasium's NEXT_STEP).
        row: the loop that steps it, alone or beside its neighbours, and its place there.
    """

    resets_next_step = False
    row: tuple[GymnasiumRows, int]

    def attach(self, buf: Buffers) -> None:
        """Make the emulated environment write the row of `buf`."""
        super().attach(buf)
        self._begun = False
        self.row = GymnasiumRows([self], buf), 0

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin a new episode."""
        rows, i = self.row
        rows.forget(i)
        self._reset_env(seed)
        self._begun = True
        return self.observations, []

    def step(self, actions: Any) -> StepResult:
        """Act; if that ends the episode, begin the next one at once."""
        if not self._begun:
            raise ResetNeeded("step was called before reset: call reset first")
        rows, i = self.row
        infos = [{**info, "agent_id": 0} for info in rows.step(np.asarray(actions), i)]
        return self.observations, self.rewards, self.terminals, self.truncations, infos


class GymnasiumRows:
    """Gymnasium environments on neighbouring rows, stepped in one loop, and their episodes so far.

    A step of a small environment costs little more than Python's way to it. So what can be done
    for all rows at once, or only where an episode ends, is not done in each environment's turn.

    Attributes:
        turn: the environment that raised last.
    """

    def __init__(self, envs: Sequence[GymnasiumAutoreset], buffers: Buffers) -> None:
        self._envs, self._buffers = envs, buffers
        self._stages = [(i, *env.env.stages()[1:]) for i, env in enumerate(envs)]
        self._layout = envs[0].env.emulated.action
        # Faster than arrays, one by one.
        self._rewards, self._terminals, self._truncations = (
            array.data for array in (buffers.rewards, buffers.terminals, buffers.truncations)
        )
        self._returns = [0.0] * len(envs)
        self._steps = 0  # of all together
        self._begun = [0] * len(envs)  # what that was when the episode began
        self._waiting: set[int] = set()  # rows whose next step is spent on a reset
        # What most steps of most environments leave in their rows, as bytes: sooner than by arrays.
        usual = [(buffers.terminals, 0), (buffers.truncations, 0), (buffers.masks, 1)]
        if buffers.action_masks is not None:
            usual.append((buffers.action_masks, 1))
        self._usual = [
            (array.reshape(len(envs), -1).view(np.uint8), bytes([value]) * array.size)
            for array, value in usual
        ]
        self._flags = [(rows.reshape(-1).data, content) for rows, content in self._usual]
        self.turn = 0
        for i, env in enumerate(envs):
            env.row = self, i

    def forget(self, i: int) -> None:
        """Begin to count an episode of environment `i`."""
        self._returns[i], self._begun[i] = 0.0, self._steps
        self._waiting.discard(i)

    def step(self, actions: np.ndarray, only: int | None = None) -> Infos:
        """Act in every environment, or in one; begin the next episodes where some have ended.

        Args:
            actions: of all, which are in the space; or of one, which may be anything.
            only: the one.
        """
        stages = self._stages
        if only is None:
            for flags, usual in self._flags:
                flags[:] = usual
            self._steps += 1
            given = self._layout.unpack_rows(actions)
        else:
            stages = stages[only : only + 1]
            for rows, usual in self._usual:
                rows[only] = usual[0]
            self._begun[only] -= 1
            given = map(self._layout.unpack, actions)
        rewards, returns, waiting = self._rewards, self._returns, self._waiting
        masks = self._buffers.action_masks
        infos: Infos = []
        i = 0
        try:
            for (i, act, place), action in zip(stages, given, strict=True):
                if waiting and i in waiting:
                    self._begin_late(i)
                    continue
                observation, reward, terminal, truncation, info = act(action)
                place(observation)
                try:
                    rewards[i] = reward
                except (TypeError, ValueError):
                    raise SpaceError(f"reward: expected a number, got {reward!r}") from None
                returns[i] += reward if type(reward) is float else float(reward)
                if masks is not None:
                    fill_action_mask(masks[i], observation, info, "action_mask")
                if terminal or truncation:
                    infos.append(self._end(i, reward, terminal, truncation, info))
        except Exception:
            self.turn = i
            raise
        return infos

    def _end(
        self, i: int, reward: Any, terminal: bool, truncation: bool, own: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the info of the episode that has ended, and begin the next one."""
        env, buffers = self._envs[i], self._buffers
        info = episode_info(self._returns[i], self._steps - self._begun[i], own)
        info["agent_id"] = i
        self.forget(i)
        if buffers.final_observations is not None:
            buffers.final_observations[i] = buffers.observations[i]
        if env.resets_next_step:
            self._waiting.add(i)
        else:
            env.env.reset()  # clears the row's reward, too
            self._rewards[i] = reward
        self._terminals[i], self._truncations[i] = terminal, truncation
        return info

    def _begin_late(self, i: int) -> None:
        self.forget(i)
        self._envs[i].env.reset()
        self._buffers.masks[i] = False


class PettingZooAutoreset(_Autoreset):
    """A PettingZooPufferEnv as a PufferEnv with one row per possible agent.

    The next episode begins on the step after which no agent lives. An agent that dies earlier
    keeps its mask, with its last reward, on that step and is masked from the next one on.
    """

    def __init__(self, env: Any) -> None:
        self._slots = {agent: slot for slot, agent in enumerate(env.possible_agents)}
        self._returns = dict.fromkeys(self._slots, 0.0)
        self._lengths = dict.fromkeys(self._slots, 0)
        super().__init__(env)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin a new episode."""
        self._reset_env(seed)
        self._begin()
        return self.observations, []

    def _begin(self) -> None:
        self._any_lived = bool(self.env.agents)
        for agent in self._slots:
            self._returns[agent], self._lengths[agent] = 0.0, 0

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Act for the agents that live; if none is left, begin the next episode at once."""
        rows = np.asarray(actions)
        acting = list(self.env.agents)
        _, rewards, terminals, truncations, own_infos = self.env.step(
            {agent: rows[self._slots[agent]] for agent in acting}
        )
        infos: Infos = []
        for agent in acting:
            self._returns[agent] += float(rewards.get(agent, 0.0))
            self._lengths[agent] += 1
            if terminals.get(agent) or truncations.get(agent):
                infos.append(self._end_agent(agent, own_infos.get(agent)))
        alive = bool(self.env.agents)
        self._any_lived |= alive
        # Where nobody lived yet, the episode waits for the first birth.
        if self._any_lived and not alive:
            self._begin_next()
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def _end_agent(self, agent: Any, own_info: dict[str, Any] | None) -> dict[str, Any]:
        slot = self._slots[agent]
        info = episode_info(self._returns[agent], self._lengths[agent], own_info)
        self._returns[agent], self._lengths[agent] = 0.0, 0
        if self.final_observations is not None:
            self.final_observations[slot] = self.observations[slot]
        return {**info, "agent_id": slot}

    def _begin_next(self) -> None:
        ended = [a.copy() for a in (self.rewards, self.terminals, self.truncations, self.masks)]
        self.env.reset()
        self._begin()
        self.rewards[...], self.terminals[...], self.truncations[...] = ended[:3]
        self.masks |= ended[3]  # the agents that died last, even if they are not born again yet
