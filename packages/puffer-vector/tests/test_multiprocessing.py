"""What Multiprocessing adds to the contract: options, batches, start methods, processes."""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import os
import sys
import threading
import types

import numpy as np
import pytest
from vector_scripted import Agent, CountingEnv, ProbingEnv, WaitingEnv

import puffer.vector
from puffer.core.errors import UsageError
from puffer.vector.cores import Spread


def make(env=CountingEnv, num_envs=4, **options):
    return puffer.vector.make(
        env, backend="multiprocessing", num_envs=num_envs, **{"overwork": True, **options}
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"num_envs": 10, "num_workers": 4},
            "num_envs=10 is not a multiple of num_workers=4: use 8 or 12",
        ),
        (
            {"num_envs": 2, "num_workers": 4},
            "num_workers=4 is more than num_envs=2: use 2 or fewer",
        ),
        ({"num_workers": 0}, "num_workers=0: expected an integer >= 1, or None"),
        ({"batch_size": 1.5}, "batch_size=1.5: expected an integer >= 1, or None"),
        ({"batch_size": 5}, "batch_size=5 is more than num_envs=4: use 4 or fewer"),
        (
            {"num_workers": 2, "batch_size": 3},
            "batch_size=3 is not a multiple of the 2 envs of each worker: use 2 or 4",
        ),
        (
            {"num_workers": 2, "batch_size": 1},
            "batch_size=1 is not a multiple of the 2 envs of each worker: use 2",
        ),
        (
            {"num_envs": 6, "batch_size": 4},
            "num_envs=6 is not a multiple of batch_size=4: use batch_size=1 or 2 or 3 or 6, "
            "or zero_copy=False",
        ),
        (
            {"num_workers": 1, "group_envs": 3},
            "group_envs=3 does not divide the 4 envs of each worker: use 1 or 2 or 4",
        ),
        (
            {"num_workers": 1, "group_envs": 2, "batch_size": 3},
            "batch_size=3 is not a multiple of the 2 envs of each group, group_envs=2: use 2 or 4",
        ),
        ({"group_envs": True}, "group_envs=True: expected an integer >= 1, or None"),
        ({"timeout": 0}, "timeout=0: expected seconds > 0"),
        ({"reset_timeout": 0}, "reset_timeout=0: expected seconds > 0"),
        (
            {"context": 3},
            'context=3: expected what multiprocessing.get_context("spawn") returns',
        ),
        (
            {"context": multiprocessing, "start_method": "fork"},
            "context= and start_method= were both given: leave one out",
        ),
        ({"start_timeout": -1.0}, "start_timeout=-1.0: expected seconds > 0"),
        (
            {"start_method": "thread"},
            "start_method='thread': expected one of fork, spawn, forkserver, or None",
        ),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(UsageError) as caught:
        make(**options)
    assert str(caught.value) == sentence


def test_more_workers_than_cores_are_warned_of_once(monkeypatch):
    monkeypatch.setattr("puffer.vector.split.usable_cores", lambda: 3)
    with pytest.warns(UserWarning, match="usable cores") as caught, make(overwork=False):
        pass
    assert [str(w.message) for w in caught] == [
        "num_workers=4 is more than the 3 usable cores: num_workers=2 is faster "
        "(overwork=True silences this)"
    ]
    assert caught[0].filename == __file__


def test_usable_cores_heed_the_quotas_of_containers(monkeypatch, tmp_path):
    monkeypatch.setattr("puffer.vector.cores.CGROUPS", tmp_path)
    monkeypatch.setattr("puffer.vector.cores.OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert puffer.vector.usable_cores() == 8
    nested = tmp_path / "a" / "b"
    nested.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/a/b/c\n")
    for folder in (tmp_path, tmp_path / "a", nested):  # the narrowest of all counts
        limit = folder / "cpu.max"
        for text, cores in (("max 100000", 8), ("350000 100000", 3), ("50000 100000", 1)):
            limit.write_text(text)
            assert puffer.vector.usable_cores() == cores
        limit.write_text("max 100000")
    old = tmp_path / "cpu" / "job"
    old.mkdir(parents=True)
    (tmp_path / "own").write_text("4:memory:/job\n3:cpu,cpuacct:/job\n")
    (old / "cpu.cfs_period_us").write_text("100000")
    for text, cores in (("-1", 8), ("200000", 2)):
        (old / "cpu.cfs_quota_us").write_text(text)
        assert puffer.vector.usable_cores() == cores


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="the system moves nobody, or has a single core",
)
def test_who_shares_a_core_goes_to_a_free_one():
    libc = ctypes.CDLL(None)
    allowed = os.sched_getaffinity(0)
    cores = np.zeros(2, np.int32)
    spread = Spread(cores.data, 1)
    moves = 0
    for turn in range(20):
        cores[0] = before = libc.sched_getcpu()
        spread.look(turn + 0.0)
        spread.look(turn + 0.0001)  # too soon: it does nothing
        spread.look(turn + 0.5)
        assert os.sched_getaffinity(0) == allowed
        moves += cores[1] != before
    assert moves > 15  # but where the system itself moves this thread in the middle


