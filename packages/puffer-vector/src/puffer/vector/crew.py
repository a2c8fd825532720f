"""Crew: the conversation with the workers of one vector environment, and the watch over them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from puffer.core.errors import UsageError, WorkerError
from puffer.vector.failures import Patient, RemoteError
from puffer.vector.launch import Staff, make_jobs, start_worker
from puffer.vector.recipe import EnvShape, Recipe
from puffer.vector.shared import SharedBlock
from puffer.vector.wait import Waiter
from puffer.vector.worker import (
    CALL,
    COMMAND_NAMES,
    DONE,
    ERROR,
    MESSAGE,
    NO_SEED,
    NOTE,
    RESET,
    RUNNING,
    SET_STATE,
    START,
    STATE,
    STEP,
)

CHECK_SECONDS = 0.1  # how often a wait looks for dead and hung workers
GATHER_SECONDS = 0.1  # how long a failure waits for others, to report them together
RESTART_SECONDS = 0.1  # before the first restart of a worker; twice as long before each next one
LONGEST_RESTART_SECONDS = 10.0
POST_SECONDS = 0.05  # within which a status is followed by its post
FAIL_SECONDS = 0.3  # how long the others may take to close their environments after a failure

Timeouts = dict[str, float]


class Crew:
    """Worker processes, each with some groups of environments that it serves in turn.

    Args:
        context: of multiprocessing, for one start method.
        recipes: all environments; each worker gets as many, neighbours.
        shape: what each environment must look like.
        block: the shared arrays, those of `control_fields` among them.
        num_workers: how many processes.
        num_groups: how many groups, which are commanded and done one by one; a multiple of it.
        timeouts: `start_timeout`, `reset_timeout` and `timeout` (all else), in seconds.
        may_poll: whether there are cores to poll on.
        daemon: whether the workers are daemons, which may have no processes of their own.
        max_restarts: how many times in all a worker that fails later is replaced by a new one.

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
        num_groups: int,
        timeouts: Timeouts,
        may_poll: bool,
        daemon: bool,
        max_restarts: int = 0,
    ) -> None:
        self._owner = os.getpid()
        self._method = context.get_start_method()
        self._envs_per_worker = len(recipes) // num_workers
        self._groups_per_worker = num_groups // num_workers
        self._group_envs = len(recipes) // num_groups
        self._options = ["timeout"] * len(COMMAND_NAMES)  # the timeout of each command
        self._options[START], self._options[RESET] = "start_timeout", "reset_timeout"
        self._timeouts = timeouts
        arrays = block.arrays()
        self._closing = arrays["closing"].data
        self._commands = arrays["commands"].data
        self._begun = arrays["begun"]
        self._statuses = arrays["statuses"].data
        self._seeds = arrays["seeds"].data
        self._notes = [note.data for note in arrays["notes"]]
        self._staff = Staff()
        self._places: list[tuple[int, int, memoryview, Callable[[], None]]] = []
        self._done = context.Semaphore(0)
        self._waiter = Waiter(may_poll)
        # Groups that were given a command and not yet returned by `finished` -> when; in the order
        # in which they were, which is also that of each worker's answers.
        self._busy: dict[int, float] = {}
        self._restarts_left = self._restarts = 0  # nobody is replaced who could not even start
        self._messages: dict[int, Any] = {}  # of groups not yet returned by `finished`
        self._taken = 0  # posts of busy groups; an interrupted `finished` leaves them to the next
        self._ordered = [0] * num_workers  # how many groups each worker was ever given
        # What `commands` and `statuses` hold when all groups step together, and when all have.
        self._all = tuple(range(num_groups))
        self._all_step, self._all_run, self._all_done = (
            bytes([code] * num_groups) for code in (STEP, RUNNING, DONE)
        )
        self._next_check = 0.0
        try:
            self._busy = dict.fromkeys(
                range(0, num_groups, self._groups_per_worker), time.monotonic()
            )
            self._jobs = make_jobs(
                context,
                recipes,
                shape,
                num_workers=num_workers,
                groups_per_worker=self._groups_per_worker,
                may_poll=may_poll,
            )
            self._queues = arrays["queues"].reshape(num_workers, -1)
            self._start = functools.partial(
                start_worker,
                context=context,
                block=block,
                done=self._done,
                daemon=daemon,
            )
            for job in self._jobs:
                self._start(self._staff, job=job)
            self._find_places()
            ready = self._finish_all()[:: self._groups_per_worker]
        except BaseException:
            self.stop(FAIL_SECONDS)
            raise
        self._restarts_left = max_restarts
        self.simulations = [count for counts, _ in ready for count in counts]  # of each group
        unable = [name for _, names in ready for name in names]
        self.unable_to_save = unable[0] if unable else None  # see EnvGroup

    @property
    def pids(self) -> list[int | None]:
        """The process of each worker."""
        return [process.pid for process in self._staff.processes]

    def _find_places(self) -> None:
        """Note for each group its worker, its number there, that one's queue and semaphore."""
        size, queues = self._groups_per_worker, [queue.data for queue in self._queues]
        self._places = [
            (group // size, group % size, queues[group // size], wake.release)
            for group, wake in enumerate(wake for wake in self._staff.wakes for _ in range(size))
        ]

    # --- the conversation -----------------------------------------------------------------------

    def order_step(self, groups: Iterable[int]) -> None:
        """Make `groups` step by the actions that stand in the shared rows."""
        now = time.monotonic()
        if now > self._next_check:
            self.check()
        if self._groups_per_worker == 1 and groups == self._all:  # the usual case, at once
            self._statuses[:] = self._all_run
            self._commands[:] = self._all_step
            for group, place in enumerate(self._places):
                self._busy[group] = now  # one by one: whoever is interrupted waits for no other
                place[-1]()
            return
        order = self._order
        for group in groups:
            order(group, STEP, now)

    def order_reset(self, seeds: Iterable[int | None]) -> None:
        """Make each group reset with its seed; what they did before must have been taken."""
        now = time.monotonic()
        for group, seed in enumerate(seeds):
            self._seeds[group] = NO_SEED if seed is None else seed
            self._order(group, RESET, now)

    def _order(self, group: int, command: int, now: float) -> None:
        worker, within, queue, wake = self._places[group]
        self._statuses[group] = RUNNING
        self._commands[group] = command
        ordered = self._ordered[worker]
        self._ordered[worker] = ordered + 1
        queue[ordered % len(queue)] = within
        self._busy[group] = now
        wake()

    def finished(self, at_least: int) -> tuple[list[int], dict[int, Any]]:
        """Wait until `at_least` busy groups are done; return them, and the messages of some.

        Raises:
            WorkerError: a worker raised, died or hangs.
        """
        while True:
            while self._taken < at_least:
                self._waiter.wait(self._done, self.check, CHECK_SECONDS)
                self._taken += 1
            busy, statuses = self._busy, bytes(self._statuses)
            if statuses == self._all_done and self._taken == len(busy) == len(statuses):
                done = list(self._all)
                break
            done = [group for group in busy if statuses[group]]
            if len(done) != self._taken:
                # A status may be seen before its post: what it stands for is not ours to read yet.
                at_least = len(done)
            elif max(statuses) <= DONE or self._read(done):
                break
        if len(done) == len(busy):
            busy.clear()
        else:
            for group in done:
                del busy[group]
        self._taken = 0
        messages, self._messages = self._messages, {}
        return done, messages

    def _read(self, done: Sequence[int]) -> bool:
        """Read what the groups say that are `done`; return whether none of them failed."""
        statuses = bytes(self._statuses)
        failures = self._find_raised() if ERROR in statuses else {}
        for group in done if not failures else ():
            if statuses[group] == NOTE:
                self._messages[group] = pickle.loads(self._notes[group])
                self._statuses[group] = DONE
            elif statuses[group] == MESSAGE:
                worker = group // self._groups_per_worker
                try:
                    message = self._staff.answers[worker].recv_bytes()
                except (EOFError, OSError):  # it died while it wrote
                    failures = {worker: self._died(worker, has_stack=False)}
                    break
                self._statuses[group] = DONE
                self._messages[group] = pickle.loads(message)
        if failures:
            self._fail(failures)
        return not failures

    @property
    def num_busy(self) -> int:
        """How many groups were given a command and not yet returned by `finished`."""
        return len(self._busy)

    def _finish_all(self) -> list[Any]:
        """Wait until nobody is busy, and return what each group had to say."""
        answers: list[Any] = [None] * len(self._statuses)
        while self._busy:
            for group, answer in self.finished(len(self._busy))[1].items():
                answers[group] = answer
        return answers

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
        for group in range(len(self._statuses)):
            self._order(group, STATE, now)
        return [state for states in self._answers() for state in states]

    def set_state(self, states: Sequence[bytes]) -> None:
        """Make every environment continue from its state; nobody may be busy. Raises as `state`."""
        size = self._group_envs
        parts = [states[i : i + size] for i in range(0, len(states), size)]
        self._ask(SET_STATE, dict(enumerate(parts)))

    def call(self, envs: Iterable[int], message: bytes) -> list[bytes]:
        """Return the answers of the groups of `envs` to a call; nobody may be busy.

        Raises:
            Exception: what the function raised, or UsageError if that could not be sent.
            WorkerError: a worker died or hangs.
        """
        places: dict[int, list[int]] = {}
        for number in envs:
            group, place = divmod(number, self._group_envs)
            places.setdefault(group, []).append(place)
        answers = self._ask(CALL, {group: (own, message) for group, own in places.items()})
        return [answers[group] for group in places]

    def _ask(self, command: int, contents: Mapping[int, Any]) -> list[Any]:
        """Give `command` with its content to each of these groups; return what they say."""
        now = time.monotonic()
        messages = {group: pickle.dumps(content) for group, content in contents.items()}
        for group in messages:
            self._order(group, command, now)
        pipes = [self._staff.questions[group // self._groups_per_worker] for group in messages]
        # By a thread of its own: a worker that hangs lets us write no more than a pipe holds.
        sender = threading.Thread(target=_send_all, args=(pipes, messages.values()), daemon=True)
        sender.start()
        answers = self._answers()
        sender.join()
        return answers

    def _answers(self) -> list[Any]:
        """Wait until nobody is busy; return what each group says, or raise what one raised."""
        answers = self._finish_all()
        for answer in answers:
            if isinstance(answer, RemoteError):
                raise answer.exception() or UsageError(f"a worker raised {answer.summary}")
        return answers

    # --- failures -------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise WorkerError if a busy worker has failed, or is at one command for too long."""
        now = time.monotonic()
        self._next_check = now + CHECK_SECONDS
        failures = self._find_raised()
        failures |= self._find_dead(failures)
        for group, since in self._busy.items():
            worker = group // self._groups_per_worker
            option = self._options[self._commands[group]]
            # A group that waits for others of its worker is not late.
            late = now - max(since, self._begun[worker]) > self._timeouts[option]
            if late and worker not in failures and self._statuses[group] == RUNNING:
                failures[worker] = self._patient(worker).hangs(
                    self._call(worker), option, self._timeouts[option]
                )
        if failures:
            self._fail(failures)

    def _find_raised(self, known: Iterable[int] = ()) -> dict[int, WorkerError]:
        """Return what the workers raised that have groups with an error, beside those `known`."""
        size = self._groups_per_worker
        workers = {group // size for group in self._busy if self._statuses[group] == ERROR}
        return {
            worker: self._patient(worker).raised(self._call(worker))
            for worker in workers.difference(known)
        }

    def _find_dead(self, known: Iterable[int] = ()) -> dict[int, WorkerError]:
        """Return how the workers died that have groups to serve, beside those `known`."""
        size, failures = self._groups_per_worker, dict[int, WorkerError]()
        for worker in {group // size for group in self._busy}.difference(known):
            if worker not in failures and not self._staff.processes[worker].is_alive():
                # Asked in this order: it may have said why and then ended.
                failures |= self._find_raised({*known, *failures})
                if worker not in failures:
                    failures[worker] = self._died(worker, has_stack=self._is_running(worker))
        return failures

    def _is_running(self, worker: int) -> bool:
        size = self._groups_per_worker
        own = [group for group in self._busy if group // size == worker]
        # If it had begun to answer, the pipe holds some of that.
        return all(self._statuses[group] in (RUNNING, DONE, NOTE) for group in own)

    def _fail(self, failures: dict[int, WorkerError]) -> None:
        """Raise the failure of the lowest worker, with those of others as its notes.

        While restarts are left for all of them, replace them instead.
        """
        size = self._groups_per_worker
        give_up = time.monotonic() + GATHER_SECONDS
        while time.monotonic() < give_up and any(
            self._statuses[g] == RUNNING for g in self._busy if g // size not in failures
        ):
            time.sleep(0.005)
        failures |= self._find_raised(failures)
        failures |= self._find_dead(failures)
        first, *more = [failures[worker] for worker in sorted(failures)]
        for failure in more:
            first.add_note(f"and {failure}")
        if self._restarts:
            first.add_note(f"after {self._restarts} restarts of workers")
        lost = [group for group in self._busy if group // size in failures]
        if len(failures) > self._restarts_left or any(
            self._commands[group] not in (START, STEP, RESET) for group in lost
        ):
            self._restarts_left = 0
            raise first
        for worker in failures:
            self._staff.bury(worker)
        self._collect_posts(failures)
        commands = {group: self._commands[group] for group in lost}
        for group in lost:
            del self._busy[group]
            self._messages.pop(group, None)
        for worker, failure in failures.items():
            self._replace(worker, failure)
        now = time.monotonic()
        for group, command in commands.items():
            if command == START:  # it did not even start again; now it has
                self._busy[group] = now
                self._done.release()  # for whoever waits for it
            else:
                self._order(group, command, now)
        for failure in failures.values():
            warnings.warn(
                f"replaced a worker, {self._restarts_left} restarts left: {failure}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _collect_posts(self, dead: Iterable[int]) -> None:
        """Wait until all but the `dead` workers are done; leave just their posts taken."""
        others = [g for g in self._busy if g // self._groups_per_worker not in dead]
        while any(self._statuses[group] == RUNNING for group in others):
            time.sleep(0.001)
            for error in self._find_dead(dead).values():
                raise error
        # Whatever the dead ones posted is thrown away: what they did is lost.
        while self._done.acquire(True, POST_SECONDS):
            pass
        self._taken = len(others)

    def _replace(self, worker: int, failure: WorkerError) -> None:
        """Start `worker` anew; it will begin new episodes. Nobody else is at work."""
        time.sleep(min(RESTART_SECONDS * 2**self._restarts, LONGEST_RESTART_SECONDS))
        self._restarts, self._restarts_left = self._restarts + 1, self._restarts_left - 1
        # As at the beginning, its first group says that it stands; the others wait for that.
        first = worker * self._groups_per_worker
        others = self._busy, self._taken, self._messages
        self._busy, self._taken, self._messages = {first: time.monotonic()}, 0, {}
        self._ordered[worker] = 0
        self._statuses[first], self._commands[first] = RUNNING, START
        reason = str(failure).partition("\n")[0]
        self._start(self._staff, job=dataclasses.replace(self._jobs[worker], replaces=reason))
        self._find_places()
        self.finished(1)
        self._busy, self._taken, self._messages = others

    def _patient(self, worker: int) -> Patient:
        return self._staff.patient(worker, self._envs_per_worker)

    def _call(self, worker: int) -> str:
        """Return what a busy worker is at: the first command that it has not done."""
        size = self._groups_per_worker
        own = [group for group in self._busy if group // size == worker]
        at = [group for group in own if self._statuses[group] in (RUNNING, ERROR)]
        return COMMAND_NAMES[self._commands[(at or own)[0]]]

    def _died(self, worker: int, *, has_stack: bool) -> WorkerError:
        return self._patient(worker).died(
            self._call(worker), has_stack=has_stack, start_method=self._method
        )

    # --- the end --------------------------------------------------------------------------------

    def stop(self, seconds: float) -> None:
        """End every process: ask, wait `seconds`, terminate, kill; a second call does nothing."""
        if os.getpid() != self._owner:
            return  # a fork of ours: the workers are its siblings
        staff, self._staff = self._staff, Staff()
        for worker in range(len(staff.processes)):
            self._closing[worker] = 1
            staff.wakes[worker].release()
        self._places = []  # which hold semaphores
        staff.end(seconds)


def _send_all(pipes: Iterable[Connection], messages: Iterable[bytes]) -> None:
    with contextlib.suppress(OSError):  # a worker died, which others will notice
        for pipe, message in zip(pipes, messages, strict=True):
            pipe.send_bytes(message)
