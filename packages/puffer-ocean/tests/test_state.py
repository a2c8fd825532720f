"""Saved states: what comes back continues bit by bit, what is damaged is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from puffer.core.buffers import Buffers
from puffer.core.errors import ClosedError, ResetNeeded, UsageError
from puffer.ocean import Breakout, Squared
from puffer.ocean.native import OceanEnv

EnvClass = type[OceanEnv]
DAMAGED = "the state is damaged: pass what state() returned, unchanged"


def actions_of(env: OceanEnv, steps: int) -> np.ndarray:
    """Return random actions for `steps` steps."""
    env.action_space.seed(5)
    return np.stack([env.action_space.sample() for _ in range(steps)])


def run(env: OceanEnv, actions: np.ndarray) -> list[Any]:
    """Step with each row of `actions`; return copies of all that each step wrote and reported."""
    steps: list[Any] = []
    for row in actions:
        infos = env.step(row)[4]
        arrays = (env.observations, env.rewards, env.terminals, env.truncations, env.masks)
        steps.append(([array.tobytes() for array in arrays], repr(infos)))
    return steps


@pytest.mark.parametrize("report_interval", [0, 7])
def test_a_restored_env_continues_bit_by_bit(env_class: EnvClass, report_interval: int) -> None:
    make = lambda: env_class(19, report_interval=report_interval)  # noqa: E731
    with make() as env, make() as other:
        env.reset(11)
        actions = actions_of(env, 240)
        run(env, actions[:100])
        state = env.state()
        shown, masks = env.observations.copy(), env.masks.copy()
        expected = run(env, actions[100:])

        other.reset(99)  # the one that is restored was somewhere else
        run(other, actions[:33])
        other.set_state(state)
        np.testing.assert_array_equal(other.observations, shown)
        np.testing.assert_array_equal(other.masks, masks)
        for cleared in (other.rewards, other.terminals, other.truncations):
            assert not cleared.any()
        assert other.state() == state
        assert run(other, actions[100:]) == expected

        env.set_state(state)  # and so does the one that goes back in time
        assert run(env, actions[100:]) == expected


def test_a_state_is_the_first_thing_that_an_env_sees(env_class: EnvClass) -> None:
    with env_class(4) as env, env_class(4) as fresh:
        env.reset(1)
        actions = actions_of(env, 60)
        state = env.state()
        fresh.set_state(state)
        assert run(fresh, actions) == run(env, actions)


def test_threads_may_differ(env_class: EnvClass) -> None:
    with env_class(61, num_threads=3) as env, env_class(61) as other:
        env.reset(1)
        actions = actions_of(env, 80)
        run(env, actions[:40])
        other.set_state(env.state())
        for one, two in zip(run(env, actions[40:]), run(other, actions[40:]), strict=True):
            assert one[0] == two[0]


def test_damaged_bytes_are_refused_and_change_nothing(env_class: EnvClass) -> None:
    with env_class(3) as env:
        env.reset(1)
        actions = actions_of(env, 40)
        run(env, actions[:20])
        state = env.state()
        expected = run(env, actions[20:])
        env.set_state(state)
        rng = np.random.default_rng(0)
        for at in rng.choice(len(state), 100, replace=False):
            broken = bytearray(state)
            broken[at] ^= 1 << int(rng.integers(8))
            with pytest.raises(UsageError, match=r"the state is damaged|are no state that this"):
                env.set_state(bytes(broken))
        for size in (0, 5, 21, 30, len(state) // 2, len(state) - 1):
            with pytest.raises(UsageError, match=r"the state is damaged|are no state that this"):
                env.set_state(state[:size])
        with pytest.raises(UsageError, match=re.escape(DAMAGED)):
            env.set_state(state + b"\0")
        assert run(env, actions[20:]) == expected


@pytest.fixture
def state() -> Iterator[bytes]:
    """Return the state of two games of Squared."""
    with Squared(2) as env:
        env.reset(0)
        yield env.state()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Breakout(2), "the state is of the environment squared, this one is breakout"),
        (lambda: Squared(3), "the state is of 2 simulations, this env has 3"),
        (
            lambda: Squared(2, size=13),
            "the state was made with other options: size=11 max_steps=0 (20 bytes), "
            "this env has size=13 max_steps=0 (20 bytes)",
        ),
    ],
)
def test_a_state_of_another_env(state: bytes, make: Callable[[], OceanEnv], sentence: str) -> None:
    with make() as env, pytest.raises(UsageError, match=re.escape(sentence)):
        env.set_state(state)


def test_when_there_is_no_state() -> None:
    env = Squared(2)
    with pytest.raises(ResetNeeded, match="state before reset: call reset first"):
        env.state()
    env.close()
    for call in (env.state, lambda: env.set_state(b"")):
        with pytest.raises(ClosedError, match="the env is closed: make a new one"):
            call()


def test_an_action_mask_is_refused_where_there_is_none(env_class: EnvClass) -> None:
    if env_class.can_fill_action_masks:
        return
    with env_class(2) as env:
        fields = Buffers.fields(
            env.single_observation_space, env.single_action_space, 2, action_masks=True
        )
        with pytest.raises(UsageError, match="cannot fill action_masks: do not ask for them"):
            env.attach(Buffers.allocate(fields))


def test_action_masks_allow_something_and_repeat(env_class: EnvClass) -> None:
    """Each component of each agent has an action, and the same seed shows the same masks."""
    if not env_class.can_fill_action_masks:
        return
    runs = []
    for num_threads in (1, 2):
        with env_class(33, num_threads=num_threads) as env:
            fields = Buffers.fields(
                env.single_observation_space,
                env.single_action_space,
                env.num_agents,
                action_masks=True,
            )
            buffers = Buffers.allocate(fields)
            env.attach(buffers)
            env.reset(3)
            shown = []
            for row in actions_of(env, 100):
                env.step(row)
                shown.append(buffers.action_masks.copy())  # type: ignore[union-attr]
                state = env.state()
                buffers.action_masks[...] = False  # type: ignore[index]
                env.set_state(state)
                np.testing.assert_array_equal(buffers.action_masks, shown[-1])
            runs.append(np.stack(shown))
            splits = np.cumsum(np.atleast_1d(getattr(env.single_action_space, "nvec", [0])))[:-1]
            for component in np.split(runs[-1], splits, axis=-1):
                assert component.any(axis=-1).all()
    np.testing.assert_array_equal(*runs)
