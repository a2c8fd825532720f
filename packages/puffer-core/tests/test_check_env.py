"""check_env: right environments pass, a broken one gets a sentence that says how to mend it."""

from __future__ import annotations

import functools
import pickle
import random
from typing import Any

import gymnasium
import numpy as np
import pytest

from puffer.core import Buffers, PufferEnv
from puffer.core.errors import ActionError, ConformanceError, UsageError
from puffer.core.spaces import Box, Discrete, FlatActionSpace, MultiDiscrete
from puffer.core.stats import episode_info
from puffer.core.testing import check_env


class Right(PufferEnv):
    """Clocks that start at random and run to 25; rewards at random."""

    can_fill_final_observations = True
    can_fill_action_masks = True
    validates_actions = True

    def __init__(
        self,
        num_walks: int = 3,
        action_space: FlatActionSpace | None = None,
        buf: Buffers | None = None,
    ) -> None:
        self.single_observation_space = Box(0, 100, (2,), np.float32)
        self.single_action_space = action_space or Discrete(3)
        self.num_agents = num_walks
        self.can_fill_action_masks = not isinstance(action_space, Box)  # type: ignore[misc]
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> Any:
        self.rngs = [
            np.random.default_rng(None if seed is None else seed + k)
            for k in range(self.num_agents)
        ]
        self.clocks = [int(rng.integers(1, 20)) for rng in self.rngs]
        self.returns = [0.0] * self.num_agents
        self.lengths = [0] * self.num_agents
        self.rewards[:] = 0.0
        self.terminals[:] = self.truncations[:] = False
        self.masks[:] = True
        if self.action_masks is not None:
            self.action_masks[:] = True
        self.observe()
        return self.observations, []

    def observe(self) -> None:
        for k, clock in enumerate(self.clocks):
            self.observations[k] = clock, 7

    def step(self, actions: Any) -> Any:
        if not isinstance(self.single_action_space, Box) and np.min(actions) < 0:
            raise ActionError("action -1: expected 0 or more")
        self.terminals[:] = self.truncations[:] = False
        infos = [info for k in range(self.num_agents) if (info := self.move(k))]
        self.observe()
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def move(self, k: int) -> dict[str, Any] | None:
        self.clocks[k] += 1
        self.rewards[k] = reward = float(self.rngs[k].integers(3))
        self.returns[k] += reward
        self.lengths[k] += 1
        if self.clocks[k] < 25:
            return None
        self.terminals[k] = True
        if self.final_observations is not None:
            self.final_observations[k] = self.clocks[k], 7
        info = self.info(k)
        self.clocks[k], self.returns[k], self.lengths[k] = 1, 0.0, 0
        return info

    def info(self, k: int) -> dict[str, Any]:
        return {**episode_info(self.returns[k], self.lengths[k]), "agent_id": k}


class Saving(Right):
    """The same, and its state can be saved."""

    can_save_state = True

    def state(self) -> bytes:
        return pickle.dumps((self.num_agents, self.rngs, self.clocks, self.returns, self.lengths))

    def set_state(self, state: bytes) -> None:
        try:
            agents, *rest = pickle.loads(state)
            matches = agents == self.num_agents and pickle.dumps((agents, *rest)) == state
        except (EOFError, pickle.UnpicklingError):
            matches = False
        if not matches:
            raise UsageError("the state was made by another env: expected one of as many walks")
        self.rngs, self.clocks, self.returns, self.lengths = rest
        self.rewards[:] = 0.0
        self.terminals[:] = self.truncations[:] = False
        self.masks[:] = True
        if self.action_masks is not None:
            self.action_masks[:] = True
        self.observe()


@pytest.mark.parametrize(
    "env",
    [
        Right,
        Saving,
        lambda: Saving(5),
        functools.partial(Right, num_walks=1),
        functools.partial(Right, action_space=MultiDiscrete([3, 4]), num_walks=2),
        functools.partial(Right, action_space=Box(-1, np.inf, (2,))),
        lambda: Right(5),
    ],
)
def test_what_keeps_the_contract_passes(env: Any) -> None:
    check_env(env)


def test_an_instance_is_checked_and_closed() -> None:
    closed = []

    class Closing(Right):
        def close(self) -> None:
            closed.append(True)

    check_env(Closing())
    assert closed == [True, True]


def test_an_env_with_masks_and_shared_seeds_passes() -> None:
    class Pair(Right):
        """One simulation of two agents, the second of which comes and goes."""

        @property
        def num_simulations(self) -> int:
            return 1

        def observe(self) -> None:
            super().observe()
            asleep = self.clocks[1] % 3 == 0
            self.masks[1] = not asleep
            if asleep:
                self.observations[1] = self.rewards[1] = 0.0
                self.terminals[1] = False

        def info(self, k: int) -> dict[str, Any]:
            return {"note": k}

    check_env(functools.partial(Pair, num_walks=2))


