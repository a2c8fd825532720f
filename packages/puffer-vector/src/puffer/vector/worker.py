"""The worker process: builds its environments on shared rows, then serves the parent's commands."""

from __future__ import annotations

import ctypes
import dataclasses
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Semaphore
from typing import Any, NoReturn

import numpy as np

from puffer.core import Buffers
from puffer.core.buffers import Fields
from puffer.core.errors import UsageError
from puffer.vector.calls import answer_call
from puffer.vector.cores import Spread
from puffer.vector.failures import RemoteError
from puffer.vector.group import EnvGroup
from puffer.vector.recipe import EnvShape, Recipe, build_more
from puffer.vector.shared import SharedBlock
from puffer.vector.wait import WORKER_POLL_SECONDS, Waiter

# What the parent asks for, one byte per group in `commands`. A worker begins with START.
START, STEP, RESET, STATE, SET_STATE, CALL = range(6)
COMMAND_NAMES = ("start", "step", "reset", "state", "set_state", "call")

# How far a group is, one byte each in `statuses`. NOTE: `notes` say more; MESSAGE and ERROR: the
# pipe does, which takes two system calls at each end.
RUNNING, DONE, NOTE, MESSAGE, ERROR = range(5)

NOTE_BYTES = 4096  # of each group: the infos of some eighty episodes

NO_SEED = -1  # in `seeds`, one int64 per group: fresh entropy

PARENT_CHECK_SECONDS = 0.5


def control_fields(num_workers: int, num_groups: int) -> Fields:
    """Return the arrays by which parent and workers talk: name -> (shape, dtype).

    `queues` holds the groups that each worker is to serve, in a ring with a place for each of its
    groups; one post of the worker's semaphore stands for one of them, or for `closing`. `begun` is
    when the worker began with the last one, by the monotonic clock that all processes share, and
    `cores` where. A note is pickled, and ends where the pickle does.
    """
    return {
        "closing": ((num_workers,), np.dtype(np.uint8)),
        "begun": ((num_workers,), np.dtype(np.float64)),
        "cores": ((num_workers,), np.dtype(np.int32)),
        "queues": ((num_groups,), np.dtype(np.int32)),
        "commands": ((num_groups,), np.dtype(np.uint8)),
        "statuses": ((num_groups,), np.dtype(np.uint8)),
        "seeds": ((num_groups,), np.dtype(np.int64)),
        "notes": ((num_groups, NOTE_BYTES), np.dtype(np.uint8)),
    }


@dataclasses.dataclass(frozen=True)
class Job:
    """What one worker is to do.

    Attributes:
        worker: its number.
        first_env: the number of its first environment in the whole vector.
        num_groups: how many groups its environments form.
        recipes: its environments, as they are (fork) or pickled.
        shape: what each of them must look like.
        may_poll: whether there are cores to poll on.
        die_with_parent: whether the kernel may kill it with the thread that starts it.
        replaces: what became of the worker whose place it takes; empty if there was none.
    """

    worker: int
    first_env: int
    num_groups: int
    recipes: Sequence[Recipe] | bytes
    shape: EnvShape
    may_poll: bool
    die_with_parent: bool
    replaces: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
    """What connects a worker with its parent; the worker's end of it.

    Attributes:
        answers: the pipe for what is too long for a note.
        questions: the pipe for what is asked with such a length. Both go one way only: a socket
            would block the many small writes of a stack.
        wake: posted once for each command.
        done: posted once for each group that is done; shared with all workers.
        block: the shared memory.
    """

    answers: Connection
    questions: Connection
    wake: Semaphore
    done: Semaphore
    block: SharedBlock


