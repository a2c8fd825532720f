"""Gymnasium and PettingZoo environments under every backend: autoreset, statistics, final rows."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from vector_scripted import ScriptedParallelEnv

import puffer.vector
from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv, PettingZooPufferEnv
from puffer.core.errors import ResetNeeded, SpaceError, UsageError
from puffer.vector.autoreset import with_autoreset

BACKENDS = {
    "serial": {"backend": "serial"},
    "processes-1": {"backend": "multiprocessing", "num_workers": 1},
    "processes-2": {"backend": "multiprocessing", "num_workers": 2},
}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]


def make_cartpole(**kwargs):
    return gymnasium.make("CartPole-v1", **kwargs)


def wrap_cartpole(buf=None):
    return GymnasiumPufferEnv(env_creator=make_cartpole, buf=buf)


@pytest.mark.parametrize("creator", [make_cartpole, wrap_cartpole])
def test_cartpole_is_as_gymnasium_runs_it(backend, creator):
    reference = SyncVectorEnv([make_cartpole] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    with puffer.vector.make(creator, num_envs=4, final_observations=True, **backend) as vecenv:
        rng = np.random.default_rng(0)
        observations, infos = vecenv.reset(seed=3)
        np.testing.assert_array_equal(observations, reference.reset(seed=3)[0])
        assert infos == []
        returns = np.zeros(4)
        episodes = 0
        for _ in range(150):
            actions = rng.integers(2, size=4)
            *arrays, infos = vecenv.step(actions)
            *expected, expected_info = reference.step(actions)
            for array, reference_array in zip(arrays, expected, strict=True):
                np.testing.assert_array_equal(array, reference_array)
            returns += arrays[1]
            ended = arrays[2] | arrays[3]
            assert sorted(info["agent_id"] for info in infos) == list(np.flatnonzero(ended))
            for info in infos:
                agent = info["agent_id"]
                assert info["episodes"] == 1
                assert info["episode_return"] == info["episode_length"] == returns[agent]
                returns[agent] = 0
                episodes += 1
                np.testing.assert_array_equal(
                    vecenv.final_observations[agent], expected_info["final_obs"][agent]
                )
        assert episodes > 10
        assert vecenv.driver_env.emulated is not None
        assert isinstance(vecenv.driver_env, GymnasiumPufferEnv)
        assert vecenv.driver_env.env.observation_space.shape == (4,)
    reference.close()


def test_a_time_limit_truncates_and_keeps_the_last_observation(backend):
    kwargs = {"max_episode_steps": 3}
    options = {"num_envs": 2, "final_observations": True, **backend}
    with puffer.vector.make(make_cartpole, env_kwargs=kwargs, **options) as vecenv:
        vecenv.reset(seed=0)
        for t in range(1, 7):
            observations, rewards, terminals, truncations, infos = vecenv.step([0, 1])
            assert list(rewards) == [1, 1]
            assert not terminals.any()
            assert truncations.all() == (t % 3 == 0)
            if t % 3 == 0:
                assert [info["episode_length"] for info in infos] == [3, 3]
                # Three pushes later the cart is fast; a new episode begins slowly.
                assert (abs(vecenv.final_observations[:, 1]) > 0.3).all()
                assert (abs(observations[:, 1]) <= 0.05).all()


def test_reset_without_a_seed_is_fresh_even_after_one_with():
    with puffer.vector.make(make_cartpole) as vecenv:
        starts = [vecenv.reset(seed=seed)[0].copy() for seed in (1, None, 1, None)]
        np.testing.assert_array_equal(starts[0], starts[2])
        assert (starts[1] != starts[3]).any()


# Rows of the agents 0 to 2, which live from 0 to 2, from 0 to 4 and from 1 to 3.
TRACE = [
    # observations, rewards, terminals, truncations, masks
    ([[1, 1], [2, 1], [3, 1]], [1, 11, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]),
    ([[1, 2], [2, 2], [3, 2]], [2, 12, 22], [1, 0, 0], [0, 0, 0], [1, 1, 1]),
    ([[0, 0], [2, 3], [3, 3]], [0, 13, 23], [0, 0, 1], [0, 0, 0], [0, 1, 1]),
    ([[1, 0], [2, 0], [0, 0]], [0, 14, 0], [0, 0, 0], [0, 1, 0], [1, 1, 0]),
]
FINAL = {1: (0, [1, 2]), 2: (2, [3, 3]), 3: (1, [2, 4])}
ENDS = {1: (0, 3, 2), 2: (2, 45, 2), 3: (1, 50, 4)}  # agent, return, length


def test_agents_that_are_born_late_and_die_early(backend):
    options = {"num_envs": 2, "final_observations": True, **backend}
    with puffer.vector.make(ScriptedParallelEnv, **options) as vecenv:
        assert isinstance(vecenv.driver_env, PettingZooPufferEnv)
        assert (vecenv.num_agents, vecenv.total_envs) == (6, 2)
        vecenv.async_reset(0)
        observations, *_, masks = vecenv.recv()
        np.testing.assert_array_equal(observations, [[1, 0], [2, 0], [0, 0]] * 2)
        np.testing.assert_array_equal(masks, [True, True, False] * 2)
        for t in range(8):
            vecenv.send(np.zeros(6, int))
            *arrays, infos, _, masks = vecenv.recv()
            for array, expected in zip([*arrays, masks], TRACE[t % 4], strict=True):
                np.testing.assert_array_equal(array, expected * 2)
            if t % 4 in FINAL:
                agent, row = FINAL[t % 4]
                for env in range(2):
                    np.testing.assert_array_equal(vecenv.final_observations[3 * env + agent], row)
            given = [
                (info["agent_id"], info["episode_return"], info["episode_length"]) for info in infos
            ]
            expected_ends = [ENDS[t % 4]] if t % 4 in ENDS else []
            assert given == [(a + 3 * env, r, n) for env in range(2) for a, r, n in expected_ends]
            for info in infos:  # the environment's own keys
                assert info["score"] == -(info["agent_id"] % 3)
                assert info["t"] == t % 4 + 1


def test_the_agent_that_dies_last_is_unmasked_although_it_is_not_born_again():
    kwargs = {"births": (0, 1), "deaths": (2, 3)}
    with puffer.vector.make(ScriptedParallelEnv, env_kwargs=kwargs) as vecenv:
        vecenv.reset(seed=0)
        for _ in range(2):
            vecenv.step([0, 0])
        vecenv.send([0, 0])
        observations, rewards, _, truncations, _, _, masks = vecenv.recv()
        np.testing.assert_array_equal(observations, [[1, 0], [0, 0]])
        assert list(rewards) == [0, 13]
        assert list(truncations) == [False, True]
        assert list(masks) == [True, True]
        vecenv.send([0, 0])
        assert list(vecenv.recv()[6]) == [True, True]  # born at t = 1


def test_an_episode_may_begin_without_agents():
    kwargs = {"births": (2,), "deaths": (3,)}
    with puffer.vector.make(ScriptedParallelEnv, env_kwargs=kwargs) as vecenv:
        vecenv.async_reset(0)
        masks = [bool(vecenv.recv()[6][0])]
        ends = [False]
        for _ in range(6):
            vecenv.send([0])
            _, _, terminals, _, _, _, mask = vecenv.recv()
            masks.append(bool(mask[0]))
            ends.append(bool(terminals[0]))
        assert masks == [False, False, True, True, False, True, True]
        assert ends == [False, False, False, True, False, False, True]


def test_what_is_no_environment_is_refused():
    with pytest.raises(UsageError, match="is no environment"):
        puffer.vector.make(dict)


class MaskedEnv(gymnasium.Env):
    """Tells by its infos which actions are allowed."""

    observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {"action_mask": np.array([1, 0, 1], np.int8)}

    def step(self, action):
        self.t += 1
        mask = np.arange(3) == self.t
        return np.full(1, self.t, np.float32), 0.0, self.t == 2, False, {"action_mask": mask}


def test_action_masks_of_infos_reach_the_buffer(backend):
    with puffer.vector.make(MaskedEnv, num_envs=2, action_masks=True, **backend) as vecenv:
        vecenv.reset(seed=0)
        np.testing.assert_array_equal(vecenv.action_masks, [[True, False, True]] * 2)
        vecenv.step([0, 0])
        np.testing.assert_array_equal(vecenv.action_masks, [[False, True, False]] * 2)
        vecenv.step([1, 1])  # ends the episode: the masks are those of the next one
        np.testing.assert_array_equal(vecenv.action_masks, [[True, False, True]] * 2)


class CountedEnv(gymnasium.Env):
    """Lasts `length` steps and pays 0.1 for each, or what it is told to."""

    observation_space = gymnasium.spaces.Box(0, 9, (1,))
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, length=2, reward=0.1):
        self.length, self.reward = length, reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        over = self.t == self.length
        return np.full(1, self.t, np.float32), self.reward, over, False, {}


def test_neighbours_end_when_they_do(backend):
    kwargs = [{"length": length} for length in (1, 2, 3, 5)]
    with puffer.vector.make(CountedEnv, env_kwargs=kwargs, num_envs=4, **backend) as vecenv:
        vecenv.reset(seed=0)
        for t in range(1, 31):
            observations, _, terminals, _, infos = vecenv.step([0, 1, 2, 0])
            lengths = np.array([1, 2, 3, 5])
            np.testing.assert_array_equal(terminals, t % lengths == 0)
            np.testing.assert_array_equal(observations[:, 0], t % lengths)
            assert [info["agent_id"] for info in infos] == list(np.flatnonzero(t % lengths == 0))
            for info in infos:
                assert info["episode_length"] == lengths[info["agent_id"]]
                # In float64, although the rewards' row is float32.
                assert info["episode_return"] == pytest.approx(0.1 * info["episode_length"], 1e-12)


def test_a_wrong_reward_is_blamed_on_its_environment():
    kwargs = [{}, {"reward": "much"}, {}]
    options = {"env_kwargs": kwargs, "num_envs": 3, "backend": "serial"}
    with puffer.vector.make(CountedEnv, **options) as vecenv:
        vecenv.reset(seed=5)
        with pytest.raises(SpaceError, match="reward: expected a number, got 'much'") as caught:
            vecenv.step([0, 1, 2])
    note = "raised by env 1 in step(actions=[1]), number 1 since reset(seed=6)"
    assert note in caught.value.__notes__


def test_one_alone_is_stepped_alone():
    env = with_autoreset(CountedEnv())
    fields = Buffers.fields(env.single_observation_space, env.single_action_space, 1)
    env.attach(Buffers.allocate(fields))
    with pytest.raises(ResetNeeded, match="step was called before reset"):
        env.step(np.zeros(1, np.int32))
    env.reset(seed=0)
    for t in range(1, 7):
        *_, terminals, _, infos = env.step(np.zeros(1, np.int32))
        assert terminals[0] == (t % 2 == 0) == bool(infos)
