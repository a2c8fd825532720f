"""`call`: a function goes to the environments, wherever they live, and harms nothing there."""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
from vector_scripted import CountingEnv, OddError, hang_here

import puffer.vector
from puffer.core.errors import ClosedError, UsageError, WorkerError

SETUPS = {
    "serial": {"backend": "serial", "num_envs": 4},
    "native": {"backend": "native"},
    "fork": {"backend": "multiprocessing", "num_envs": 4, "num_workers": 2},
    "copies": {
        "backend": "multiprocessing",
        "num_envs": 4,
        "num_workers": 2,
        "zero_copy": False,
        "batch_size": 2,
    },
}


@pytest.fixture(params=SETUPS)
def vecenv(request):
    with puffer.vector.make(CountingEnv, **SETUPS[request.param]) as vecenv:
        yield vecenv


def test_each_environment_answers_in_order(vecenv):
    def note(env, value):
        env.noted = value
        return os.getpid()

    numbers = range(vecenv.total_envs)
    for number in numbers:
        (pid,) = vecenv.call(note, number * 10, envs=[number])
        assert (pid == os.getpid()) == (not isinstance(vecenv, puffer.vector.Multiprocessing))
    assert vecenv.call(lambda env: env.noted) == [number * 10 for number in numbers]
    assert vecenv.call(lambda env: env.noted, envs=[numbers[-1]]) == [numbers[-1] * 10]
    assert vecenv.call(lambda env: env.noted, envs=[]) == []


def test_a_call_changes_no_step(vecenv):
    def run(calls):
        """Return what each agent saw, step by step, always doing the same."""
        vecenv.async_reset(seed=3)
        seen = {agent: [] for agent in range(vecenv.num_agents)}
        for _ in range(12):
            if calls:
                vecenv.call(lambda env: None)
            observations, rewards, _, _, infos, agent_ids, _ = vecenv.recv()
            for row, agent in enumerate(agent_ids.tolist()):
                own = [info for info in infos if info["agent_id"] == agent]
                seen[agent].append((observations[row].tolist(), rewards[row], own))
            if calls:
                vecenv.call(lambda env: None)
            vecenv.send(np.ones(vecenv.num_envs, int))
        return seen

    with_calls, without = run(True), run(False)
    for agent, steps in with_calls.items():
        both = min(len(steps), len(without[agent]))  # which batches come is not for us to say
        assert both > 0
        assert steps[:both] == without[agent][:both]


@pytest.mark.parametrize("when", ["before reset", "pending", "received"])
def test_calls_work_at_any_time(vecenv, when):
    if when != "before reset":
        vecenv.async_reset(seed=0)
    if when == "received":
        vecenv.recv()
    assert vecenv.call(lambda env: env.num_agents) == [2] * vecenv.total_envs


def test_what_the_function_raises_is_raised_here_and_harms_nobody(vecenv):
    with pytest.raises(AttributeError, match="has no attribute 'nothing'") as caught:
        vecenv.call(lambda env: env.nothing)
    if isinstance(vecenv, puffer.vector.Multiprocessing):
        assert "raised in a worker process" in caught.value.__notes__[0]
        with pytest.raises(UsageError, match="a worker raised OddError: odd 1 2"):
            vecenv.call(_raise_odd)
        with pytest.raises(TypeError, match="cannot pickle"):
            vecenv.call(lambda env: threading.Lock())
        lock = threading.Lock()
        with pytest.raises(UsageError, match="cannot be sent to a worker process"):
            vecenv.call(lambda env, lock: None, lock)
    assert vecenv.reset(seed=0)[0].shape[0] == vecenv.num_envs


def _raise_odd(env):
    raise OddError(1, 2)


def test_wrong_numbers_and_closed_environments(vecenv):
    total = vecenv.total_envs
    for number in (total, -1):
        with pytest.raises(UsageError) as caught:
            vecenv.call(id, envs=[number])
        assert str(caught.value) == f"there is no env {number}: expected 0 to {total - 1}"
    vecenv.close()
    with pytest.raises(ClosedError, match=r"^call\(\) after close\(\): make a new one$"):
        vecenv.call(id)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda env: os._exit(3), r"worker 0 \(env 0\) exited with code 3 in call"),
        (lambda env: hang_here(), r"worker 0 \(env 0\) has been in call for more than timeout=0.5"),
    ],
)
def test_a_worker_that_dies_or_hangs_in_a_call(function, sentence):
    vecenv = puffer.vector.make(
        CountingEnv, backend="multiprocessing", num_envs=2, overwork=True, timeout=0.5
    )
    began = time.monotonic()
    with pytest.raises(WorkerError, match=sentence):
        vecenv.call(function, envs=[0])
    assert time.monotonic() - began < 5
    with pytest.raises(ClosedError):
        vecenv.reset()


def test_large_arguments_and_results(vecenv):
    blob = np.arange(1_000_000)
    for result in vecenv.call(lambda env, blob: blob + 1, blob):
        np.testing.assert_array_equal(result, blob + 1)
