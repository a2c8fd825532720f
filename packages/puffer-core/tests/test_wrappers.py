"""Wrappers: old interfaces, per-agent statistics."""

from __future__ import annotations

import math
import pickle
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from puffer.core.emulation import GymnasiumPufferEnv, PettingZooPufferEnv
from puffer.core.errors import SpaceError, UsageError
from puffer.core.wrappers import (
    GymToGymnasium,
    MeanOverAgents,
    MultiagentEpisodeStats,
    ParallelWrapper,
    PettingZooTruncatedWrapper,
    to_gymnasium_space,
)


class OldBox(NamedTuple):
    low: Any
    high: Any
    shape: tuple[int, ...]
    dtype: Any


class OldDiscrete(NamedTuple):
    n: int


class MultiBinary(NamedTuple):
    n: int


class OldMultiDiscrete(NamedTuple):
    nvec: Any


class OldCompound(NamedTuple):
    spaces: Any


class Old:
    """An environment of the interface of Gym 0.21."""

    observation_space = OldBox(0, 9, (1,), np.float32)
    action_space = OldDiscrete(2)
    metadata: dict[str, Any] | None = None
    info: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.closed = 0

    def seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def reset(self) -> np.ndarray:
        self.clock = 0
        return np.zeros(1, np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        self.clock += 1
        return np.full(1, self.clock, np.float32), 1.0, self.clock == 3, dict(self.info)

    def render(self, mode: str = "human") -> str:
        return mode

    def close(self) -> None:
        self.closed += 1


def test_an_old_environment_becomes_a_gymnasium_one() -> None:
    inner = Old()
    env = GymToGymnasium(inner)
    assert isinstance(env, gymnasium.Env)
    assert env.observation_space == spaces.Box(0, 9, (1,), np.float32)
    assert env.action_space == spaces.Discrete(2)
    observation, info = env.reset(seed=7)
    assert (observation.tolist(), info) == ([0.0], {})
    assert inner.seeds == [7]
    env.reset()
    assert inner.seeds == [7]
    results = [env.step(0)[1:4] for _ in range(3)]
    assert results == [(1.0, False, False), (1.0, False, False), (1.0, True, False)]
    assert env.render() == "human"
    assert GymToGymnasium(inner, render_mode="ansi").render() == "ansi"
    env.close()
    assert inner.closed == 1


def test_a_time_limit_is_a_truncation() -> None:
    env = GymToGymnasium(Old())
    env.env.info = {"TimeLimit.truncated": True}
    env.reset()
    assert [env.step(0)[2:4] for _ in range(3)][-1] == (False, True)


def test_half_new_environments_are_taken_too() -> None:
    class HalfNew(Old):
        def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
            self.seeds.append(seed or 0)
            return super().reset(), {"a": 1}

        def step(self, action: int) -> Any:
            observation, reward, done, info = super().step(action)
            return observation, reward, done, True, info

    inner = HalfNew()
    env = GymToGymnasium(inner)
    assert env.reset(seed=5)[1] == {"a": 1}
    assert inner.seeds == [5]
    assert env.step(0)[2:4] == (False, True)


def test_an_environment_that_cannot_be_seeded_warns_once() -> None:
    class Seedless(Old):
        seed = None  # type: ignore[assignment]
        close = None  # type: ignore[assignment]

    class Closeless(Seedless):
        def __getattribute__(self, name: str) -> Any:
            if name == "close":
                raise AttributeError(name)
            return super().__getattribute__(name)

    env = GymToGymnasium(Closeless())
    with pytest.warns(UserWarning, match=r"Closeless has neither seed\(\) nor reset\(seed=...\)"):
        env.reset(seed=1)
    env.reset(seed=2)
    env.close()


@pytest.mark.filterwarnings("ignore:.*WARN")
def test_an_adapted_environment_passes_gymnasiums_check_and_emulation() -> None:
    check_env(GymToGymnasium(Old()), skip_render_check=True)
    emulated = GymnasiumPufferEnv(GymToGymnasium, env_args=[Old()])
    assert emulated.reset(seed=1)[0].tolist() == [0.0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (spaces.Discrete(3), spaces.Discrete(3)),
        (OldDiscrete(4), spaces.Discrete(4)),
        (MultiBinary(3), spaces.MultiBinary(3)),
        (OldMultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 3])),
        (
            OldCompound({"a": OldDiscrete(2), "b": OldCompound((OldDiscrete(3),))}),
            spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Tuple((spaces.Discrete(3),))}),
        ),
    ],
)
def test_old_spaces_are_converted(old: Any, new: Any) -> None:
    assert to_gymnasium_space(old) == new


