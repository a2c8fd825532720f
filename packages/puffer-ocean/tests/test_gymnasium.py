"""Gymnasium's own checks and wrappers accept Ocean's environments, which keep their own rules."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import puffer.ocean.gymnasium
import puffer.ocean.sanity
from puffer.core.errors import UsageError
from puffer.core.registry import find
from puffer.ocean import Breakout, Squared

IDS = dict(puffer.ocean.gymnasium.ids())


def make_vec(name: str, num_envs: int, **options: Any) -> Any:
    return gymnasium.make_vec(
        name, num_envs=num_envs, vectorization_mode="vector_entry_point", **options
    )


def test_every_environment_is_registered() -> None:
    assert IDS["puffer/Breakout-v0"] == "puffer_breakout"
    assert IDS["puffer/SquaredTargets-v0"] == "puffer_squared_targets"
    assert set(IDS) <= set(gymnasium.registry)


@pytest.mark.filterwarnings("ignore:.*Box observation space.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Box action space.*:UserWarning")
@pytest.mark.parametrize("name", IDS)
def test_gymnasium_accepts_it(name: str) -> None:
    if find(IDS[name]).creator().num_agents > 1:
        with pytest.raises(UsageError, match=r"agents and Gymnasium's single environments have"):
            gymnasium.make(name)
        return
    env = gymnasium.make(name, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


@pytest.mark.filterwarnings("ignore:.*Box observation space.*:UserWarning")
@pytest.mark.parametrize("name", ["Performance", "PerformanceEmpiric", "Spaces"])
def test_the_suite_in_python_is_plain_gymnasium(name: str) -> None:
    env = gymnasium.make(f"puffer/{name}-v0")
    assert not isinstance(env.unwrapped, puffer.ocean.gymnasium.SingleEnv)
    if name == "Spaces":
        check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=0)  # the others tell the time, which no check sees twice
    for _ in range(3):
        assert env.observation_space.contains(observation)
        observation, *_ = env.step(env.action_space.sample())
    names = set(puffer.ocean.sanity.family.ids) - {"puffer_multiagent"}
    assert len(names) == len(puffer.ocean.gymnasium.PYTHON_GAMES)


def test_a_single_one_plays_what_the_engine_plays() -> None:
    env = gymnasium.make("puffer/Squared-v0", size=5)
    assert env.observation_space.shape == (25,)
    rng = np.random.default_rng(0)
    episodes = 0
    observation, _ = env.reset(seed=4)
    for _ in range(300):
        assert (observation == 2).sum() == 1
        observation, reward, terminal, truncated, info = env.step(rng.integers(5))
        if terminal or truncated:
            episodes += 1
            # The last observation is the ended episode's own: the target is reached or the agent
            # is off the grid, where a new one would show it in the middle.
            assert truncated or (observation == 1).sum() == (reward > 0)
            assert info["episode_return"] == reward
            with pytest.raises(UsageError, match="step after the end of an episode"):
                env.step(0)
            observation, _ = env.reset()
            assert observation[12] == 1
    assert episodes > 20


def test_resets_of_a_single_one_are_reproducible_and_differ() -> None:
    env = gymnasium.make("puffer/Squared-v0")
    firsts = []
    for _ in range(2):
        row = [env.reset(seed=9)[0].tolist()]
        row += [env.reset()[0].tolist() for _ in range(5)]
        firsts.append(row)
    assert firsts[0] == firsts[1]
    assert len({tuple(first) for first in firsts[0]}) > 3


def test_a_vector_is_the_engine_with_gymnasiums_infos() -> None:
    envs = make_vec("puffer/Breakout-v0", 1024, max_steps=20)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert (envs.num_envs, envs.observation_space.shape) == (1024, (1024, 118))
    with Breakout(1024, max_steps=20) as env:
        first, infos = envs.reset(seed=3)
        np.testing.assert_array_equal(first, env.reset(3)[0])
        for step in range(45):
            actions = np.random.default_rng(step).integers(0, 3, 1024)
            given = envs.step(actions)
            for mine, theirs in zip(env.step(actions)[:4], given[:4], strict=True):
                np.testing.assert_array_equal(mine, theirs)
            over = given[2] | given[3]
            assert over.any() == bool(given[4])
            if over.any():
                infos = given[4]
                np.testing.assert_array_equal(infos["_final_obs"], over)
                assert [o is not None for o in infos["final_obs"]] == over.tolist()
                assert infos["final_info"]["episode_length"][over].tolist() == [20] * over.sum()
                np.testing.assert_array_equal(infos["final_info"]["_score"], over)
    before = first.copy()
    envs.step(np.zeros(1024, int))
    np.testing.assert_array_equal(first, before)  # what was returned is the caller's
    envs.close()


def test_wrappers_of_gymnasium_work_on_it() -> None:
    """But not those that change observations: Gymnasium wants AutoresetMode.NEXT_STEP for them."""
    envs: Any = make_vec("puffer/Squared-v0", 16)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs = gymnasium.wrappers.vector.TransformReward(envs, lambda r: 2 * r)
    envs.reset(seed=0)
    told = []
    for _ in range(60):
        _, rewards, *_, infos = envs.step(envs.action_space.sample())
        assert set(rewards) <= {-2, 0, 2}
        if "episode" in infos:
            told += infos["episode"]["l"][infos["_episode"]].tolist()
    assert len(told) > 10
    assert all(1 <= length <= 33 for length in told)
    envs.close()


def test_seeds_of_a_vector() -> None:
    envs = make_vec("puffer/Squared-v0", 4)
    by_number = envs.reset(seed=5)[0]
    np.testing.assert_array_equal(envs.reset(seed=[5, 6, 7, 8])[0], by_number)
    with pytest.raises(UsageError, match="must count up by 1"):
        envs.reset(seed=[5, 7, 8, 9])
    with pytest.raises(UsageError, match="episodes begin by themselves"):
        envs.reset(options={"reset_mask": np.ones(4, bool)})
    assert not np.array_equal(envs.reset()[0], envs.reset()[0])


def test_a_vector_draws_each_of_its_simulations() -> None:
    envs = make_vec("puffer/Squared-v0", 3, render_mode="rgb_array")
    envs.reset(seed=0)
    assert [picture.shape for picture in envs.render()] == [(352, 352, 3)] * 3
    assert make_vec("puffer/Squared-v0", 3).render() is None


def test_the_class_behind_it_is_the_same() -> None:
    assert find(IDS["puffer/Squared-v0"]).creator is Squared
