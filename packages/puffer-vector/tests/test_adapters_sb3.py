"""to_sb3: what Stable-Baselines3's own DummyVecEnv gives, from every backend."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from adapter_envs import SPACES, DictEnv, OptionsEnv, StillEnv, TellingEnv, make_cartpole
from vector_scripted import CountingEnv, PlainEnv, ScriptedParallelEnv

import puffer.vector
from puffer.core.errors import ActionError, ResetNeeded, UsageError
from puffer.core.stats import KEYS
from puffer.vector.adapters import to_sb3

pytest.importorskip("stable_baselines3")  # where torch is not installed

from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

BACKENDS = {
    "serial": {"backend": "serial"},
    "processes": {"backend": "multiprocessing", "num_workers": 2},
}
OURS = {*KEYS, "episodes", "episode"}  # what we add to the info of a step that ends an episode


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]


def make(creator, num_envs=4, flat=False, **options):
    vecenv = puffer.vector.make(creator, num_envs=num_envs, final_observations=True, **options)
    return to_sb3(vecenv, flat=flat)


@pytest.mark.parametrize("creator", [make_cartpole, DictEnv, TellingEnv])
def test_it_is_bitwise_as_sb3s_own(creator, backend):
    theirs, ours = DummyVecEnv([creator] * 4), make(creator, **backend)
    assert (ours.observation_space, ours.action_space) == (
        theirs.observation_space,
        theirs.action_space,
    )
    ends = 0
    for seed in (3, 50):  # the second one begins in the middle of episodes
        assert list(ours.seed(seed)) == list(theirs.seed(seed))
        np.testing.assert_equal(ours.reset(), theirs.reset())
        theirs.action_space.seed(seed)
        for _ in range(60):
            actions = [theirs.action_space.sample() for _ in range(4)]
            mine, expected = ours.step(actions), theirs.step(actions)
            np.testing.assert_equal(
                mine[0], dict(expected[0]) if creator is DictEnv else expected[0]
            )
            for one, other in zip(mine[1:3], expected[1:3], strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
            for done, info, other in zip(expected[2], mine[3], expected[3], strict=True):
                assert (info.keys() >= OURS) == done
                rest = {key: value for key, value in info.items() if key not in OURS}
                np.testing.assert_equal(rest, other)
                if done:
                    ends += 1
                    assert info["episode"]["r"] == info["episode_return"]
                    assert info["episode"]["l"] == info["episode_length"]
    assert ends > 5
    ours.close()
    ours.close()


def test_results_are_new_arrays():
    env = make(make_cartpole)
    kept = env.reset()
    before = kept.copy()
    first = env.step(np.zeros(4, int))
    second = env.step(np.zeros(4, int))
    np.testing.assert_array_equal(kept, before)
    assert not any(np.shares_memory(a, b) for a, b in zip(first[:3], second[:3], strict=True))


def test_a_step_in_two_halves():
    env = make(make_cartpole)
    env.seed(1)
    env.reset()
    env.step_async(np.zeros(4, int))
    with pytest.raises(ResetNeeded, match=r"while results are pending"):
        env.step_async(np.zeros(4, int))
    assert len(env.step_wait()) == 4
    env.step_async(np.zeros(4, int))
    env.seed(1)
    env.reset()  # drops what is pending
    env.step(np.zeros(4, int))


@pytest.mark.parametrize("name", SPACES)
def test_every_kind_of_action_reaches_the_environment(name, backend):
    env = make(lambda: StillEnv(name), num_envs=2, **backend)
    assert env.action_space == SPACES[name]
    env.reset()
    for _ in range(3):
        actions = [env.action_space.sample() for _ in range(2)]
        env.step(actions)
        for got, sent in zip(env.get_attr("last_action"), actions, strict=True):
            np.testing.assert_equal(got, sent)
    with pytest.raises(ActionError):
        env.step([env.action_space.sample()])
    env.close()


def test_attributes_methods_options_and_frames(backend):
    env = make(lambda: gymnasium.wrappers.TimeLimit(OptionsEnv(), 3), **backend)
    assert env.render_mode == "rgb_array"
    assert env.metadata == {"render_modes": ["rgb_array"]}
    env.set_options({"level": 7})
    env.reset()
    assert env.get_attr("options") == [{"level": 7}] * 4
    env.set_options([{"level": 1}, {}, {"level": 3}, {}])
    env.reset()
    assert env.get_attr("options") == [{"level": 1}, None, {"level": 3}, None]
    env.reset()
    assert env.get_attr("options", [0, -1]) == [None, None]
    env.set_attr("power", 5, indices=[1, 3])
    assert env.get_attr("power") == [0, 5, 0, 5]
    assert env.get_attr("power", 1) == [5]
    env.env_method("set_wrapper_attr", "power", 8, indices=0)
    assert env.env_method("double", name="power", indices=[0]) == [16]
    assert env.has_attr("power")
    assert not env.has_attr("nothing")
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit, [0, 1]) == [True, True]
    assert env.env_is_wrapped(gymnasium.wrappers.ClipAction) == [False] * 4
    assert [int(frame.max()) for frame in env.get_images()] == [8, 0, 0, 0]
    assert env.render().shape == (2, 2, 3)
    for _ in range(3):
        infos = env.step(np.zeros(4, int))[3]
    assert [info["TimeLimit.truncated"] for info in infos] == [True] * 4
    env.close()


def test_agents_are_rows(backend):
    env = make(ScriptedParallelEnv, num_envs=2, **backend)
    assert env.num_envs == 6
    env.reset()
    for t in range(1, 5):
        _, _, dones, infos = env.step(np.zeros(6, int))
        expected = [t == death for death in (2, 4, 3)] * 2
        assert dones.tolist() == expected
        cut = [info["TimeLimit.truncated"] for info in infos]
        assert cut == [done and row % 3 == 1 for row, done in enumerate(expected)]
        for row in np.flatnonzero(dones):
            assert infos[row]["terminal_observation"].tolist() == [row % 3 + 1, t]
    assert len(env.get_attr("possible_agents")) == 6
    env.close()


def test_native_environments_report_in_row_0():
    class Reporting(CountingEnv):
        def step(self, actions):
            *rest, _ = super().step(actions)
            return *rest, [{"episodes": 3, "episode_return": 2.0}]

    env = make(Reporting, num_envs=2)
    env.reset()
    infos = env.step(np.zeros(4, int))[3]
    assert infos[0]["report"] == {"episodes": 6, "episode_return": 2.0}
    assert ["report" in info for info in infos] == [True, False, False, False]


def test_wrappers(backend):
    env = VecMonitor(VecNormalize(VecFrameStack(make(make_cartpole, **backend), n_stack=2)))
    env.seed(0)
    assert env.reset().shape == (4, 8)
    seen = 0
    for _ in range(60):
        observations, _, dones, infos = env.step(np.ones(4, int))
        assert observations.shape == (4, 8)
        for done, info in zip(dones, infos, strict=True):
            seen += done
            assert ("terminal_observation" in info) == done
    assert seen > 5
    env.close()


def test_refusals():
    with pytest.raises(UsageError, match=r"give puffer\.vector\.make final_observations=True$"):
        to_sb3(puffer.vector.make(make_cartpole)).reset()
    env = to_sb3(puffer.vector.make(PlainEnv))
    with pytest.warns(UserWarning, match=r"^PlainEnv does not keep the last observation of an ep"):
        env.reset()
    for _ in range(4):
        assert not any("terminal_observation" in info for info in env.step(np.zeros(2, int))[3])
    flat = make(DictEnv, flat=True)
    assert flat.observation_space == flat.vecenv.single_observation_space
    assert flat.reset().shape == (4, *flat.observation_space.shape)
