"""One contract for every backend: each array, on each step, against the scripted rule."""

from __future__ import annotations

import numpy as np
import pytest
from vector_scripted import NUM_ACTIONS, Agent, CountingEnv, PlainEnv

import puffer.vector
from puffer.core.errors import ActionError, ClosedError, ResetNeeded, UsageError

AGENTS = 12
# name -> (backend, num_envs, agents of each env, options); always the same 12 agents.
SETUPS = {
    "serial-1": ("serial", 1, 12, {}),
    "serial-3": ("serial", 3, 4, {}),
    "native": ("native", 1, 12, {}),
    "alternating": ("alternating", 1, 12, {}),
    "processes-1": ("multiprocessing", 1, 12, {}),
    "processes-2": ("multiprocessing", 4, 3, {"num_workers": 2}),
    "copies-2": ("multiprocessing", 4, 3, {"num_workers": 2, "zero_copy": False}),
    "groups-2": ("multiprocessing", 4, 3, {"num_workers": 2, "group_envs": 1}),
    "in-order": ("multiprocessing", 4, 3, {"num_workers": 2, "sync_traj": True}),
}


@pytest.fixture(params=SETUPS)
def setup(request):
    return SETUPS[request.param]


def make(setup, env=CountingEnv, **more):
    backend, num_envs, num_agents, options = setup
    return puffer.vector.make(
        env,
        env_kwargs={"num_agents": num_agents},
        backend=backend,
        num_envs=num_envs,
        **options,
        **more,
    )


def check_rows(batch, vecenv, rows, infos_expected):
    """Compare one batch (as `recv` returns it) and the optional arrays with the rule's rows."""
    observations, rewards, terminals, truncations, infos, agent_ids, masks = batch
    given = {
        "observations": observations,
        "rewards": rewards,
        "terminals": terminals,
        "truncations": truncations,
        "masks": masks,
        "final_observations": vecenv.final_observations,
        "action_masks": vecenv.action_masks,
    }
    for name, array in given.items():
        if array is None:
            continue
        for row, agent_id in zip(range(len(array)), agent_ids, strict=True):
            value = rows[agent_id].get(name)
            if value is not None:
                np.testing.assert_array_equal(array[row], value, f"{name} of agent {agent_id}")
    assert sorted(infos, key=lambda info: info["agent_id"]) == infos_expected


def run_rule(agents, agent_ids, actions):
    rows, infos = {}, []
    for agent_id, action in zip(agent_ids, actions, strict=True):
        rows[agent_id], info = agents[agent_id].step(int(action))
        if info:
            infos.append({**info, "agent_id": agent_id})
    return rows, infos


CLEAN = {"rewards": 0, "terminals": False, "truncations": False}


@pytest.mark.parametrize("optional", [False, True])
def test_every_array_of_every_step(setup, optional):
    with make(setup, final_observations=optional, action_masks=optional) as vecenv:
        rng = np.random.default_rng(0)
        for seed in (5, 100):  # the second one begins in the middle of episodes
            agents = [Agent(seed + k) for k in range(AGENTS)]
            vecenv.async_reset(seed)
            batch = vecenv.recv()
            check_rows(batch, vecenv, [{**CLEAN, **agent.reset()} for agent in agents], [])
            for _ in range(20):
                actions = rng.integers(NUM_ACTIONS, size=vecenv.num_envs)
                rows, infos = run_rule(agents, batch[5], actions)
                vecenv.send(actions)
                batch = vecenv.recv()
                check_rows(batch, vecenv, rows, infos)


def test_the_synchronous_calls_return_the_same_arrays(setup):
    with make(setup) as vecenv:
        agents = [Agent(7 + k) for k in range(AGENTS)]
        observations, infos = vecenv.reset(seed=7)
        assert infos == []
        np.testing.assert_array_equal(observations, [agent.observe() for agent in agents])
        for _ in range(10):
            actions = np.arange(AGENTS) % NUM_ACTIONS
            rows, expected = run_rule(agents, range(AGENTS), actions)
            result = vecenv.step(actions)
            assert len(result) == 5
            for name, array in zip(
                ("observations", "rewards", "terminals", "truncations"), result[:4], strict=True
            ):
                np.testing.assert_array_equal(array, [rows[k][name] for k in range(AGENTS)], name)
            assert sorted(result[4], key=lambda info: info["agent_id"]) == expected


