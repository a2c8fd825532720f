"""What must hold for every native environment."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

from puffer.core.buffers import Buffers
from puffer.core.stats import KEYS
from puffer.ocean.envs import family
from puffer.ocean.extension import load
from puffer.ocean.native import OceanEnv

EnvClass = type[OceanEnv]

# Their rules draw nothing at random: every episode is the same, whatever the seed.
UNSEEDED = {"Password", "Stochastic"}
# Every first observation is the same, so that it does not show how an episode was drawn.
PLAIN_START = {"Bandit"}
# Random play hardly ever ends an episode before it is truncated.
ENDLESS = {"Bandit", "SquaredTargets"}


def assert_same(a: Any, b: Any) -> None:
    for x, y in zip(a.arrays(), b.arrays(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_every_step_stays_within_the_space_and_says_what_happened(
    env_class: EnvClass, play: Any
) -> None:
    env = env_class(16)
    space = env.observation_space
    trace = play(env, 2000)
    assert space.contains(trace.first)
    assert all(space.contains(observations) for observations in trace.observations)
    assert np.isfinite(trace.rewards).all()
    assert (trace.terminals | trace.truncations).any()
    assert trace.terminals.any() == (env_class.__name__ not in ENDLESS)
    assert trace.masks.all()
    assert not (trace.terminals & trace.truncations).any()


def test_the_same_seed_plays_the_same_and_another_plays_otherwise(
    env_class: EnvClass, play: Any
) -> None:
    trace = play(env_class(8), 300)
    assert_same(trace, play(env_class(8), 300))
    other = play(env_class(8), 300, seed=100)
    differ = [
        not np.array_equal(*pair) for pair in zip(trace.arrays(), other.arrays(), strict=True)
    ]
    assert any(differ) == (env_class.__name__ not in UNSEEDED)


def test_a_second_reset_starts_anew(env_class: EnvClass, same_actions: Any) -> None:
    with env_class(8) as env:
        first = env.reset(5)[0].copy()
        actions = same_actions(env)
        runs = []
        for _ in range(2):
            env.reset(5)
            runs.append([env.step(actions)[0].copy() for _ in range(100)])
        np.testing.assert_array_equal(runs[0], runs[1])
        np.testing.assert_array_equal(env.reset(5)[0], first)


def test_without_a_seed_each_reset_differs(env_class: EnvClass, same_actions: Any) -> None:
    with env_class(64) as env:
        runs = []
        for _ in range(2):
            env.reset()
            observations, rewards, *_ = env.step(same_actions(env))
            runs.append([*observations.ravel(), *rewards])
        assert (runs[0] != runs[1]) == (env_class.__name__ not in UNSEEDED)


def test_every_kernel_plays_the_same(
    env_class: EnvClass, play: Any, make_buffers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """61 simulations: blocks of any width are filled, and some simulations are left over."""
    traces = []
    for kernel in load(env_class.extension).describe(env_class.native_name)["kernels"]:
        monkeypatch.setenv("PUFFER_OCEAN_KERNEL", kernel)
        for num_threads in (1, 2):
            buf = make_buffers(env_class, 61)
            env = env_class(61, report_interval=50, num_threads=num_threads, buf=buf)
            assert env.kernel == kernel
            traces.append(play(env, 400))
    for trace in traces[1:]:
        assert_same(trace, traces[0])
        np.testing.assert_array_equal(trace.final_observations, traces[0].final_observations)
        assert repr(trace.infos) == repr(traces[0].infos)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_threads_change_nothing(env_class: EnvClass, play: Any, num_threads: int) -> None:
    one = play(env_class(61, report_interval=50), 300)
    many = play(env_class(61, report_interval=50, num_threads=num_threads), 300)
    assert_same(one, many)
    for infos, others in zip(one.infos, many.infos, strict=True):
        assert len(infos) == len(others)
        for info, other in zip(infos, others, strict=True):
            assert info == pytest.approx(other, nan_ok=True)


def test_the_split_into_envs_changes_nothing(
    env_class: EnvClass, play: Any, random_actions: Any
) -> None:
    actions = random_actions(env_class(64), 300, seed=1)
    whole = play(env_class(64), 300, seed=11, actions=actions)
    half = actions.shape[1] // 2
    left = play(env_class(32), 300, seed=11, actions=actions[:, :half])
    right = play(env_class(32), 300, seed=11 + 32, actions=actions[:, half:])
    for name in ("observations", "rewards", "terminals", "truncations"):
        parts = np.concatenate([getattr(left, name), getattr(right, name)], axis=1)
        np.testing.assert_array_equal(getattr(whole, name), parts)


def test_an_ended_episode_is_followed_by_a_fresh_one(
    env_class: EnvClass, play: Any, same_actions: Any
) -> None:
    with env_class(20_000) as env:
        firsts = env.reset(1)[0].copy()
    low, high = firsts.min(axis=0), firsts.max(axis=0)
    trace = play(env_class(64, max_steps=2), 40)
    starts = trace.observations[trace.of_agents(trace.over())]
    assert ((low <= starts) & (starts <= high)).all()
    if env_class.__name__ in UNSEEDED | PLAIN_START:
        return
    # They are drawn anew: the same simulation and actions, yet another second observation.
    env = env_class(64, max_steps=2)
    idle = play(env, 40, actions=np.stack([same_actions(env)] * 40))
    seconds = idle.observations[0::2, ~idle.terminals.any(axis=0)]
    assert seconds.shape[1] > 0
    assert all(not np.array_equal(seconds[0], second) for second in seconds[1:])


def test_max_steps_truncates_and_nothing_else_does(env_class: EnvClass, play: Any) -> None:
    env = env_class(32, max_steps=3, report_interval=0)
    assert env.max_steps == 3
    trace = play(env, 200)
    lengths = np.zeros(32, int)
    for truncations, over in zip(trace.truncations, trace.over(), strict=True):
        lengths += 1
        assert (trace.of_agents(lengths)[truncations] == 3).all()
        assert (lengths <= 3).all()
        assert over[lengths == 3].all()
        lengths[over] = 0
    assert trace.truncations.any()


def test_final_observations_hold_the_end_of_the_episode(
    env_class: EnvClass, play: Any, make_buffers: Any
) -> None:
    """The last observation of a truncated episode is what a longer limit would have shown."""
    limit = 3
    with_finals = play(env_class(32, max_steps=limit, buf=make_buffers(env_class, 32)), limit)
    longer = play(env_class(32, max_steps=limit + 1), limit)
    ended = with_finals.truncations[limit - 1] & ~with_finals.terminals[:limit].any(axis=0)
    assert ended.any()
    np.testing.assert_array_equal(
        with_finals.final_observations[limit - 1][ended], longer.observations[limit - 1][ended]
    )
    # Rows of episodes that did not end were left alone.
    going_on = ~with_finals.of_agents(with_finals.over())[0]
    assert (with_finals.final_observations[0][going_on].view(np.uint8) == 0x2A).all()


def test_incremental_observations_equal_complete_ones(
    env_class: EnvClass, play: Any, make_buffers: Any
) -> None:
    """A complete observation, written into `final_observations` at step k, shows no difference."""
    long = play(env_class(64, max_steps=1000), 60)
    alive = np.ones(64, bool)  # simulations still in their first episode
    compared = 0
    for step in range(60):
        alive &= ~long.over()[step]
        if step % 7 == 3:
            short = play(
                env_class(64, max_steps=step + 1, buf=make_buffers(env_class, 64)), step + 1
            )
            rows = long.of_agents(alive)
            np.testing.assert_array_equal(
                short.final_observations[step][rows], long.observations[step][rows]
            )
            compared += int(alive.sum())
    assert compared >= 64


def test_statistics_equal_a_recount(env_class: EnvClass, play: Any) -> None:
    trace = play(env_class(32, report_interval=0), 1000)
    returns, lengths = np.zeros(32), np.zeros(32, int)
    rewards = trace.rewards.reshape(1000, 32, trace.agents).mean(axis=2)
    for step, (infos, over) in enumerate(zip(trace.infos, trace.over(), strict=True)):
        returns += rewards[step]
        lengths += 1
        simulations = [info["agent_id"] / trace.agents for info in infos]
        assert simulations == list(np.flatnonzero(over))
        for info in infos:
            simulation = info["agent_id"] // trace.agents
            assert info["episodes"] == 1
            assert info["episode_return"] == pytest.approx(returns[simulation], rel=1e-5, abs=1e-4)
            assert info["episode_length"] == lengths[simulation]
            assert set(KEYS) < set(info)
            assert 0 <= info["perf"] <= 1
        returns[over], lengths[over] = 0, 0


def test_interval_infos_are_the_means_of_the_episodes(env_class: EnvClass, play: Any) -> None:
    each = play(env_class(32, report_interval=0), 1024)
    means = play(env_class(32, report_interval=128), 1024)
    assert_same(each, means)
    for step, infos in enumerate(means.infos):
        if (step + 1) % 128:
            assert infos == []
            continue
        episodes = [info for row in each.infos[step - 127 : step + 1] for info in row]
        if not episodes:
            assert infos == []
            continue
        (info,) = infos
        assert info["episodes"] == len(episodes)
        assert "agent_id" not in info
        for key in info.keys() - {"episodes"}:
            assert info[key] == pytest.approx(math.fsum(e[key] for e in episodes) / len(episodes))


def test_nothing_is_written_outside_the_rows(
    env_class: EnvClass, make_buffers: Any, random_actions: Any
) -> None:
    """The env owns all rows but one simulation's at each end of larger arrays: sentinels."""
    whole = make_buffers(env_class, 10)
    agents = len(whole.rewards) // 10
    untouched = {name: array.copy() for name, array in whole.arrays().items() if array is not None}
    with env_class(8, buf=whole.rows(agents, 9 * agents), num_threads=2, max_steps=20) as env:
        env.reset(0)
        for row in random_actions(env, 300):
            env.step(row)
    for name, before in untouched.items():
        array = getattr(whole, name)
        np.testing.assert_array_equal(array[[0, -1]], before[[0, -1]])


