"""Workers that raise, die or hang: each is a WorkerError with its cause, and nothing remains."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from vector_scripted import BigInfoEnv, FaultyEnv, LockedInfoEnv, NotingEnv

import puffer.vector
from puffer.core.errors import ClosedError, UsageError, WorkerError

HELPERS = str(Path(__file__).parent / "helpers")


def make(faults, where="step", **options):
    """Four environments on two workers; `faults[i]` is the fault of env i."""
    options = {"num_workers": 2, "timeout": 5.0, **options}
    return puffer.vector.make(
        FaultyEnv,
        env_kwargs=[{"fault": fault, "where": where} for fault in faults],
        backend="multiprocessing",
        num_envs=len(faults),
        **options,
    )


def run_until_failure(vecenv):
    def run():
        vecenv.reset(seed=0)
        for _ in range(10):
            vecenv.step(np.zeros(vecenv.num_envs, int))

    with pytest.raises(WorkerError) as caught:
        run()
    return caught.value


def shared_memory():
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


def assert_no_new_shared_memory(before):
    """Whatever has a name has none soon: other programs and resource trackers get a moment."""
    give_up = time.monotonic() + 10
    while shared_memory() - before and time.monotonic() < give_up:
        time.sleep(0.05)
    assert shared_memory() - before == set()


@pytest.fixture(autouse=True)
def _nothing_remains():
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    shared = shared_memory()
    yield
    left = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
    assert left == []
    assert_no_new_shared_memory(shared)


def test_a_worker_that_raises_in_step():
    error = run_until_failure(make([None, None, None, "raise"]))
    first_line = str(error).splitlines()[0]
    assert first_line == ("worker 1 (envs 2 to 3) raised KeyError: 'boom' in step; its traceback:")
    assert 'raise KeyError("boom")' in str(error)
    assert "raised by env 3 in step(actions=[0]), number 3 since reset(seed=3)" in str(error)
    assert isinstance(error.__cause__, KeyError)


def test_a_worker_that_raises_what_cannot_be_pickled():
    error = run_until_failure(make([None, "odd"], num_workers=2))
    assert str(error).startswith("worker 1 (env 1) raised OddError: odd 1 2 in step; its traceback")
    assert error.__cause__ is None


def test_a_worker_that_raises_in_reset():
    error = run_until_failure(make([None, None, "raise", None], where="reset"))
    assert str(error).startswith("worker 1 (envs 2 to 3) raised KeyError: 'boom' in reset;")
    assert "raised by env 2 in reset(seed=2)" in str(error)


def test_a_worker_that_raises_while_it_starts():
    with pytest.raises(WorkerError) as caught:
        make([None, None, None, "raise"], where="start")
    assert str(caught.value).startswith("worker 1 (envs 2 to 3) raised KeyError: 'boom' in start;")
    assert "while making env 3" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_worker_that_is_killed():
    begin = time.monotonic()
    error = run_until_failure(make([None, None, "kill", None]))
    sentence, megabytes, remedy = re.split(r"\(a worker used up to (\d+) MB\)", str(error))
    assert sentence == (
        "worker 1 (envs 2 to 3) was killed by SIGKILL in step: "
        "the system may have run out of memory "
    )
    assert remedy == ", try fewer workers"
    assert 10 < int(megabytes) < 100_000
    assert time.monotonic() - begin < 10  # far below the timeout of 30 s


def test_a_worker_that_crashes_shows_its_stack():
    error = run_until_failure(make([None, None, "crash", None]))
    assert str(error).startswith("worker 1 (envs 2 to 3) was killed by SIGSEGV in step\n")
    assert "Segmentation fault" in str(error)
    assert "in _crash" in str(error)


def test_a_worker_that_exits():
    error = run_until_failure(make(["exit", None], where="reset"))
    assert str(error) == "worker 0 (env 0) exited with code 3 in reset"


@pytest.mark.parametrize("where", ["step", "reset"])
def test_a_worker_that_hangs_shows_its_stack(where):
    error = run_until_failure(make([None, "hang"], where, timeout=0.5))
    option = "timeout" if where == "step" else "reset_timeout"
    assert str(error).startswith(
        f"worker 1 (env 1) has been in {where} for more than {option}=0.5 seconds: "
        f"it hangs, or needs a larger {option}; its stack:"
    )
    assert "in hang_here" in str(error)


def test_a_worker_that_hangs_while_it_starts():
    with pytest.raises(WorkerError) as caught:
        make([None, "hang"], "start", start_timeout=0.5)
    assert "in start for more than start_timeout=0.5 seconds" in str(caught.value)


def test_an_idle_worker_that_is_killed():
    vecenv = make([None, None])
    vecenv.reset(seed=0)
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    with pytest.raises(WorkerError, match="was killed by SIGKILL in step"):
        vecenv.step([0, 0])


def test_a_dead_worker_is_seen_while_others_go_on():
    vecenv = make([None, "kill"], batch_size=1, zero_copy=False)

    def run():
        vecenv.async_reset(0)
        for _ in range(1_000_000):
            vecenv.recv()
            vecenv.send([0])

    with pytest.raises(WorkerError, match=r"worker 1 \(env 1\) was killed by SIGKILL"):
        run()


def test_workers_that_fail_at_once_are_reported_together():
    error = run_until_failure(make(["raise", None, None, "exit"], where="reset"))
    assert str(error).startswith("worker 0 (envs 0 to 1) raised KeyError: 'boom' in reset")
    assert error.__notes__ == ["and worker 1 (envs 2 to 3) exited with code 3 in reset"]


def test_a_failure_does_not_wait_for_slow_workers():
    error = run_until_failure(make(["raise", "hang"], timeout=60.0))
    assert str(error).startswith("worker 0 (env 0) raised KeyError: 'boom' in step")
    assert not hasattr(error, "__notes__")  # it would tell of the one that hangs


def test_after_a_failure_the_vector_is_closed():
    vecenv = make(["raise", None])
    failure = run_until_failure(vecenv)
    for call in (vecenv.reset, vecenv.recv, lambda: vecenv.send([0, 0])):
        with pytest.raises(ClosedError, match="after the vector environment failed") as caught:
            call()
        assert caught.value.__cause__ is failure
    vecenv.close()
    assert vecenv.num_agents == 2


def test_infos_that_cannot_be_pickled():
    vecenv = puffer.vector.make(LockedInfoEnv, backend="multiprocessing")
    error = run_until_failure(vecenv)
    assert "cannot pickle '_thread.lock' object in step" in str(error)
    assert "infos travel to the parent process: they must be picklable" in str(error)


@pytest.mark.parametrize("size", [10, *range(4000, 4097, 8), 1_000_000])
def test_infos_of_any_size(size):
    """Short ones go through shared memory, up to 4,096 bytes, others through pipes."""
    vecenv = puffer.vector.make(
        BigInfoEnv,
        backend="multiprocessing",
        num_envs=2,
        env_kwargs={"num_agents": 2, "size": size},
    )
    with vecenv:
        vecenv.reset(seed=0)
        for _ in range(2):
            infos = vecenv.step([0] * 4)[4]
            assert [info["agent_id"] for info in infos] == [1, 3]
            assert [len(info["blob"]) for info in infos] == [size] * 2
        vecenv.send([0] * 4)  # and close with unread ones


def test_each_env_is_closed_once_in_its_worker(tmp_path):
    vecenv = puffer.vector.make(
        NotingEnv, [str(tmp_path)], backend="multiprocessing", num_envs=4, num_workers=2
    )
    vecenv.reset(seed=0)
    vecenv.close()
    vecenv.close()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["closed\n"] * 4


def test_cycles_leave_nothing_behind():
    def cycle():
        with make([None, None]) as vecenv:
            vecenv.reset(seed=0)
            vecenv.step([0, 0])

    process = psutil.Process()
    cycle()  # multiprocessing itself keeps an arena of shared memory from now on
    gc.collect()  # what failed before may still be held by its error
    before = process.num_fds(), process.num_threads(), len(process.children())
    for _ in range(30):
        cycle()
    assert (process.num_fds(), process.num_threads(), len(process.children())) == before


def test_a_vector_that_nobody_holds_ends_its_workers():
    vecenv = make([None, None])
    vecenv.reset(seed=0)
    with pytest.warns(ResourceWarning, match=r"^a vector environment was never closed: call close"):
        del vecenv
    for child in psutil.Process().children():
        child.wait(timeout=5)


def test_a_fork_may_not_use_it():
    vecenv = make([None, None])
    vecenv.reset(seed=0)

    def use(pipe):
        for call in (vecenv.reset, lambda: vecenv.step([0, 0])):
            try:
                call()
            except UsageError as error:
                pipe.send(str(error))
        vecenv.close()  # in the fork this leaves the workers alone

    ours, theirs = multiprocessing.Pipe()
    fork = multiprocessing.get_context("fork").Process(target=use, args=(theirs,))
    fork.start()
    messages = [ours.recv(), ours.recv()]
    fork.join()
    expected = (
        f"this vector environment belongs to process {os.getpid()}, not to its fork "
        f"{fork.pid}: make one in each process"
    )
    assert messages == [expected] * 2
    fork.close()
    vecenv.step([0, 0])
    vecenv.close()


def test_a_worker_that_hangs_in_c_shows_its_stack():
    error = run_until_failure(make([None, "spin"], timeout=0.5))
    assert "has been in step for more than timeout=0.5 seconds" in str(error)
    assert "in spin_here" in str(error)


def test_a_reset_has_a_timeout_of_its_own():
    with make([None, None], reset_timeout=30.0, timeout=0.5) as vecenv:
        vecenv.reset(seed=0)
    error = run_until_failure(make([None, "hang"], "reset", reset_timeout=0.5, timeout=60.0))
    assert "in reset for more than reset_timeout=0.5 seconds" in str(error)


def test_groups_that_wait_for_others_are_not_late():
    class Slow(FaultyEnv):
        def step(self, actions):
            time.sleep(0.3)
            return super().step(actions)

    with puffer.vector.make(
        Slow, backend="multiprocessing", num_envs=4, num_workers=1, group_envs=1, timeout=0.7
    ) as vecenv:
        vecenv.reset(seed=0)
        vecenv.step([0] * 4)


def test_a_group_that_fails_takes_its_worker_along():
    error = run_until_failure(make([None, None, None, "raise"], group_envs=1))
    assert str(error).startswith("worker 1 (envs 2 to 3) raised KeyError: 'boom' in step")
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    ("fault", "name"), [("interrupt", "KeyboardInterrupt"), ("leave", "SystemExit: 0")]
)
def test_what_ends_a_program_is_a_failure_of_a_worker(fault, name):
    error = run_until_failure(make([None, fault]))
    assert str(error).startswith(f"worker 1 (env 1) raised {name} in step; its traceback:")


def test_three_workers_that_raise_at_once_are_all_named():
    error = run_until_failure(make(["raise"] * 3, num_workers=3, overwork=True))
    told = [str(error), *getattr(error, "__notes__", [])]
    assert sorted(re.search(r"worker (\d)", text)[1] for text in told) == ["0", "1", "2"]
    assert str(error).startswith("worker 0 ")


def test_a_worker_killed_at_any_moment_is_named():
    rng = random.Random(0)
    for _ in range(12):
        vecenv = make([None, None])
        victim = vecenv._crew.pids[1]
        threading.Timer(rng.random() * 0.02, os.kill, (victim, signal.SIGKILL)).start()
        with pytest.raises(WorkerError, match=r"^worker 1 \(env 1\) was killed by SIGKILL in "):
            step_for_ever(vecenv)


def step_for_ever(vecenv):
    vecenv.reset(seed=0)
    while True:
        vecenv.step([0, 0])


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_close_with_unread_answers(method):
    code, out, err = run_script(f"""
        from vector_scripted import BigInfoEnv
        vecenv = puffer.vector.make(
            BigInfoEnv,
            backend="multiprocessing",
            num_envs=4,
            num_workers=2,
            group_envs=1,
            start_method={method!r},
            overwork=True,
        )
        print(*vecenv._crew.pids)
        vecenv.reset(seed=0)
        vecenv.send([0] * 8)
        vecenv.close()
    """)
    assert (code, err) == (0, "")
    assert wait_gone([int(pid) for pid in out.split()], 0.0) == []


def test_close_does_not_wait_for_slow_workers():
    vecenv = make([None, "hang"])
    vecenv.reset(seed=0)
    for _ in range(2):
        vecenv.step([0, 0])
    vecenv.send([0, 0])
    workers = vecenv._crew.pids
    vecenv.close()
    assert wait_gone(workers, 0.0) == []


def test_half_batches_can_be_reset_at_any_moment():
    """No result of an earlier round comes after a reset."""
    rng = random.Random(1)
    for zero_copy in (True, False):
        with make([None] * 4, batch_size=2, group_envs=1, zero_copy=zero_copy) as vecenv:
            for seed in range(0, 400, 10):
                vecenv.async_reset(seed)
                seen = {}
                for _ in range(rng.randrange(6)):
                    observations, *_, agent_ids, _ = vecenv.recv()
                    for row, agent in zip(observations, agent_ids, strict=True):
                        assert row[0] in (0, seed + agent)  # 0: masked
                        assert row[2] == seen.setdefault(agent, 0) or row[1] > 0 or row[0] == 0
                        seen[agent] += 1
                    if rng.random() < 0.8:
                        vecenv.send([0, 0])
                    else:
                        break


def test_two_threads_at_once_are_refused():
    vecenv = make([None, "hang"])
    vecenv.reset(seed=0)
    vecenv.step([0, 0])
    vecenv.step([0, 0])
    vecenv.send([0, 0])
    failed = []

    def receive():
        with pytest.raises(WorkerError) as caught:
            vecenv.recv()
        failed.append(caught.value)

    thread = threading.Thread(target=receive)
    thread.start()
    while not vecenv._lock.locked():
        time.sleep(0.001)
    for name, call in {"recv": vecenv.recv, "async_reset": vecenv.reset}.items():
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == (
            f"{name}() while another thread is in a call of this vector environment: use it from "
            "one thread, or under a lock"
        )
    os.kill(vecenv._crew.pids[1], signal.SIGKILL)
    thread.join()
    assert "was killed by SIGKILL" in str(failed[0])


class ParentEnv(FaultyEnv):
    """Has a process of its own."""

    def reset(self, seed=None):
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
        process.start()
        process.join()
        return super().reset(seed)


def test_environments_may_have_processes_if_workers_are_no_daemons():
    with puffer.vector.make(ParentEnv, backend="multiprocessing", daemon=False) as vecenv:
        vecenv.reset(seed=0)
    with pytest.raises(WorkerError, match="daemonic processes are not allowed to have children"):
        puffer.vector.make(ParentEnv, backend="multiprocessing").reset(seed=0)


def test_a_vector_cannot_be_pickled_and_lives_on():
    with make([None, None]) as vecenv:
        vecenv.reset(seed=0)
        with pytest.raises(UsageError, match="cannot be pickled or copied"):
            pickle.dumps(vecenv)
        gc.collect()
        vecenv.step([0, 0])


def test_memory_is_not_bound_by_the_size_of_dev_shm(monkeypatch):
    full = types.SimpleNamespace(f_bavail=0, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    before = shared_memory()
    with make([None, None]) as vecenv:
        vecenv.reset(seed=0)
        maps = Path("/proc/self/maps").read_text()
        assert "memfd:puffer" in maps
        assert not {name for name in shared_memory() - before if not name.startswith("sem.")}


def test_workers_started_beside_threads_work():
    """Fork copies no threads: what they hold stays locked for ever, but nobody needs it."""
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with make([None, None], start_method="fork", overwork=True) as vecenv:
                vecenv.reset(seed=0)
                vecenv.step([0, 0])
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class ThreadsEnv(FaultyEnv):
    """Tells how many threads torch uses in its process."""

    def step(self, actions):
        import torch

        return *super().step(actions)[:4], [{"threads": torch.get_num_threads()}]


def test_torch_has_one_thread_in_workers_and_keeps_its_own_here():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with puffer.vector.make(ThreadsEnv, backend="multiprocessing") as vecenv:
            vecenv.reset(seed=0)
            assert vecenv.step([0])[4] == [{"threads": 1}]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- whole programs -----------------------------------------------------------------------------


def run_script(body, *, wait=True):
    script = textwrap.dedent(f"""
        import sys, os, time
        sys.path.insert(0, {HELPERS!r})
        import numpy as np
        import puffer.vector
        from vector_scripted import CountingEnv, FaultyEnv
    """) + textwrap.dedent(body)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if wait:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err
    return process


def runs(pid):
    try:
        # An orphan that has ended may stay a zombie for as long as init likes.
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(pids, seconds):
    give_up = time.monotonic() + seconds
    while (left := [pid for pid in pids if runs(pid)]) and time.monotonic() < give_up:
        time.sleep(0.02)
    return left


MAKE = """
vecenv = puffer.vector.make(
    CountingEnv, backend="multiprocessing", num_envs=3, overwork=True, start_method={method!r}
)
vecenv.reset(seed=0)
print(*vecenv._crew.pids, flush=True)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_leave_when_their_parent_is_killed(method):
    shared = shared_memory()
    process = run_script(MAKE.format(method=method) + "time.sleep(1000)", wait=False)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 3
    process.kill()
    process.communicate()
    assert wait_gone(workers, 2.0) == []
    assert_no_new_shared_memory(shared)


