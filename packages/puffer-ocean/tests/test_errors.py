"""Every deliberate error, by its sentence."""

from __future__ import annotations

import os
import re
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest

from puffer.core.buffers import Buffers
from puffer.core.errors import (
    ActionError,
    ClosedError,
    MissingPackageError,
    PufferError,
    ResetNeeded,
    UsageError,
)
from puffer.core.spaces import write_actions
from puffer.ocean import Continuous, Squared, extension, render


@pytest.fixture
def env() -> Any:
    with Squared(4) as env:
        env.reset(0)
        yield env


@pytest.mark.parametrize(
    "actions",
    [
        np.array([0, 1, 5, 0]),
        np.array([0, -1, 0, 0], np.int8),
        np.array([0, 2**40, 0, 0], np.int64),
        np.array([0, 2**63, 0, 0], np.uint64),
        np.array([0, 0, 0, 200], np.uint8),
        np.array([0, 0, 0, 200], np.uint16),
        np.array([0, 0, 0, -200], np.int16),
        np.array([0, 0, 0, 2**31], np.uint32),
        np.array([0, 0, 0, 5], np.int32),
        np.zeros(3, int),
        np.zeros((4, 1), int),
        np.zeros(4),
        np.zeros(4, bool),
        [0, 0, 0, 9],
    ],
    ids=str,
)
def test_bad_actions_are_refused_in_the_words_of_core(env: Squared, actions: Any) -> None:
    before = {name: getattr(env, name).copy() for name in ("observations", "actions", "rewards")}
    with pytest.raises(ActionError) as expected:
        write_actions(actions, np.zeros(4, np.int32), env.single_action_space)
    with pytest.raises(ActionError, match=f"^{re.escape(str(expected.value))}$"):
        env.step(actions)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(env, name), array)


@pytest.mark.parametrize(
    "convert",
    [
        *(lambda a, d=d: a.astype(d) for d in "bhilBHIL"),
        list,
        lambda a: a.astype(">i4"),
        lambda a: np.repeat(a, 2)[::2],
    ],
)
def test_any_kind_of_integers_is_taken(convert: Any) -> None:
    actions = np.random.default_rng(0).integers(0, 5, (20, 4))
    with Squared(4) as one, Squared(4) as other:
        one.reset(0)
        other.reset(0)
        for row in actions:
            np.testing.assert_array_equal(one.step(row)[0], other.step(convert(row))[0])


def test_the_action_buffer_itself_is_taken_and_checked(env: Squared) -> None:
    env.actions[:] = [1, 2, 3, 4]
    env.step(env.actions)
    env.actions[2] = 7
    with pytest.raises(ActionError, match="action 7 of agent 2 is outside the action space"):
        env.step(env.actions)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_outside_a_box_are_refused_and_nothing_moves(value: float, dtype: Any) -> None:
    with Continuous(3) as env:
        env.reset(0)
        before = env.observations.copy()
        actions = np.zeros(env.actions.shape, dtype)
        actions[1, 0] = value
        with pytest.raises(ActionError, match=rf"action {value}.* of agent 1 is "):
            env.step(actions)
        np.testing.assert_array_equal(env.observations, before)
        env.step(np.zeros_like(actions))


def test_step_before_reset() -> None:
    with (
        Squared(2) as env,
        pytest.raises(ResetNeeded, match="step before reset: call reset first"),
    ):
        env.step([0, 0])


def test_step_after_attach(env: Squared) -> None:
    env.attach(_buffers(env))
    with pytest.raises(ResetNeeded, match="step before reset: call reset first"):
        env.step([0, 0, 0, 0])


def test_render_before_reset() -> None:
    with (
        Squared(2, render_mode="ansi") as env,
        pytest.raises(ResetNeeded, match="render before reset: call reset first"),
    ):
        env.render()