def test_every_row_is_written(env_class: EnvClass, make_buffers: Any, same_actions: Any) -> None:
    buffers = make_buffers(env_class, 4)
    with env_class(4, buf=buffers) as env:
        env.reset(0)
        env.step(same_actions(env))
        assert env.observation_space.contains(buffers.observations)
        assert (buffers.rewards.view(np.uint32) != 0x2A2A2A2A).all()


def test_new_buffers_may_be_attached(
    env_class: EnvClass, make_buffers: Any, play: Any, same_actions: Any
) -> None:
    expected = play(env_class(8), 50)
    env = env_class(8)
    env.reset(0)
    env.step(same_actions(env))
    env.attach(make_buffers(env_class, 8))
    assert_same(play(env, 50), expected)


def test_python_signature_and_native_options_agree(env_class: EnvClass) -> None:
    spec = family.load(f"puffer_{env_class.native_name}")
    parameters = inspect.signature(spec.creator).parameters
    assert {o.name: o.default for o in spec.options} == {
        name: p.default for name, p in parameters.items() if name not in ("render_mode", "buf")
    }
    assert all(option.help for option in spec.options)
    assert spec.help.endswith(".")
    assert spec.settings["env"].keys() <= parameters.keys()


def test_buffers_are_what_core_allocates(env_class: EnvClass) -> None:
    with env_class(3) as env:
        assert env.num_simulations == 3
        agents = env.num_agents
        fields = Buffers.fields(env.single_observation_space, env.single_action_space, agents)
        for name, (shape, dtype) in fields.items():
            assert (getattr(env, name).shape, getattr(env, name).dtype) == (shape, dtype)
