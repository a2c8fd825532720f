"""What a step of a vector environment costs when the environment costs nothing.

Runs every backend on an empty environment, side by side with Gymnasium's AsyncVectorEnv, in turns
within one run, and prints microseconds per step: median, minimum and maximum over the turns.

    python benchmarks/bench_vector.py [--turns 15] [--steps 2000]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.spaces import Box, Discrete

OBSERVATION_SPACE = Box(-1, 1, (4,), np.float32)


class EmptyEnv(PufferEnv):
    """One agent to whom nothing happens."""

    def __init__(self, buf: Any = None) -> None:
        self.single_observation_space = OBSERVATION_SPACE
        self.single_action_space = Discrete(2)
        self.num_agents = 1
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> Any:
        """Do nothing."""
        return self.observations, []

    def step(self, actions: Any) -> Any:
        """Do nothing."""
        return self.observations, self.rewards, self.terminals, self.truncations, []


class EmptyGymnasiumEnv(gymnasium.Env[Any, Any]):
    """The same with Gymnasium's interface."""

    observation_space = OBSERVATION_SPACE
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.observation = np.zeros(4, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Do nothing."""
        return self.observation, {}

    def step(self, action: Any) -> Any:
        """Do nothing."""
        return self.observation, 0.0, False, False, {}


def synchronous(vecenv: Any) -> Callable[[int], None]:
    """Return a function that steps `vecenv` that many times."""
    vecenv.reset(seed=0)
    actions = np.zeros(vecenv.num_envs, np.int64)

    def run(steps: int) -> None:
        for _ in range(steps):
            vecenv.step(actions)

    return run


def asynchronous(vecenv: Any) -> Callable[[int], None]:
    """Return a function that receives and sends that many batches."""
    vecenv.async_reset(0)
    actions = np.zeros(vecenv.num_envs, np.int64)

    def run(steps: int) -> None:
        for _ in range(steps):
            vecenv.recv()
            vecenv.send(actions)

    return run


def make(env: Any, backend: str, num_envs: int, **options: Any) -> Any:
    """Return a vector environment of ours."""
    return puffer.vector.make(env, backend=backend, num_envs=num_envs, **options)


def cases() -> dict[str, tuple[Any, Callable[[Any], Callable[[int], None]]]]:
    """Return name -> (vector environment, how it is run)."""
    many = {"backend": "multiprocessing"}
    found: dict[str, tuple[Any, Callable[[Any], Callable[[int], None]]]] = {
        "Native, 1 env": (make(EmptyEnv, "native", 1), synchronous),
        "Serial, 1 env": (make(EmptyEnv, "serial", 1), synchronous),
        "Serial, 16 envs": (make(EmptyEnv, "serial", 16), synchronous),
    }
    for workers in (1, 2):
        plural = "s" * (workers > 1)
        found |= {
            f"Multiprocessing, {workers} worker{plural}": (
                make(EmptyEnv, num_envs=workers, **many),
                synchronous,
            ),
            f"Multiprocessing, {workers} worker{plural}, emulated": (
                make(EmptyGymnasiumEnv, num_envs=workers, **many),
                synchronous,
            ),
            f"Gymnasium AsyncVectorEnv, {workers} worker{plural}": (
                AsyncVectorEnv([EmptyGymnasiumEnv] * workers, copy=False),
                synchronous,
            ),
        }
    pool = make(EmptyEnv, num_envs=2, batch_size=1, **many)
    found["Multiprocessing, 2 workers, batches of 1"] = pool, asynchronous
    pool = make(EmptyEnv, num_envs=2, batch_size=1, zero_copy=False, **many)
    found["Multiprocessing, 2 workers, batches of 1, copied"] = pool, asynchronous
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=15, help="measurements of each case")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each measurement")
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {puffer.vector.usable_cores()} usable "
        f"cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("numpy", "gymnasium", "puffer-vector"))
    )
    vecenvs = cases()
    runs = {name: start(vecenv) for name, (vecenv, start) in vecenvs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(-1, arguments.turns):  # the first turn warms up
        for name, run in runs.items():
            begin = time.perf_counter()
            run(arguments.steps)
            if turn >= 0:
                times[name].append((time.perf_counter() - begin) / arguments.steps * 1e6)
    print(f"{'us per step':<52}{'median':>8}{'min':>8}{'max':>8}")
    for name, measured in times.items():
        row = statistics.median(measured), min(measured), max(measured)
        print(f"{name:<52}" + "".join(f"{value:8.1f}" for value in row))
    for vecenv, _ in vecenvs.values():
        vecenv.close()


if __name__ == "__main__":
    main()
