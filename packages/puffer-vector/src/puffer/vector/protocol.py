"""VectorEnv: what every backend offers, and the order in which its methods may be called."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn, Self

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers, PufferEnv
from puffer.core.env import Infos, StepResult
from puffer.core.errors import ClosedError, ResetNeeded, UsageError
from puffer.core.spaces import Box, FlatActionSpace, joint_space

Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Infos, np.ndarray, np.ndarray]

Phase = Literal["reset", "send", "recv", "closed"]  # the call that comes next


class VectorEnv(abc.ABC):
    """Many environments behind one set of arrays, with one row per agent.

    Synchronous use is `reset`, then `step` again and again. Asynchronous use is `async_reset`,
    then `recv` and `send` in turn; `send` serves the agents that the last `recv` returned. All
    returned arrays are reused, unless `copy=True` was asked for: copy what must outlive the next
    `send` or `step`. The attributes survive `close`.

    Attributes:
        driver_env: one of the environments, for its spaces and options; the emulated environment
            where emulation was needed.
        single_observation_space: the space of one row of observations.
        single_action_space: the space of one row of actions.
        observation_space: the joint space of a batch.
        action_space: the joint space of a batch.
        num_envs: rows that one `recv` or `step` returns, as in Gymnasium; same as agents_per_batch.
        agents_per_batch: rows that one `recv` or `step` returns.
        num_agents: rows of all environments together.
        total_envs: environments, the number given to `make`.
        fixed_batches: whether a batch consists of the same agents each time it comes round.
        final_observations: `(num_envs, *observation_shape)`, the last observations of the episodes
            that ended on this step; None if not asked for.
        action_masks: `(num_envs, sum of nvec)` bool, the actions that are allowed now; None if not
            asked for.
    """

    driver_env: Any
    single_observation_space: Box
    single_action_space: FlatActionSpace
    observation_space: Box
    action_space: FlatActionSpace
    num_envs: int
    agents_per_batch: int
    num_agents: int
    total_envs: int
    fixed_batches: bool = True
    final_observations: np.ndarray | None = None
    action_masks: np.ndarray | None = None

    _unable_to_save: str | None = None  # the class of an environment that cannot
    _copy: bool = False  # return new arrays each time
    _phase: Phase = "reset"
    _failure: BaseException | None = None  # what closed the vector environment, if not its user

    def _describe(self, env: PufferEnv, total_envs: int, batch_envs: int) -> None:
        """Set the attributes for `total_envs` environments like `env`, `batch_envs` a batch."""
        self.driver_env = env.driver_env
        self.single_observation_space = env.single_observation_space
        self.single_action_space = env.single_action_space
        self.total_envs = total_envs
        self.num_agents = total_envs * env.num_agents
        self.num_envs = self.agents_per_batch = batch_envs * env.num_agents
        self.observation_space = joint_space(env.single_observation_space, self.num_envs)  # type: ignore[assignment]
        self.action_space = joint_space(env.single_action_space, self.num_envs)

    @property
    def can_save_state(self) -> bool:
        """Whether every environment can, so that `state` and `set_state` work."""
        return self._unable_to_save is None

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin new episodes everywhere and return `(observations, infos)` of the first batch.

        Args:
            seed: simulation k, counted over all environments in order, gets `seed + k`; None takes
                fresh entropy.

        Raises:
            ClosedError: after `close`.
            WorkerError: a worker process failed.
        """
        self.async_reset(seed)
        batch = self.recv()
        return batch[0], batch[4]

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Act for the agents of the last batch and return `(observations, rewards, terminals,
        truncations, infos)` of the next one.

        Raises:
            ActionError: `actions` has the wrong shape or dtype, or a value outside the space; no
                environment has been stepped.
            ResetNeeded: before `reset`, or between `send` and `recv`.
            ClosedError: after `close`.
            WorkerError: a worker process failed.
        """  # noqa: D205 - the names of the five arrays do not fit one line
        self.send(actions)
        return self.recv()[:5]

    @abc.abstractmethod
    def async_reset(self, seed: int | None = None) -> None:
        """Begin new episodes everywhere; `recv` gives the first batch.

        It may be called at any time: results that were still pending are dropped.
        """

    @abc.abstractmethod
    def send(self, actions: npt.ArrayLike) -> None:
        """Act for the agents of the last batch; `recv` gives the next one. Raises as `step`."""

    @abc.abstractmethod
    def recv(self) -> Batch:
        """Return `(observations, rewards, terminals, truncations, infos, agent_ids, masks)`.

        `agent_ids` `(num_envs,)` int64 says which rows of the whole these are. Raises as `step`.
        """

    @abc.abstractmethod
    def hold(self) -> None:
        """Leave the last batch as it is, instead of `send`.

        `recv` goes on with other agents; once all agents are held, it returns their batches again,
        without infos. A learner that wants the same number of steps of everybody waits so.
        """

    @abc.abstractmethod
    def state(self) -> bytes:
        """Return what decides all that comes next, in every environment.

        It may be called at rest, while no environment is at work and no result is under way: when
        the last `recv` returned all agents, or when all agents are held.

        Raises:
            UsageError: an environment cannot save its state (`can_save_state` is False).
            ResetNeeded: before `reset`, or while results are pending.
            ClosedError: after `close`.
            WorkerError: a worker process failed.
        """

    @abc.abstractmethod
    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned; `recv` gives the first batch.

        As after `async_reset`, whose place it takes: rewards and flags are cleared and pending
        results are dropped. The state may come from another backend, if that had the same
        environments: what matters is their number, options and order. If it is refused by an
        environment, a reset must follow.

        Raises:
            UsageError: an environment cannot, or `state` was made by others.
            ClosedError: after `close`.
            WorkerError: a worker process failed.
        """

    @abc.abstractmethod
    def call(
        self, function: Callable[..., Any], *args: Any, envs: Iterable[int] | None = None
    ) -> list[Any]:
        """Return `function(env, *args)` of each environment, or of those numbered `envs`.

        The function runs where its environment lives, once no step is under way; steps and results
        stay as they are. It, its arguments and its results travel to worker processes and back by
        cloudpickle. What it raises is raised here, and does no harm to the worker.

        Args:
            function: is given the PufferEnv, for an emulated environment the one around it.
            *args: what else it takes.
            envs: numbers of environments, each at most once, in ascending order.

        Raises:
            UsageError: there is no such environment, or something cannot be sent.
            ClosedError: after `close`.
            WorkerError: a worker process died or hangs.
        """

    def render(self) -> list[Any]:
        """Return what every environment draws, in their order, as its `render_mode` promises.

        It may be called at rest, as `state`. Raises as `call`, and ResetNeeded as `state`.
        """
        self._check_rest("render")
        return self.call(_render)

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything; calling it again does nothing."""

    def _refuse(self, call: str) -> NoReturn:
        """Raise the error of a `call` that is not the one that comes next."""
        if self._phase == "closed":
            why = "the vector environment failed" if self._failure else "close()"
            raise ClosedError(f"{call}() after {why}: make a new one") from self._failure
        if self._phase == "reset":
            raise ResetNeeded(f"{call}() before reset(): call reset() or async_reset() first")
        if self._phase == "recv":
            raise ResetNeeded(f"{call}() while results are pending: call recv() first")
        raise ResetNeeded(f"{call}() with nothing pending: call send() first")

    def _check_reset(self, seed: int | None) -> None:
        """Refuse a reset after `close`, or with a seed that environments could not take."""
        if self._phase == "closed":
            self._refuse("reset")
        if seed is None:
            return
        is_integer = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        if not is_integer or not 0 <= seed <= 2**62:
            raise UsageError(
                f"seed={seed!r}: expected an integer from 0 to 2**62, or None for fresh entropy"
            )

    def _check_saves(self, call: str) -> None:
        """Refuse to save or restore after `close`, or environments that cannot."""
        if self._phase == "closed":
            self._refuse(call)
        if self._unable_to_save is not None:
            raise UsageError(
                f"{call}(): {self._unable_to_save} cannot save its state: begin with reset(seed)"
            )

    def _check_rest(self, call: str) -> None:
        """Refuse a `call` while environments are at work, or results are under way."""
        if self._phase == "closed" or not self._at_rest():
            if self._phase == "send":
                raise ResetNeeded(f"{call}() while other agents are at work: hold() all first")
            self._refuse(call)

    @abc.abstractmethod
    def _at_rest(self) -> bool:
        """Return whether no environment is at work and no result under way."""

    def _deliver(self, buffers: Buffers, infos: Infos, agent_ids: np.ndarray) -> Batch:
        """Return what `recv` returns of these rows, copied if that was asked for."""
        b = buffers
        if self._copy:
            arrays = buffers.arrays().values()
            b = Buffers(*(None if a is None else a.copy() for a in arrays))  # type: ignore[arg-type]
            agent_ids = agent_ids.copy()
        self.final_observations, self.action_masks = b.final_observations, b.action_masks
        flags = b.terminals, b.truncations
        return b.observations, b.rewards, *flags, infos, agent_ids, b.masks

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            "a vector environment cannot be pickled or copied: make one in each process"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _render(env: PufferEnv) -> Any:
    return env.render()
