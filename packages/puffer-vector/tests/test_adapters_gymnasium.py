"""to_gymnasium: what Gymnasium's own vector environments give, from every backend."""

from __future__ import annotations

import sys

import gymnasium
import numpy as np
import pytest
from adapter_envs import (
    SPACES,
    NestedEnv,
    OptionsEnv,
    PictureEnv,
    StillEnv,
    TellingEnv,
    make_cartpole,
)
from gymnasium import spaces, wrappers
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from vector_scripted import CountingEnv, PlainEnv, ScriptedParallelEnv

import puffer.vector
from puffer.core.errors import ActionError, MissingPackageError, ResetNeeded, UsageError
from puffer.core.stats import KEYS
from puffer.vector.adapters import to_gymnasium

BACKENDS = {
    "serial": {"backend": "serial"},
    "processes": {"backend": "multiprocessing", "num_workers": 2},
    "copies": {"backend": "multiprocessing", "num_workers": 2, "zero_copy": False},
}
OURS = {*KEYS, "episodes"}  # the statistics that we add to an episode's own info


@pytest.fixture(params=BACKENDS)
def backend(request):
    return BACKENDS[request.param]


def make(creator, num_envs=4, autoreset_mode="SameStep", flat=False, copy=True, **options):
    vecenv = puffer.vector.make(creator, num_envs=num_envs, final_observations=True, **options)
    return to_gymnasium(vecenv, autoreset_mode=autoreset_mode, flat=flat, copy=copy)


