"""GymnasiumVectorPufferEnv: each autoreset mode, statistics, structured spaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumVectorPufferEnv
from puffer.core.errors import ActionError, ResetNeeded, SpaceError, UsageError
from puffer.core.testing import check_env


class Counter(gymnasium.Env[Any, Any]):
    """Counts its steps from 10 times its seed; ends after `length` steps."""

    observation_space = spaces.Box(0, 1000, (1,), np.float32)
    action_space = spaces.Discrete(3, start=1)

    def __init__(self, length: int) -> None:
        self.length = length
        self.start = 0

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.start = self.start + 100 if seed is None else 10 * seed
        self.clock = 0
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return np.array([self.start + self.clock], np.float32)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        self.clock += 1
        ended = self.clock == self.length
        info = {"won": self.length, "nested": {"a": 1}} if ended else {}
        return self.observe(), float(action), ended and self.length == 2, ended, info


def make(mode: AutoresetMode) -> GymnasiumVectorPufferEnv:
    creators: list[Callable[[], Any]] = [lambda: Counter(2), lambda: Counter(3)]
    env = GymnasiumVectorPufferEnv(SyncVectorEnv(creators, autoreset_mode=mode))
    fields = Buffers.fields(
        env.single_observation_space, env.single_action_space, 2, final_observations=True
    )
    env.attach(Buffers.allocate(fields))
    return env


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_an_episode_ends_with_the_next_ones_first_observation(mode: AutoresetMode) -> None:
    env = make(mode)
    observations, infos = env.reset(seed=1)
    assert observations.tolist() == [[10.0], [20.0]]
    assert infos == []
    env.step([0, 1])
    observations, rewards, terminals, truncations, infos = env.step([0, 1])
    assert observations.tolist() == [[110.0], [22.0]]
    assert rewards.tolist() == [1.0, 2.0]
    assert terminals.tolist() == [True, False]
    assert truncations.tolist() == [True, False]
    assert env.final_observations is not None
    assert env.final_observations[0] == 12.0
    assert env.masks.all()
    (info,) = infos
    assert (info["episode_return"], info["episode_length"]) == (2.0, 2)
    assert (info["agent_id"], info["episodes"], info["won"]) == (0, 1, 2)
    assert info["nested"] == {"a": 1}
    observations, *_, infos = env.step([0, 1])
    assert observations.tolist() == [[111.0], [120.0]]
    assert infos[0]["agent_id"] == 1
    assert infos[0]["episode_return"] == 6.0
    env.close()


def test_with_next_step_the_row_after_an_end_is_masked() -> None:
    env = make(AutoresetMode.NEXT_STEP)
    env.reset(seed=1)
    env.step([0, 1])
    observations, _, terminals, _, infos = env.step([0, 1])
    assert observations.tolist() == [[12.0], [22.0]]
    assert terminals.tolist() == [True, False]
    assert env.masks.tolist() == [True, True]
    assert env.final_observations is not None
    assert env.final_observations[0] == 12.0
    assert infos[0]["episode_length"] == 2
    observations, rewards, terminals, *_ = env.step([0, 1])
    assert observations.tolist() == [[110.0], [23.0]]
    assert rewards.tolist() == [0.0, 2.0]
    assert env.masks.tolist() == [False, True]
    assert terminals.tolist() == [False, False]
    *_, infos = env.step([0, 1])
    assert env.masks.tolist() == [True, False]
    assert infos == []
    *_, infos = env.step([0, 1])
    assert (infos[0]["episode_return"], infos[0]["episode_length"]) == (2.0, 2)
    env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_it_keeps_the_contract(mode: AutoresetMode) -> None:
    def cartpoles() -> GymnasiumVectorPufferEnv:
        creators: list[Callable[[], Any]] = [lambda: gymnasium.make("CartPole-v1")] * 3
        return GymnasiumVectorPufferEnv(SyncVectorEnv(creators, autoreset_mode=mode))

    check_env(cartpoles)


class Structured(gymnasium.Env[Any, Any]):
    observation_space = spaces.Dict({"n": spaces.Discrete(3), "x": spaces.Box(0, 1, (2,))})

    def __init__(self, action_space: Any) -> None:
        self.action_space = action_space
        self.seen: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return {"n": 2, "x": np.ones(2, np.float32)}, {}

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        self.seen.append(action)
        return {"n": 1, "x": np.zeros(2, np.float32)}, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("space", "actions", "expected"),
    [
        (spaces.Dict({"a": spaces.Discrete(3, start=5)}), [[0], [2]], [{"a": 5}, {"a": 7}]),
        (spaces.MultiDiscrete([2, 3], start=[1, 1]), [[0, 2], [1, 0]], [[1, 3], [2, 1]]),
        (spaces.MultiDiscrete([[2, 3]]), [[0, 2], [1, 0]], [[[0, 2]], [[1, 0]]]),
        (spaces.Box(-1, 1, (1,)), [[0.5], [-1.0]], [[0.5], [-1.0]]),
        (spaces.MultiBinary(2), [[0, 1], [1, 1]], [[0, 1], [1, 1]]),
    ],
)
def test_structured_spaces(space: Any, actions: Any, expected: Any) -> None:
    vector = SyncVectorEnv([lambda: Structured(space)] * 2)
    env = GymnasiumVectorPufferEnv(vector)
    observations, _ = env.reset()
    assert observations.view(env.obs_dtype)["n"].tolist() == [[2], [2]]
    env.step(actions)
    seen = [inner.seen[0] for inner in vector.envs]  # type: ignore[attr-defined]
    assert [s if isinstance(s, dict) else s.tolist() for s in seen] == expected
    assert env.driver_env.emulated is env.emulated
    env.close()
    env.close()


def test_wrong_calls_are_explained() -> None:
    env = make(AutoresetMode.SAME_STEP)
    with pytest.raises(ResetNeeded, match="step was called before reset: call reset first"):
        env.step([0, 0])
    env.reset()
    with pytest.raises(ActionError, match="action 3 of agent 1 is outside the action space"):
        env.step([0, 3])
    env.close()


def test_what_is_no_vector_environment_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"has no num_envs: expected a gymnasium\.vector\.VectorEnv"
    ):
        GymnasiumVectorPufferEnv(Counter(2))


class Foreign:
    """The interface of a vector environment that is not Gymnasium's: no metadata, no seeds."""

    num_envs = 2
    single_observation_space = observation_space = spaces.Box(0, 1, (1,))
    single_action_space = spaces.Discrete(2)

    def reset(self) -> Any:
        return np.zeros((2, 1), np.float32), {}


def test_an_autoreset_mode_that_is_not_told_must_be_given() -> None:
    with pytest.raises(
        UsageError,
        match=r"metadata\['autoreset_mode'\] of .* is None, expected a "
        r"gymnasium\.vector\.AutoresetMode: pass autoreset_mode",
    ):
        GymnasiumVectorPufferEnv(Foreign())
    env = GymnasiumVectorPufferEnv(Foreign(), autoreset_mode=AutoresetMode.NEXT_STEP)
    assert env.reset()[0].shape == (2, 1)


def test_the_first_observations_are_checked() -> None:
    class Wrong(Counter):
        def observe(self) -> np.ndarray:
            return np.array([-1], np.float32)

    env = GymnasiumVectorPufferEnv(SyncVectorEnv([lambda: Wrong(2)]))
    with pytest.raises(
        SpaceError, match=r"observation\[0\]: expected a value from 0\.0 to 1000\.0, got -1\.0"
    ):
        env.reset()
    env.close()
