"""EnvGroup: environments on neighbouring rows, run one after another in whatever process it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from puffer.core import Buffers, PufferEnv
from puffer.core.env import Infos
from puffer.core.errors import UsageError
from puffer.vector.autoreset import GymnasiumAutoreset, GymnasiumRows

Result = TypeVar("Result")


class EnvGroup:
    """Environments on neighbouring rows of one set of buffers, run one after another.

    Args:
        envs: at least one, alike, in the order of their rows.
        buffers: the rows of all of them.
        first_env: the number of `envs[0]` in the whole vector.
        lost: what became of the environments whose place these take in the middle of their
            episodes; empty if there were none.

    Attributes:
        lost: as given, until the lost episodes have been cut off: `begin_again` until then.
    """

    def __init__(
        self,
        envs: Sequence[PufferEnv],
        buffers: Buffers,
        first_env: int = 0,
        lost: str = "",
    ) -> None:
        self.envs = envs
        self.lost = lost
        self._cut_off = False
        self._steps, self._beginning = 0, "reset(seed=None)"
        self._seed: int | None = None
        self._buffers = buffers
        self._numbers = range(first_env, first_env + len(envs))
        alone = [env for env in envs if type(env) is GymnasiumAutoreset]
        self._rows = GymnasiumRows(alone, buffers) if len(alone) == len(envs) else None
        self._turns = [
            (number, env.step, env.actions, number * env.num_agents)
            for number, env in zip(self._numbers, envs, strict=True)
        ]

    @property
    def num_simulations(self) -> int:
        """How many seeds a reset uses."""
        return sum(env.num_simulations for env in self.envs)

    @property
    def unable_to_save(self) -> str | None:
        """The class of the first environment whose state cannot be saved; None: all can."""
        return next((class_name(env) for env in self.envs if not env.can_save_state), None)

    def reset(self, seed: int | None) -> Infos:
        """Begin new episodes everywhere, with clean rewards and flags."""
        infos = self._begin(seed)
        self._forget_the_lost()
        return infos

    def _begin(self, seed: int | None) -> Infos:
        infos: Infos = []
        self._steps, self._seed, self._beginning = 0, seed, "reset(seed=None)"
        for number, env in zip(self._numbers, self.envs, strict=True):
            with _named(number, f"reset(seed={seed})"):
                given = env.reset(seed)[1]
            if given:
                infos += in_whole(given, number * env.num_agents)
            if seed is not None:
                seed += env.num_simulations
        self._clear()
        return infos

    def begin_again(self) -> Infos:
        """Take the place of `step` while there are `lost` episodes.

        The first time cuts them off and begins new ones: the rows are truncated, and masked since
        nobody acted for what they show. The second time is an ordinary step.
        """
        buffers = self._buffers
        if self._cut_off:
            self._forget_the_lost()
            return self.step()
        self._cut_off = True
        if buffers.final_observations is not None:
            buffers.final_observations[...] = buffers.observations
        infos = self._begin(None)
        buffers.truncations.fill(True)
        buffers.masks.fill(False)
        return [*infos, {"restarted": self.lost}]

    def _forget_the_lost(self) -> None:
        if self.lost:
            self.lost = ""
            self._buffers.masks.fill(True)  # environments in which all live do not write it

    def _clear(self) -> None:
        for array in (self._buffers.rewards, self._buffers.terminals, self._buffers.truncations):
            array.fill(0)

    def step(self) -> Infos:
        """Advance every environment by the actions that stand in the buffers."""
        self._steps += 1
        if (rows := self._rows) is not None:
            try:
                infos = rows.step(self._buffers.actions)
            except Exception as error:
                self._blame(error, self._numbers[rows.turn])
                raise
            if infos and (first := self._numbers.start):
                for info in infos:  # of ended episodes, made for us
                    info["agent_id"] += first
            return infos
        infos = []
        for number, step, actions, first_row in self._turns:
            try:
                given = step(actions)[4]
            except Exception as error:
                self._blame(error, number)
                raise
            if given:
                infos += in_whole(given, first_row)
        return infos

    def _blame(self, error: Exception, number: int) -> None:
        """Note in `error` the step of env `number` that raised it."""
        actions = self._turns[number - self._numbers.start][2]
        which = f"step(actions={actions}), number {self._steps} since {self._began(number)}"
        error.add_note(f"raised by env {number} in {which}")

    def _began(self, number: int) -> str:
        """Return the call with which env `number` began."""
        if self._seed is None:
            return self._beginning
        before = self.envs[: number - self._numbers.start]
        return f"reset(seed={self._seed + sum(env.num_simulations for env in before)})"

    def state(self) -> list[bytes]:
        """Return the state of every environment.

        Raises:
            UsageError: an environment refuses, or replaces a lost one and has not begun yet.
        """
        if self.lost and not self._cut_off:
            raise UsageError(f"state(): {self.lost}; its episodes are lost: step or reset first")
        return self._ask("state()", lambda env: env.state())

    def set_state(self, states: Sequence[bytes]) -> None:
        """Continue from `states`, one for each environment, with clean rewards and flags."""
        self._forget_the_lost()  # before the states, which bring their own masks
        left = iter(states)
        self._ask("set_state()", lambda env: env.set_state(next(left)))
        self._steps, self._seed, self._beginning = 0, None, "set_state()"
        self._clear()

    def _ask(self, call: str, question: Callable[[PufferEnv], Result]) -> list[Result]:
        answers = []
        for number, env in zip(self._numbers, self.envs, strict=True):
            with _named(number, call):
                answers.append(question(env))
        return answers

    def close(self) -> None:
        """Close every environment, even if one of them raises."""
        with contextlib.ExitStack() as stack:
            for env in self.envs:
                stack.callback(env.close)


def class_name(env: PufferEnv) -> str:
    """Return the name of the environment's class; of the innermost one, if it is wrapped."""
    inner = env.driver_env
    while (wrapped := getattr(inner, "env", None)) is not None:
        inner = wrapped
    return type(inner).__name__


@contextlib.contextmanager
def _named(number: int, call: str) -> Iterator[None]:
    """Let an error name the environment and the call that it comes from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"raised by env {number} in {call}")
        raise


def in_whole(infos: Infos, first_row: int) -> Infos:
    """Return the infos of an environment with its rows' numbers in the whole vector."""
    return [
        {**info, "agent_id": info["agent_id"] + first_row} if "agent_id" in info else info
        for info in infos
    ]
