"""`max_restarts`: a worker that fails is replaced, and what was lost is marked as lost."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time

import numpy as np
import psutil
import pytest
from vector_scripted import CountingEnv, FaultyEnv

import puffer.vector
from puffer.core.errors import UsageError, WorkerError
from puffer.vector.schedule import HELD

FAULTS = ("raise", "odd", "kill", "exit", "hang")


@pytest.fixture(autouse=True)
def _no_process_remains():
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    assert [c for c in psutil.Process().children(recursive=True) if c.pid not in before] == []


def make(faults, **options):
    """Two environments a worker; `faults[i]` is what env i does on its third step."""
    options = {"num_workers": len(faults) // 2, "timeout": 0.5, "start_timeout": 30.0, **options}
    return puffer.vector.make(
        FaultyEnv,
        env_kwargs=[{"fault": fault} for fault in faults],
        backend="multiprocessing",
        num_envs=len(faults),
        **options,
    )


def step(vecenv):
    """Step with action 1, with every row copied."""
    vecenv.send(np.ones(vecenv.num_envs, int))
    observations, rewards, terminals, truncations, infos, _, masks = vecenv.recv()
    rows = (observations, rewards, terminals, truncations, masks)
    return [array.copy() for array in rows], [info for info in infos if "restarted" in info]


def count_restarts(vecenv, steps):
    """Return after how many of `steps` steps a worker was new, and how long those took."""
    waited = []
    for _ in range(steps):
        began = time.monotonic()
        if step(vecenv)[1]:
            waited.append(time.monotonic() - began)
    return waited


@pytest.mark.parametrize("fault", FAULTS)
def test_the_lost_episodes_are_cut_off_and_masked_and_the_others_live_on(fault):
    with (
        make([None, None, None, fault], max_restarts=1, final_observations=True) as vecenv,
        puffer.vector.make(FaultyEnv, num_envs=4) as healthy,
    ):
        vecenv.reset(seed=5)
        healthy.reset(seed=5)
        for _ in range(2):
            rows, infos = step(vecenv)
            expected, _ = step(healthy)
            assert infos == []
            for array, wanted in zip(rows, expected, strict=True):
                np.testing.assert_array_equal(array, wanted)
        last_seen = rows[0][3]
        with pytest.warns(RuntimeWarning, match=r"^replaced a worker, 0 restarts left: worker 1"):
            rows, (info,) = step(vecenv)
        expected, _ = step(healthy)
        for array, wanted in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(array[:2], wanted[:2])
        observations, rewards, terminals, truncations, masks = rows
        assert truncations[2:].all()
        assert not masks[2:].any()
        assert not terminals[2:].any()
        assert not rewards[2:].any()
        assert (observations[2:, 2] == 0).all(), "the first observation of a new episode"
        np.testing.assert_array_equal(vecenv.final_observations[3], last_seen)
        assert info["restarted"].startswith("worker 1 (envs 2 to 3) ")
        for _ in range(2):  # the third one would be the same again
            rows, infos = step(vecenv)
            expected, _ = step(healthy)
            assert infos == []
            assert rows[4].all() or not (rows[0][~rows[4]]).any()
            for array, wanted in zip(rows, expected, strict=True):
                np.testing.assert_array_equal(array[:2], wanted[:2])
        assert rows[4][2:].any(), "agents live again"


def test_a_crash_loop_ends_with_the_error_once_the_restarts_are_used_up():
    with make([None, "raise"], num_workers=1, max_restarts=2) as vecenv:
        vecenv.reset(seed=0)
        with pytest.warns(RuntimeWarning), pytest.raises(WorkerError) as caught:
            count_restarts(vecenv, 20)
        assert str(caught.value).startswith("worker 0 (envs 0 to 1) raised KeyError: 'boom'")
        assert caught.value.__notes__ == ["after 2 restarts of workers"]


def test_a_worker_that_cannot_start_again_is_an_error():
    with make(["kill", None], num_workers=1, max_restarts=2) as vecenv:
        vecenv.reset(seed=0)
        (job,) = vecenv._crew._jobs
        vecenv._crew._jobs = [dataclasses.replace(job, recipes=b"no recipe")]
        step(vecenv)
        step(vecenv)
        with pytest.raises(WorkerError, match=r"raised UnpicklingError: .* in start;") as caught:
            step(vecenv)
        assert caught.value.__notes__ == ["after 2 restarts of workers"]


class Reluctant(FaultyEnv):
    """Starts once; then its process does not start twice, and then again."""

    def __init__(self, log, buf=None):
        in_worker = multiprocessing.parent_process() is not None
        if in_worker:
            with log.open("a") as file:
                file.write("started\n")
            if log.read_text().count("\n") in (2, 3):
                os._exit(3)
        super().__init__("kill", buf=buf)


def test_a_worker_that_starts_again_at_the_third_attempt_goes_on(tmp_path):
    kwargs = {"log": tmp_path / "log"}
    with puffer.vector.make(
        Reluctant, backend="multiprocessing", max_restarts=3, env_kwargs=kwargs
    ) as vecenv:
        vecenv.reset(seed=0)
        with pytest.warns(RuntimeWarning, match="0 restarts left"):
            waited = count_restarts(vecenv, 5)
        assert len(waited) == 1
        with pytest.raises(WorkerError, match="was killed by SIGKILL in step"):
            count_restarts(vecenv, 5)


def test_two_workers_that_fail_at_once_are_both_replaced():
    with make(["raise", None, None, "kill"], max_restarts=2) as vecenv:
        vecenv.reset(seed=0)
        step(vecenv)
        step(vecenv)
        with pytest.warns(RuntimeWarning):
            rows, infos = step(vecenv)
        assert len(infos) == 2
        assert rows[3].all()
        step(vecenv)


def test_one_restart_is_not_enough_for_two_that_fail_at_once():
    with make(["raise", None, None, "raise"], max_restarts=1) as vecenv:
        vecenv.reset(seed=0)
        step(vecenv)
        step(vecenv)
        with pytest.raises(WorkerError, match="worker 0") as caught:
            step(vecenv)
        assert caught.value.__notes__[0].startswith("and worker 1 (envs 2 to 3) raised KeyError")


@pytest.mark.parametrize("options", [{}, {"zero_copy": False, "group_envs": 1}])
def test_batches_keep_coming_while_workers_are_replaced(options):
    with make([None, None, "kill", None], batch_size=2, max_restarts=4, **options) as vecenv:
        vecenv.async_reset(0)
        served = np.zeros(4, int)

        def serve_until_three_restarts():
            restarted = 0
            while restarted < 3:
                *_, infos, agent_ids, _ = vecenv.recv()
                served[agent_ids] += 1
                restarted += sum("restarted" in info for info in infos)
                vecenv.send(np.zeros(2, int))

        with pytest.warns(RuntimeWarning):
            serve_until_three_restarts()
        assert (
            served[:3].min() >= 6
        )  # two lives of env 2: a reset, or a row that is cut off, and two steps
        # Its neighbour may lose a turn with each of the two, and not have been told of the second.
        assert served[3] >= 6 - 2


def test_a_reset_after_a_restart_is_an_ordinary_one():
    with make(["kill", None], num_workers=1, max_restarts=1) as vecenv:
        vecenv.reset(seed=0)
        step(vecenv)
        step(vecenv)
        with pytest.warns(RuntimeWarning):
            step(vecenv)
        observations, infos = vecenv.reset(seed=7)
        assert observations[:, 0].tolist() == [7, 8]
        assert infos == []
        rows, _ = step(vecenv)
        assert not rows[3].any()
        assert rows[4].tolist() == [agent % 3 != 2 for agent in (7, 8)]


def lose_one_of_two_groups(vecenv):
    """Let the second environment take its worker along while the first one waits to be served."""
    vecenv.async_reset(0)
    while not any("restarted" in info for info in vecenv.recv()[4]):
        if vecenv._served.groups == (0,) and vecenv._arrivals[1] != HELD:
            vecenv.hold()
        else:
            vecenv.send(np.zeros(1, int))


def test_what_is_lost_has_no_state_until_it_begins_again_and_can_be_given_one():
    options = {"num_workers": 1, "batch_size": 1, "group_envs": 1, "max_restarts": 1}
    with make([None, "kill"], **options) as vecenv:
        vecenv.async_reset(3)
        vecenv.recv(), vecenv.hold()
        vecenv.recv(), vecenv.hold()
        before = vecenv.state()
        with pytest.warns(RuntimeWarning, match="replaced a worker"):
            lose_one_of_two_groups(vecenv)
        vecenv.hold()  # the first one is held, too, and has not begun
        with pytest.raises(UsageError, match=r"was killed by SIGKILL .* lost: step or reset first"):
            vecenv.state()
        vecenv.set_state(before)
        for _ in range(2):
            observations, *_, infos, agent_ids, masks = vecenv.recv()
            assert observations[0, 0] == 3 + agent_ids[0]
            assert masks.all()
            assert infos == []
            vecenv.send(np.zeros(1, int))
        for _ in range(2):  # the restored episodes go on and are not cut off
            _, _, _, truncations, infos, *_ = vecenv.recv()
            assert not truncations.any()
            assert infos == []
            vecenv.hold()


def test_the_time_between_restarts_grows():
    with make(["exit", None], num_workers=1, max_restarts=3) as vecenv:
        vecenv.reset(seed=0)
        with pytest.warns(RuntimeWarning):
            waited = count_restarts(vecenv, 9)
        assert len(waited) == 3
        assert all(seconds >= least for seconds, least in zip(waited, (0.1, 0.2, 0.4), strict=True))


@pytest.mark.parametrize("wrong", [-1, 1.5, True, None])
def test_wrong_numbers_are_refused(wrong):
    with pytest.raises(UsageError, match=f"max_restarts={wrong!r}: expected an integer >= 0"):
        puffer.vector.make(CountingEnv, backend="multiprocessing", max_restarts=wrong)