def gymnasium_step(env, actions):
    """Return rows by name, the last observations and the infos of those that ended, by row."""
    observations, rewards, terminals, truncations, infos = env.step(actions)
    rows = {"observations": observations, "rewards": rewards}
    rows |= {"terminals": terminals, "truncations": truncations, "masks": env.masks}
    ended = np.flatnonzero(infos.get("_final_obs", ()))
    np.testing.assert_array_equal(ended, np.flatnonzero(terminals | truncations))
    own = infos.get("final_info", {})
    finals = {row: infos["final_obs"][row] for row in ended}
    keys = [key for key in own if not key.startswith("_")]
    return rows, finals, {row: {key: own[key][row] for key in keys} for row in ended}


def sb3_step(env, actions):
    """Return the same of a Stable-Baselines3 environment."""
    observations, rewards, dones, infos = env.step(actions)
    cut = np.array([info.pop("TimeLimit.truncated") for info in infos])
    rows = {"observations": observations, "rewards": rewards}
    rows |= {"terminals": dones & ~cut, "truncations": cut}
    ended = np.flatnonzero(dones)
    for row in ended:
        infos[row].pop("episode")
    finals = {row: infos[row].pop("terminal_observation") for row in ended}
    assert not any(infos[row] for row in np.flatnonzero(~dones))
    return rows, finals, {row: infos[row] for row in ended}


def reset_sb3(env, seed):
    env.seed(seed)
    return env.reset()


