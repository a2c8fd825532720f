"""Starting and ending the worker processes of one vector environment."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing.connection
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Semaphore
from typing import Any

import cloudpickle

from puffer.core.errors import UsageError
from puffer.vector.failures import Patient, read_raw
from puffer.vector.recipe import EnvShape, Recipe
from puffer.vector.shared import SharedBlock
from puffer.vector.worker import Job, Line, run_worker

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Staff:
    """The worker processes and the parent's ends of what connects it with them.

    Attributes:
        processes: one for each worker.
        answers: the pipes from them.
        questions: the pipes to them.
        wakes: the semaphores on which they sleep.
    """

    processes: list[BaseProcess] = dataclasses.field(default_factory=list)
    answers: list[Connection] = dataclasses.field(default_factory=list)
    questions: list[Connection] = dataclasses.field(default_factory=list)
    wakes: list[Semaphore] = dataclasses.field(default_factory=list)

    def patient(self, worker: int, envs_per_worker: int) -> Patient:
        """Return what makes the errors that tell of `worker`."""
        first = worker * envs_per_worker
        last = first + envs_per_worker - 1
        envs = f"env {first}" if first == last else f"envs {first} to {last}"
        name = f"worker {worker} ({envs})"
        return Patient(name, self.processes[worker], self.answers[worker])

    def end(self, seconds: float) -> None:
        """End every process that was told to close: wait `seconds`, terminate, kill."""
        self._join(seconds)
        for way in ("terminate", "kill"):
            for process in self.processes:
                if process.is_alive():
                    getattr(process, way)()
            self._join(1.0)
        for process in self.processes:
            process.join()
            process.close()
        for pipe in (*self.answers, *self.questions):
            pipe.close()

    def bury(self, worker: int) -> None:
        """End the process of `worker`, whatever it is at."""
        self.processes[worker].kill()
        self.processes[worker].join()
        self.answers[worker].close()
        self.questions[worker].close()

    def _join(self, seconds: float) -> None:
        """Wait until all have ended, reading what they still write so that they can."""
        give_up = time.monotonic() + seconds
        pipes = [pipe for pipe in self.answers if not pipe.closed]
        while alive := [process.sentinel for process in self.processes if process.is_alive()]:
            left = give_up - time.monotonic()
            if left <= 0:
                return
            for ready in multiprocessing.connection.wait([*alive, *pipes], left):
                if isinstance(ready, int):
                    continue
                try:
                    if read_raw(ready):  # type: ignore[arg-type]
                        continue
                except (EOFError, OSError):
                    pass
                pipes.remove(ready)  # type: ignore[arg-type]


def make_jobs(
    context: Any,
    recipes: Sequence[Recipe],
    shape: EnvShape,
    *,
    num_workers: int,
    groups_per_worker: int,
    may_poll: bool,
) -> list[Job]:
    """Return what each worker is to do.

    Raises:
        UsageError: recipes that cannot be sent to a worker.
    """
    method = context.get_start_method()
    die_with_parent = (
        threading.current_thread() is threading.main_thread() or method == "forkserver"
    )
    jobs = []
    size = len(recipes) // num_workers
    for worker in range(num_workers):
        own = recipes[worker * size : (worker + 1) * size]
        sendable = own if method == "fork" else _pickle_recipes(own, method)
        jobs.append(
            Job(
                worker, worker * size, groups_per_worker, sendable, shape, may_poll, die_with_parent
            )
        )
    return jobs


def start_worker(
    staff: Staff, context: Any, job: Job, block: SharedBlock, done: Semaphore, *, daemon: bool
) -> None:
    """Start the process that does `job`, at its place in `staff`; the one before has ended."""
    with _environment_of_workers():
        wake = context.Semaphore(0)
        answers, their_answers = context.Pipe(duplex=False)
        their_questions, questions = context.Pipe(duplex=False)
        process = context.Process(
            target=run_worker,
            args=(job, Line(their_answers, their_questions, wake, done, block)),
            name=f"puffer-worker-{job.worker}",
            daemon=daemon,
        )
        place = slice(job.worker, job.worker + 1)
        staff.wakes[place] = [wake]
        staff.answers[place], staff.questions[place] = [answers], [questions]
        process.start()
        for before in staff.processes[place]:
            before.close()
        staff.processes[place] = [process]
        # Only the worker may hold its ends, or its death would not close the pipes.
        their_answers.close()
        their_questions.close()


def choose_start_method(asked: str | None) -> str:
    """Return how to start processes: as asked if it works here, else what is best here.

    Raises:
        UsageError: a method that the system has not, or fork after CUDA was initialised.
    """
    methods = multiprocessing.get_all_start_methods()
    if asked is not None and asked not in methods:
        raise UsageError(f"start_method={asked!r}: expected one of {', '.join(methods)}, or None")
    torch = sys.modules.get("torch")  # never imported on our account
    cuda_is_up = torch is not None and torch.cuda.is_initialized()
    if asked == "fork" and cuda_is_up:
        raise UsageError(
            'start_method="fork" after torch initialised CUDA: CUDA does not survive it, make the '
            'environments first or use "forkserver"'
        )
    if asked is not None:
        return asked
    if sys.platform != "linux":
        return "spawn"
    return "forkserver" if cuda_is_up else "fork"


def _pickle_recipes(recipes: Sequence[Recipe], method: str) -> bytes:
    try:
        pickled: bytes = cloudpickle.dumps(recipes)
    except Exception as error:  # PicklingError, AttributeError, TypeError: pickle raises them all
        raise UsageError(
            f"an env creator or its arguments cannot be sent to a worker under "
            f"start_method={method!r} ({error}): make such things inside of the creator"
        ) from error
    return pickled


@contextlib.contextmanager
def _environment_of_workers() -> Iterator[None]:
    """Start processes that use one thread each, and leave this process as it was."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    with warnings.catch_warnings():
        # Our choice of fork is documented, and the workers take no lock of the parent's threads.
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        os.environ.update({name: "1" for name in THREAD_LIMITS})
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
