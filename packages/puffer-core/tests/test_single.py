"""GymnasiumPufferEnv: construction, rows, buffers, checks, and leaving the original alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from puffer.core import Buffers, PufferEnv
from puffer.core.emulation import GymnasiumPufferEnv, GymnasiumVectorPufferEnv, emulate
from puffer.core.errors import ActionError, ResetNeeded, SpaceError, UsageError

OBSERVATION = spaces.Dict(
    {"image": spaces.Box(0, 255, (2, 2), np.uint8), "n": spaces.Discrete(9, start=1)}
)
ACTION = spaces.Tuple((spaces.Discrete(3, start=-1), spaces.Box(-1, 1, (2,))))


class Scripted(gymnasium.Env[Any, Any]):
    """Gives what it is told to, and counts."""

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "name": "scripted"}  # noqa: RUF012
    render_mode = "ansi"

    def __init__(
        self,
        observation_space: spaces.Space[Any] = OBSERVATION,
        action_space: spaces.Space[Any] = ACTION,
        length: int = 3,
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.length = length
        self.clock = 0
        self.actions: list[Any] = []
        self.observation: Any = None
        self.closed = 0

    def observe(self) -> Any:
        if self.observation is not None:
            return self.observation
        return {"image": np.full((2, 2), self.clock, np.uint8), "n": 1 + self.clock}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.clock = 0
        return self.observe(), {"options": options}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.clock += 1
        self.actions.append(action)
        return self.observe(), 0.5, False, self.clock >= self.length, {"clock": self.clock}

    def render(self) -> str:  # type: ignore[override]
        return f"clock {self.clock}"

    def close(self) -> None:
        self.closed += 1


FLAT_ACTION = np.array([2, 0.25, -0.5], np.float32)


def buffers(env: Any, **optional: bool) -> Buffers:
    """Return buffers full of sentinels."""
    fields = Buffers.fields(
        env.single_observation_space, env.single_action_space, env.num_agents, **optional
    )
    buf = Buffers.allocate(fields)
    for array in buf.arrays().values():
        if array is not None:
            array.view(np.uint8)[...] = 1
    return buf


@pytest.mark.parametrize(
    "build",
    [
        lambda: GymnasiumPufferEnv(Scripted(length=5)),
        lambda: GymnasiumPufferEnv(env=Scripted, env_kwargs={"length": 5}),
        lambda: GymnasiumPufferEnv(env_creator=Scripted, env_args=[OBSERVATION, ACTION, 5]),
        lambda: GymnasiumPufferEnv(functools.partial(Scripted, length=5)),
        lambda: GymnasiumPufferEnv(lambda length: Scripted(length=length), env_args=(5,)),
        lambda: emulate(Scripted(length=5)),
    ],
)
def test_it_takes_an_instance_a_class_or_a_creator(build: Callable[[], Any]) -> None:
    env = build()
    assert isinstance(env, GymnasiumPufferEnv)
    assert isinstance(env, gymnasium.Env)
    assert isinstance(env.env, Scripted)
    assert env.env.length == 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "expected either env or env_creator, got both or none"),
        ({"env": Scripted, "env_creator": Scripted}, "expected either env or env_creator"),
        (
            {"env": Scripted(), "env_kwargs": {"length": 2}},
            "env_args and env_kwargs were given with an environment that exists already: "
            "pass its class or a creator",
        ),
        ({"env": 7}, "7 is no environment: expected an instance, a class or a creator function"),
        (
            {"env": dict},
            r"{} is not a gymnasium\.Env: wrap an old Gym environment with "
            r"puffer\.core\.wrappers\.GymToGymnasium, a PettingZoo one with PettingZooPufferEnv",
        ),
        (
            {"env": Scripted, "check": "often"},
            "check='often': expected one of 'first', 'always', 'never'",
        ),
    ],
)
def test_wrong_construction_is_explained(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        GymnasiumPufferEnv(**arguments)


def test_spaces_and_attributes() -> None:
    env = GymnasiumPufferEnv(Scripted())
    assert env.observation_space is env.single_observation_space
    assert env.observation_space == spaces.Box(0, 255, (16,), np.uint8)
    assert env.action_space is env.single_action_space
    assert env.action_space == spaces.Box(
        np.array([0, -1, -1], np.float32), np.array([2, 1, 1], np.float32)
    )
    assert env.obs_dtype.names == ("image", "n")
    assert (env.num_agents, env.num_simulations) == (1, 1)
    assert env.driver_env is env
    assert env.metadata is Scripted.metadata
    assert env.render_mode == "ansi"
    assert env.render() == "clock 0"
    assert env.unwrapped is env
    assert not env.can_fill_action_masks


def test_rows_hold_what_the_environment_said() -> None:
    env = GymnasiumPufferEnv(Scripted())
    observation, info = env.reset(seed=3, options={"a": 1})
    assert info == {"options": {"a": 1}}
    assert observation.view(env.obs_dtype)["n"].tolist() == [1]
    observation, reward, terminated, truncated, info = env.step(FLAT_ACTION)
    structured = observation.view(env.obs_dtype)
    assert structured["n"].tolist() == [2]
    assert structured["image"].tolist() == [[[1, 1], [1, 1]]]
    assert (reward, terminated, truncated, info) == (0.5, False, False, {"clock": 1})
    discrete, box = env.env.actions[0]  # type: ignore[attr-defined]
    assert discrete == 1
    assert box.tolist() == [0.25, -0.5]


def test_without_buffers_rows_are_new() -> None:
    env = GymnasiumPufferEnv(Scripted())
    first, _ = env.reset()
    second, *_ = env.step(FLAT_ACTION)
    assert not np.may_share_memory(first, second)
    assert first.view(env.obs_dtype)["n"].tolist() == [1]


def test_with_buffers_everything_is_written_in_place() -> None:
    env = GymnasiumPufferEnv(Scripted())
    buf = buffers(env)
    env.attach(buf)
    observation, _ = env.reset()
    assert np.may_share_memory(observation, buf.observations)
    assert buf.observations.view(env.obs_dtype)["n"].tolist() == [[1]]
    assert buf.rewards.tolist() == [0.0]
    assert buf.terminals.tolist() == buf.truncations.tolist() == [False]
    assert buf.masks.tolist() == [True]
    for _ in range(3):
        observation, *_ = env.step(FLAT_ACTION)
    assert buf.observations.view(env.obs_dtype)["n"].tolist() == [[4]]
    assert buf.rewards.tolist() == [0.5]
    assert buf.terminals.tolist() == [False]
    assert buf.truncations.tolist() == [True]
    assert np.may_share_memory(observation, buf.observations)


def test_buffers_can_be_given_at_once() -> None:
    space = spaces.Box(-1, 1, (), np.float32)
    inner = Scripted(space, spaces.Discrete(2))
    inner.observation = np.float32(0.5)
    buf = buffers(GymnasiumPufferEnv(inner))
    env = GymnasiumPufferEnv(inner, buf=buf)
    assert env.reset()[0].shape == ()
    assert buf.observations.tolist() == [0.5]
    assert emulate(env) is env
    other = buffers(env)
    assert emulate(env, other) is env
    env.reset()
    assert other.observations.tolist() == [0.5]


def test_wrong_buffers_are_refused() -> None:
    env = GymnasiumPufferEnv(Scripted())
    with pytest.raises(
        UsageError,
        match=r"GymnasiumPufferEnv: buffer observations is uint8\(2, 16\), expected uint8\(1, 16\)",
    ):
        env.attach(
            Buffers.allocate(Buffers.fields(env.observation_space, env.single_action_space, 2))  # type: ignore[arg-type]
        )
    with pytest.raises(UsageError, match="cannot fill final_observations: do not ask for them"):
        env.attach(buffers(env, final_observations=True))
    with pytest.raises(UsageError, match="cannot fill action_masks: do not ask for them"):
        env.attach(buffers(env, action_masks=True))


def test_a_step_needs_a_reset() -> None:
    env = GymnasiumPufferEnv(Scripted())
    with pytest.raises(ResetNeeded, match="step was called before reset: call reset first"):
        env.step(FLAT_ACTION)


def test_a_wrong_action_does_not_reach_the_environment() -> None:
    inner = Scripted(action_space=spaces.Discrete(3))
    env = GymnasiumPufferEnv(inner)
    env.reset()
    with pytest.raises(ActionError, match="action: expected 0 to 2, got 3"):
        env.step(3)
    assert inner.actions == []


@pytest.mark.parametrize("reward", [None, "much", np.zeros(2)])
def test_a_reward_that_is_no_number_is_refused(reward: Any) -> None:
    class Odd(Scripted):
        def step(self, action: Any) -> Any:
            observation, _, *rest = super().step(action)
            return observation, reward, *rest

    env = GymnasiumPufferEnv(Odd())
    env.attach(buffers(env))
    env.reset()
    with pytest.raises(SpaceError, match="reward: expected a number, got"):
        env.step(FLAT_ACTION)


def test_the_stages_of_a_step_make_one() -> None:
    whole, parts = GymnasiumPufferEnv(Scripted()), GymnasiumPufferEnv(Scripted())
    parts.attach(buf := buffers(parts))
    whole.reset()
    parts.reset()
    read, act, place = parts.stages()
    expected = whole.step(FLAT_ACTION)
    observation, *outcome = act(read(FLAT_ACTION))
    assert outcome == list(expected[1:])
    np.testing.assert_array_equal(place(observation), expected[0])
    np.testing.assert_array_equal(buf.observations[0], expected[0])


TOO_LARGE = {"image": np.zeros((2, 2), np.uint8), "n": 10}
WRONG_SHAPE = {"image": np.zeros((2, 3), np.uint8), "n": 1}


def test_by_default_the_first_observation_is_checked_fully() -> None:
    inner = Scripted()
    inner.observation = TOO_LARGE
    with pytest.raises(
        SpaceError, match=r"observation\['n'\]: expected an integer from 1 to 9, got 10"
    ):
        GymnasiumPufferEnv(inner).reset()


def test_by_default_later_observations_are_checked_in_shape_and_dtype() -> None:
    inner = Scripted()
    env = GymnasiumPufferEnv(inner)
    env.reset()
    inner.observation = TOO_LARGE
    env.step(FLAT_ACTION)
    inner.observation = WRONG_SHAPE
    with pytest.raises(
        SpaceError, match=r"observation\['image'\]: expected shape \(2, 2\), got \(2, 3\)"
    ):
        env.step(FLAT_ACTION)


def test_always_checks_every_observation_fully() -> None:
    inner = Scripted()
    env = GymnasiumPufferEnv(inner, check="always")
    env.reset()
    env.step(FLAT_ACTION)
    inner.observation = TOO_LARGE
    with pytest.raises(SpaceError, match="expected an integer from 1 to 9, got 10"):
        env.step(FLAT_ACTION)


def test_never_checks_nothing() -> None:
    inner = Scripted()
    inner.observation = {"image": [[1.5, 2.5], [3.5, 4.5]], "n": 10}
    env = GymnasiumPufferEnv(inner, check="never")
    observation, _ = env.reset()
    assert observation.view(env.obs_dtype)["image"].tolist() == [[[1, 2], [3, 4]]]


def test_a_sequence_needs_a_length() -> None:
    space = spaces.Sequence(spaces.Discrete(3))
    with pytest.raises(SpaceError, match="observation is a Sequence of unlimited length"):
        GymnasiumPufferEnv(Scripted(space))
    inner = Scripted(space, space)
    inner.observation = (1, 2)
    env = GymnasiumPufferEnv(inner, max_length=3)
    assert env.reset()[0].tolist() == [2, 1, 2, 0]
    env.step(np.array([1, 2, 0, 0]))
    assert inner.actions == [(2,)]


class Masked(Scripted):
    """Gives an action mask in its info or in its observation."""

    def __init__(self, mask: Any, where: str, action_space: Any) -> None:
        super().__init__(action_space=action_space)
        self.mask, self.where = mask, where
        if where == "observation":
            self.observation_space = spaces.Dict({"action_mask": spaces.MultiBinary(3)})

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**given)
        return self.given()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, info = self.given()
        return observation, 0.0, False, False, info

    def given(self) -> tuple[Any, dict[str, Any]]:
        if self.where == "observation":
            return {"action_mask": self.mask}, {}
        return {"image": np.zeros((2, 2), np.uint8), "n": 1}, (
            {} if self.mask is None else {"action_mask": self.mask}
        )


@pytest.mark.parametrize(
    ("mask", "where", "action_space", "expected"),
    [
        (np.array([1, 0, 1], np.int8), "info", spaces.Discrete(3), [True, False, True]),
        (np.array([1, 0, 1], np.int8), "observation", spaces.Discrete(3), [True, False, True]),
        (None, "info", spaces.Discrete(3), [True, True, True]),
        (np.zeros(3, np.int8), "info", spaces.Discrete(3), [True, True, True]),
        (
            (np.array([1, 0]), np.array([0, 1, 1])),
            "info",
            spaces.MultiDiscrete([2, 3]),
            [True, False, False, True, True],
        ),
    ],
)
def test_action_masks_are_filled(
    mask: Any, where: str, action_space: Any, expected: list[bool]
) -> None:
    env = GymnasiumPufferEnv(Masked(mask, where, action_space))
    buf = buffers(env, action_masks=True)
    env.attach(buf)
    env.reset()
    assert buf.action_masks is not None
    assert buf.action_masks.tolist() == [expected]
    buf.action_masks[...] = False
    env.step(env.action_space.sample())
    assert buf.action_masks.tolist() == [expected]


def test_an_action_mask_of_another_size_is_refused() -> None:
    env = GymnasiumPufferEnv(Masked(np.ones(4), "info", spaces.Discrete(3)))
    env.attach(buffers(env, action_masks=True))
    with pytest.raises(SpaceError, match=r"action_mask has shape \(4,\), expected \(3,\)"):
        env.reset()


class Recorder(gymnasium.Env[Any, Any]):
    """Records every call and every attribute that is set."""

    def __init__(self) -> None:
        vars(self)["log"] = []
        self.observation_space = spaces.Dict({"x": spaces.Box(0, 1, (2,)), "n": spaces.Discrete(3)})
        self.action_space = spaces.Discrete(2)
        self.log.clear()

    def __setattr__(self, name: str, value: Any) -> None:
        self.log.append(f"set {name}")
        super().__setattr__(name, value)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if not callable(value) or name.startswith("__"):
            return value

        def call(*given: Any, **named: Any) -> Any:
            vars(self)["log"].append(name)
            return value(*given, **named)

        return call

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        return {"x": np.zeros(2, np.float32), "n": 0}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return {"x": np.ones(2, np.float32), "n": 1}, 1.0, True, False, {}

    def render(self) -> None:
        return None

    def close(self) -> None:
        pass


@pytest.mark.parametrize("check", ["first", "always", "never"])
@pytest.mark.parametrize("attach", [False, True])
def test_the_original_is_asked_to_reset_step_render_and_close_only(
    check: str, attach: bool
) -> None:
    inner = Recorder()
    generators = [space.np_random for space in (inner.observation_space, inner.action_space)]
    before = dict(vars(inner)), [str(g.bit_generator.state) for g in generators]
    env = GymnasiumPufferEnv(inner, check=check)
    if attach:
        env.attach(buffers(env, action_masks=True))
    env.reset(seed=1)
    env.step(env.action_space.sample())
    env.render()
    env.close()
    env.close()
    assert inner.log == ["reset", "step", "render", "close"]
    assert (dict(vars(inner)), [str(g.bit_generator.state) for g in generators]) == before


@pytest.mark.parametrize(
    "name",
    ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1", "Taxi-v4", "CliffWalking-v1"],
)
# Gymnasium warns of what it sees in its own spaces, and of render modes it cannot try.
@pytest.mark.filterwarnings("ignore:.*WARN")
def test_the_result_passes_gymnasiums_own_check(name: str) -> None:
    if name not in gymnasium.registry:
        pytest.skip("not registered by this Gymnasium")
    env = GymnasiumPufferEnv(gymnasium.make(name, disable_env_checker=True))
    check_env(env, skip_render_check=True)
    assert env.spec is not None
    assert env.np_random is env.env.np_random
    assert env.np_random_seed == env.env.np_random_seed


def test_emulate_refuses_what_is_no_environment() -> None:
    for wrong in (7, Scripted, "CartPole-v1"):
        with pytest.raises(
            UsageError,
            match=r"is no environment: expected an instance of puffer\.core\.PufferEnv, "
            r"gymnasium\.Env or a PettingZoo environment",
        ):
            emulate(wrong)


def test_emulate_passes_on_what_is_flat_and_wraps_vectors() -> None:
    class Native(PufferEnv):
        def __init__(self) -> None:
            self.single_observation_space = spaces.Box(0, 1, (2,))
            self.single_action_space = spaces.Discrete(2)
            self.num_agents = 3
            super().__init__()

    env = Native()
    assert emulate(env) is env
    buf = buffers(env)
    assert emulate(env, buf) is env
    assert env.rewards is buf.rewards
    vector = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2)
    assert isinstance(emulate(vector), GymnasiumVectorPufferEnv)
    vector.close()


class CountingOrder(gymnasium.wrappers.OrderEnforcing):
    """Does more than the original, and so must be asked."""

    steps = 0

    def step(self, action: Any) -> Any:
        outcome = super().step(action)
        self.steps += 1
        return outcome


@pytest.mark.parametrize("order", [gymnasium.wrappers.OrderEnforcing, CountingOrder])
def test_wrappers_do_their_work_around_order_enforcing(order):
    inner = Scripted(length=9)
    original = gymnasium.wrappers.TimeLimit(order(inner), 2)
    env = GymnasiumPufferEnv(original)
    with pytest.raises(gymnasium.error.ResetNeeded):
        original.step(0)
    env.reset()
    steps = [env.step(FLAT_ACTION) for _ in range(2)]
    assert [step[3] for step in steps] == [False, True]
    assert inner.clock == 2
    assert getattr(original.env, "steps", 2) == 2
    original.step(ACTION.sample())  # the original, used directly, is as it was
    assert inner.clock == 3
