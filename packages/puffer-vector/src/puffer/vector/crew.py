"""Crew: the worker processes of one vector environment; starts them, watches them, ends them."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from puffer.core.errors import UsageError, WorkerError
from puffer.vector.recipe import EnvShape, Recipe
from puffer.vector.shared import SharedBlock
from puffer.vector.wait import wait
from puffer.vector.worker import (
    CALL,
    CLOSE,
    COMMAND_NAMES,
    DONE,
    ERROR,
    MESSAGE,
    NO_SEED,
    RESET,
    RUNNING,
    SET_STATE,
    START,
    STATE,
    STEP,
    Job,
    RemoteError,
    run_worker,
)

CHECK_SECONDS = 0.1  # how often a wait looks for dead and hung workers
GATHER_SECONDS = 0.1  # how long a failure waits for others, to report them together
FAIL_SECONDS = 0.3  # how long the others may take to close their environments after a failure
STACK_SECONDS = 1.0  # how long a hung worker has to write its stack

THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Crew:
    """Worker processes with their pipes and semaphores.

    Args:
        context: of multiprocessing, for one start method.
        recipes: all environments; each worker gets as many, neighbours.
        shape: what each environment must look like.
        block: the shared arrays, those of `control_fields` among them.
        num_workers: how many processes.
        timeout: seconds that one step or reset may take.
        start_timeout: seconds that building the environments may take.

    Raises:
        UsageError: recipes that cannot be sent to a worker.
        WorkerError: a worker failed to start; all others have been ended.
    """

    def __init__(
        self,
        context: Any,
        recipes: Sequence[Recipe],
        shape: EnvShape,
        block: SharedBlock,
        *,
        num_workers: int,
        timeout: float,
        start_timeout: float,
    ) -> None:
        self._owner = os.getpid()
        self._method = context.get_start_method()
        self._envs_per_worker = len(recipes) // num_workers
        self._limits = dict.fromkeys((STEP, RESET, STATE, SET_STATE, CALL), timeout)
        self._limits[START] = start_timeout
        arrays = block.arrays()
        self._commands = arrays["commands"].data
        self._statuses = arrays["statuses"].data
        self._seeds = arrays["seeds"].data
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []  # from the workers
        self._outboxes: list[Connection] = []  # to them
        self._wakes = [context.Semaphore(0) for _ in range(num_workers)]
        self._done = context.Semaphore(0)
        self._busy: set[int] = set()  # given a command and not yet returned by `finished`
        self._taken = 0  # posts of busy workers; an interrupted `finished` leaves them to the next
        self._since = [0.0] * num_workers  # when each was given its command
        self._next_check = 0.0
        try:
            self._start(context, recipes, shape, block)
            ready = self._finish_all()
        except BaseException:
            self.stop(FAIL_SECONDS)
            raise
        self.simulations = [simulations for simulations, _ in ready]  # how many each worker holds
        self.unable_to_save = next((name for _, name in ready if name is not None), None)

    def _start(
        self, context: Any, recipes: Sequence[Recipe], shape: EnvShape, block: SharedBlock
    ) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        jobs = []
        for worker in range(len(self._wakes)):
            first_env = worker * self._envs_per_worker
            own = recipes[first_env : first_env + self._envs_per_worker]
            sendable = own if self._method == "fork" else _pickle_recipes(own, self._method)
            die_with_parent = in_main_thread or self._method == "forkserver"
            jobs.append(Job(worker, first_env, sendable, shape, die_with_parent))
        with _environment_of_workers():
            for job, wake in zip(jobs, self._wakes, strict=True):
                # Two one-way pipes: a socket would block the many small writes of a stack.
                ours, theirs = context.Pipe(duplex=False)
                inbox, outbox = context.Pipe(duplex=False)
                self._pipes.append(ours)
                self._outboxes.append(outbox)
                process = context.Process(
                    target=run_worker,
                    args=(job, theirs, inbox, wake, self._done, block),
                    name=f"puffer-worker-{job.worker}",
                    daemon=True,
                )
                process.start()
                self._processes.append(process)
                # Only the worker may hold its ends, or its death would not close the pipes.
                theirs.close()
                inbox.close()
                self._busy.add(job.worker)
                self._since[job.worker] = time.monotonic()

    def _finish_all(self) -> list[Any]:
        """Wait until nobody is busy, and return what each worker had to say."""
        answers: list[Any] = [None] * len(self._processes)
        while self._busy:
            for worker, answer in self.finished(len(self._busy)):
                answers[worker] = answer
        return answers

    # --- the conversation -----------------------------------------------------------------------

    def order_step(self, workers: Iterable[int]) -> None:
        """Make `workers` step by the actions that stand in the shared rows."""
        now = time.monotonic()
        if now > self._next_check:
            self.check()
        for worker in workers:
            self._order(worker, STEP, now)

    def order_reset(self, seeds: Iterable[int | None]) -> None:
        """Make each worker reset with its seed; what they did before must have been taken."""
        now = time.monotonic()
        for worker, seed in enumerate(seeds):
            self._seeds[worker] = NO_SEED if seed is None else seed
            self._order(worker, RESET, now)

    def _order(self, worker: int, command: int, now: float) -> None:
        self._statuses[worker] = RUNNING
        self._commands[worker] = command
        self._since[worker] = now
        self._busy.add(worker)
        self._wakes[worker].release()

    def finished(self, at_least: int) -> list[tuple[int, Any]]:
        """Wait until `at_least` busy workers are done; return them with their messages, or None.

        Raises:
            WorkerError: a worker raised, died or hangs.
        """
        statuses = self._statuses
        while True:
            while self._taken < at_least:
                wait(self._done, self.check, CHECK_SECONDS)
                self._taken += 1
            done = [worker for worker in self._busy if statuses[worker]]
            if len(done) == self._taken:
                break
            # A status may be seen before its post: what it stands for is not ours to read yet.
            at_least = len(done)
        failed = [worker for worker in done if statuses[worker] == ERROR]
        if failed:
            raise self._failure({worker: self._raised(worker) for worker in failed})
        answers = [(w, self._read(w) if statuses[w] == MESSAGE else None) for w in done]
        self._busy.difference_update(done)
        self._taken = 0
        return answers

    @property
    def num_busy(self) -> int:
        """How many workers were given a command that `finished` has not returned yet."""
        return len(self._busy)

    def drain(self) -> None:
        """Wait until nobody is busy, and drop what came of it."""
        self._finish_all()

    def state(self) -> list[bytes]:
        """Return the state of every environment; nobody may be busy.

        Raises:
            UsageError: an environment refuses.
            WorkerError: a worker raised, died or hangs.
        """
        now = time.monotonic()
        for worker in range(len(self._processes)):
            self._order(worker, STATE, now)
        return [state for states in self._answers() for state in states]

    def set_state(self, states: Sequence[bytes]) -> None:
        """Make every environment continue from its state; nobody may be busy. Raises as `state`."""
        size = self._envs_per_worker
        parts = [states[i : i + size] for i in range(0, len(states), size)]
        self._ask(SET_STATE, dict(enumerate(parts)))

    def call(self, envs: Iterable[int], message: bytes) -> list[bytes]:
        """Return the answers of the workers of `envs` to a call; nobody may be busy.

        Raises:
            Exception: what the function raised, or UsageError if that could not be sent.
            WorkerError: a worker died or hangs.
        """
        places: dict[int, list[int]] = {}
        for number in envs:
            worker, place = divmod(number, self._envs_per_worker)
            places.setdefault(worker, []).append(place)
        answers = self._ask(CALL, {worker: (own, message) for worker, own in places.items()})
        return [answers[worker] for worker in places]

    def _ask(self, command: int, contents: Mapping[int, Any]) -> list[Any]:
        """Give `command` with its content to each of these workers; return what they say."""
        now = time.monotonic()
        messages = {worker: pickle.dumps(content) for worker, content in contents.items()}
        for worker in messages:
            self._order(worker, command, now)
        pipes = [self._outboxes[worker] for worker in messages]
        # By a thread of its own: a worker that hangs lets us write no more than a pipe holds.
        sender = threading.Thread(target=_send_all, args=(pipes, messages.values()), daemon=True)
        sender.start()
        answers = self._answers()
        sender.join()
        return answers

    def _answers(self) -> list[Any]:
        """Wait until nobody is busy; return what each worker says, or raise what one raised."""
        answers = self._finish_all()
        for answer in answers:
            if isinstance(answer, RemoteError):
                raise answer.exception() or UsageError(f"a worker raised {answer.summary}")
        return answers

    def _read(self, worker: int) -> Any:
        try:
            message = self._pipes[worker].recv_bytes()
        except (EOFError, OSError):  # it died while it wrote
            raise self._failure({worker: self._died(worker)}) from None
        self._statuses[worker] = DONE
        return pickle.loads(message)

    # --- failures -------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise WorkerError if a busy worker has failed, or has been busy for too long."""
        now = time.monotonic()
        self._next_check = now + CHECK_SECONDS
        failures = self._find_failures()
        for worker in self._busy - failures.keys():
            late = now - self._since[worker] > self._limits[self._commands[worker]]
            if late and self._statuses[worker] == RUNNING:
                failures[worker] = self._hangs(worker)
        if failures:
            raise self._failure(failures)

    def _find_failures(self) -> dict[int, WorkerError]:
        """Return what became of the busy workers that raised or died."""
        failures = {}
        for worker in self._busy:
            alive = self._processes[worker].is_alive()  # asked first: it may say why and then end
            if self._statuses[worker] == ERROR:
                failures[worker] = self._raised(worker)
            elif not alive:
                failures[worker] = self._died(worker)
        return failures

    def _failure(self, failures: dict[int, WorkerError]) -> WorkerError:
        """Return the failure of the lowest worker, with those of others as its notes."""
        self._busy.difference_update(failures)
        give_up = time.monotonic() + GATHER_SECONDS
        while time.monotonic() < give_up and any(self._statuses[w] == RUNNING for w in self._busy):
            time.sleep(0.005)
        failures |= self._find_failures()
        first, *more = [failures[worker] for worker in sorted(failures)]
        for failure in more:
            first.add_note(f"and {failure}")
        return first

    def _name(self, worker: int) -> str:
        first = worker * self._envs_per_worker
        last = first + self._envs_per_worker - 1
        envs = f"env {first}" if first == last else f"envs {first} to {last}"
        return f"worker {worker} ({envs})"

    def _raised(self, worker: int) -> WorkerError:
        try:
            remote: RemoteError = pickle.loads(self._pipes[worker].recv_bytes())
        except (EOFError, OSError):  # it died while it wrote
            return self._died(worker)
        call = COMMAND_NAMES[self._commands[worker]]
        error = WorkerError(
            f"{self._name(worker)} raised {remote.summary} in {call}; its traceback:\n\n"
            f"{remote.traceback}"
        )
        error.__cause__ = remote.exception()
        return error

    def _died(self, worker: int) -> WorkerError:
        process = self._processes[worker]
        process.join()
        code = process.exitcode or 0
        killer = _signal_name(-code) if code < 0 else ""
        how = f"was killed by {killer}" if killer else f"exited with code {code}"
        call = COMMAND_NAMES[self._commands[worker]]
        hint = ""
        if killer == "SIGKILL":
            hint = ": the system may have run out of memory, try fewer workers"
        elif self._commands[worker] == START and self._method != "fork":
            hint = (
                f": under start_method={self._method!r} a script must call make() below "
                '`if __name__ == "__main__":`'
            )
        # If it had begun to answer, the pipe holds some of that.
        stack = self._read_stack(worker, 0.0) if self._statuses[worker] == RUNNING else ""
        return WorkerError(
            f"{self._name(worker)} {how} in {call}{hint}" + (f"\n\n{stack}" if stack else "")
        )

    def _hangs(self, worker: int) -> WorkerError:
        command = self._commands[worker]
        option = "start_timeout" if command == START else "timeout"
        stack = ""
        if hasattr(signal, "SIGUSR1"):
            os.kill(self._processes[worker].pid or 0, signal.SIGUSR1)
            stack = self._read_stack(worker, STACK_SECONDS)
        return WorkerError(
            f"{self._name(worker)} has been in {COMMAND_NAMES[command]} for more than "
            f"{option}={self._limits[command]} seconds: it hangs, or needs a larger {option}"
            + (f"; its stack:\n\n{stack}" if stack else "")
        )

    def _read_stack(self, worker: int, seconds: float) -> str:
        """Return what faulthandler wrote into the worker's pipe, waiting `seconds` for it."""
        pipe = self._pipes[worker]
        data = b""
        with contextlib.suppress(EOFError, OSError):
            while pipe.poll(0.05 if data else seconds):
                chunk = _read_raw(pipe)
                if not chunk:
                    break
                data += chunk
        return data.decode("utf-8", "replace")

    # --- the end --------------------------------------------------------------------------------

    def stop(self, seconds: float) -> None:
        """End every process: ask, wait `seconds`, terminate, kill; a second call does nothing."""
        if os.getpid() != self._owner:
            return  # a fork of ours: the workers are its siblings
        processes, self._processes = self._processes, []
        for worker in range(len(processes)):
            self._commands[worker] = CLOSE
            self._wakes[worker].release()
        self._join(processes, seconds)
        for end in ("terminate", "kill"):
            for process in processes:
                if process.is_alive():
                    getattr(process, end)()
            self._join(processes, 1.0)
        for process in processes:
            process.join()
            process.close()
        for pipe in (*self._pipes, *self._outboxes):
            pipe.close()
        self._pipes, self._outboxes = [], []

    def _join(self, processes: list[BaseProcess], seconds: float) -> None:
        """Wait until all have ended, reading what they still write so that they can."""
        give_up = time.monotonic() + seconds
        pipes = list(self._pipes)
        while alive := [process.sentinel for process in processes if process.is_alive()]:
            left = give_up - time.monotonic()
            if left <= 0:
                return
            for ready in multiprocessing.connection.wait([*alive, *pipes], left):
                if isinstance(ready, int):
                    continue
                try:
                    if _read_raw(ready):  # type: ignore[arg-type]
                        continue
                except (EOFError, OSError):
                    pass
                pipes.remove(ready)  # type: ignore[arg-type]


def _send_all(pipes: Iterable[Connection], messages: Iterable[bytes]) -> None:
    with contextlib.suppress(OSError):  # a worker died, which others will notice
        for pipe, message in zip(pipes, messages, strict=True):
            pipe.send_bytes(message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _read_raw(pipe: Connection) -> bytes:
    """Return some bytes of the pipe, which may hold a stack and not messages; empty at its end."""
    return os.read(pipe.fileno(), 1 << 16) if os.name == "posix" else pipe.recv_bytes()


def _pickle_recipes(recipes: Sequence[Recipe], method: str) -> bytes:
    try:
        return pickle.dumps(recipes)
    except Exception as error:  # PicklingError, AttributeError, TypeError: pickle raises them all
        raise UsageError(
            f"an env creator or its arguments cannot be sent to a worker under "
            f"start_method={method!r} ({error}): define it at the top level of a module"
        ) from error


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
