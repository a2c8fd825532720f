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
from puffer.vector.group import EnvGroup
from puffer.vector.recipe import EnvShape, Recipe, build_more
from puffer.vector.shared import SharedBlock
from puffer.vector.wait import wait

# What the parent asks for, one byte per worker in `commands`. A worker begins with START.
START, STEP, RESET, STATE, SET_STATE, CALL, CLOSE = range(7)
COMMAND_NAMES = ("start", "step", "reset", "state", "set_state", "call", "close")

# How far a worker is, one byte per worker in `statuses`. MESSAGE and ERROR: the pipe says more.
RUNNING, DONE, MESSAGE, ERROR = range(4)

NO_SEED = -1  # in `seeds`, one int64 per worker: fresh entropy

PARENT_CHECK_SECONDS = 0.5


def control_fields(num_workers: int) -> Fields:
    """Return the arrays by which parent and workers talk: name -> (shape, dtype)."""
    shape = (num_workers,)
    return {
        "commands": (shape, np.dtype(np.uint8)),
        "statuses": (shape, np.dtype(np.uint8)),
        "seeds": (shape, np.dtype(np.int64)),
    }


@dataclasses.dataclass(frozen=True)
class Job:
    """What one worker is to do.

    Attributes:
        worker: its number.
        first_env: the number of its first environment in the whole vector.
        recipes: its environments, as they are (fork) or pickled.
        shape: what each of them must look like.
        die_with_parent: whether the kernel may kill it with the thread that starts it.
    """

    worker: int
    first_env: int
    recipes: Sequence[Recipe] | bytes
    shape: EnvShape
    die_with_parent: bool


@dataclasses.dataclass(frozen=True)
class RemoteError:
    """An exception on its way to the parent."""

    summary: str
    traceback: str
    pickled: bytes | None

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """Return what can be sent of `error`."""
        try:
            pickled = pickle.dumps(error)
        except Exception:  # whatever its __reduce__ raises: then the text must do
            pickled = None
        return cls(
            f"{type(error).__name__}: {error}".rstrip(": "),
            "".join(traceback.format_exception(error)),
            pickled,
        )

    def exception(self) -> BaseException | None:
        """Return the exception itself, if it survived the journey."""
        try:
            error = pickle.loads(self.pickled) if self.pickled else None
        except Exception:  # whatever its constructor raises
            return None
        return error if isinstance(error, BaseException) else None


class Worker:
    """One end of the conversation: commands come by `wake`, answers go by `done`."""

    def __init__(
        self,
        job: Job,
        pipe: Connection,
        inbox: Connection,
        wake: Semaphore,
        done: Semaphore,
        block: SharedBlock,
    ) -> None:
        self._job = job
        self._pipe = pipe
        self._inbox = inbox
        self._wake = wake
        self._done = done
        arrays = block.arrays()
        self._commands = arrays.pop("commands").data
        self._statuses = arrays.pop("statuses").data
        self._seeds = arrays.pop("seeds").data
        self._buffers = Buffers(**arrays)
        self._parent = multiprocessing.parent_process()
        self._parent_pid = os.getppid()

    def serve(self) -> None:
        """Build the environments and obey until told to close; any exception goes to the parent."""
        group: EnvGroup | None = None
        try:
            group = self._build()
            _use_one_thread()
            self._answer(MESSAGE, (group.num_simulations, group.unable_to_save))
            self._obey(group)
        except BaseException as error:
            self._answer(ERROR, RemoteError.of(error))
        finally:
            if group is not None:
                group.close()

    def _build(self) -> EnvGroup:
        job = self._job
        recipes = pickle.loads(job.recipes) if isinstance(job.recipes, bytes) else job.recipes
        first_row = job.first_env * job.shape.num_agents
        rows = self._buffers.rows(first_row, first_row + len(recipes) * job.shape.num_agents)
        envs = build_more([], recipes, job.shape, rows, job.first_env)
        return EnvGroup(envs, rows, job.first_env)

    def _obey(self, group: EnvGroup) -> None:
        worker, commands, statuses = self._job.worker, self._commands, self._statuses
        while True:
            wait(self._wake, self._check_parent, PARENT_CHECK_SECONDS)
            command = commands[worker]
            if command == STEP:
                infos = group.step()
            elif command == RESET:
                seed = self._seeds[worker]
                infos = group.reset(None if seed == NO_SEED else seed)
            elif command == CALL:
                self._answer(MESSAGE, self._call(group))
                continue
            elif command != CLOSE:
                self._answer(MESSAGE, self._save_or_restore(group, command))
                continue
            else:
                return
            if infos:
                self._answer(MESSAGE, infos)
            else:
                statuses[worker] = DONE
                self._done.release()

    def _save_or_restore(self, group: EnvGroup, command: int) -> list[bytes] | RemoteError | None:
        """Return the states; a refusal is an answer too, since the worker can go on."""
        try:
            if command == STATE:
                return group.state()
            group.set_state(pickle.loads(self._inbox.recv_bytes()))
            return None
        except UsageError as error:
            return RemoteError.of(error)

    def _call(self, group: EnvGroup) -> bytes | RemoteError:
        """Return the results; what the function raises is an answer, since the worker can go on."""
        try:
            places, message = pickle.loads(self._inbox.recv_bytes())
            return answer_call([group.envs[place] for place in places], message)
        except Exception as error:
            error.add_note(f"raised in a worker process:\n\n{traceback.format_exc()}")
            return RemoteError.of(error)

    def _answer(self, status: int, content: Any) -> None:
        try:
            message = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note("infos travel to the parent process: they must be picklable")
            raise
        # In this order: the parent reads only after `done`, and the pipe may be too small.
        self._statuses[self._job.worker] = status
        self._done.release()
        self._pipe.send_bytes(message)

    def _check_parent(self) -> None:
        orphan = self._parent is not None and not self._parent.is_alive()
        if orphan or os.getppid() != self._parent_pid:
            _leave()


def run_worker(
    job: Job,
    pipe: Connection,
    inbox: Connection,
    wake: Semaphore,
    done: Semaphore,
    block: SharedBlock,
) -> None:
    """Be worker `job.worker` until the parent says close, or is gone."""
    _prepare(job, pipe)
    try:
        Worker(job, pipe, inbox, wake, done, block).serve()
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
