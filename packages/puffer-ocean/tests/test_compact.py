"""Observations of float16: those of float32, rounded as NumPy rounds, whoever wrote them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

import puffer.ocean.gymnasium  # noqa: F401 - registers
from puffer.core.errors import UsageError
from puffer.core.registry import find
from puffer.ocean import Breakout, Cartpole, Engine
from puffer.ocean.envs import family
from puffer.ocean.extension import load
from puffer.ocean.native import OceanEnv

FLOATS = [
    name
    for name in family.ids
    if "observation_dtype" in {option.name for option in family.load(name).options}
]


def bits(observations: np.ndarray) -> np.ndarray:
    return observations.astype(np.float16).view(np.uint16)


@pytest.mark.parametrize("name", FLOATS)
def test_they_are_the_rounded_ones_at_every_level(
    name: str, play: Any, make_buffers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 61 simulations some fill no block; 2,000 steps see many episodes end."""
    creator: type[OceanEnv] = find(name).creator
    for kernel in load(creator.extension).describe(creator.native_name)["kernels"]:
        monkeypatch.setenv("PUFFER_OCEAN_KERNEL", kernel)
        traces = []
        for dtype, num_threads in (("float32", 1), ("float16", 1), ("float16", 3)):
            buf = make_buffers(creator, 61, observation_dtype=dtype)
            buf.final_observations[...] = 0
            options = {"observation_dtype": dtype, "num_threads": num_threads, "max_steps": 90}
            env = creator(61, buf=buf, **options)
            assert env.kernel == kernel
            assert env.observations.dtype == dtype == env.single_observation_space.dtype
            traces.append(play(env, 2000))
        for trace in traces[1:]:
            for array in ("first", "observations", "final_observations"):
                rounded = bits(getattr(traces[0], array))
                np.testing.assert_array_equal(bits(getattr(trace, array)), rounded)
            for array in ("rewards", "terminals", "truncations", "masks"):
                np.testing.assert_array_equal(getattr(trace, array), getattr(traces[0], array))
            assert repr(trace.infos) == repr(traces[0].infos)


def test_there_are_environments_that_have_them() -> None:
    assert {"puffer_breakout", "puffer_pong", "puffer_cartpole", "puffer_continuous"} <= {*FLOATS}


@pytest.mark.parametrize("name", FLOATS)
def test_a_state_does_not_know_of_them(name: str, random_actions: Any) -> None:
    creator: type[OceanEnv] = find(name).creator
    with creator(13) as exact, creator(13, observation_dtype="float16") as compact:
        actions = random_actions(exact, 80)
        for env, other, seed in ((exact, compact, 1), (compact, exact, 2)):
            env.reset(seed)
            other.reset(9)
            for row in actions[:30]:
                env.step(row)
            other.set_state(env.state())
            for row in actions[30:]:
                np.testing.assert_array_equal(bits(other.observations), bits(env.observations))
                env.step(row)
                other.step(row)


def test_simulations_with_options_of_their_own_have_them() -> None:
    actions = np.random.default_rng(0).integers(0, 3, (200, 16))
    with Breakout(16) as exact, Breakout(16, observation_dtype="float16") as compact:
        for env in (exact, compact):
            env.vary(frame_skip=np.arange(16) % 4 + 1, max_steps=40)
            env.reset(0)
        for row in actions:
            exact.step(row)
            compact.step(row)
            np.testing.assert_array_equal(bits(compact.observations), bits(exact.observations))


def test_bounds_are_rounded_too() -> None:
    with Cartpole(observation_dtype="float16") as compact, Cartpole() as exact:
        space, wide = compact.single_observation_space, exact.single_observation_space
        assert isinstance(wide, gymnasium.spaces.Box)
        np.testing.assert_array_equal(space.low, wide.low.astype(np.float16))
        np.testing.assert_array_equal(space.high, wide.high.astype(np.float16))
        assert np.isinf(space.high).tolist() == [False, True, False, True]


def test_an_engine_writes_what_the_array_holds() -> None:
    def arrays(dtype: Any) -> dict[str, np.ndarray]:
        return {
            "observations": np.zeros((6, 118), dtype),
            "actions": np.zeros(6, np.int32),
            "rewards": np.zeros(6, np.float32),
            "terminals": np.zeros(6, bool),
        }

    exact, compact = arrays(np.float32), arrays(np.float16)
    with (
        Engine("breakout", **exact, num_envs=6) as one,
        Engine("breakout", **compact, num_envs=6) as other,
    ):
        assert other.single_observation_space.dtype == np.float16
        for engine in (one, other):
            engine.reset(3)
            for _ in range(50):
                engine.step()
        np.testing.assert_array_equal(bits(compact["observations"]), bits(exact["observations"]))
    with pytest.raises(UsageError, match=r"observations is float64\(6, 118\), expected float32"):
        Engine("breakout", **arrays(np.float64), num_envs=6)


def test_gymnasium_gets_them() -> None:
    env = gymnasium.make("puffer/Breakout-v0", observation_dtype="float16", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.float16 == env.observation_space.dtype
    assert env.observation_space.contains(env.step(1)[0])
    assert np.asarray(env.render()).shape == (330, 576, 3)
    env.close()


def test_what_there_is_not() -> None:
    with pytest.raises(UsageError, match="observation_dtype='uint8': breakout has float32 float16"):
        Breakout(observation_dtype="uint8")

    class Other(OceanEnv):
        extension, native_name = "puffer.ocean._native", "squared"

    with pytest.raises(UsageError, match="observation_dtype='float16': squared has uint8"):
        Other(1, {}, observation_dtype="float16")