def badly_saving(**methods: Any) -> type[Saving]:
    return type("Broken", (Saving,), methods)


def forgets_streams(self: Any, state: bytes) -> None:
    streams = self.rngs
    Saving.set_state(self, state)
    self.rngs = streams


def keeps_rewards(self: Any, state: bytes) -> None:
    Saving.set_state(self, state)
    self.rewards[:] = 1.0


def hides_observations(self: Any, state: bytes) -> None:
    Saving.set_state(self, state)
    self.observations[:] = 0.0


def draws(self: Any) -> bytes:
    state = Saving.state(self)
    self.rngs[0].integers(3)
    return state


def takes_anything(self: Any, state: bytes) -> None:
    if state and pickle.dumps(pickle.loads(state)) == state:
        Saving.set_state(self, state)


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (
            badly_saving(state=lambda self: bytearray(Saving.state(self))),
            r"Broken\.state returned a bytearray, expected bytes",
        ),
        (
            badly_saving(state=draws),
            r"Broken\.step \(number \d+ after state\) gave other rewards than without it: let "
            r"state\(\) return all that decides what comes next, random streams included, and "
            r"set_state put all of it back",
        ),
        (
            badly_saving(set_state=forgets_streams),
            r"Broken\.step \(number \d+ after set_state\) gave other rewards than without it",
        ),
        (
            badly_saving(set_state=keeps_rewards),
            r"Broken\.set_state left rewards or flags of earlier steps: set self\.rewards, "
            r"self\.terminals and self\.truncations to 0",
        ),
        (
            badly_saving(set_state=hides_observations),
            r"Broken\.set_state did not write self\.observations as they were when state\(\) was "
            r"called: save them too, or compute them anew",
        ),
        (
            badly_saving(set_state=takes_anything),
            r"Broken\.set_state took 0 bytes, where state\(\) gives \d+: raise UsageError unless "
            r"the state is one of this env's",
        ),
    ],
)
def test_a_state_that_does_not_bring_all_back_is_found(env: Any, sentence: str) -> None:
    with pytest.raises(ConformanceError, match=sentence):
        check_env(env)


def broken(**methods: Any) -> type[Right]:
    return type("Broken", (Right,), methods)


def reset_of(self: Any, seed: int | None = None) -> Any:
    return Right.reset(self, seed)


def replacing(self: Any, actions: Any) -> Any:
    self.rewards = np.zeros(self.num_agents, np.float32)
    return Right.step(self, actions)


def copying(self: Any, actions: Any) -> Any:
    observations, *rest = Right.step(self, actions)
    return observations.copy(), *rest


def clobbering(self: Any, actions: Any) -> Any:
    actions[...] = 0
    return Right.step(self, actions)


def overflowing(self: Any, actions: Any) -> Any:
    result = Right.step(self, actions)
    self.rewards.base[-1] = 3.0
    return result


def skipping(self: Any) -> None:
    for k in range(self.num_agents - 1):
        self.observations[k] = self.clocks[k], 7


def out_of_bounds(self: Any) -> None:
    Right.observe(self)
    self.observations[1] = 101.0


def unseeded(self: Any, seed: int | None = None) -> Any:
    Right.reset(self, seed)
    self.rngs = [np.random.default_rng() for _ in self.rngs]
    return self.observations, []


def one_seed(self: Any, seed: int | None = None) -> Any:
    Right.reset(self, seed)
    self.clocks = [int(np.random.default_rng(seed).integers(1, 20))] * self.num_agents
    self.observe()
    return self.observations, []


def global_random(self: Any, actions: Any) -> Any:
    random.random()
    return Right.step(self, actions)


def numpy_global_random(self: Any, actions: Any) -> Any:
    np.random.rand()
    return Right.step(self, actions)


def keeping_rewards(self: Any, seed: int | None = None) -> Any:
    Right.reset(self, seed)
    self.rewards[:] = 1.0
    return self.observations, []


def nan_rewards(self: Any, actions: Any) -> Any:
    result = Right.step(self, actions)
    self.rewards[0] = np.nan
    return result


def noisy_ghost(self: Any) -> None:
    Right.observe(self)
    self.masks[0] = False


def wrong_info(**changes: Any) -> Any:
    return lambda self, k: {**Right.info(self, k), **changes}


def without_final(self: Any, k: int) -> Any:
    final, self.final_observations = self.final_observations, None
    info = Right.move(self, k)
    self.final_observations = final
    return info


def forgetting(self: Any) -> None:
    if self.closed:
        raise RuntimeError("closed already")
    self.closed = True