def test_cuda_decides_the_start_method(monkeypatch):
    from puffer.vector.launch import choose_start_method

    for is_up, expected in ((False, "fork"), (True, "forkserver")):
        cuda = types.SimpleNamespace(is_initialized=lambda is_up=is_up: is_up)
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
        assert choose_start_method(None) == expected
        assert choose_start_method("spawn") == "spawn"
    with pytest.raises(UsageError, match=r'^start_method="fork" after torch initialised CUDA'):
        choose_start_method("fork")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert choose_start_method(None) == "spawn"


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_every_start_method_gives_the_same(method):
    with make(num_workers=2, start_method=method, final_observations=True) as vecenv:
        vecenv.reset(seed=9)
        agents = [Agent(9 + k) for k in range(8)]
        for agent in agents:
            agent.reset()
        for t in range(5):
            actions = (np.arange(8) + t) % 5
            rows = [a.step(int(action))[0] for a, action in zip(agents, actions, strict=True)]
            observations, rewards, *_ = vecenv.step(actions)
            np.testing.assert_array_equal(observations, [row["observations"] for row in rows])
            np.testing.assert_array_equal(rewards, [row["rewards"] for row in rows])
            for k, row in enumerate(rows):
                if row["final_observations"] is not None:
                    np.testing.assert_array_equal(
                        vecenv.final_observations[k], row["final_observations"]
                    )


def test_a_creator_that_cannot_be_sent():
    lock = threading.Lock()

    def creator():
        assert lock
        return CountingEnv()

    with pytest.raises(UsageError) as caught:
        make(creator, start_method="spawn")
    assert str(caught.value) == (
        "an env creator or its arguments cannot be sent to a worker under start_method='spawn' "
        "(cannot pickle '_thread.lock' object): make such things inside of the creator"
    )


def test_creators_that_pickle_alone_would_refuse_are_sent():
    class Local(CountingEnv):
        def reset(self, seed=None):
            return super().reset(seed + 100)

    creators = [Local, lambda: Local(), functools.partial(Local, 2), lambda n=2: Local(n)]
    with make(creators, num_workers=1, context=multiprocessing.get_context("spawn")) as vecenv:
        observations, _ = vecenv.reset(seed=0)
        np.testing.assert_array_equal(observations[:, 0], 100 + np.arange(8))


def test_workers_leave_signals_and_threads_to_the_parent():
    with make(ProbingEnv, 2) as vecenv:
        vecenv.reset(seed=0)
        first, second = vecenv.step([0] * 4)[4]
    assert first["pid"] != second["pid"]
    for process in (first, second):
        assert process["sigint_ignored"]
        assert process["sigterm_default"]
        assert process["threads"] == "1"


@pytest.mark.parametrize("zero_copy", [True, False])
@pytest.mark.parametrize("sync_traj", [True, False])
@pytest.mark.parametrize(
    ("num_workers", "batch_size", "group_envs"),
    [(4, 1, None), (4, 2, None), (2, 2, None), (2, 2, 1), (1, 2, 1), (1, 1, 1)],
)
def test_batches_of_some_environments(zero_copy, num_workers, batch_size, group_envs, sync_traj):
    """Every batch is right for the agents that it names, and all agents get their turn."""
    options = {
        "num_workers": num_workers,
        "batch_size": batch_size,
        "zero_copy": zero_copy,
        "group_envs": group_envs,
        "sync_traj": sync_traj,
    }
    with make(**options, final_observations=True, action_masks=True) as vecenv:
        assert vecenv.num_envs == vecenv.agents_per_batch == 2 * batch_size
        assert (vecenv.num_agents, vecenv.total_envs) == (8, 4)
        assert vecenv.observation_space.shape == (2 * batch_size, 4)
        assert vecenv.fixed_batches is zero_copy
        agents = [Agent(3 + k) for k in range(8)]
        rows = {k: {**agent.reset(), "rewards": 0} for k, agent in enumerate(agents)}
        due = {k: [] for k in range(8)}
        turns = np.zeros(8, int)
        vecenv.async_reset(3)
        for t in range(60):
            observations, rewards, _, _, infos, agent_ids, masks = vecenv.recv()
            turns[agent_ids] += 1
            arrays = {
                "observations": observations,
                "rewards": rewards,
                "masks": masks,
                "action_masks": vecenv.action_masks,
                "final_observations": vecenv.final_observations,
            }
            assert sorted(agent_ids) == list(agent_ids)
            for name, array in arrays.items():
                for i, k in enumerate(agent_ids):
                    if rows[k].get(name) is not None:
                        np.testing.assert_array_equal(array[i], rows[k][name], name)
            assert infos == [info for k in agent_ids for info in due[k]]
            actions = (np.arange(2 * batch_size) + t) % 5
            for k, action in zip(agent_ids, actions, strict=True):
                rows[k], info = agents[k].step(int(action))
                due[k] = [{**info, "agent_id": k}] if info else []
            vecenv.send(actions)
        assert turns.min() > 0
        if sync_traj:
            assert turns.max() - turns.min() <= 1