def test_any_call_after_close() -> None:
    env = Squared(2, render_mode="ansi")
    env.reset(0)
    env.close()
    env.close()
    for call in (
        lambda: env.step([0, 0]),
        env.reset,
        env.render,
        lambda: env.attach(_buffers(env)),
    ):
        with pytest.raises(ClosedError, match="the env is closed: make a new one"):
            call()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_envs": 0}, "num_envs=0: expected at least 1"),
        ({"num_envs": True}, "num_envs=True: expected an integer below 2**31"),
        ({"num_envs": 2**40}, "num_envs=1099511627776: expected an integer below 2**31"),
        ({"num_envs": 2.0}, "num_envs=2.0: expected an integer below 2**31"),
        ({"num_envs": None}, "num_envs=None: expected an integer below 2**31"),
        ({"report_interval": True}, "report_interval=True: expected an integer below 2**31"),
        ({"num_threads": True}, "num_threads=True: expected at least 1, or 0 or 'auto' to measure"),
        ({"num_threads": 2**31}, "num_threads=2147483648: expected at least 1, or 0 or 'auto'"),
        ({"num_threads": -1}, "num_threads=-1: expected at least 1, or 0 or 'auto' to measure"),
        ({"num_threads": "two"}, "num_threads='two': expected at least 1, or 0 or 'auto' to mea"),
        ({"report_interval": -1}, "report_interval=-1: expected a number of steps, or 0 for every"),
        ({"size": 4}, "size=4: expected an odd number from 3 to 255"),
        ({"size": 257}, "size=257: expected an odd number from 3 to 255"),
        ({"size": 2**40}, "option size: expected an int of its range"),
        ({"size": "11"}, "option size: expected an int of its range"),
        ({"max_steps": -1}, "max_steps=-1: expected at least 1, or 0 for 3 * size"),
        ({"render_mode": "rgb"}, "render_mode='rgb': Squared has 'rgb_array', 'human', 'ansi'"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        Squared(**options)


def test_unknown_names_list_the_known_ones() -> None:
    engine = extension.load("puffer.ocean._native").Engine
    with pytest.raises(UsageError, match="unknown option 'sise': the options are size max_steps"):
        engine("squared", 1, 1, 0, {"sise": 3})
    with pytest.raises(UsageError, match="no environment 'sqared' in this extension: it has"):
        engine("sqared", 1, 1, 0, {})


@pytest.mark.parametrize("seed", [-5, 2**63, 1.5, "1", True])
def test_bad_seeds(env: Squared, seed: Any) -> None:
    sentence = f"seed={seed!r}: expected an integer from 0 to 2**63 - 1, or None"
    with pytest.raises(UsageError, match=re.escape(sentence)):
        env.reset(seed)


def test_buffers_that_native_code_cannot_write(env: Squared) -> None:
    frozen = _buffers(env)
    frozen.rewards.flags.writeable = False
    with pytest.raises(UsageError, match="buffer rewards is not writeable C-contiguous memory"):
        env.attach(frozen)
    strided = _buffers(env)
    strided.observations = np.zeros((4, 242), np.uint8)[:, ::2]
    with pytest.raises(UsageError, match="buffer observations is not writeable C-contiguous"):
        env.attach(strided)


def test_an_engine_checks_its_buffers_itself() -> None:
    engine = extension.load("puffer.ocean._native").Engine("squared", 4, 1, 0, {})
    with pytest.raises(UsageError, match="reset before bind: call bind with the buffers first"):
        engine.reset(0)
    with Squared(4) as env:
        arrays = _buffers(env).arrays()
        wrong = arrays | {"actions": np.zeros(4, np.int64)}
        with pytest.raises(UsageError, match=r"buffer actions is int64\(4,\), expected int32\(4"):
            engine.bind(**wrong, action_space=env.single_action_space)


def test_optional_buffers_that_it_cannot_fill(env: Squared) -> None:
    buffers = _buffers(env)
    buffers.action_masks = np.ones((4, 5), bool)
    with pytest.raises(UsageError, match="Squared cannot fill action_masks"):
        env.attach(buffers)


def test_render_without_a_mode(env: Squared) -> None:
    with pytest.raises(UsageError, match="Squared was made without render_mode: give it one of"):
        env.render()


def test_render_of_a_simulation_that_is_not_there() -> None:
    with Squared(4, render_mode="ansi") as env:
        env.reset(0)
        with pytest.raises(UsageError, match="simulation=4: expected 0 to 3"):
            env.render(4)


@pytest.mark.parametrize(("mode", "package"), [("rgb_array", "PIL"), ("human", "pygame")])
def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, mode: str, package: str) -> None:
    for name in [package, *(m for m in sys.modules if m.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    sentence = (
        f"render_mode='{mode}' needs {package}, which is not installed: "
        'pip install "puffer-ocean[render]"'
    )
    with pytest.raises(MissingPackageError, match=re.escape(sentence)):
        render.open_renderer(mode, "Squared")


def test_an_extension_of_another_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = types.ModuleType("stranger")
    stranger.__puffer_protocol__ = 99  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stranger", stranger)
    with pytest.raises(PufferError, match="stranger was built for protocol 99 and this puffer-oce"):
        extension.load("stranger")


def test_an_extension_that_was_not_built() -> None:
    with pytest.raises(MissingPackageError, match="the compiled extension puffer_nowhere does not"):
        extension.load("puffer_nowhere")


def test_one_env_in_two_threads() -> None:
    env = Squared(1 << 16)
    env.reset(0)
    stop = threading.Event()
    sentences: list[str] = []

    def step_on() -> None:
        while not stop.is_set():
            try:
                env.step(env.actions)
            except UsageError as error:
                sentences.append(str(error))
                stop.set()

    threads = [threading.Thread(target=step_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sentences[0] == "this env is at work in another thread: use one env per thread"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_threads_come_back_after_a_fork() -> None:
    with Squared(8, num_threads=2) as env, Squared(8) as other:
        other.reset(0)
        env.reset(0)
        env.step_async(np.zeros(8, int))
        env.wait()
        expected = [other.step(np.ones(8, int))[0].tobytes() for _ in range(3)][-1]
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            env.reset(0)
            env.step(np.ones(8, int))
            env.step_async(np.ones(8, int))
            env.wait()
            os.write(write, env.step(np.ones(8, int))[0].tobytes())
            del env
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(read, 10_000) == expected
        env.step(np.zeros(8, int))


def _buffers(env: Squared) -> Buffers:
    return Buffers.allocate(
        Buffers.fields(env.single_observation_space, env.single_action_space, env.num_agents)
    )