def masks_once(self: Any, seed: int | None = None) -> Any:
    masks, self.action_masks = self.action_masks, None
    result = Right.reset(self, seed)
    self.action_masks = masks
    return result


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (
            broken(reset=lambda self, seed=None: reset_of(self, seed)[0]),
            r"Broken\.reset returned a ndarray, expected \(observations, infos\)",
        ),
        (
            broken(step=lambda self, actions: Right.step(self, actions)[:4]),
            r"Broken\.step returned a tuple of 4, expected \(observations, rewards, terminals",
        ),
        (
            broken(step=lambda self, actions: (*Right.step(self, actions)[:4], {})),
            r"Broken\.step returned infos {}, expected a list of dicts: \[\] if there is nothing",
        ),
        (
            broken(step=replacing),
            r"Broken\.step replaced self\.rewards: write into it \(self\.rewards\[:\] = \.\.\.\)",
        ),
        (
            broken(step=copying),
            r"Broken\.step returned observations that are not self\.observations: write into "
            r"self\.observations and return that",
        ),
        (broken(step=clobbering), r"Broken\.step changed the actions it was given: copy them"),
        (
            broken(step=overflowing),
            r"Broken\.step wrote outside of its rows: write rows 0 to num_agents-1 alone",
        ),
        (
            broken(observe=skipping),
            r"Broken\.reset wrote observations\[2, 0\] = .*, outside of single_observation_space",
        ),
        (
            broken(observe=out_of_bounds),
            r"Broken\.reset wrote observations\[1, 0\] = 101\.0, outside of "
            r"single_observation_space .*: widen the space, or write every row",
        ),
        (
            broken(reset=unseeded),
            r"Broken\.step \(number 1\) gave other rewards\[\d\] in a second run of the same seed "
            "and actions: take all randomness from the seed, and reset all state",
        ),
        (
            broken(reset=one_seed),
            r"Broken\.reset\(seed=1\) does not begin where simulation 1 of reset\(seed=0\) does: "
            r"give simulation k the seed s \+ k, or override num_simulations",
        ),
        (
            broken(num_simulations=2),
            r"Broken\.num_agents=3 is not a multiple of num_simulations=2: override",
        ),
        (
            broken(step=global_random),
            r"Broken used the global random state of random or numpy\.random: keep a",
        ),
        (broken(step=numpy_global_random), "Broken used the global random state"),
        (
            broken(reset=keeping_rewards),
            r"Broken\.reset left rewards or flags of earlier steps: set self\.rewards, "
            r"self\.terminals and self\.truncations to 0",
        ),
        (broken(step=nan_rewards), r"Broken\.step wrote rewards \[nan .*\]: expected finite"),
        (
            broken(observe=noisy_ghost),
            r"Broken\.reset gave a masked agent an observation or a reward other than 0: clear",
        ),
        (
            broken(info=lambda self, k: {"episodes": 1, "score": 0.0}),
            "Broken gave an info with episodes but without episode_length, episode_return, perf: "
            r"make it with puffer\.core\.stats\.episode_info",
        ),
        (
            broken(info=wrong_info(agent_id=3)),
            "Broken gave an info of agent_id 3, expected 0 to 2",
        ),
        (
            broken(info=wrong_info(episode_length=1)),
            r"Broken told of an episode of agent \d with return and length \(.*, 1\), but its "
            r"rewards since the last end sum to \(.*\): count from one end to the next",
        ),
        (
            broken(move=without_final),
            r"Broken\.step ended an episode without writing its row of self\.final_observations: "
            "copy the last observation there",
        ),
        (
            broken(reset=masks_once),
            r"Broken\.reset did not write self\.action_masks\[0\]: write every row on every call",
        ),
        (
            broken(step=lambda self, actions: Right.step(self, np.abs(actions))),
            r"Broken\.validates_actions is True, but step took the action -1: raise ActionError",
        ),
        (
            broken(close=forgetting, closed=False),
            r"Broken\.close raised RuntimeError\('closed already'\): closing twice must do nothing",
        ),
        (
            lambda: gymnasium.make("CartPole-v1"),
            r"gives a .*, expected a puffer\.core\.PufferEnv: wrap Gymnasium environments with "
            r"puffer\.core\.emulation and check them with gymnasium\.utils\.env_checker",
        ),
    ],
)
def test_what_breaks_the_contract_is_told_how_to_mend(env: Any, sentence: str) -> None:
    with pytest.raises(ConformanceError, match=sentence):
        check_env(env)


def test_a_row_that_is_not_written_is_seen_whatever_lay_there() -> None:
    class Wide(Right):
        """Bytes, all of which are in the space: only a comparison shows that one is not written."""

        def __init__(self, buf: Buffers | None = None) -> None:
            self.single_observation_space = Box(0, 255, (2,), np.uint8)
            self.single_action_space = Discrete(3)
            self.num_agents = 2
            PufferEnv.__init__(self, buf)

        def observe(self) -> None:
            self.observations[0] = 1

    with pytest.raises(
        ConformanceError, match=r"Wide\.reset did not write self\.observations\[1\]: write every"
    ):
        check_env(Wide)
