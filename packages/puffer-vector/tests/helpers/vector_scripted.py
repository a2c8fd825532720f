"""Environments whose every number follows from a rule, importable by worker processes too."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from puffer.core import PufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Discrete

NUM_ACTIONS = 5


@dataclasses.dataclass
class Agent:
    """One simulation of CountingEnv, in plain Python: what each of its rows must be.

    An episode has 2 to 4 steps; even ones terminate, odd ones are truncated. The agent is masked
    after the first step of an episode if its key leaves 2 when divided by 3.
    """

    key: int
    episode: int = 0
    t: int = 0
    total: float = 0.0

    def length(self) -> int:
        return 2 + (self.key + self.episode) % 3

    def masked(self) -> bool:
        return self.t == 1 and self.key % 3 == 2

    def observe(self, action: int = 0) -> list[int]:
        episode = self.episode % 2**15  # a row holds int16
        return [0] * 4 if self.masked() else [self.key, episode, self.t, action]

    def allowed(self) -> list[bool]:
        return [action != self.t for action in range(NUM_ACTIONS)]

    def reset(self) -> dict[str, Any]:
        return {"observations": self.observe(), "masks": True, "action_masks": self.allowed()}

    def step(self, action: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Return the row, with `final_observations` None within an episode, and the info."""
        self.t += 1
        reward = 0.0 if self.masked() else self.key % 7 + self.t / 2 + action
        self.total += reward
        row: dict[str, Any] = {"rewards": reward, "masks": not self.masked()}
        ended = self.t == self.length()
        row["terminals"] = ended and self.episode % 2 == 0
        row["truncations"] = ended and self.episode % 2 == 1
        row["final_observations"] = self.observe(action) if ended else None
        info = None
        if ended:
            info = {"episodes": 1, "episode_return": self.total, "episode_length": self.t}
            self.episode, self.t, self.total, action = self.episode + 1, 0, 0.0, 0
        row["observations"] = self.observe(action)
        row["action_masks"] = self.allowed()
        return row, info


class CountingEnv(PufferEnv):
    """Writes what `Agent` says, in place."""

    can_fill_final_observations = True
    can_fill_action_masks = True
    can_save_state = True

    def __init__(self, num_agents: int = 2, render_mode: str | None = None, buf: Any = None):
        self.single_observation_space = Box(0, 32767, (4,), np.int16)
        self.single_action_space = Discrete(NUM_ACTIONS)
        self.num_agents = num_agents
        self.render_mode = render_mode
        self.closed = 0
        super().__init__(buf)

    def _write(self, slot: int, row: dict[str, Any]) -> None:
        for name, value in row.items():
            array = getattr(self, name)
            if array is not None and value is not None:
                array[slot] = value

    def reset(self, seed: int | None = None) -> Any:
        first = np.random.SeedSequence().entropy % 10_000 if seed is None else seed
        self.agents = [Agent(first + slot) for slot in range(self.num_agents)]
        for slot, agent in enumerate(self.agents):
            self._write(slot, agent.reset())
        return self.observations, []

    def step(self, actions: Any) -> Any:
        infos = []
        for slot, agent in enumerate(self.agents):
            row, info = agent.step(int(actions[slot]))
            self._write(slot, row)
            if info:
                infos.append({**info, "agent_id": slot})
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def state(self) -> bytes:
        rows = self.observations.tolist(), self.masks.tolist()
        return json.dumps([[dataclasses.astuple(agent) for agent in self.agents], *rows]).encode()

    def set_state(self, state: bytes) -> None:
        agents, observations, masks = json.loads(state)
        if len(agents) != self.num_agents:
            raise UsageError(f"state of {len(agents)} agents, expected {self.num_agents}")
        self.agents = [Agent(*values) for values in agents]
        self.observations[...] = observations
        self.masks[...] = masks
        if self.action_masks is not None:
            self.action_masks[...] = [agent.allowed() for agent in self.agents]

    def close(self) -> None:
        self.closed += 1


class PlainEnv(CountingEnv):
    """A CountingEnv that takes no buffers and can fill no optional ones."""

    can_fill_final_observations = False
    can_fill_action_masks = False
    can_save_state = False

    def __init__(self, num_agents: int = 2):
        super().__init__(num_agents)


class FaultyEnv(CountingEnv):
    """Fails as it is told: `where` is the call, for "step" the third one."""

    def __init__(self, fault: str | None = None, where: str = "step", buf: Any = None):
        self.fault, self.where = fault, where
        self.steps = 0
        if where == "start":
            self._maybe_fail()
        super().__init__(1, buf=buf)

    def _maybe_fail(self) -> None:
        in_worker = multiprocessing.parent_process() is not None
        if self.fault is not None and in_worker:
            FAULTS[self.fault]()

    def reset(self, seed: int | None = None) -> Any:
        if self.where == "reset":
            self._maybe_fail()
        return super().reset(seed)

    def state(self) -> bytes:
        if self.where == "state":
            self._maybe_fail()
        return super().state()

    def set_state(self, state: bytes) -> None:
        if self.where == "set_state":
            self._maybe_fail()
        super().set_state(state)

    def step(self, actions: Any) -> Any:
        self.steps += 1
        if self.where == "step" and self.steps == 3:
            self._maybe_fail()
        return super().step(actions)