def test_a_program_that_forgets_to_close_ends():
    code, out, err = run_script(MAKE.format(method="fork"))
    assert (code, err) == (0, "")
    assert wait_gone([int(pid) for pid in out.split()], 2.0) == []


def test_a_program_that_raises_ends_with_its_error():
    code, out, err = run_script(MAKE.format(method="fork") + "vecenv.step('nonsense')")
    assert code == 1
    assert err.splitlines()[-1].startswith("puffer.core.errors.ActionError: ")
    assert wait_gone([int(pid) for pid in out.split()], 2.0) == []


def test_an_interrupted_step_can_be_given_up():
    """As in a notebook: Ctrl-C while one worker is done and the other one is not."""
    code, out, _ = run_script("""
        import signal, tempfile
        from vector_scripted import WaitingEnv
        gate = tempfile.mktemp()
        vecenv = puffer.vector.make(
            WaitingEnv, env_kwargs=[{}, {"path": gate}], backend="multiprocessing", num_envs=2
        )
        vecenv.reset(seed=0)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            vecenv.step([0, 0])
        except KeyboardInterrupt:
            print("interrupted")
        open(gate, "w").close()
        print(vecenv.reset(seed=6)[0][:, 0])
        print(vecenv.step([0, 0])[1])
        vecenv.close()
        os.remove(gate)
    """)
    assert (code, out) == (0, "interrupted\n[6 7]\n[6.5 0.5]\n")


