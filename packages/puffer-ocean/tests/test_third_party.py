"""Environments from outside, built by the exported CMake package: kinds that Ocean has none of."""

from __future__ import annotations

import importlib
import math
import platform
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puffer.core.buffers import Buffers
from puffer.core.errors import ActionError, ResetNeeded, UsageError
from puffer.core.spaces import Box, MultiDiscrete, write_actions
from puffer.ocean import native

MAZE = Path(__file__).parents[3] / "examples" / "puffer-maze"

pytestmark = pytest.mark.timeout(900)  # the first test compiles


@pytest.fixture
def extension(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of the compiled extension, which can be imported."""
    monkeypatch.syspath_prepend(compiled)
    return "_probe"


@pytest.fixture
def probe(extension: str) -> types.SimpleNamespace:
    """Return the classes of the test environments."""

    class Pair(native.OceanEnv):
        """Two agents."""

        native_name = "pair"

        def __init__(self, num_envs: int = 1, buf: Any = None, **options: Any) -> None:
            super().__init__(num_envs, options, report_interval=0, buf=buf)

    class Choices(native.OceanEnv):
        """Several components."""

        native_name = "choices"

        def __init__(self, num_envs: int = 1, render_mode: Any = None, **options: Any) -> None:
            super().__init__(num_envs, options, report_interval=2, render_mode=render_mode)

    class Sticks(native.OceanEnv):
        """Two agents, action masks, a heap of its own and lengths that all share."""

        native_name = "sticks"

        def __init__(self, num_envs: int = 1, buf: Any = None, **options: Any) -> None:
            super().__init__(num_envs, options, report_interval=0, buf=buf)

    class Drift(native.OceanEnv):
        """A block beside its scalar form, and observations of float16."""

        native_name = "drift"

        def __init__(self, num_envs: int = 1, buf: Any = None, **common: Any) -> None:
            super().__init__(num_envs, {}, buf=buf, **common)

    classes = {"Pair": Pair, "Choices": Choices, "Sticks": Sticks, "Drift": Drift}
    for env_class in classes.values():
        env_class.extension = extension
    return types.SimpleNamespace(**classes)


@pytest.mark.skipif(not MAZE.exists(), reason="the examples are not in this distribution")
def test_the_example_plays_by_its_name(extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(MAZE / "src")
    monkeypatch.setitem(sys.modules, "puffer_maze._native", importlib.import_module(extension))
    family = importlib.import_module("puffer_maze").family
    assert family.ids == ("maze",)
    spec = family.load("maze")
    assert [option.name for option in spec.options][:3] == ["num_envs", "rooms", "max_steps"]
    assert spec.settings["vec"] == {"backend": "native"}
    assert spec.help == "Find the way through a maze that is new in every episode."
    with pytest.raises(UsageError, match="rooms=9: expected 2 to 8"):
        spec.creator(rooms=9)
    with spec.creator(8, rooms=2, report_interval=0, render_mode="rgb_array") as env:
        assert env.observation_space.contains(env.reset(0)[0])
        actions = np.random.default_rng(0).integers(0, 4, (200, 8))
        infos = [info for row in actions for info in env.step(row)[4]]
        assert max(info["perf"] for info in infos) == 1.0
        assert env.render().shape == (160, 160, 3)


def test_another_version_is_refused(configure: Any, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(x LANGUAGES NONE)\n"
        "find_package(PufferOcean 0.9 CONFIG REQUIRED)\n"
    )
    result = configure(tmp_path, tmp_path / "build")
    assert result.returncode != 0
    assert 'compatible with requested version "0.9"' in " ".join(result.stderr.split())


def test_agents_live_die_and_come_back(probe: Any) -> None:
    with probe.Pair(3) as env:
        assert (env.num_agents, env.num_simulations) == (6, 3)
        assert env.single_action_space == Box(-1, 1, (3,), np.float32)
        assert env.single_observation_space == Box(
            np.array([-1, 0], np.float32), np.float32(100), dtype=np.float32
        )
        env.reset(0)
        actions = np.zeros((6, 3), np.float32)
        actions[:, 0] = 0.5
        masks, rewards, terminals, infos = [], [], [], []
        for _ in range(4):
            row = env.step(actions)
            masks.append(env.masks[:2].tolist())
            rewards.append(row[1][:2].tolist())
            terminals.append(row[2][:2].tolist())
            infos += row[4]
    assert masks == [[True, True], [True, True], [True, False], [True, True]]
    assert rewards == [[0.5, 0.5], [0.5, 0.5], [0.5, 0.0], [0.5, 0.0]]
    assert terminals == [[False, False], [False, True], [False, False], [True, False]]
    assert [info["agent_id"] for info in infos] == [0, 2, 4]
    # The mean over two agents of 4 and 2 rewards of 0.5.
    assert infos[0]["episode_return"] == infos[0]["score"] == 1.5
    assert math.isnan(infos[0]["perf"])
    assert (infos[0]["tick"], infos[0]["twice"], infos[0]["mean_reward"]) == (4, 8, 0.375)


def test_the_rows_of_several_agents_are_updated_and_those_of_the_absent_are_blank(
    probe: Any,
) -> None:
    with probe.Pair(2) as env:
        assert env.reset(0)[0].tolist() == [[10, 10]] * 4
        actions = np.zeros((4, 3), np.float32)
        rows, infos = [], []
        for _ in range(8):
            observations, *_, given = env.step(actions)
            rows.append(observations[:2].tolist())
            np.testing.assert_array_equal(observations[:2], observations[2:])
            infos += given
    # `update` writes an agent's first number alone; where it is absent nothing is left of that.
    episode = [[[11, 10]] * 2, [[12, 10]] * 2, [[13, 10], [0, 0]], [[10, 10]] * 2]
    assert rows == episode * 2
    assert [info["updates"] for info in infos] == [3] * 4  # the last step begins an episode


def test_options_of_several_agents_vary_between_simulations(probe: Any) -> None:
    with probe.Pair(3) as env:
        env.reset(0)
        env.vary(max_steps=[1, 3, 100])
        actions = np.zeros((6, 3), np.float32)
        lengths: dict[int, list[int]] = {0: [], 2: [], 4: []}
        for _ in range(12):
            for info in env.step(actions)[4]:
                lengths[info["agent_id"]].append(info["episode_length"])
        # The first episode had the old limit; of itself one ends in its fourth step.
        assert lengths == {0: [4] + [1] * 8, 2: [4, 3, 3], 4: [4, 4, 4]}
        with pytest.raises(UsageError, match="simulation 2: this option changes the spaces or"):
            env.vary(num_agents=[2, 2, 3])


@pytest.mark.parametrize(
    "bad",
    [
        np.full((2, 3), 1.5, np.float32),
        np.full((2, 3), np.nan, np.float32),
        np.full((2, 3), -2.0),
        np.zeros((2, 2), np.float32),
        np.zeros(6, np.float32),
        np.zeros((2, 3), complex),
    ],
    ids=str,
)
def test_bad_box_actions_are_refused_in_the_words_of_core(probe: Any, bad: np.ndarray) -> None:
    with probe.Pair() as env:
        env.reset(0)
        with pytest.raises(ActionError) as expected:
            write_actions(bad, np.zeros((2, 3), np.float32), env.single_action_space)
        with pytest.raises(ActionError, match=f"^{re.escape(str(expected.value))}$"):
            env.step(bad)
        assert (env.rewards == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_numbers_become_box_actions(probe: Any, dtype: Any) -> None:
    with probe.Pair() as env:
        env.reset(0)
        env.step(np.ones((2, 3), dtype))
        assert env.rewards.tolist() == [2, 2]


@pytest.mark.parametrize("bad", [[[0, 5]], [[3, 0]], [[-1, 0]], [[0, 0], [0, 0]], [0, 0]], ids=str)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.int8])
def test_bad_components_are_refused_in_the_words_of_core(probe: Any, bad: Any, dtype: Any) -> None:
    with probe.Choices() as env:
        env.reset(0)
        with pytest.raises(ActionError) as expected:
            write_actions(np.array(bad, dtype), np.zeros((1, 2), np.int32), env.single_action_space)
        with pytest.raises(ActionError, match=f"^{re.escape(str(expected.value))}$"):
            env.step(np.array(bad, dtype))


def test_components_arrive_in_order(probe: Any) -> None:
    with probe.Choices(2, word="four") as env:
        assert env.single_action_space == MultiDiscrete([3, 5])
        assert env.single_observation_space.shape == (1, 2)
        env.reset(0)
        observations, rewards, *_ = env.step([[1, 4], [2, 3]])
        assert observations.tolist() == [[[1, 4]], [[2, 3]]]
        assert rewards.tolist() == [4, 4]


def test_what_an_environment_raises_reaches_the_caller(probe: Any) -> None:
    with probe.Choices(2) as env:
        env.reset(0)
        with pytest.raises(RuntimeError, match="the author's mistake"):
            env.step([[0, 0], [2, 4]])
        with pytest.raises(ResetNeeded, match="step before reset: call reset first"):
            env.step([[0, 0], [0, 0]])
        env.reset(0)
        env.step([[0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"word": 3}, "option word: expected a str"),
        ({"number": "x"}, "option number: expected a number"),
        ({"num_envs": 0}, "num_envs=0: expected at least 1"),
    ],
    ids=str,
)
def test_options_of_every_type_are_checked(probe: Any, options: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        probe.Choices(**options)
    with probe.Choices(number=2) as env:  # an int where a number is expected
        assert env.single_observation_space.high.max() == 20
    with pytest.raises(UsageError, match="option discrete_floats: expected a bool"):
        probe.Pair(discrete_floats=1)


def test_an_authors_mistake_in_the_spec_is_named(probe: Any) -> None:
    sentence = "the environment's spec is wrong: box() goes with Action = float, discrete() and mul"
    with pytest.raises(UsageError, match=re.escape(sentence)):
        probe.Pair(discrete_floats=True)


def test_an_environment_that_draws_nothing_says_so(probe: Any) -> None:
    class Dark(probe.Choices):  # type: ignore[misc, name-defined]
        native_name = "pair"

    with pytest.raises(UsageError, match="render_mode='ansi': Dark draws nothing, use None"):
        Dark(render_mode="ansi")


def test_action_masks_hold_the_rows_of_all_components(probe: Any) -> None:
    assert probe.Sticks.can_fill_action_masks
    assert not probe.Pair.can_fill_action_masks
    with probe.Sticks(5) as env:
        fields = Buffers.fields(
            env.single_observation_space, env.single_action_space, 10, action_masks=True
        )
        buffers = Buffers.allocate(fields)
        env.attach(buffers)
        masks = buffers.action_masks
        assert masks is not None
        assert masks.shape == (10, 6)
        env.reset(0)
        absent = 0
        for row in np.random.default_rng(0).integers(0, [4, 2], (200, 10, 2)):
            # Sticks to take: none, or as many as the heap has.
            expected = np.arange(4) <= env.observations[:, :1]
            expected[~env.masks] = True
            np.testing.assert_array_equal(masks[:, :4], expected)
            assert masks[:, 4:].all()
            absent += (~env.masks).sum()
            env.step(row)
        assert absent > 100


def test_states_of_envs_with_vectors_and_shared_data(probe: Any) -> None:
    with probe.Sticks(7) as env, probe.Sticks(7) as other:
        env.reset(0)
        actions = np.random.default_rng(0).integers(0, [4, 2], (60, 14, 2))
        for row in actions[:31]:
            env.step(row)
        other.set_state(env.state())
        np.testing.assert_array_equal(other.masks, env.masks)
        np.testing.assert_array_equal(other.observations, env.observations)
        for row in actions[31:]:
            for one, two in zip(env.step(row)[:4], other.step(row)[:4], strict=True):
                np.testing.assert_array_equal(one, two)


def test_an_env_that_refuses_a_state(probe: Any) -> None:
    """A heap that is larger than the option allows, in bytes whose checksum is right."""
    with probe.Sticks(1, sticks=4) as env:
        seed = next(s for s in range(99) if env.reset(s)[0][0, 0] == 4)
        env.reset(seed)
        body = env.state()[:-8].replace(b"sticks=4 ", b"sticks=3 ")
    digest = 0xCBF29CE484222325
    for byte in body:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    forged = body + digest.to_bytes(8, sys.byteorder)
    with (
        probe.Sticks(1, sticks=3) as env,
        pytest.raises(UsageError, match="the state is damaged: pass what state"),
    ):
        env.set_state(forged)


def test_every_kernel_plays_as_the_scalar_one(
    probe: Any, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = native.load(extension).describe("drift")["kernels"]
    assert kernels[0] == "scalar"
    assert len(kernels) > 1 or platform.machine() not in ("x86_64", "AMD64")
    actions = np.random.default_rng(0).integers(0, 3, (200, 77))
    runs = []
    for kernel in kernels:
        for num_threads in (1, 3):
            with probe.Drift(77, kernel=kernel, num_threads=num_threads) as env:
                assert env.kernel == kernel
                assert env.single_observation_space.dtype == np.float16
                env.reset(0)
                run = []
                for row in actions:
                    steps = env.step(row)
                    run += [*(array.tobytes() for array in steps[:4]), repr(steps[4])]
                runs.append(run)
                assert np.isfinite(env.observations).all()
    assert all(run == runs[0] for run in runs)
    with probe.Drift(2) as env:
        assert env.kernel == kernels[-1]
    monkeypatch.setenv("PUFFER_OCEAN_KERNEL", kernels[1])
    with probe.Drift(2) as env, probe.Pair(2) as other:
        assert (env.kernel, other.kernel) == (kernels[1], "scalar")


def test_a_half_is_what_numpy_makes_of_a_float(probe: Any) -> None:
    with probe.Drift(64) as env:
        env.reset(0)
        speeds = np.zeros(64, np.float32)
        for row in np.random.default_rng(0).integers(0, 3, (30, 64)):
            before = env.observations[:, 1].astype(np.float32)
            ended = np.logical_or(*env.step(row)[2:4])
            gust = np.where(env.observations[:, 1] > before + (row - 1) * 0.125, 0.25, -0.25)
            speeds = np.where(ended, 0, speeds + ((row - 1) * 0.125 + gust)).astype(np.float32)
            np.testing.assert_array_equal(env.observations[:, 1], speeds.astype(np.float16))