def same(ours, theirs):
    """Compare nested dicts and tuples of arrays: keys, dtypes, shapes and values."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    elif isinstance(theirs, np.ndarray) and theirs.dtype == object:
        same(tuple(ours), tuple(theirs))
    elif isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    else:
        assert ours == theirs


def without_ours(infos):
    """Return `infos` without the statistics that Puffer adds, having seen that they are there."""
    own = infos.get("final_info", infos)
    assert not own or set(own) >= OURS
    rest = {key: value for key, value in own.items() if key.removeprefix("_") not in OURS}
    return {**infos, "final_info": rest} if "final_info" in infos else rest


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("creator", [make_cartpole, NestedEnv, TellingEnv])
def test_it_is_bitwise_as_gymnasiums_own(creator, mode, backend):
    theirs = SyncVectorEnv([creator] * 4, autoreset_mode=mode)
    ours = make(creator, autoreset_mode=mode, **backend)
    for name in ("single_observation_space", "single_action_space"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("observation_space", "action_space"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.metadata == theirs.metadata
    assert ours.metadata["autoreset_mode"] is mode
    ends = 0
    for seed in (3, 50):  # the second one begins in the middle of episodes
        same(ours.reset(seed=seed), theirs.reset(seed=seed))
        ended = np.zeros(4, bool)
        theirs.action_space.seed(seed)
        for _ in range(60):
            actions = theirs.action_space.sample()
            mine, expected = ours.step(actions), theirs.step(actions)
            same(mine[0], expected[0])
            assert mine[1].dtype == np.float32
            same(mine[1], expected[1].astype(np.float32))
            same(mine[2:4], expected[2:4])
            same(without_ours(mine[4]), expected[4])
            assert mine[0] in ours.observation_space
            next_step = mode is AutoresetMode.NEXT_STEP
            np.testing.assert_array_equal(ours.masks, ~ended if next_step else np.ones(4, bool))
            ended = expected[2] | expected[3]
            ends += int(ended.sum())
    assert ends > 5
    ours.close()
    theirs.close()


def test_results_are_copies_unless_views_are_asked_for():
    for copy in (True, False):
        env = make(NestedEnv, copy=copy)
        first = env.reset(seed=0)[0]
        before = {key: first[key].copy() for key in ("image", "vector")}
        second = env.step(env.action_space.sample())
        for key, value in before.items():
            assert np.array_equal(first[key], value) == copy
            assert np.shares_memory(first[key], second[0][key]) == (not copy)
        third = env.step(env.action_space.sample())
        for one, other in zip(second[1:4], third[1:4], strict=True):
            assert np.shares_memory(one, other) == (not copy)


@pytest.mark.parametrize("name", SPACES)
def test_every_kind_of_action_reaches_the_environment(name, backend):
    space = SPACES[name]
    env = make(lambda: StillEnv(name), num_envs=2, **backend)
    assert env.single_action_space == space
    env.reset(seed=0)
    env.action_space.seed(5)
    for _ in range(3):
        actions = env.action_space.sample()
        env.step(actions)
        each = list(gymnasium.vector.utils.iterate(env.action_space, actions))
        for got, sent in zip(env.get_attr("last_action"), each, strict=True):
            assert got in space
            np.testing.assert_equal(got, sent)
    env.close()


def test_flat_spaces_on_request(backend):
    env = make(NestedEnv, flat=True, **backend)
    assert env.single_observation_space == env.vecenv.single_observation_space
    assert env.single_action_space == env.vecenv.single_action_space
    observations, _ = env.reset(seed=0)
    assert observations in env.observation_space
    while True:
        _, _, _, _, infos = env.step(env.action_space.sample())
        if infos:
            break
    (final,) = infos["final_obs"][infos["_final_obs"]][:1]
    assert (final.shape, final.dtype) == (env.single_observation_space.shape, np.uint8)
    env.close()


def test_native_environments_report_without_a_row():
    class Reporting(CountingEnv):
        def step(self, actions):
            *rest, _ = super().step(actions)
            return *rest, [{"episodes": 3, "episode_return": 2.0}]

    env = make(Reporting, num_envs=2)
    env.reset(seed=0)
    infos = env.step(np.zeros(4, int))[4]
    assert infos["report"]["episode_return"].tolist() == [2.0, 0, 0, 0]
    assert infos["report"]["episodes"][0] == 6
    assert infos["_report"].tolist() == [True, False, False, False]
    assert env.observation_space.shape == (4, 4)


def test_agents_are_rows_with_masks(backend):
    env = make(ScriptedParallelEnv, num_envs=2, **backend)
    assert env.num_envs == 6
    env.reset(seed=0)
    assert env.masks.tolist() == [True, True, False] * 2
    deaths = {}
    for t in range(1, 5):
        infos = env.step(np.zeros(6, int))[4]
        for row in np.flatnonzero(infos.get("_final_obs", ())):
            deaths.setdefault(int(row), (t, infos["final_obs"][row].tolist()))
            assert infos["final_info"]["t"][row] == t
    # Agent i dies at 2, 4, 3; its last observation is [i + 1, t].
    expected = {0: (2, [1, 2]), 1: (4, [2, 4]), 2: (3, [3, 3])}
    assert deaths == {**expected, **{row + 3: death for row, death in expected.items()}}
    env.close()


def test_options_and_attributes_reach_the_environments(backend):
    env = make(OptionsEnv, **backend)
    env.reset(seed=0, options={"level": 7})
    assert env.get_attr("options") == ({"level": 7},) * 4
    env.reset(seed=0)
    assert env.get_attr("options") == (None,) * 4
    env.set_attr("power", [1, 2, 3, 4])
    assert env.get_attr("power") == (1, 2, 3, 4)
    env.set_attr("power", 9)
    assert env.call("double", "power") == (18,) * 4
    assert env.call("power") == (9,) * 4
    with pytest.raises(UsageError, match=r"^got 3 values of 'power', expected 4$"):
        env.set_attr("power", [1, 2, 3])
    with pytest.raises(AttributeError, match="nothing"):
        env.get_attr("nothing")
    frames = env.render()
    assert [frame.tolist() for frame in frames] == [[[[0, 0, 9]]]] * 4
    env.close()
    env.close()
    assert env.closed


def test_what_it_tells_of_itself():
    env = make(make_cartpole)
    assert repr(env) == "GymnasiumVecEnv(CartPole-v1, num_envs=4)"
    assert env.spec.id == "CartPole-v1"
    assert env.unwrapped is env
    assert env.render_mode is None
    env.reset(seed=4)
    assert env.np_random_seed == 4
    assert CountingEnv.metadata == {"render_modes": []}  # that of the class stays as it was


def test_refusals():
    with pytest.raises(UsageError, match=r"expected what puffer\.vector\.make returns$"):
        to_gymnasium(gymnasium.make("CartPole-v1"))
    halves = puffer.vector.make(
        CountingEnv, num_envs=2, backend="multiprocessing", batch_size=1, overwork=True
    )
    with halves, pytest.raises(UsageError, match=r"^a batch has 2 of 4 rows, .*: leave batch_size"):
        to_gymnasium(halves)
    with pytest.raises(UsageError, match=r"give puffer\.vector\.make final_observations=True$"):
        to_gymnasium(puffer.vector.make(make_cartpole)).reset()
    env = make(make_cartpole)
    with pytest.raises(
        UsageError, match=r"'reset_mask'\] resets some .* themselves: leave it out$"
    ):
        env.reset(options={"reset_mask": np.ones(4, bool)})
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(4, int))
    env.reset(seed=0)
    with pytest.raises(ActionError, match=r"^actions have shape \(3,\), expected \(4,\)$"):
        env.step(np.zeros(3, int))
    with pytest.raises(UsageError, match=r"CountingEnv takes no options at its reset: leave ou"):
        make(CountingEnv).reset(options={"level": 1})
    with pytest.raises(UsageError, match=r"^CountingEnv begins the next episode itself: expected"):
        make(CountingEnv, autoreset_mode="NextStep")
    with pytest.raises(UsageError, match=r"DISABLED: environments begin .*, expected SAME_STEP or"):
        make(make_cartpole, autoreset_mode="Disabled")
    nested = make(lambda: StillEnv("dict"), num_envs=2)
    nested.reset(seed=0)
    with pytest.raises(ActionError, match=r"of agent 1 is outside Dict\("):
        nested.step({"move": np.array([0, 9]), "speed": np.zeros((2, 2), np.float32)})


def test_environments_without_last_observations_are_taken_with_a_warning():
    env = to_gymnasium(puffer.vector.make(PlainEnv))
    with pytest.warns(UserWarning, match="^PlainEnv does not keep the last observation of an ep"):
        env.reset(seed=0)
    env.reset(seed=0)  # once is enough
    for _ in range(4):
        infos = env.step(np.zeros(2, int))[4]
        assert "final_obs" not in infos


# --- Gymnasium's wrappers ------------------------------------------------------------------------


def test_record_episode_statistics(backend):
    ours = wrappers.vector.RecordEpisodeStatistics(make(make_cartpole, **backend))
    mode = AutoresetMode.SAME_STEP
    theirs = SyncVectorEnv([make_cartpole] * 4, autoreset_mode=mode)
    theirs = wrappers.vector.RecordEpisodeStatistics(theirs)
    for env in (ours, theirs):
        env.reset(seed=1)
    theirs.action_space.seed(1)
    for _ in range(80):
        actions = theirs.action_space.sample()
        mine, expected = ours.step(actions)[4], theirs.step(actions)[4]
        assert ("episode" in mine) == ("episode" in expected)
        if "episode" in expected:
            same(mine["_episode"], expected["_episode"])
            same(mine["_final_info"], expected["_episode"])
            for key in ("r", "l"):
                same(mine["episode"][key], expected["episode"][key])
    assert ours.episode_count == theirs.episode_count > 5
    ours.close()


def test_dict_info_to_list():
    env = wrappers.vector.DictInfoToList(make(TellingEnv))
    assert env.reset(seed=0)[1] == [{}] * 4
    env.action_space.seed(0)
    for _ in range(30):
        _, _, terminals, truncations, infos = env.step(env.action_space.sample())
        for info, ended in zip(infos, terminals | truncations, strict=True):
            assert ("final_info" in info) == ("final_obs" in info) == ended
            if ended:
                assert info["final_info"]["nested"]["deep"] == info["final_info"]["episode_length"]


WRAPPERS = {
    "NormalizeObservation": (wrappers.vector.NormalizeObservation, make_cartpole),
    "NormalizeReward": (wrappers.vector.NormalizeReward, make_cartpole),
    "ClipReward": (lambda env: wrappers.vector.ClipReward(env, 0.2, 0.8), make_cartpole),
    "TransformReward": (
        lambda env: wrappers.vector.TransformReward(env, lambda r: 2 * r),
        make_cartpole,
    ),
    "TransformObservation": (
        lambda env: wrappers.vector.TransformObservation(env, lambda o: 2 * o),
        make_cartpole,
    ),
    "VectorizeTransformObservation": (
        lambda env: wrappers.vector.VectorizeTransformObservation(
            env, wrappers.TransformObservation, func=lambda o: 2 * o, observation_space=None
        ),
        make_cartpole,
    ),
    "RescaleObservation": (
        lambda env: wrappers.vector.RescaleObservation(env, np.float32(0), np.float32(1)),
        PictureEnv,
    ),
    "FlattenObservation": (wrappers.vector.FlattenObservation, NestedEnv),
    "FilterObservation": (
        lambda env: wrappers.vector.FilterObservation(env, ["vector"]),
        NestedEnv,
    ),
    "DtypeObservation": (
        lambda env: wrappers.vector.DtypeObservation(env, np.float64),
        make_cartpole,
    ),
    "ReshapeObservation": (
        lambda env: wrappers.vector.ReshapeObservation(env, (2, 2)),
        make_cartpole,
    ),
    "TransformAction": (
        lambda env: wrappers.vector.TransformAction(env, lambda a: 1 - a),
        make_cartpole,
    ),
    "ClipAction": (wrappers.vector.ClipAction, lambda: gymnasium.make("Pendulum-v1")),
    "RescaleAction": (
        lambda env: wrappers.vector.RescaleAction(env, np.float32(-1), np.float32(1)),
        lambda: gymnasium.make("Pendulum-v1"),
    ),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_give_what_they_give_around_gymnasiums_own(name):
    wrap, creator = WRAPPERS[name]
    # Gymnasium has those that change observations only for NEXT_STEP.
    mode = AutoresetMode.NEXT_STEP if "Observation" in name else AutoresetMode.SAME_STEP
    ours = wrap(make(creator, autoreset_mode=mode))
    theirs = wrap(SyncVectorEnv([creator] * 4, autoreset_mode=mode))
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    same(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    theirs.action_space.seed(2)
    for _ in range(60):
        actions = theirs.action_space.sample()
        mine, expected = ours.step(actions), theirs.step(actions)
        same(mine[0], expected[0])
        np.testing.assert_allclose(mine[1], expected[1], rtol=1e-5)
        same(mine[2:4], expected[2:4])
        assert ("final_obs" in mine[4]) == ("final_obs" in expected[4])
        if "final_obs" in expected[4]:
            same(mine[4]["final_obs"], expected[4]["final_obs"])
    assert isinstance(ours.observation_space, spaces.Space)
    ours.close()
    theirs.close()


def test_without_stable_baselines3(monkeypatch):
    for name in ("stable_baselines3", "stable_baselines3.common.vec_env"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "puffer.vector.adapters.sb3", raising=False)
    with puffer.vector.make(make_cartpole) as vecenv, pytest.raises(MissingPackageError) as caught:
        puffer.vector.adapters.to_sb3(vecenv)
    assert str(caught.value) == ('to_sb3 needs Stable-Baselines3: pip install "puffer-vector[sb3]"')