def test_a_program_that_is_interrupted_prints_one_traceback():
    # Programs that are started in the background may inherit that interrupts are ignored.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = run_script(
        listen + MAKE.format(method="fork") + "while True: vecenv.step(np.zeros(6, int))",
        wait=False,
    )
    workers = [int(pid) for pid in process.stdout.readline().split()]
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert err.count("Traceback") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT
    assert wait_gone(workers, 2.0) == []


def test_a_script_without_a_main_guard(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {HELPERS!r})\n"
        "import puffer.vector\n"
        "from vector_scripted import CountingEnv\n"
        "puffer.vector.make(CountingEnv, backend='multiprocessing', start_method='spawn')\n"
    )
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "puffer.core.errors.WorkerError: worker 0 (env 0) exited with code 1 in start: under "
        "start_method='spawn' a script must call make() below `if __name__ == \"__main__\":`"
    )


def test_workers_made_by_another_thread_leave_too_when_their_parent_is_killed():
    process = run_script(
        """
        import threading
        def work():
            global vecenv
            vecenv = puffer.vector.make(CountingEnv, backend="multiprocessing")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        print(*vecenv._crew.pids, flush=True)
        time.sleep(1000)
        """,
        wait=False,
    )
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 1
    process.kill()
    process.communicate()
    assert wait_gone(workers, 2.0) == []


