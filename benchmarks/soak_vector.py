"""Faults at random for many minutes: does anything that a vector environment leaves behind grow?

    python benchmarks/soak_vector.py [--minutes 10] [--seed 0]

Makes vector environments with random options, steps, resets, restores and holds them, and lets
workers raise, die, hang, exit and be killed (and sometimes be replaced), or abandons them without
closing. After each round it counts what is left: processes, threads, file descriptors and shared
memory must be those of the beginning, and the memory of this process may grow by at most 5 MB after
the first fifth of the time. Exits with 1 and says what grew, if something did.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import json
import multiprocessing
import os
import pathlib
import random
import signal
import threading
import time
import warnings
from typing import Any

import numpy as np

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.errors import UsageError, WorkerError
from puffer.core.spaces import Box, Discrete

GROWTH_MB = 5.0
FAULTS = ("raise", "exit", "crash", "kill", "hang", "infos")


class Treacherous(PufferEnv):
    """Counts its steps; now and then it does `fault` instead.

    Args:
        fault: one of FAULTS, or None.
        after: the step on which it does.
        buf: as every PufferEnv.
    """

    can_fill_final_observations = True
    can_save_state = True

    def __init__(self, fault: str | None = None, after: int = 0, buf: Any = None) -> None:
        self.single_observation_space = Box(0, 1e9, (64,), np.float32)
        self.single_action_space = Discrete(3)
        self.num_agents = 2
        self._fault, self._after, self._count = fault, after, 0
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> Any:
        """Begin to count."""
        self._count = 0
        self.observations[...] = 0
        return self.observations, []

    def step(self, actions: Any) -> Any:
        """Count, or do what is wrong."""
        self._count += 1
        self.observations[...] = self._count
        infos: list[dict[str, Any]] = []
        if self._count == self._after and multiprocessing.parent_process() is not None:
            if self._fault == "raise":
                raise ValueError("as told")
            if self._fault == "exit":
                os._exit(7)
            if self._fault in ("crash", "kill"):
                os.kill(
                    os.getpid(), getattr(signal, {"crash": "SIGSEGV"}.get(self._fault, "SIGKILL"))
                )
            if self._fault == "hang":
                time.sleep(1000)
            if self._fault == "infos":
                infos = [{"blob": bytes(300_000)}]
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def state(self) -> bytes:
        """Return the count."""
        return json.dumps(self._count).encode()

    def set_state(self, state: bytes) -> None:
        """Go on counting."""
        self._count = json.loads(state)
        self.observations[...] = self._count


def play(rng: random.Random) -> str:
    """Make, use and end one vector environment; return what happened to it."""
    fault = rng.choice((None, *FAULTS))
    num_envs = rng.choice((2, 4))
    kwargs: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    kwargs[rng.randrange(num_envs)] = {"fault": fault, "after": rng.randint(1, 30)}
    options = {
        "num_workers": 2,
        "batch_size": rng.choice((num_envs // 2, num_envs)),
        "zero_copy": rng.random() < 0.5,
        "group_envs": rng.choice((None, 1)),
        "sync_traj": rng.random() < 0.3,
        "copy": rng.random() < 0.2,
        "max_restarts": rng.choice((0, 0, 0, 1)),
        "start_method": "spawn" if rng.random() < 0.01 else "fork",
        "timeout": 5.0 if fault != "hang" else 0.3,
    }
    vecenv = puffer.vector.make(
        Treacherous, env_kwargs=kwargs, backend="multiprocessing", num_envs=num_envs, **options
    )
    killer = None
    if fault is None and rng.random() < 0.5:
        victim = rng.choice(vecenv._crew.pids)  # type: ignore[attr-defined]
        killer = threading.Timer(rng.random() * 0.02, kill, (victim,))
        killer.start()
    happened = "nothing"
    try:
        use(vecenv, rng)
    except WorkerError:
        happened = fault or "killed"
    if killer is not None:
        killer.join()
    if rng.random() < 0.8:
        vecenv.close()
    else:
        happened += ", abandoned"
    return happened


def kill(pid: int) -> None:
    """Kill a worker, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def use(vecenv: Any, rng: random.Random) -> None:
    """Call what a learner calls."""
    vecenv.async_reset(rng.randrange(1000))
    for _ in range(rng.randint(1, 60)):
        vecenv.recv()
        chance = rng.random()
        if chance < 0.05:
            vecenv.async_reset()
        elif chance < 0.1:
            vecenv.hold()
        elif chance < 0.15 and vecenv._at_rest():
            try:
                vecenv.set_state(vecenv.state())
            except UsageError as error:
                if "its episodes are lost" not in str(error):
                    raise
                vecenv.async_reset()  # a worker was replaced, and its envs have not begun again
        else:
            vecenv.send(np.zeros(vecenv.num_envs, np.int64))


def left_over() -> dict[str, int]:
    """Return what a round may not leave behind."""
    maps = pathlib.Path("/proc/self/maps").read_text()
    return {
        "processes": len(multiprocessing.active_children()),
        "threads": threading.active_count(),
        "file descriptors": len(os.listdir("/proc/self/fd")),
        "shared memory": maps.count("/dev/shm/") + maps.count("memfd:"),  # semaphores too
    }


def resident_mb() -> float:
    """Return the memory of this process that is in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of replaced workers and of abandoned environments
    rng = random.Random(arguments.seed)
    for _ in range(30):
        play(rng)
    puffer.vector.make(Treacherous, backend="multiprocessing", start_method="spawn").close()
    gc.collect()
    began, before, warm = time.monotonic(), left_over(), 0.0
    happened: collections.Counter[str] = collections.Counter()
    highest, rounds, grown = 0.0, 0, []
    end = began + arguments.minutes * 60
    while time.monotonic() < end:
        happened[play(rng)] += 1
        rounds += 1
        gc.collect()
        now = left_over()
        grown = [
            f"{name} {before[name]} -> {now[name]}" for name in now if now[name] > before[name]
        ]
        if grown:
            break
        if time.monotonic() - began > arguments.minutes * 12 and not warm:
            warm = resident_mb()
        highest = max(highest, resident_mb()) if warm else 0.0
    growth = highest - warm
    if growth > GROWTH_MB:
        grown.append(f"memory by {growth:.1f} MB")
    print(f"{rounds} vector environments in {(time.monotonic() - began) / 60:.1f} minutes:")
    for what, count in happened.most_common():
        print(f"{count:7} {what}")
    print(f"memory {warm:.1f} MB after warm-up, at most {growth:.1f} MB more; left: {left_over()}")
    print(f"grown: {', '.join(grown) or 'nothing'}")
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
