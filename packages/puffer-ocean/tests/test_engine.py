"""The public engine: arrays of the caller, steps in the background, options that vary."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

import puffer.core
from puffer.core.errors import ActionError, ClosedError, ResetNeeded, UsageError
from puffer.ocean import Breakout, Cartpole, Engine, Squared
from puffer.ocean.extension import load
from puffer.ocean.squared.cy_squared import CySquared


def arrays(num_agents: int, width: int = 121, dtype: Any = np.uint8) -> dict[str, np.ndarray]:
    """Return the arrays that an engine must be given."""
    return {
        "observations": np.zeros((num_agents, width), dtype),
        "actions": np.zeros(num_agents, np.int32),
        "rewards": np.zeros(num_agents, np.float32),
        "terminals": np.zeros(num_agents, bool),
        "truncations": np.zeros(num_agents, bool),
    }


class Walk(puffer.core.PufferEnv):
    """An environment of a user's own, with the simulations of another one."""

    def __init__(self, num_envs: int = 1, size: int = 11, buf: Any = None) -> None:
        self.single_observation_space = gymnasium.spaces.Box(0, 2, (size * size,), np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(5)
        self.num_agents = num_envs
        super().__init__(buf)
        self.simulations = CySquared(
            self.observations, self.actions, self.rewards, self.terminals, num_envs, size
        )

    def reset(self, seed: int | None = None) -> Any:
        self.simulations.reset(seed)
        return self.observations, []

    def step(self, actions: Any) -> Any:
        self.actions[:] = actions
        self.simulations.step()
        ended = self.rewards[self.terminals]
        infos = [{"reward": np.mean(ended)}] if len(ended) else []
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def close(self) -> None:
        self.simulations.close()


def test_an_environment_of_ones_own_plays_as_the_shipped_one() -> None:
    actions = np.random.default_rng(0).integers(0, 5, (200, 16))
    with Walk(16, size=7) as own, Squared(16, size=7) as shipped:
        np.testing.assert_array_equal(own.reset(3)[0], shipped.reset(3)[0])
        rewards = []
        for row in actions:
            for mine, theirs in zip(own.step(row)[:3], shipped.step(row)[:3], strict=True):
                np.testing.assert_array_equal(mine, theirs)
            rewards += [info["reward"] for info in own.step(row)[4]]
            shipped.step(row)
        assert rewards
        assert all(-1 <= reward <= 1 for reward in rewards)


def test_an_engine_says_what_it_needs() -> None:
    with Engine("breakout", **arrays(6, 118, np.float32), num_envs=6, frame_skip=2) as engine:
        assert engine.num_agents == 6
        assert engine.single_observation_space == Breakout().single_observation_space
        assert engine.single_action_space == Breakout().single_action_space
        assert engine.max_steps == 10_000
        assert engine.kernel == load("puffer.ocean._native").describe("breakout")["kernels"][-1]
        engine.reset(0)
        assert engine.render("rgb_array").shape == (330, 576, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "sqared"}, "no environment 'sqared' in this extension: it has"),
        ({"sise": 3}, "unknown option 'sise': the options are size max_steps"),
        ({"size": 4}, "size=4: expected an odd number from 3 to 255"),
        ({"num_envs": 0}, "num_envs=0: expected at least 1"),
        ({"num_envs": -3}, "num_envs=-3: expected at least 1"),
        ({"num_envs": 3}, "buffer actions is int32(4,), expected int32(3,)"),
        ({"kernel": "v9"}, "kernel='v9': on this machine squared has scalar"),
        ({"actions": np.zeros(4)}, "buffer actions is float64(4,), expected int32(4,)"),
        ({"rewards": np.zeros(4)}, "buffer rewards is float64(4,), expected float32(4,)"),
        ({"terminals": np.zeros(4, np.uint8)}, "buffer terminals is uint8(4,), expected bool(4,)"),
        ({"masks": np.zeros((4, 1), bool)}, "buffer masks is bool(4, 1), expected bool(4,)"),
        (
            {"observations": np.zeros((4, 11, 11), np.uint8)},
            "buffer observations is uint8(4, 11, 11), expected uint8(4, 121)",
        ),
        (
            {"observations": np.zeros((4, 242), np.uint8)[:, ::2]},
            "buffer observations is not writeable C-contiguous memory",
        ),
        (
            {"rewards": np.broadcast_to(np.float32(0), (4,))},
            "buffer rewards is not writeable C-contiguous memory",
        ),
        (
            {"action_masks": np.ones((4, 5), bool)},
            "environment squared has no mask(): do not pass the buffer action_masks",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        Engine(**({"name": "squared", **arrays(4), "num_envs": 4} | change))


def test_buffers_are_kept_alive_and_must_not_be_resized() -> None:
    given = arrays(4)
    engine = Engine("squared", **given, num_envs=4)
    engine.reset(0)
    given["rewards"].resize(100_000, refcheck=False)
    for call in (engine.step, engine.step_async, lambda: engine.reset(0)):
        with pytest.raises(UsageError, match="an array was resized after it was bound: attach"):
            call()
    engine.close()
    engine = Engine("squared", **arrays(4), num_envs=4)  # nobody else holds these arrays
    engine.reset(0)
    for _ in range(100):
        engine.step()


def test_actions_come_from_the_array_or_the_call_and_are_checked() -> None:
    given = arrays(2)
    with Engine("squared", **given, num_envs=2, report_interval=0) as engine:
        with pytest.raises(ResetNeeded, match="step before reset: call reset first"):
            engine.step()
        engine.reset(0)
        given["actions"][1] = 5
        with pytest.raises(ActionError, match="action 5 of agent 1 is outside the action space"):
            engine.step()
        with pytest.raises(ActionError, match="action -1 of agent 0 is outside the action space"):
            engine.step(np.array([-1, 0]))
        for _ in range(20):
            engine.step([1, 1])
        np.testing.assert_array_equal(given["actions"], [1, 1])
    for call in (engine.reset, engine.step, engine.step_async, engine.wait, engine.statistics):
        with pytest.raises(ClosedError, match="the env is closed: make a new one"):
            call()


def test_steps_in_the_background_are_the_same_steps() -> None:
    """Two envs take turns: one is stepped while the other one is seen to."""
    actions = np.random.default_rng(0).integers(0, 3, (200, 2, 32))
    plain = [Breakout(32, report_interval=50) for _ in range(2)]
    turns = [Breakout(32, report_interval=50, num_threads=n) for n in (1, 2)]
    for seed, env in enumerate(plain + turns):
        env.reset(seed % 2)
    turns[0].step_async(actions[0, 0])
    for step in range(1, 200):
        for k in range(2):
            turns[1 - k].step_async(actions[step - 1 + k, 1 - k])
            expected, got = plain[k].step(actions[step - 1, k]), turns[k].wait()
            for x, y in zip(expected[:4], got[:4], strict=True):
                np.testing.assert_array_equal(x, y)
            assert expected[4] == got[4]
    for env in plain + turns:
        env.close()


def test_while_a_step_is_under_way_nothing_else_is_served() -> None:
    env = Breakout(4)
    env.reset(0)
    with pytest.raises(UsageError, match="wait without a step under way: call step_async first"):
        env.wait()
    env.step_async(np.zeros(4, int))
    calls: list[Callable[[], Any]] = [
        lambda: env.step(np.zeros(4, int)),
        lambda: env.step_async(np.zeros(4, int)),
        lambda: env.reset(0),
        env.state,
        env.statistics,
        lambda: env.vary(frame_skip=2),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="a step is under way: call wait before anything"):
            call()
    env.wait()
    with pytest.raises(ActionError, match="action 3 of agent 0"):
        env.step_async(np.full(4, 3))
    env.step_async(np.zeros(4, int))
    env.close()


def test_statistics_are_drained_at_any_time() -> None:
    actions = np.random.default_rng(0).integers(0, 2, (200, 32))
    with Cartpole(32, report_interval=0) as each, Cartpole(32, report_interval=1000) as rare:
        each.reset(0)
        rare.reset(0)
        episodes: list[dict[str, Any]] = []
        for step, row in enumerate(actions):
            episodes += each.step(row)[4]
            assert rare.step(row)[4] == []
            if step % 60 == 59:
                (info,) = rare.statistics()
                assert info["episodes"] == len(episodes)
                for key in ("episode_return", "episode_length", "perf"):
                    mean = sum(episode[key] for episode in episodes) / len(episodes)
                    assert info[key] == pytest.approx(mean)
                assert rare.statistics() == []
                episodes = []


def test_infos_do_not_depend_on_threads() -> None:
    actions = np.random.default_rng(0).integers(0, 3, (300, 500))
    infos = []
    for num_threads in (1, 2, 3):
        with Breakout(500, report_interval=100, num_threads=num_threads) as env:
            assert env.num_threads == num_threads
            env.reset(0)
            infos.append([env.step(row)[4] for row in actions])
    assert infos[0] == infos[1] == infos[2]


def test_an_option_may_differ_between_simulations() -> None:
    actions = np.random.default_rng(0).integers(0, 3, (400, 4))
    with Breakout(4, max_steps=50) as env:
        env.reset(9)
        env.vary(frame_skip=np.array([1, 2, 4, 8]), max_steps=[20, 30, 40, 50])
        env.reset(9)
        rows = [env.step(row) for row in actions[:1]]
        first = rows[0][0].copy()
        # Each simulation is now one of an env that was made with these options.
        for k, (frame_skip, max_steps) in enumerate([(1, 20), (2, 30), (4, 40), (8, 50)]):
            with Breakout(1, frame_skip=frame_skip, max_steps=max_steps) as alone:
                alone.reset(9 + k)
                np.testing.assert_array_equal(alone.step(actions[0, k : k + 1])[0][0], first[k])
        state = env.state()
        lengths = np.ones(4, int)
        for row in actions[1:]:
            _, _, terminals, truncations, _ = env.step(row)
            lengths += 1
            assert (lengths[truncations] == np.array([20, 30, 40, 50])[truncations]).all()
            lengths[terminals | truncations] = 0
        last = env.observations.copy()
        with Breakout(4, max_steps=50) as other:
            other.set_state(state)
            for row in actions[1:]:
                other.step(row)
            np.testing.assert_array_equal(other.observations, last)


def test_what_varies_begins_with_the_next_episode() -> None:
    with Squared(2, max_steps=3) as env:
        env.reset(0)
        env.step([0, 0])
        env.vary(max_steps=[1, 2])
        flags = [env.step([0, 0])[3].tolist() for _ in range(5)]
    assert flags == [[False] * 2, [True] * 2, [True, False], [True, True], [True, False]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"size": 13},
            "simulation 0: this option changes the spaces or the number of agents, ",
        ),
        ({"size": [11, 4]}, "simulation 1: size=4: expected an odd number from 3 to 255"),
        ({"sise": 3}, "simulation 0: unknown option 'sise': the options are size max_steps"),
        ({"max_steps": [1.5, 2.5]}, "simulation 0: option max_steps: expected an int of its range"),
        ({"max_steps": [True, False]}, "simulation 0: option max_steps: expected an int of its r"),
        (
            {"max_steps": [1, 2, 3]},
            "option max_steps has values of shape (3,): expected one val",
        ),
        (
            {"max_steps": ["a", "b"]},
            "option max_steps: values of dtype <U1 cannot vary, expected",
        ),
        ({"max_steps": 2**40}, "simulation 0: option max_steps: expected an int of its range"),
    ],
    ids=str,
)
def test_values_that_cannot_vary(options: dict[str, Any], sentence: str) -> None:
    with Squared(2) as env:
        env.reset(0)
        state = env.state()
        with pytest.raises(UsageError, match=re.escape(sentence)):
            env.vary(**options)
        assert env.state() == state
