"""PettingZooPufferEnv: slots, births and deaths, differing agents, the parallel API."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from puffer.core import Buffers
from puffer.core.emulation import PettingZooPufferEnv, emulate
from puffer.core.errors import ActionError, ResetNeeded, SpaceError, UsageError

pettingzoo = pytest.importorskip("pettingzoo")
OBSERVATION = spaces.Dict({"t": spaces.Discrete(50), "x": spaces.Box(0, 9, (2,), np.float32)})


class Lives(pettingzoo.ParallelEnv):  # type: ignore[misc]
    """Agents live as scheduled: name -> the steps at which the agent is present, 0 is the reset.

    An agent's last step of a stretch is the one of its death.
    """

    metadata: dict[str, Any] = {"name": "lives", "render_modes": []}  # noqa: RUF012
    render_mode = None

    def __init__(self, schedule: dict[Any, list[int]] | None = None) -> None:
        self.schedule = schedule or {"a": [0, 1, 2, 3], "b": [0, 1], "late": [2, 3]}
        self.possible_agents = list(self.schedule)
        self.agents: list[Any] = []
        self.seen: list[dict[Any, Any]] = []
        self.seeds: list[Any] = []
        self.common: dict[str, Any] = {}  # infos of no agent, which PettingZoo allows

    def observation_space(self, agent: Any) -> Any:
        return OBSERVATION

    @functools.cache  # noqa: B019
    def action_space(self, agent: Any) -> Any:
        return spaces.Discrete(4, start=1)

    def observe(self, agent: Any) -> Any:
        number = self.possible_agents.index(agent)
        return {"t": self.clock, "x": np.array([number, self.clock], np.float32)}

    def present(self) -> list[Any]:
        return [a for a, times in self.schedule.items() if self.clock in times]

    def dies(self, agent: Any) -> bool:
        return self.clock + 1 not in self.schedule[agent]

    def reset(self, seed: Any = None, options: Any = None) -> tuple[dict[Any, Any], dict[Any, Any]]:
        self.seeds.append(seed)
        self.clock = 0
        self.agents = self.present()
        return {a: self.observe(a) for a in self.agents}, {a: {} for a in self.agents}

    def step(self, actions: dict[Any, Any]) -> tuple[dict[Any, Any], ...]:
        self.seen.append(actions)
        self.clock += 1
        present = self.present()
        self.agents = [a for a in present if not self.dies(a)]
        return (
            {a: self.observe(a) for a in present},
            {a: 1.0 + self.possible_agents.index(a) for a in present},
            {a: self.dies(a) for a in present},
            {a: False for a in present},
            {a: {"t": self.clock} for a in present} | self.common,
        )


def attached(env: PettingZooPufferEnv, **optional: bool) -> Buffers:
    """Attach buffers full of sentinels and return them."""
    fields = Buffers.fields(
        env.single_observation_space, env.single_action_space, env.num_agents, **optional
    )
    buf = Buffers.allocate(fields)
    for array in buf.arrays().values():
        if array is not None:
            array.view(np.uint8)[...] = 1
    env.attach(buf)
    return buf


@pytest.mark.parametrize(
    "build",
    [
        lambda: PettingZooPufferEnv(Lives()),
        lambda: PettingZooPufferEnv(Lives),
        lambda: PettingZooPufferEnv(env_creator=functools.partial(Lives, None)),
        lambda: PettingZooPufferEnv(env=Lives, env_args=[None]),
        lambda: emulate(Lives()),
    ],
)
def test_it_takes_an_instance_a_class_or_a_creator(build: Callable[[], Any]) -> None:
    env = build()
    assert isinstance(env, PettingZooPufferEnv)
    assert isinstance(env, pettingzoo.ParallelEnv)
    assert isinstance(env.env, Lives)
    assert emulate(env) is env


def test_spaces_and_attributes() -> None:
    env = PettingZooPufferEnv(Lives())
    assert env.num_agents == 3
    assert env.num_simulations == 1
    assert env.possible_agents == ["a", "b", "late"]
    assert env.observation_space("a") is env.single_observation_space
    assert env.action_space("late") is env.single_action_space
    assert env.single_action_space == spaces.Discrete(4)
    assert env.metadata is Lives.metadata
    assert env.render_mode is None
    assert env.driver_env is env
    assert env.unwrapped is env


def test_dicts_hold_live_agents_only() -> None:
    env = PettingZooPufferEnv(Lives())
    env.env.common = {"common": {"weather": 1}}
    observations, infos = env.reset(seed=5)
    assert env.env.seeds == [5]
    assert list(observations) == list(infos) == ["a", "b"]
    assert env.agents == ["a", "b"]
    assert observations["b"].view(env.obs_dtype)["x"].tolist() == [[1.0, 0.0]]
    observations, rewards, terminals, truncations, infos = env.step({"a": 0, "b": 3})
    assert env.env.seen == [{"a": 1, "b": 4}]
    assert rewards == {"a": 1.0, "b": 2.0}
    assert terminals == {"a": False, "b": True}
    assert truncations == {"a": False, "b": False}
    assert infos == {"common": {"weather": 1}, "a": {"t": 1}, "b": {"t": 1}}
    assert env.agents == ["a"]
    observations, *_ = env.step({"a": 0, "b": 0})
    assert env.env.seen[1] == {"a": 1}
    assert list(observations) == ["a", "late"]
    assert env.agents == ["a", "late"]


def test_rows_are_new_without_buffers() -> None:
    env = PettingZooPufferEnv(Lives())
    first, _ = env.reset()
    second, *_ = env.step({"a": 0, "b": 0})
    rows = [*first.values(), *second.values()]
    assert not any(np.may_share_memory(x, y) for i, x in enumerate(rows) for y in rows[:i])


def test_buffers_show_births_and_deaths() -> None:
    env = PettingZooPufferEnv(Lives())
    buf = attached(env)
    observations, _ = env.reset()
    assert np.may_share_memory(observations["b"], buf.observations[1])
    assert buf.masks.tolist() == [True, True, False]
    assert not buf.observations[2].any()
    assert buf.rewards.tolist() == [0.0, 0.0, 0.0]
    assert not buf.terminals.any()
    # b dies: still unmasked, with its flag and reward.
    env.step({"a": 0, "b": 0})
    assert buf.masks.tolist() == [True, True, False]
    assert buf.terminals.tolist() == [False, True, False]
    assert buf.rewards.tolist() == [1.0, 2.0, 0.0]
    # b is gone, late is born.
    env.step({"a": 0})
    assert buf.masks.tolist() == [True, False, True]
    assert not buf.observations[1].any()
    assert buf.rewards.tolist() == [1.0, 0.0, 3.0]
    assert not buf.terminals.any()
    assert buf.observations.view(env.obs_dtype)["t"].tolist() == [[2], [0], [2]]
    env.step({"a": 0, "late": 0})
    assert buf.terminals.tolist() == [True, False, True]
    assert env.agents == []


def test_agents_return() -> None:
    env = PettingZooPufferEnv(Lives({"a": [0, 1, 2, 3, 4], "b": [0, 1, 3, 4]}))
    buf = attached(env)
    env.reset()
    masks = []
    for _ in range(4):
        env.step({agent: 0 for agent in env.agents})
        masks.append(buf.masks.tolist())
    assert masks == [[True, True], [True, False], [True, True], [True, True]]


def test_there_may_be_nobody_at_reset() -> None:
    env = PettingZooPufferEnv(Lives({"a": [2, 3], "b": [3]}))
    buf = attached(env)
    observations, infos = env.reset()
    assert (observations, infos) == ({}, {})
    assert buf.masks.tolist() == [False, False]
    assert not buf.observations.any()
    env.step({})
    assert buf.masks.tolist() == [False, False]
    observations, *_ = env.step({})
    assert list(observations) == ["a"]
    assert buf.masks.tolist() == [True, False]


def test_data_of_the_dead_is_dropped() -> None:
    class Haunted(Lives):
        def step(self, actions: dict[Any, Any]) -> tuple[dict[Any, Any], ...]:
            results = super().step(actions)
            for result, value in zip(
                results, (self.observe("b"), 9.0, True, False, {}), strict=True
            ):
                result["b"] = value
            return results

    env = PettingZooPufferEnv(Haunted())
    buf = attached(env)
    env.reset()
    env.step({"a": 0, "b": 0})
    results = env.step({"a": 0})
    assert all("b" not in result for result in results)
    assert buf.masks.tolist() == [True, False, True]
    assert buf.rewards[1] == 0.0


def test_the_result_passes_the_parallel_api_test() -> None:
    pytest.importorskip("pygame")  # PettingZoo's tests import its games
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pettingzoo.test import parallel_api_test
    parallel_api_test(PettingZooPufferEnv(Lives({"a": list(range(20)), "b": [0, 1, 2]})))


def test_agents_need_not_be_strings() -> None:
    env = PettingZooPufferEnv(Lives({1: [0, 1], 2: [0, 1]}))
    env.reset()
    assert list(env.step({1: 0, 2: 0})[0]) == [1, 2]


def test_render_and_close_go_to_the_original() -> None:
    calls = []

    class Shown(Lives):
        def render(self) -> str:
            return "picture"

        def close(self) -> None:
            calls.append("close")

    env = PettingZooPufferEnv(Shown())
    assert env.render() == "picture"
    env.close()
    env.close()
    assert calls == ["close"]


def test_options_reach_the_original() -> None:
    given = []

    class Optional(Lives):
        def reset(self, seed: Any = None, options: Any = None) -> Any:
            given.append(options)
            return super().reset(seed)

    PettingZooPufferEnv(Optional()).reset(options={"map": 3})
    assert given == [{"map": 3}]


class Different(Lives):
    """Two agents with spaces of their own."""

    def __init__(self, observations: dict[str, Any], actions: dict[str, Any]) -> None:
        super().__init__({agent: [0, 1, 2] for agent in observations})
        self.observations, self.actions = observations, actions
        self.infos: dict[str, Any] = {agent: {} for agent in observations}

    def observation_space(self, agent: Any) -> Any:
        return self.observations[agent]

    def action_space(self, agent: Any) -> Any:
        return self.actions[agent]

    def observe(self, agent: Any) -> Any:
        space = self.observations[agent]
        space.seed(self.clock)
        return space.sample()

    def reset(self, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed)[0], self.infos

    def step(self, actions: dict[Any, Any]) -> Any:
        for agent, action in actions.items():
            assert action in self.actions[agent]
        *results, _ = super().step(actions)
        return (*results, self.infos)


SMALL, LARGE = spaces.Box(1, 2, (2,)), spaces.Dict({"y": spaces.Box(-1, 1, (2, 2))})
THREE, FIVE = spaces.Discrete(3), spaces.Discrete(5)


@pytest.mark.parametrize(
    ("observations", "actions", "sentence"),
    [
        (
            {"a": SMALL, "b": LARGE},
            {"a": THREE, "b": THREE},
            r"agent 'b' has observation space Dict\(.*\), but 'a' has Box\(.*\): "
            "pass pad=True to make all as wide as the widest",
        ),
        (
            {"a": SMALL, "b": SMALL},
            {"a": THREE, "b": FIVE},
            r"agent 'b' has action space Discrete\(5\), but 'a' has Discrete\(3\): pass pad=True",
        ),
    ],
)
def test_differing_agents_are_refused_by_name(
    observations: Any, actions: Any, sentence: str
) -> None:
    with pytest.raises(SpaceError, match=sentence):
        PettingZooPufferEnv(Different(observations, actions))


def test_differing_agents_are_padded_on_request() -> None:
    inner = Different({"a": SMALL, "b": LARGE}, {"a": THREE, "b": FIVE})
    inner.infos = {"a": {"action_mask": np.array([0, 1, 1])}, "b": {}}
    env = PettingZooPufferEnv(inner, pad=True)
    assert env.single_observation_space == spaces.Box(
        np.array([-1, -1, -1, -1], np.float32), np.array([2, 2, 1, 1], np.float32)
    )
    assert env.single_action_space == FIVE
    observations, _ = env.reset()
    assert observations["a"].shape == (4,)
    assert observations["a"][2:].tolist() == [0.0, 0.0]
    assert env.layouts["b"].observation.unpack(observations["b"])["y"].shape == (2, 2)
    buf = attached(env, action_masks=True)
    env.reset()
    assert buf.observations[0, 2:].tolist() == [0.0, 0.0]
    assert buf.action_masks is not None
    assert buf.action_masks.tolist() == [[False, True, True, False, False], [True] * 5]
    env.step({"a": 4, "b": 4})
    assert inner.seen == [{"a": 0, "b": 4}]


def test_padding_of_other_kinds_of_actions() -> None:
    observations = {"a": SMALL, "b": spaces.Discrete(9)}
    inner = Different(
        observations, {"a": spaces.MultiDiscrete([2, 5]), "b": spaces.MultiDiscrete([4])}
    )
    env = PettingZooPufferEnv(inner, pad=True)
    assert env.single_observation_space == spaces.Box(0, 255, (8,), np.uint8)
    assert env.single_action_space == spaces.MultiDiscrete([4, 5])
    buf = attached(env, action_masks=True)
    env.reset()
    assert buf.action_masks is not None
    assert buf.action_masks.tolist() == [
        [True, True, False, False, True, True, True, True, True],
        [True, True, True, True, True, False, False, False, False],
    ]
    env.step({"a": np.array([3, 4]), "b": np.array([3, 4])})
    assert {agent: action.tolist() for agent, action in inner.seen[0].items()} == {
        "a": [0, 4],
        "b": [3],
    }
    inner = Different(observations, {"a": spaces.Box(-1, 1, (1, 1)), "b": spaces.Box(-2, 2, (2,))})
    env = PettingZooPufferEnv(inner, pad=True)
    assert env.single_action_space == spaces.Box(-2, 2, (2,))
    env.reset()
    env.step({"a": np.array([2.0, 0.5], np.float32), "b": np.array([2.0, 0.5], np.float32)})
    assert {agent: action.tolist() for agent, action in inner.seen[0].items()} == {
        "a": [[1.0]],
        "b": [2.0, 0.5],
    }


def test_padding_cannot_mix_kinds_of_actions() -> None:
    inner = Different({"a": SMALL, "b": SMALL}, {"a": THREE, "b": spaces.Box(-1, 1, (1,))})
    with pytest.raises(
        SpaceError,
        match=r"agents have action spaces of different kinds, which no padding makes equal: "
        r"'a': Discrete\(3\), 'b': Box",
    ):
        PettingZooPufferEnv(inner, pad=True)


def test_padding_equal_agents_changes_nothing() -> None:
    env = PettingZooPufferEnv(Lives(), pad=True)
    assert env.emulated is env.layouts["a"] is env.layouts["late"]


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (dict, "{} is no PettingZoo environment: expected one with possible_agents"),
        (7, "7 is no environment: expected an instance, a class or a creator function"),
    ],
)
def test_what_is_no_pettingzoo_environment_is_refused(env: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        PettingZooPufferEnv(env)


def test_there_must_be_an_agent() -> None:
    class Nobody(Lives):
        def __init__(self) -> None:
            super().__init__()
            self.possible_agents = []

    with pytest.raises(UsageError, match="has no possible_agents: expected at least one"):
        PettingZooPufferEnv(Nobody)


def test_errors_name_agent_and_leaf() -> None:
    class Wrong(Lives):
        def observe(self, agent: Any) -> Any:
            observation = super().observe(agent)
            return {**observation, "t": 77} if agent == "b" else observation

    with pytest.raises(
        SpaceError,
        match=r"agent 'b': observation\['t'\]: expected an integer from 0 to 49, got 77",
    ):
        PettingZooPufferEnv(Wrong()).reset()
    PettingZooPufferEnv(Wrong(), check="never").reset()


def test_a_reward_that_is_no_number_is_refused() -> None:
    class Odd(Lives):
        def step(self, actions: Any) -> Any:
            observations, rewards, *rest = super().step(actions)
            return observations, dict.fromkeys(rewards), *rest

    env = PettingZooPufferEnv(Odd())
    attached(env)
    env.reset()
    with pytest.raises(SpaceError, match="reward of agent 'a': expected a number, got None"):
        env.step({})


def test_an_unknown_agent_of_the_environment_is_named() -> None:
    class Wrong(Lives):
        def reset(self, seed: Any = None, options: Any = None) -> Any:
            observations, infos = super().reset(seed)
            self.agents.append("ghost")
            return {**observations, "ghost": observations["a"]}, infos

    with pytest.raises(
        SpaceError,
        match=r"the environment gave an observation of agent 'ghost', which is not among its "
        r"possible_agents \['a', 'b', 'late'\]",
    ):
        PettingZooPufferEnv(Wrong()).reset()


def test_wrong_calls_are_explained() -> None:
    env = PettingZooPufferEnv(Lives())
    with pytest.raises(ResetNeeded, match="step was called before reset: call reset first"):
        env.step({})
    env.reset()
    with pytest.raises(
        UsageError, match=r"there is no agent 'zoe': expected actions of \['a', 'b', 'late'\]"
    ):
        env.step({"zoe": 0})
    with pytest.raises(ActionError, match="action: expected 0 to 3, got 4"):
        env.step({"a": 4})
    assert env.env.seen == []
    with pytest.raises(
        UsageError, match=r"PettingZooPufferEnv: buffer observations is uint8\(2, 16\), expected"
    ):
        env.attach(
            Buffers.allocate(
                Buffers.fields(env.single_observation_space, env.single_action_space, 2)
            )
        )


def test_the_original_is_asked_to_reset_step_render_and_close_only() -> None:
    log: list[str] = []

    class Recorder(Lives):
        """Logs calls from outside and attributes that are set, but not what it does itself."""

        inside = False

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if not callable(value) or name.startswith("__") or Recorder.inside:
                return value

            def call(*given: Any, **named: Any) -> Any:
                log.append(name)
                Recorder.inside = True
                result = value(*given, **named)
                Recorder.inside = False
                return result

            return call

        def __setattr__(self, name: str, value: Any) -> None:
            if not Recorder.inside:
                log.append(f"set {name}")
            super().__setattr__(name, value)

        def render(self) -> None:
            return None

    inner = Recorder()
    log.clear()
    env = PettingZooPufferEnv(inner)
    assert set(log) == {"observation_space", "action_space"}
    log.clear()
    attached(env, action_masks=True)
    env.reset(seed=1)
    env.step({agent: 0 for agent in env.agents})
    env.render()
    env.close()
    assert log == ["reset", "step", "render", "close"]


class Turns(pettingzoo.AECEnv):  # type: ignore[misc]
    """Two agents in turn; the game ends after four moves."""

    def __init__(self, parallelizable: bool) -> None:
        super().__init__()
        self.metadata = {"name": "turns", "is_parallelizable": parallelizable}
        self.render_mode = None
        self.possible_agents = ["x", "o"]

    def observation_space(self, agent: Any) -> Any:
        return spaces.Discrete(10)

    def action_space(self, agent: Any) -> Any:
        return spaces.Discrete(2)

    def observe(self, agent: Any) -> int:
        return self.moves

    def reset(self, seed: Any = None, options: Any = None) -> None:
        self.agents = self.possible_agents[:]
        self.moves = 0
        self.agent_selection = "x"
        self.rewards = self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, Any] = {agent: {} for agent in self.agents}

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        self.moves += 1
        self.rewards = {a: float(a == agent) for a in self.agents}
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.agent_selection = "o" if agent == "x" else "x"
        if self.moves == 4:
            self.terminations = dict.fromkeys(self.agents, True)
        self._accumulate_rewards()


@pytest.mark.parametrize("parallelizable", [False, True])
def test_turn_based_environments_are_converted(parallelizable: bool) -> None:
    env = PettingZooPufferEnv(Turns, env_args=(parallelizable,))
    assert env.possible_agents == ["x", "o"]
    observations, _ = env.reset()
    assert {agent: row.tolist() for agent, row in observations.items()} == {"x": [0], "o": [0]}
    steps = 0
    while env.agents:
        observations, *_ = env.step({agent: 1 for agent in env.agents})
        steps += 1
    assert steps == (2 if parallelizable else 4)


def test_it_works_without_pettingzoo() -> None:
    code = """
import sys
sys.modules["pettingzoo"] = None
from gymnasium import spaces
from puffer.core.emulation import PettingZooPufferEnv, emulate
class Env:
    possible_agents = ["a"]
    agents = ["a"]
    def observation_space(self, agent): return spaces.Discrete(3)
    def action_space(self, agent): return spaces.Discrete(2)
    def reset(self, seed=None): return {"a": 1}, {"a": {}}
    def step(self, actions): return {"a": 2}, {"a": 1.0}, {"a": False}, {"a": False}, {"a": {}}
env = emulate(Env())
assert type(env) is PettingZooPufferEnv
env.reset()
print(env.step({"a": 1})[0])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "{'a': array([2])}\n", result.stderr