def test_another_thread_may_make_it():
    # The kernel would kill the workers with the thread that started them.
    code, out, _ = run_script("""
        import threading
        def work():
            global vecenv
            vecenv = puffer.vector.make(CountingEnv, backend="multiprocessing")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        time.sleep(0.2)
        vecenv.reset(seed=0)
        print(vecenv.step([0, 0])[1])
        vecenv.close()
    """)
    assert (code, out) == (0, "[0.5 1.5]\n")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_nothing_remains_when_the_whole_group_is_killed(method):
    shared = shared_memory()
    process = run_script(MAKE.format(method=method) + "time.sleep(1000)", wait=False)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    group = [*workers, *(c.pid for c in psutil.Process(process.pid).children(recursive=True))]
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert wait_gone(group, 5.0) == []
    left = shared_memory() - shared
    if method == "fork":
        assert left == set()
    for name in left:  # named by Python; its resource tracker, which clears them, was killed too
        assert name.startswith("sem.")
        os.unlink(f"/dev/shm/{name}")


def test_workers_leave_when_their_parent_is_terminated():
    process = run_script(MAKE.format(method="fork") + "time.sleep(1000)", wait=False)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    process.terminate()
    process.communicate()
    assert process.returncode == -signal.SIGTERM
    assert wait_gone(workers, 2.0) == []


@pytest.mark.parametrize(
    "mistake",
    ["vecenv.send([0])", "vecenv.recv()", "vecenv.step([9] * 6)", "vecenv.reset(-1)", "1 / 0"],
)
def test_a_program_with_a_mistake_ends(mistake):
    code, out, err = run_script(MAKE.format(method="fork") + mistake)
    assert code == 1
    assert err.count("Traceback") == 1
    assert wait_gone([int(pid) for pid in out.split()], 2.0) == []


def test_a_program_ends_though_its_workers_are_no_daemons():
    script = MAKE.format(method="fork").replace("overwork=True", "overwork=True, daemon=False")
    code, out, err = run_script(script)
    assert (code, err) == (0, "")
    assert wait_gone([int(pid) for pid in out.split()], 2.0) == []