class Worker:
    """One end of the conversation: commands come by `wake`, answers go by `done`."""

    def __init__(self, job: Job, line: Line) -> None:
        self._job = job
        self._line = line
        arrays = line.block.arrays()
        first, last = job.worker * job.num_groups, (job.worker + 1) * job.num_groups
        self._closing = arrays.pop("closing").data
        self._begun: Any = arrays.pop("begun").data
        self._spread = Spread(arrays.pop("cores").data, job.worker)
        self._queue = arrays.pop("queues")[first:last].data
        self._commands = arrays.pop("commands")[first:last].data
        self._statuses = arrays.pop("statuses")[first:last].data
        self._seeds = arrays.pop("seeds")[first:last].data
        self._notes = [note.data for note in arrays.pop("notes")[first:last]]
        self._buffers = Buffers(**arrays)
        self._waiter = Waiter(job.may_poll, WORKER_POLL_SECONDS)
        self._current = 0  # the group that is being served, counted within this worker
        self._parent = multiprocessing.parent_process()
        self._parent_pid = os.getppid()

    def serve(self) -> None:
        """Build the environments and obey until told to close; any exception goes to the parent."""
        groups: list[EnvGroup] = []
        try:
            self._build(groups)
            _use_one_thread()
            unable = [name for group in groups if (name := group.unable_to_save) is not None]
            self._answer(([group.num_simulations for group in groups], unable))
            self._obey(groups)
        except BaseException as error:
            self._send(ERROR, pickle.dumps(RemoteError.of(error)))
        finally:
            for group in groups:
                group.close()

    def _build(self, groups: list[EnvGroup]) -> None:
        job = self._job
        recipes = pickle.loads(job.recipes) if isinstance(job.recipes, bytes) else job.recipes
        size, agents = len(recipes) // job.num_groups, job.shape.num_agents
        for start in range(0, len(recipes), size):
            first_env = job.first_env + start
            rows = self._buffers.rows(first_env * agents, (first_env + size) * agents)
            envs = build_more([], recipes[start : start + size], job.shape, rows, first_env)
            groups.append(EnvGroup(envs, rows, first_env, job.replaces))

    def _obey(self, groups: Sequence[EnvGroup]) -> None:
        worker, queue, wake = self._job.worker, self._queue, self._line.wake
        closing, begun, commands = self._closing, self._begun, self._commands
        statuses, post = self._statuses, self._line.done.release
        wait, look, now = self._waiter.wait, self._spread.look, time.monotonic
        served = 0
        while True:
            wait(wake, self._check_parent, PARENT_CHECK_SECONDS)
            if closing[worker]:
                return
            begun[worker] = time_now = now()
            look(time_now)
            self._current = current = queue[served % len(queue)]
            served += 1
            group, command = groups[current], commands[current]
            if command == STEP:
                message: Any = group.step() if not group.lost else group.begin_again()
            elif command == RESET:
                seed = self._seeds[current]
                message = group.reset(None if seed == NO_SEED else seed)
            else:
                message = self._reply(group, command)
            if message:
                self._answer(message)
            else:
                statuses[current] = DONE
                post()

    def _reply(self, group: EnvGroup, command: int) -> Any:
        """Return what was asked for; a refusal is an answer too, since the worker can go on."""
        try:
            if command == STATE:
                return group.state()
            content = pickle.loads(self._line.questions.recv_bytes())
            if command == CALL:
                return self._call(group, *content)
            group.set_state(content)
            return None
        except UsageError as error:
            return RemoteError.of(error)

    def _call(self, group: EnvGroup, places: Sequence[int], message: bytes) -> bytes | RemoteError:
        """Return the results; what the function raises is an answer, since the worker can go on."""
        try:
            return answer_call([group.envs[place] for place in places], message)
        except Exception as error:
            error.add_note(f"raised in a worker process:\n\n{traceback.format_exc()}")
            return RemoteError.of(error)

    def _answer(self, content: Any) -> None:
        try:
            message = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note("infos travel to the parent process: they must be picklable")
            raise
        if len(message) > NOTE_BYTES:
            self._send(MESSAGE, message)
            return
        self._notes[self._current][: len(message)] = message
        self._statuses[self._current] = NOTE
        self._line.done.release()

    def _send(self, status: int, message: bytes) -> None:
        # In this order: the parent reads only after `done`, and the pipe may be too small.
        self._statuses[self._current] = status
        self._line.done.release()
        self._line.answers.send_bytes(message)

    def _check_parent(self) -> None:
        orphan = self._parent is not None and not self._parent.is_alive()
        if orphan or os.getppid() != self._parent_pid:
            _leave()


def run_worker(job: Job, line: Line) -> None:
    """Be worker `job.worker` until the parent says close, or is gone."""
    _prepare(job, line.answers)
    try:
        Worker(job, line).serve()
    except (BrokenPipeError, ConnectionResetError):
        _leave()  # the parent went away in the middle of an answer


def _leave() -> NoReturn:
    os._exit(1)  # there is nobody left to report to


def _prepare(job: Job, pipe: Connection) -> None:
    """Settle what a worker must not inherit: signal handlers, threads, a long life."""
    # Ctrl-C goes to the whole group: the parent handles it. Its handlers are not for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if job.die_with_parent and sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if hasattr(faulthandler, "register"):  # not on Windows
        # A worker that hangs or crashes has no message under way: its stack takes the pipe.
        faulthandler.enable(pipe.fileno())
        faulthandler.register(signal.SIGUSR1, pipe.fileno())
    _use_one_thread()


def _use_one_thread() -> None:
    torch = sys.modules.get("torch")  # never imported on our account
    if torch is not None:
        torch.set_num_threads(1)