class OddError(Exception):
    """Cannot be made again from its arguments, so that it does not survive pickling."""

    def __init__(self, one: int, two: int):
        super().__init__(f"odd {one} {two}")
        self.lock = threading.Lock()


def _raise() -> None:
    raise KeyError("boom")


def _raise_odd() -> None:
    raise OddError(1, 2)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _exit() -> None:
    os._exit(3)


def hang_here() -> None:
    """Sleep for longer than any test."""
    time.sleep(1000)


def spin_here() -> None:
    """Compute for longer than any test, in C and without giving the interpreter away."""
    sum(range(10**12))


def _interrupt() -> None:
    raise KeyboardInterrupt


def _leave() -> None:
    raise SystemExit(0)


FAULTS: dict[str, Callable[[], None]] = {
    "raise": _raise,
    "odd": _raise_odd,
    "kill": _kill,
    "crash": _crash,
    "exit": _exit,
    "hang": hang_here,
    "spin": spin_here,
    "interrupt": _interrupt,
    "leave": _leave,
}


class NotingEnv(CountingEnv):
    """Writes down when a worker closes it."""

    def __init__(self, folder: str):
        self.folder = folder
        super().__init__(1)

    def close(self) -> None:
        if multiprocessing.parent_process() is not None:
            with open(f"{self.folder}/{os.getpid()}-{id(self)}", "a") as file:
                file.write("closed\n")


class ProbingEnv(CountingEnv):
    """Reports on the process it lives in, in every info."""

    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        process = {
            "pid": os.getpid(),
            "sigint_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
            "sigterm_default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
            "threads": os.environ["OMP_NUM_THREADS"],
        }
        return *result[:4], [process]


class LockedInfoEnv(CountingEnv):
    """Gives an info that cannot be pickled."""

    def step(self, actions: Any) -> Any:
        return *super().step(actions)[:4], [{"lock": threading.Lock()}]


class BigInfoEnv(CountingEnv):
    """Gives infos that no pipe holds at once, or of another size."""

    def __init__(self, *args: Any, size: int = 1_000_000, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._size = size

    def step(self, actions: Any) -> Any:
        return *super().step(actions)[:4], [{"blob": bytes(self._size), "agent_id": 1}]


class WaitingEnv(CountingEnv):
    """Does not step before there is a file of that name."""

    def __init__(self, path: str | None = None):
        self.path = path
        super().__init__(1)

    def step(self, actions: Any) -> Any:
        while self.path is not None and not os.path.exists(self.path):
            time.sleep(0.001)
        return super().step(actions)


class ScriptedParallelEnv:
    """A PettingZoo-like environment: agent i lives from `births[i]` until it dies at `deaths[i]`.

    The observation of agent i at time t is `[i + 1, t]`, its reward `10 * i + t`.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    render_mode = None

    def __init__(self, births: tuple[int, ...] = (0, 0, 1), deaths: tuple[int, ...] = (2, 4, 3)):
        self.possible_agents = [f"agent_{i}" for i in range(len(births))]
        self.births, self.deaths = births, deaths
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Box:
        return Box(0, 100, (2,), np.float32)

    def action_space(self, agent: str) -> Discrete:
        return Discrete(3)

    def _living(self) -> list[int]:
        lives = zip(self.births, self.deaths, strict=True)
        return [i for i, (birth, death) in enumerate(lives) if birth <= self.t < death]

    def _dict(self, slots: Any, value: Callable[[int], Any]) -> dict[str, Any]:
        return {self.possible_agents[i]: value(i) for i in slots}

    def _observe(self, i: int) -> np.ndarray:
        return np.array([i + 1, self.t], np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        slots = self._living()
        self.agents = list(self._dict(slots, id))
        return self._dict(slots, self._observe), self._dict(slots, lambda i: {})

    def step(self, actions: dict[str, Any]) -> Any:
        before = self._living()
        assert [self.possible_agents[i] for i in before] == list(actions)
        self.t += 1
        slots = sorted({*before, *self._living()})
        self.agents = list(self._dict(self._living(), id))
        dies = [i in before and self.t == self.deaths[i] for i in range(len(self.deaths))]
        return (
            self._dict(slots, self._observe),
            self._dict(slots, lambda i: 10.0 * i + self.t if i in before else 0.0),
            self._dict(slots, lambda i: dies[i] and i % 2 == 0),
            self._dict(slots, lambda i: dies[i] and i % 2 == 1),
            self._dict(slots, lambda i: {"score": -i, "t": self.t}),
        )

    def render(self) -> None:
        return None

    def close(self) -> None:
        return None
