"""Multiprocessing: environments in worker processes that write into shared memory."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.util
import os
import pickle
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy.typing as npt

from puffer.core import Buffers
from puffer.core.buffers import Fields
from puffer.core.env import Infos, StepResult
from puffer.core.errors import UsageError, WorkerError
from puffer.vector import state as packed
from puffer.vector.batches import Batches, Gathered, Views
from puffer.vector.calls import choose_envs, pack_call
from puffer.vector.cores import usable_cores
from puffer.vector.crew import FAIL_SECONDS, Crew
from puffer.vector.launch import choose_start_method
from puffer.vector.protocol import Batch, VectorEnv
from puffer.vector.recipe import EnvShape, Recipe, resolve_optional, warn_of_copies
from puffer.vector.schedule import AT_WORK, HELD, next_batch
from puffer.vector.shared import SharedBlock
from puffer.vector.split import Split
from puffer.vector.worker import control_fields

CLOSE_SECONDS = 0.7  # how long `close` lets workers finish their step and close their environments

_all: weakref.WeakSet[Multiprocessing] = weakref.WeakSet()


def _lock_in_fork() -> None:
    """Leave a fork no vector environment that it could enter: the workers are not its own."""
    for vecenv in _all:
        vecenv._lock = threading.Lock()
        vecenv._lock.acquire()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_lock_in_fork)

P = ParamSpec("P")
R = TypeVar("R")


def _alone(
    method: Callable[Concatenate[Multiprocessing, P], R],
) -> Callable[Concatenate[Multiprocessing, P], R]:
    """Let one call run at a time, in the process that made the workers; a failure closes all."""

    @functools.wraps(method)
    def guarded(self: Multiprocessing, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self._lock.acquire(False):
            if os.getpid() != self._pid:
                raise UsageError(
                    f"this vector environment belongs to process {self._pid}, not to its fork "
                    f"{os.getpid()}: make one in each process"
                )
            raise UsageError(
                f"{method.__name__}() while another thread is in a call of this vector "
                "environment: use it from one thread, or under a lock"
            )
        try:
            return method(self, *args, **kwargs)
        except WorkerError as error:
            self._failure = error
            self._shut(FAIL_SECONDS)
            raise
        finally:
            self._lock.release()

    return guarded


class Multiprocessing(VectorEnv):
    """Environments in worker processes, neighbours together, in memory that all share.

    With `batch_size` below `num_envs` the rest goes on while the caller works: `recv` returns a
    batch as soon as one is complete, and `step` may return other agents than it acted for.

    Args:
        recipes: one per environment.
        num_workers: processes; one per environment if None.
        batch_size: environments whose rows one `recv` returns; all if None.
        zero_copy: return views of the shared memory; a batch is then one of the equal blocks of
            neighbours into which the environments divide. Otherwise the groups that are ready first
            form a batch, which is copied together.
        group_envs: environments of a worker that are stepped and published together; all of its
            own if None. Where a step or reset now and then takes long, small groups keep it from
            holding up those that were done before.
        sync_traj: batches come round in a fixed order instead of as they are ready: everybody takes
            the same number of steps, and a run repeats exactly.
        max_restarts: how many times in all a worker that raises, dies or hangs is replaced by a new
            one, after a delay that doubles from 0.1 seconds on; then, and with 0, it is an error.
            The episodes that are lost show as truncated rows which are masked, so that nobody
            learns from them, with an info `{"restarted": why}`.
        overwork: more workers than usable cores are meant: do not warn.
        timeout: seconds after which a step counts as hung.
        reset_timeout: the same for a reset; as `timeout` if None.
        start_timeout: seconds after which the start of a worker counts as hung.
        start_method: "fork", "forkserver" or "spawn"; None takes fork on Linux, forkserver once
            torch has initialised CUDA, and spawn elsewhere.
        context: of multiprocessing, instead of `start_method`.
        daemon: False lets environments start processes of their own with multiprocessing.
        copy: return new arrays each time, which the caller may keep.
        final_observations: whether to allocate `final_observations`, for the environments to fill;
            None: if they can.
        action_masks: whether to allocate `action_masks`, for the environments to fill;
            None: if they can.

    Raises:
        UsageError: options that do not fit together.
        WorkerError: a worker failed to start.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        num_workers: int | None = None,
        batch_size: int | None = None,
        zero_copy: bool = True,
        group_envs: int | None = None,
        sync_traj: bool = False,
        max_restarts: int = 0,
        overwork: bool = False,
        timeout: float = 60.0,
        reset_timeout: float | None = None,
        start_timeout: float = 120.0,
        start_method: str | None = None,
        context: Any = None,
        daemon: bool = True,
        copy: bool = False,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        split = Split.of(len(recipes), num_workers, batch_size, group_envs, zero_copy=zero_copy)
        timeouts = {
            "timeout": timeout,
            "reset_timeout": timeout if reset_timeout is None else reset_timeout,
            "start_timeout": start_timeout,
        }
        for name, seconds in timeouts.items():
            if not seconds > 0:
                raise UsageError(f"{name}={seconds!r}: expected seconds > 0")
        if not isinstance(max_restarts, int) or isinstance(max_restarts, bool) or max_restarts < 0:
            raise UsageError(f"max_restarts={max_restarts!r}: expected an integer >= 0")
        context = _find_context(context, start_method)
        if not overwork:
            split.warn_of_overwork(stacklevel=4)

        self._phase = "closed"  # until everything stands
        self._copy = copy
        self._driver = driver = recipes[0].build()
        try:
            warn_of_copies(recipes[0], driver, split.num_envs // split.num_workers, stacklevel=4)
            optional = resolve_optional(
                driver, final_observations=final_observations, action_masks=action_masks
            )
            self._describe(driver, split.num_envs, split.batch_size)
            self.fixed_batches = zero_copy or split.batch_size == split.num_envs
            shape = EnvShape.of(driver)
            self._block, buffers = _share(context, shape.fields(split.num_envs, **optional), split)
            self._batches: Batches = (Views if zero_copy else Gathered)(
                buffers, split.num_groups, split.groups_per_batch, self.single_action_space
            )
            self._crew = Crew(
                context,
                recipes,
                shape,
                self._block,
                num_workers=split.num_workers,
                num_groups=split.num_groups,
                timeouts=timeouts,
                may_poll=usable_cores() > 1,
                daemon=daemon,
                max_restarts=max_restarts,
            )
        except BaseException:
            driver.close()
            raise
        self._unable_to_save = self._crew.unable_to_save
        # Ends the workers if nobody calls close(): when we are collected, or before Python waits
        # for its processes when it exits.
        self._finalizer = multiprocessing.util.Finalize(
            self, _end_forgotten, (self._crew,), exitpriority=100
        )
        self._pid = os.getpid()
        self._lock = threading.Lock()
        _all.add(self)
        self._aligned = zero_copy
        self._groups_per_batch = split.groups_per_batch
        self._arrivals = [AT_WORK] * split.num_groups
        self._ticks = 0
        self._turn = 0 if sync_traj else None
        self._infos: dict[int, Infos] = {}
        self._phase = "reset"

    @_alone
    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch.

        It may be called at any time: it waits for steps under way and drops what came of them.

        Raises:
            WorkerError: a worker raised, died or hangs.
        """
        self._check_reset(seed)
        self._drop_pending()
        seeds: list[int | None] = []
        for simulations in self._crew.simulations:
            seeds.append(seed)
            seed = None if seed is None else int(seed) + simulations
        self._crew.order_reset(seeds)
        self._phase = "recv"

    def _drop_pending(self, then: int = AT_WORK) -> None:
        self._crew.drain()
        self._infos.clear()
        self._arrivals = [then] * len(self._arrivals)
        self._turn = None if self._turn is None else 0

    @_alone
    def send(self, actions: npt.ArrayLike) -> None:
        """Give `actions` to the environments of the last batch; `recv` gives the next one."""
        self._send(actions)

    @_alone
    def recv(self) -> Batch:
        """Return the next complete batch, waiting for it.

        Raises:
            WorkerError: a worker raised, died or hangs.
        """
        return self._recv()

    @_alone
    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Give `actions` to the environments of the last batch and return the next one."""
        self._send(actions)
        return self._recv()[:5]

    def _send(self, actions: npt.ArrayLike) -> None:
        if self._phase != "send":
            self._refuse("send")
        served = self._served
        served.write_actions(actions)
        self._batches.scatter(served)
        self._crew.order_step(served.groups)
        self._phase = "recv"

    def _recv(self) -> Batch:
        if self._phase != "recv":
            self._refuse("recv")
        groups, infos = self._await_all() or self._await_some()
        self._served = served = self._batches.serve(groups)
        self._phase = "send"
        return self._deliver(served.buffers, infos, served.agent_ids)

    def _await_all(self) -> tuple[tuple[int, ...], Infos] | None:
        """Return all groups with their infos, if they form one batch and are all at work."""
        total = len(self._arrivals)
        if self._groups_per_batch != total or self._crew.num_busy != total:
            return None
        done, messages = self._crew.finished(total)
        infos = [info for group in sorted(messages) for info in messages[group]]
        return tuple(done), infos

    def _await_some(self) -> tuple[tuple[int, ...], Infos]:
        """Return the groups that form the next batch, once they are ready, with their infos."""
        groups = self._await_batch()
        infos: Infos = []
        for group in groups:
            self._arrivals[group] = AT_WORK
            if self._infos:
                infos += self._infos.pop(group, [])
        if self._turn is not None:
            self._turn = self._next_turn(groups)
        return groups, infos

    def _await_batch(self) -> tuple[int, ...]:
        needed, arrivals = self._groups_per_batch, self._arrivals
        while True:
            ready = len(arrivals) - arrivals.count(AT_WORK) - arrivals.count(HELD)
            if ready >= needed:
                groups = next_batch(arrivals, needed, aligned=self._aligned, turn=self._turn)
                if groups is not None:
                    return groups
            busy = self._crew.num_busy
            if not busy:  # nobody else will ever be ready
                self._ticks += 1
                for group, arrival in enumerate(arrivals):
                    if arrival == HELD:
                        arrivals[group] = self._ticks
                continue
            self._take_finished(min(busy, max(1, needed - ready)))

    def _take_finished(self, at_least: int) -> None:
        """Wait until so many busy groups have finished, and note that they are ready."""
        self._ticks += 1
        done, infos = self._crew.finished(at_least)
        for group in done:
            self._arrivals[group] = self._ticks
        self._infos.update(infos)

    def _next_turn(self, served: tuple[int, ...]) -> int:
        """Return the group after the last one that was `served`, in the order of turns."""
        total, turn = len(self._arrivals), self._turn or 0
        return (turn + max((group - turn) % total for group in served) + 1) % total

    def hold(self) -> None:
        """Leave the last batch as it is, instead of `send`."""
        if self._phase != "send":
            self._refuse("hold")
        for group in self._served.groups:
            self._arrivals[group] = HELD
        self._phase = "recv"

    @_alone
    def state(self) -> bytes:
        """Return what decides all that comes next, in every environment."""
        self._check_saves("state")
        self._check_rest("state")
        return packed.pack(self._crew.state())

    @_alone
    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned; `recv` gives the first batch."""
        self._check_saves("set_state")
        states = packed.unpack(state, self.total_envs)
        self._phase = "reset"  # stays so if an environment refuses
        self._drop_pending(then=HELD)
        self._crew.set_state(states)
        self._phase = "recv"

    @_alone
    def call(
        self, function: Callable[..., Any], *args: Any, envs: Iterable[int] | None = None
    ) -> list[Any]:
        """Return `function(env, *args)` of each environment, or of those numbered `envs`."""
        if self._phase == "closed":
            self._refuse("call")
        numbers = choose_envs(envs, self.total_envs)
        message = pack_call(function, args)
        try:
            while self._crew.num_busy:
                self._take_finished(self._crew.num_busy)
            answers = self._crew.call(numbers, message)
        except KeyboardInterrupt:  # an answer under way would be taken for infos
            self._shut(FAIL_SECONDS)
            raise
        return [result for answer in answers for result in pickle.loads(answer)]

    def _at_rest(self) -> bool:
        resting = self._arrivals.count(HELD)
        if self._phase == "send":
            resting += len(self._served.groups)
        return resting == len(self._arrivals)

    def close(self) -> None:
        """End the workers, which close their environments; calling it again does nothing."""
        self._shut(CLOSE_SECONDS)

    def _shut(self, seconds: float) -> None:
        if self._phase == "closed":
            return
        self._phase = "closed"
        self._finalizer.cancel()
        self._crew.stop(seconds)
        self._driver.close()


def _find_context(context: Any, start_method: str | None) -> Any:
    if context is None:
        return multiprocessing.get_context(choose_start_method(start_method))
    if start_method is not None:
        raise UsageError("context= and start_method= were both given: leave one out")
    if not hasattr(context, "get_start_method"):
        raise UsageError(
            f'context={context!r}: expected what multiprocessing.get_context("spawn") returns'
        )
    return multiprocessing.get_context(choose_start_method(context.get_start_method()))


def _share(context: Any, fields: Fields, split: Split) -> tuple[SharedBlock, Buffers]:
    """Allocate the shared memory; return it, and the rows in it."""
    control = control_fields(split.num_workers, split.num_groups)
    block = SharedBlock.allocate(context, {**fields, **control})
    arrays = block.arrays()
    buffers = Buffers(**{name: arrays[name] for name in fields})
    for ones in (buffers.masks, buffers.action_masks):
        if ones is not None:
            ones.fill(True)
    return block, buffers


def _end_forgotten(crew: Crew) -> None:
    crew.stop(FAIL_SECONDS)
    warnings.warn(
        "a vector environment was never closed: call close(), or use it in a with block",
        ResourceWarning,
        stacklevel=1,
    )