def test_slow_environments_do_not_hold_what_was_done_before(tmp_path):
    gate = tmp_path / "gate"
    kwargs = [{}, {"path": str(gate)}, {}, {}]
    with make(
        WaitingEnv, env_kwargs=kwargs, num_workers=2, batch_size=1, group_envs=1, zero_copy=False
    ) as vecenv:
        vecenv.async_reset(0)
        for _ in range(4):
            vecenv.recv()
            vecenv.hold()
        for env in range(4):  # all were held: they come in their order
            assert vecenv.recv()[5] == [env]
            vecenv.send([0])
        # Env 0 stepped before env 1 of the same worker, which waits at the gate.
        seen = []
        for _ in range(3):
            seen.append(int(vecenv.recv()[5][0]))
            vecenv.hold()
        assert sorted(seen) == [0, 2, 3]
        gate.touch()
        assert vecenv.recv()[5] == [1]


def test_sync_traj_waits_for_whose_turn_it_is():
    with make(num_envs=3, batch_size=2, zero_copy=False, sync_traj=True) as vecenv:
        vecenv.async_reset(0)
        seen = []
        for _ in range(6):
            seen.append(sorted({int(agent) // 2 for agent in vecenv.recv()[5]}))
            vecenv.send([0] * 4)
        assert seen == [[0, 1], [0, 2], [1, 2]] * 2


def test_whoever_is_ready_first_is_served_first(tmp_path):
    gate = tmp_path / "gate"
    kwargs = [{"path": str(gate)}, {}, {}, {}]
    with make(WaitingEnv, env_kwargs=kwargs, batch_size=2, zero_copy=False) as vecenv:
        vecenv.async_reset(0)
        while 0 not in vecenv.recv()[5]:
            vecenv.send([0, 0])
        vecenv.send([0, 0])  # from now on env 0 waits at the gate
        for _ in range(20):
            assert 0 not in vecenv.recv()[5]
            vecenv.send([0, 0])
        gate.touch()
        while 0 not in vecenv.recv()[5]:
            vecenv.send([0, 0])


def test_memory_is_aligned_shared_and_contiguous():
    with make(num_workers=2, batch_size=2) as vecenv:
        vecenv.async_reset(0)
        first = [a for a in vecenv.recv() if isinstance(a, np.ndarray)]
        vecenv.hold()
        second = [a for a in vecenv.recv() if isinstance(a, np.ndarray)]
        for array in (*first, *second):
            assert array.flags.c_contiguous
        by_place = sorted((first[0].ctypes.data, second[0].ctypes.data))
        assert by_place[0] % 64 == 0
        assert by_place[1] - by_place[0] == first[0].nbytes
        for arrays in vecenv._block.arrays().values():
            assert arrays.ctypes.data % 64 == 0


def test_held_agents_wait_for_the_others():
    with make(batch_size=2) as vecenv:
        shown = np.zeros((8, *vecenv.single_observation_space.shape))

        def receive():
            observations, *_, infos, agent_ids, _ = vecenv.recv()
            before = shown[agent_ids].copy()
            shown[agent_ids] = observations
            return agent_ids.copy(), before, infos

        vecenv.async_reset(0)
        first = receive()[0]
        vecenv.hold()
        second = receive()[0]
        assert sorted([*first, *second]) == list(range(8))
        vecenv.send([0] * 4)
        np.testing.assert_array_equal(receive()[0], second)
        vecenv.hold()
        agents, before, infos = receive()  # all are held: they come again, as they were
        np.testing.assert_array_equal(agents, range(4))
        np.testing.assert_array_equal(shown[agents], before)
        assert infos == []


def test_held_agents_come_back_where_the_others_are_too_few_for_a_batch():
    with make(num_envs=3, batch_size=2, zero_copy=False) as vecenv:
        vecenv.async_reset(0)
        first = set(vecenv.recv()[5])
        vecenv.hold()
        second = set(vecenv.recv()[5])
        assert len(first | second) == 6


def test_envs_with_several_seeds_are_counted_across_workers():
    kwargs = [{"num_agents": 2}] * 4
    with make(env_kwargs=kwargs, num_workers=2) as vecenv:
        observations, _ = vecenv.reset(seed=20)
        np.testing.assert_array_equal(observations[:, 0], 20 + np.arange(8))


def test_driver_env_lives_in_this_process_and_is_closed_with_the_rest():
    vecenv = make(num_envs=2)
    assert vecenv.driver_env.closed == 0
    vecenv.close()
    assert vecenv.driver_env.closed == 1


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_calls_under_other_start_methods(start_method):
    with make(num_envs=2, num_workers=2, start_method=start_method) as vecenv:
        assert vecenv.call(lambda env, factor: factor * env.num_agents, 3) == [6, 6]