def test_a_space_without_counterpart_is_refused() -> None:
    with pytest.raises(
        SpaceError, match=r"'a box' is no space that Gymnasium has: give the environment gymnasium"
    ):
        to_gymnasium_space("a box")


class Parallel:
    """Two agents; b ends after two steps, a after three."""

    metadata: dict[str, Any] = {"name": "parallel"}  # noqa: RUF012
    possible_agents = ("a", "b")

    def __init__(self, old: bool = False) -> None:
        self.old = old
        self.closed = False

    def observation_space(self, agent: Any) -> Any:
        return spaces.Discrete(9)

    def action_space(self, agent: Any) -> Any:
        return spaces.Discrete(2)

    def reset(self, seed: Any = None) -> Any:
        self.clock = 0
        self.agents = list(self.possible_agents)
        observations = dict.fromkeys(self.agents, 0)
        return observations if self.old else (observations, {a: {} for a in self.agents})

    def step(self, actions: Any) -> Any:
        self.clock += 1
        acted = self.agents
        done = {"a": self.clock == 3, "b": self.clock == 2}
        self.agents = [agent for agent in acted if not done[agent]]
        observations = dict.fromkeys(acted, self.clock)
        rewards = {"a": 1.0, "b": 10.0}
        rewards = {agent: rewards[agent] for agent in acted}
        dones = {agent: done[agent] for agent in acted}
        infos: dict[Any, Any] = {
            "a": {"speed": 1.0, "name": "a", "only": 3},
            "b": {"speed": np.float32(2.0), "bad": math.nan},
        }
        infos = {agent: infos[agent] for agent in acted}
        if self.old:
            infos["a"]["TimeLimit.truncated"] = True
            return observations, rewards, dones, infos
        return observations, rewards, dones, dict.fromkeys(acted, False), infos

    def render(self) -> str:
        return "picture"

    def state(self) -> int:
        return 42

    def close(self) -> None:
        self.closed = True

    @property
    def unwrapped(self) -> Any:
        return self


def test_a_parallel_wrapper_passes_everything_on() -> None:
    inner = Parallel()
    env = ParallelWrapper(inner)
    env.reset(seed=1)
    assert env.agents == ["a", "b"]
    assert env.possible_agents == inner.possible_agents
    assert env.observation_space("a") == spaces.Discrete(9)
    assert env.action_space("a") == spaces.Discrete(2)
    assert (env.render(), env.state(), env.metadata) == ("picture", 42, inner.metadata)
    assert env.unwrapped is inner
    env.close()
    assert inner.closed
    with pytest.raises(AttributeError, match="ParallelWrapper has no attribute '_secret'"):
        _ = env._secret
    assert pickle.loads(pickle.dumps(env)).state() == 42


def test_a_parallel_wrapper_wraps_parallel_environments_only() -> None:
    with pytest.raises(
        UsageError, match="7 has no possible_agents: expected a PettingZoo parallel env"
    ):
        ParallelWrapper(7)


def test_an_old_parallel_environment_gets_truncations() -> None:
    env = PettingZooTruncatedWrapper(Parallel(old=True))
    assert env.reset() == ({"a": 0, "b": 0}, {"a": {}, "b": {}})
    env.step({})
    _, _, terminals, truncations, _ = env.step({})
    assert terminals == {"a": False, "b": True}
    _, _, terminals, truncations, _ = env.step({})
    assert terminals == {"a": False}
    assert truncations == {"a": True}
    emulated = PettingZooPufferEnv(PettingZooTruncatedWrapper(Parallel(old=True)))
    emulated.reset()
    assert emulated.step({"a": 0, "b": 0})[3] == {"a": False, "b": False}


def test_a_new_parallel_environment_is_left_as_it_is() -> None:
    env = PettingZooTruncatedWrapper(Parallel())
    assert env.reset() == ({"a": 0, "b": 0}, {"a": {}, "b": {}})
    assert env.step({})[3] == {"a": False, "b": False}


def test_each_agents_episode_is_counted() -> None:
    env = MultiagentEpisodeStats(Parallel())
    for _ in range(2):
        env.reset()
        assert "episode_return" not in env.step({})[4]["b"]
        infos = env.step({})[4]
        assert infos["b"]["episode_return"] == 20.0
        assert infos["b"]["episode_length"] == 2
        assert infos["b"]["speed"] == 2.0
        assert "episode_return" not in infos["a"]
        infos = env.step({})[4]
        assert (infos["a"]["episode_return"], infos["a"]["episode_length"]) == (3.0, 3)


def test_infos_are_averaged_over_agents() -> None:
    env = MeanOverAgents(Parallel())
    env.reset()
    infos = env.step({})[4]
    assert infos == {"a": {"speed": 1.5, "only": 3.0}, "b": {"speed": 1.5, "only": 3.0}}
    assert infos["a"] is not infos["b"]