ADAPTERS = {
    "gymnasium": (gymnasium_step, lambda env, seed: env.reset(seed=seed)[0]),
    "sb3": (sb3_step, reset_sb3),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_array_of_every_step_through_the_adapters(setup, adapter):
    if adapter == "sb3":
        pytest.importorskip("stable_baselines3")  # it brings torch, which is not everywhere
    step, reset = ADAPTERS[adapter]
    adapt = getattr(puffer.vector.adapters, f"to_{adapter}")
    env = adapt(make(setup, final_observations=True))
    rng = np.random.default_rng(0)
    for seed in (5, 100):  # the second one begins in the middle of episodes
        agents = [Agent(seed + k) for k in range(AGENTS)]
        first = [agent.reset()["observations"] for agent in agents]
        np.testing.assert_array_equal(reset(env, seed), first)
        for _ in range(20):
            actions = rng.integers(NUM_ACTIONS, size=AGENTS)
            expected, infos = run_rule(agents, range(AGENTS), actions)
            rows, finals, own = step(env, actions)
            for name, array in rows.items():
                np.testing.assert_array_equal(array, [expected[k][name] for k in range(AGENTS)])
            assert {row: list(final) for row, final in finals.items()} == {
                row: given["final_observations"]
                for row, given in expected.items()
                if given["final_observations"] is not None
            }
            assert [{**own[row], "agent_id": row} for row in sorted(own)] == infos
    env.close()


def test_dtypes_and_metadata(setup):
    vecenv = make(setup)
    vecenv.async_reset(0)
    observations, rewards, terminals, truncations, infos, agent_ids, masks = vecenv.recv()
    assert (observations.dtype, observations.shape) == (np.int16, (AGENTS, 4))
    assert (rewards.dtype, rewards.shape) == (np.float32, (AGENTS,))
    for flags in (terminals, truncations, masks):
        assert (flags.dtype, flags.shape) == (np.bool_, (AGENTS,))
    assert infos == []
    assert agent_ids.dtype == np.int64
    np.testing.assert_array_equal(agent_ids, np.arange(AGENTS))
    vecenv.close()
    # The metadata survive close().
    assert vecenv.num_agents == vecenv.num_envs == vecenv.agents_per_batch == AGENTS
    assert vecenv.total_envs == setup[1]
    assert vecenv.observation_space.shape == (AGENTS, 4)
    assert vecenv.action_space.shape == (AGENTS,)
    assert vecenv.single_observation_space.shape == (4,)
    assert vecenv.single_action_space.n == NUM_ACTIONS
    assert isinstance(vecenv.driver_env, CountingEnv)
    assert vecenv.final_observations is None
    assert vecenv.action_masks is None


def test_any_integer_dtype_is_an_action(setup):
    with make(setup) as vecenv:
        vecenv.reset(seed=1)
        for dtype in (np.int8, np.uint8, np.int32, np.int64, np.uint64):
            vecenv.step(np.ones(AGENTS, dtype))
        vecenv.step([1] * AGENTS)


def test_without_a_seed_runs_differ(setup):
    with make(setup) as vecenv:
        first = vecenv.reset()[0].copy()
        assert (vecenv.reset()[0] != first).any()


def test_reset_drops_what_is_pending(setup):
    with make(setup) as vecenv:
        vecenv.async_reset(1)
        vecenv.async_reset(50)
        np.testing.assert_array_equal(vecenv.recv()[0][:, 0], 50 + np.arange(AGENTS))
        vecenv.send(np.zeros(AGENTS, int))
        vecenv.async_reset(90)
        np.testing.assert_array_equal(vecenv.recv()[0][:, 0], 90 + np.arange(AGENTS))


@pytest.mark.parametrize(
    ("actions", "sentence"),
    [
        (np.full(AGENTS, 5), r"^action 5 of agent 0.* is outside .*: expected 0 to 4$"),
        (np.full(AGENTS, -1), r"^action -1 of agent 0.* is outside .*: expected 0 to 4$"),
        (np.zeros(AGENTS - 1, int), r"^actions have shape \(11,\), expected \(12,\)$"),
        (np.zeros(AGENTS + 1, int), r"^actions have shape \(13,\), expected \(12,\)$"),
        (np.zeros(0, int), r"^actions have shape \(0,\), expected \(12,\)$"),
        (np.zeros(AGENTS), r"^actions have dtype float64, expected integers such as int32$"),
    ],
)
def test_wrong_actions_are_refused_before_any_step(setup, actions, sentence):
    with make(setup) as vecenv:
        before = vecenv.reset(seed=0)[0].copy()
        for _ in range(2):
            with pytest.raises(ActionError, match=sentence):
                vecenv.step(actions)
        after = vecenv.step(np.zeros(AGENTS, int))[0]
        np.testing.assert_array_equal(before[:, 2], 0)
        expected = [Agent(k) for k in range(AGENTS)]
        for agent in expected:
            agent.step(0)
        np.testing.assert_array_equal(after, [agent.observe() for agent in expected])


def test_the_order_of_calls(setup):
    vecenv = make(setup)
    zeros = np.zeros(AGENTS, int)
    with pytest.raises(ResetNeeded, match=r"before reset\(\): call reset\(\) or async_reset\(\)"):
        vecenv.step(zeros)
    with pytest.raises(ResetNeeded, match=r"^recv\(\) before reset\(\)"):
        vecenv.recv()
    vecenv.async_reset(0)
    with pytest.raises(ResetNeeded, match=r"^send\(\) while results are pending: call recv\(\)"):
        vecenv.send(zeros)
    vecenv.recv()
    with pytest.raises(ResetNeeded, match=r"^recv\(\) with nothing pending: call send\(\) first$"):
        vecenv.recv()
    vecenv.close()
    vecenv.close()
    for call in (vecenv.reset, vecenv.async_reset, vecenv.recv):
        with pytest.raises(ClosedError, match=r"after close\(\): make a new one$"):
            call()
    for call in (vecenv.step, vecenv.send):
        with pytest.raises(ClosedError, match=r"after close\(\): make a new one$"):
            call(zeros)


@pytest.mark.parametrize("seed", [-5, 1.5, "7", True, 2**63])
def test_wrong_seeds(setup, seed):
    with make(setup) as vecenv, pytest.raises(UsageError) as caught:
        vecenv.reset(seed=seed)
    assert str(caught.value) == (
        f"seed={seed!r}: expected an integer from 0 to 2**62, or None for fresh entropy"
    )


@pytest.mark.parametrize("name", ["final_observations", "action_masks"])
def test_optional_arrays_that_an_env_cannot_fill(setup, name):
    with pytest.raises(UsageError) as caught:
        make(setup, PlainEnv, **{name: True})
    assert str(caught.value) == f"{name}=True: PlainEnv cannot fill them, leave it False"
    with make(setup, PlainEnv, **{name: None}) as vecenv:
        vecenv.reset(seed=0)
        assert getattr(vecenv, name) is None
    with make(setup, **{name: None}) as vecenv:
        vecenv.reset(seed=0)
        assert getattr(vecenv, name) is not None


def test_an_env_that_takes_no_buffers_is_attached(setup):
    with make(setup, PlainEnv) as vecenv:
        observations, _ = vecenv.reset(seed=0)
        np.testing.assert_array_equal(observations[:, 0], np.arange(AGENTS))


def test_arrays_are_reused_unless_copies_are_asked_for(setup):
    for copy in (False, True):
        with make(setup, copy=copy, final_observations=True, action_masks=True) as vecenv:
            vecenv.async_reset(0)

            def receive(vecenv=vecenv):
                arrays = [a for a in vecenv.recv() if isinstance(a, np.ndarray)]
                return [*arrays, vecenv.final_observations, vecenv.action_masks]

            first = receive()
            kept = [array.copy() for array in first]
            vecenv.send(np.ones(AGENTS, int))
            second = receive()
            shared = [np.shares_memory(a, b) for a, b in zip(first, second, strict=True)]
            if copy:
                assert not any(shared)
                for array, before in zip(first, kept, strict=True):
                    np.testing.assert_array_equal(array, before)
                observations = vecenv.step(np.ones(AGENTS, int))[0]
                assert not np.shares_memory(observations, second[0])
            else:
                assert all(shared[:4])


class DrawingEnv(CountingEnv):
    """Draws the keys of its agents."""

    def render(self):
        return [agent.key for agent in self.agents]


def test_render_gives_what_each_env_draws(setup):
    with make(setup, DrawingEnv) as vecenv:
        with pytest.raises(ResetNeeded, match=r"^render\(\) before reset\(\)"):
            vecenv.render()
        vecenv.reset(seed=5)
        drawn = vecenv.render()
        assert len(drawn) == setup[1]
        assert [key for keys in drawn for key in keys] == list(range(5, 5 + AGENTS))
        vecenv.send(np.zeros(AGENTS, int))
        with pytest.raises(ResetNeeded, match=r"^render\(\) while results are pending: call recv"):
            vecenv.render()
    with pytest.raises(ClosedError, match=r"^render\(\) after close\(\)"):
        vecenv.render()


def test_the_global_random_states_are_left_alone(setup):
    import random

    before = random.getstate(), np.random.get_state()
    with make(setup) as vecenv:
        for seed in (None, 3):
            vecenv.reset(seed=seed)
            vecenv.step(np.zeros(AGENTS, int))
    after = random.getstate(), np.random.get_state()
    assert before[0] == after[0]
    np.testing.assert_equal(before[1], after[1])


@pytest.mark.parametrize("num_envs", [1, 2, 255, 256, 257])
def test_any_number_of_environments(num_envs):
    for options in ({}, {"backend": "multiprocessing", "num_workers": 1, "zero_copy": False}):
        with puffer.vector.make(
            CountingEnv, env_kwargs={"num_agents": 1}, num_envs=num_envs, **options
        ) as vecenv:
            observations, _ = vecenv.reset(seed=1)
            np.testing.assert_array_equal(observations[:, 0], 1 + np.arange(num_envs))
            observations, *_ = vecenv.step(np.full(num_envs, 2))
            np.testing.assert_array_equal(
                observations[:, 2] > 0, (1 + np.arange(num_envs)) % 3 != 2
            )


ODD_DTYPES = [np.int8, np.uint16, np.int64, np.uint64, np.float16, np.float64, np.bool_]


@pytest.mark.parametrize("dtype", ODD_DTYPES)
def test_observations_of_every_dtype(dtype):
    from puffer.core import PufferEnv
    from puffer.core.spaces import Box, Discrete

    class Odd(PufferEnv):
        def __init__(self, buf=None):
            self.single_observation_space = Box(0, 1, (3,), dtype)
            self.single_action_space = Discrete(2)
            self.num_agents = 1
            super().__init__(buf)

        def reset(self, seed=None):
            self.observations[...] = [[0, 1, seed % 2]]
            return self.observations, []

    for options in ({}, {"backend": "multiprocessing", "num_workers": 1}):
        with puffer.vector.make(Odd, num_envs=2, **options) as vecenv:
            observations, _ = vecenv.reset(seed=0)
            assert observations.dtype == dtype
            np.testing.assert_array_equal(observations, [[0, 1, 0], [0, 1, 1]])
