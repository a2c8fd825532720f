"""Multiprocessing: environments in worker processes that write into shared memory."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers
from puffer.core.buffers import Fields
from puffer.core.env import Infos
from puffer.core.errors import UsageError, WorkerError
from puffer.core.spaces import write_actions
from puffer.vector import state as packed
from puffer.vector.calls import choose_envs, pack_call
from puffer.vector.cores import usable_cores
from puffer.vector.crew import FAIL_SECONDS, Crew
from puffer.vector.protocol import Batch, VectorEnv
from puffer.vector.recipe import EnvShape, Recipe, resolve_optional
from puffer.vector.schedule import next_batch
from puffer.vector.shared import SharedBlock
from puffer.vector.worker import control_fields

CLOSE_SECONDS = 5.0  # how long `close` lets workers finish their step and close their environments


@dataclasses.dataclass(frozen=True, slots=True)
class _Served:
    """The rows of some workers, made once and returned by every `recv` that they answer."""

    workers: tuple[int, ...]
    buffers: Buffers
    agent_ids: np.ndarray


class Multiprocessing(VectorEnv):
    """Environments in worker processes, neighbours together, in memory that all share.

    With `batch_size` below `num_envs` the rest goes on while the caller works: `recv` returns a
    batch as soon as one is complete, and `step` may return other agents than it acted for.

    Args:
        recipes: one per environment.
        num_workers: processes; one per environment if None.
        batch_size: environments whose rows one `recv` returns; all if None.
        zero_copy: return views of the shared memory; a batch is then one of the equal blocks of
            neighbours into which the workers divide. Otherwise the workers that are ready first
            form a batch, which is copied together.
        overwork: more workers than usable cores are meant: do not warn.
        timeout: seconds after which a step or reset counts as hung.
        start_timeout: seconds after which the start of a worker counts as hung.
        start_method: "fork", "forkserver" or "spawn"; None takes fork on Linux, forkserver once
            torch has initialised CUDA, and spawn elsewhere.
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
        overwork: bool = False,
        timeout: float = 60.0,
        start_timeout: float = 120.0,
        start_method: str | None = None,
        final_observations: bool | None = False,
        action_masks: bool | None = False,
    ) -> None:
        num_envs = len(recipes)
        num_workers = num_envs if num_workers is None else num_workers
        batch_size = num_envs if batch_size is None else batch_size
        check_split(num_envs, num_workers, batch_size, zero_copy)
        for name, seconds in (("timeout", timeout), ("start_timeout", start_timeout)):
            if not seconds > 0:
                raise UsageError(f"{name}={seconds!r}: expected seconds > 0")
        context = multiprocessing.get_context(choose_start_method(start_method))
        if not overwork:
            _warn_of_overwork(num_envs, num_workers)

        self._phase = "closed"  # until everything stands
        self._driver = driver = recipes[0].build()
        try:
            optional = resolve_optional(
                driver, final_observations=final_observations, action_masks=action_masks
            )
            self._describe(driver, num_envs, batch_size)
            shape = EnvShape.of(driver)
            self._zero_copy = zero_copy
            self._workers_per_batch = batch_size * num_workers // num_envs
            self.fixed_batches = zero_copy or batch_size == num_envs
            self._share(context, shape.fields(num_envs, **optional), num_workers)
            self._crew = Crew(
                context,
                recipes,
                shape,
                self._block,
                num_workers=num_workers,
                timeout=timeout,
                start_timeout=start_timeout,
            )
        except BaseException:
            driver.close()
            raise
        self._unable_to_save = self._crew.unable_to_save
        # Ends the workers if nobody calls close(): when we are collected, or Python exits.
        self._finalizer = weakref.finalize(self, self._crew.stop, FAIL_SECONDS)
        self._pid = os.getpid()
        self._arrivals = [0] * num_workers  # see next_batch
        self._ticks = 0
        self._held: list[int] = []
        self._infos: dict[int, Infos] = {}
        self._phase = "reset"

    def _share(self, context: Any, fields: Fields, num_workers: int) -> None:
        """Allocate the shared memory and the rows that batches return."""
        self._block = SharedBlock.allocate(context, {**fields, **control_fields(num_workers)})
        arrays = self._block.arrays()
        buffers = Buffers(**{name: arrays[name] for name in fields})
        for ones in (buffers.masks, buffers.action_masks):
            if ones is not None:
                ones.fill(True)
        agent_ids = np.arange(self.num_agents)
        rows, size = self.agents_per_batch, self._workers_per_batch
        if self._zero_copy:
            self._blocks = [
                _Served(
                    tuple(range(i * size, (i + 1) * size)),
                    buffers.rows(i * rows, (i + 1) * rows),
                    agent_ids[i * rows : (i + 1) * rows],
                )
                for i in range(num_workers // size)
            ]
            return

        def by_worker(array: np.ndarray, workers: int) -> np.ndarray:
            return array.reshape(workers, -1, *array.shape[1:])

        self._copy = Buffers.allocate(
            {name: ((rows, *shape[1:]), dtype) for name, (shape, dtype) in fields.items()}
        )
        self._agents_of_worker = by_worker(agent_ids, num_workers)
        self._scatter = by_worker(buffers.actions, num_workers), by_worker(self._copy.actions, size)
        self._gather = [
            (by_worker(arrays[name], num_workers).take, by_worker(getattr(self._copy, name), size))
            for name in fields
            if name != "actions"
        ]

    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch.

        It may be called at any time: it waits for steps under way and drops what came of them.

        Raises:
            WorkerError: a worker raised, died or hangs.
        """
        self._check_reset(seed)
        self._check_owner()
        try:
            self._drop_pending()
            seeds: list[int | None] = []
            for simulations in self._crew.simulations:
                seeds.append(seed)
                seed = None if seed is None else int(seed) + simulations
            self._crew.order_reset(seeds)
        except WorkerError as error:
            self._fail(error)
            raise
        self._phase = "recv"

    def _drop_pending(self) -> None:
        self._crew.drain()
        self._infos.clear()
        self._held.clear()
        self._arrivals = [0] * len(self._arrivals)

    def state(self) -> bytes:
        """Return what decides all that comes next, in every environment."""
        resting = len(self._held) + len(self._served.workers if self._phase == "send" else ())
        self._check_state("state", at_rest=resting == len(self._arrivals))
        self._check_owner()
        try:
            return packed.pack(self._crew.state())
        except WorkerError as error:
            self._fail(error)
            raise

    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned; `recv` gives the first batch."""
        self._check_state("set_state")
        self._check_owner()
        states = packed.unpack(state, self.total_envs)
        self._phase = "reset"  # stays so if an environment refuses
        try:
            self._drop_pending()
            self._crew.set_state(states)
        except WorkerError as error:
            self._fail(error)
            raise
        self._held = list(range(len(self._arrivals)))
        self._phase = "recv"

    def send(self, actions: npt.ArrayLike) -> None:
        """Give `actions` to the workers of the last batch; `recv` gives the next one."""
        if self._phase != "send":
            self._refuse("send")
        self._check_owner()
        served = self._served
        write_actions(actions, served.buffers.actions, self.single_action_space)
        if not self._zero_copy:
            shared, given = self._scatter
            shared[np.array(served.workers)] = given
        try:
            self._crew.order_step(served.workers)
        except WorkerError as error:
            self._fail(error)
            raise
        self._phase = "recv"

    def recv(self) -> Batch:
        """Return the next complete batch, waiting for it.

        Raises:
            WorkerError: a worker raised, died or hangs.
        """
        if self._phase != "recv":
            self._refuse("recv")
        self._check_owner()
        try:
            workers = self._await_batch()
        except WorkerError as error:
            self._fail(error)
            raise
        infos: Infos = []
        for worker in workers:
            self._arrivals[worker] = 0
            if self._infos:
                infos += self._infos.pop(worker, [])
        self._served = served = self._serve(workers)
        self._phase = "send"
        b = served.buffers
        self.final_observations = b.final_observations
        self.action_masks = b.action_masks
        flags = b.terminals, b.truncations
        return b.observations, b.rewards, *flags, infos, served.agent_ids, b.masks

    def _await_batch(self) -> tuple[int, ...]:
        """Return the workers that form the next batch, once they are ready."""
        needed = self._workers_per_batch
        arrivals = self._arrivals
        while True:
            ready = len(arrivals) - arrivals.count(0)
            if ready >= needed:
                workers = next_batch(arrivals, needed, aligned=self._zero_copy)
                if workers is not None:
                    return workers
            busy = self._crew.num_busy
            if not busy:  # nobody else will ever be ready
                self._release_held()
                continue
            self._take_finished(min(busy, max(1, needed - ready)))

    def _take_finished(self, at_least: int) -> None:
        """Wait until so many busy workers have finished, and note that they are ready."""
        self._ticks += 1
        for worker, infos in self._crew.finished(at_least):
            self._arrivals[worker] = self._ticks
            if infos:
                self._infos[worker] = infos

    def _release_held(self) -> None:
        for worker in self._held:
            self._ticks += 1
            self._arrivals[worker] = self._ticks
        self._held.clear()

    def _serve(self, workers: tuple[int, ...]) -> _Served:
        """Return the rows of `workers`: a view if they are a block, else a copy."""
        if self._zero_copy:
            return self._blocks[workers[0] // self._workers_per_batch]
        chosen = np.array(workers)
        for take, copy in self._gather:
            take(chosen, 0, copy, "clip")  # "raise" would make a copy of the copy
        return _Served(workers, self._copy, self._agents_of_worker.take(chosen, 0).ravel())

    def hold(self) -> None:
        """Leave the last batch as it is, instead of `send`."""
        if self._phase != "send":
            self._refuse("hold")
        self._held += self._served.workers
        self._phase = "recv"

    def call(
        self, function: Callable[..., Any], *args: Any, envs: Iterable[int] | None = None
    ) -> list[Any]:
        """Return `function(env, *args)` of each environment, or of those numbered `envs`."""
        if self._phase == "closed":
            self._refuse("call")
        self._check_owner()
        numbers = choose_envs(envs, self.total_envs)
        message = pack_call(function, args)
        try:
            while self._crew.num_busy:
                self._take_finished(self._crew.num_busy)
            answers = self._crew.call(numbers, message)
        except WorkerError as error:
            self._fail(error)
            raise
        except KeyboardInterrupt:  # an answer under way would be taken for infos
            self._shut(FAIL_SECONDS)
            raise
        return [result for answer in answers for result in pickle.loads(answer)]

    def close(self) -> None:
        """End the workers, which close their environments; calling it again does nothing."""
        self._shut(CLOSE_SECONDS)

    def _fail(self, error: WorkerError) -> None:
        self._failure = error
        self._shut(FAIL_SECONDS)

    def _shut(self, seconds: float) -> None:
        if self._phase == "closed":
            return
        self._phase = "closed"
        self._finalizer.detach()
        self._crew.stop(seconds)
        self._driver.close()

    def _check_owner(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError(
                f"this vector environment belongs to process {self._pid}, not to its fork "
                f"{os.getpid()}: make one in each process"
            )


def check_split(num_envs: int, num_workers: int, batch_size: int, zero_copy: bool) -> None:
    """Refuse numbers of environments, workers and environments per batch that do not fit.

    Raises:
        UsageError: with the nearest numbers that do.
    """
    for name, value in (("num_workers", num_workers), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise UsageError(f"{name}={value!r}: expected an integer >= 1, or None")
    if num_workers > num_envs:
        raise UsageError(
            f"num_workers={num_workers} is more than num_envs={num_envs}: use {num_envs} or fewer"
        )
    if num_envs % num_workers:
        raise UsageError(
            f"num_envs={num_envs} is not a multiple of num_workers={num_workers}: "
            f"use {_near_multiples(num_envs, num_workers)}"
        )
    if batch_size > num_envs:
        raise UsageError(
            f"batch_size={batch_size} is more than num_envs={num_envs}: use {num_envs} or fewer"
        )
    per_worker = num_envs // num_workers
    if batch_size % per_worker:
        raise UsageError(
            f"batch_size={batch_size} is not a multiple of the {per_worker} envs of each worker: "
            f"use {_near_multiples(batch_size, per_worker)}"
        )
    if zero_copy and num_envs % batch_size:
        fitting = [b for b in range(per_worker, num_envs + 1, per_worker) if num_envs % b == 0]
        raise UsageError(
            f"num_envs={num_envs} is not a multiple of batch_size={batch_size}: use batch_size="
            f"{' or '.join(map(str, fitting))}, or zero_copy=False"
        )


def _near_multiples(value: int, of: int) -> str:
    below = value // of * of
    return f"{below} or {below + of}" if below else f"{of}"


def choose_start_method(asked: str | None) -> str:
    """Return how to start processes: as asked if it works here, else what is best here."""
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


def _warn_of_overwork(num_envs: int, num_workers: int) -> None:
    cores = usable_cores()
    if num_workers <= cores:
        return
    faster = max(n for n in range(1, cores + 1) if num_envs % n == 0)
    warnings.warn(
        f"num_workers={num_workers} is more than the {cores} usable cores: num_workers={faster} is "
        "faster (overwork=True silences this)",
        stacklevel=4,
    )
