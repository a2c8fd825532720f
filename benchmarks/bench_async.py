"""Synchronous and asynchronous training on environments that one waits for, and on others.

Trains the same task with all workers in step, with half batches and with batches of whichever are
ready first, and each once more with the next segments collected while the last are learned from
(`train.overlap`), in turns within one run. Prints steps per second and the mean return of the last
tenth of the steps: each seed, then the median.

    python benchmarks/bench_async.py [--env slow|frames|cartpole|squared] [--seeds 3] [--steps N]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
import torch

import puffer.vector
from puffer.core.registry import find
from puffer.core.spaces import Box, Discrete
from puffer.train import Config, TrainConfig, Trainer
from puffer.train.models import Convolutional, Default

LENGTH = 8
WORKERS = 8
HALF = {"batch_size": WORKERS // 2}


@dataclasses.dataclass(frozen=True)
class Way:
    """Options of the vector environment and of training."""

    vec: dict[str, Any] = dataclasses.field(default_factory=dict)
    train: dict[str, Any] = dataclasses.field(default_factory=dict)


WAYS = {
    "synchronous": Way(),
    "overlapped": Way(train={"overlap": True}),
    "half batches": Way(HALF),
    "half, overlapped": Way(HALF, {"overlap": True}),
    "first ready": Way({**HALF, "zero_copy": False}),
    "first, overlapped": Way({**HALF, "zero_copy": False}, {"overlap": True}),
}


class Slow(gymnasium.Env[Any, Any]):
    """One point for naming the symbol that is shown; a step sleeps about a millisecond."""

    observation_space = Box(0, 1, (3,), np.float32)
    action_space = Discrete(3)

    def __init__(self, spread: float) -> None:
        self.spread = spread

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin an episode."""
        super().reset(seed=seed)
        self.clock = np.random.default_rng(seed)
        self.now = 0
        return self._show(), {}

    def _show(self) -> Any:
        self.symbol = int(self.np_random.integers(3))
        return np.eye(3, dtype=np.float32)[self.symbol]

    def step(self, action: Any) -> Any:
        """Sleep 1 ms on average: `spread` of it at random, exponentially."""
        time.sleep(0.001 * (1 - self.spread + self.spread * self.clock.exponential()))
        reward = float(action == self.symbol)
        self.now += 1
        return self._show(), reward, False, self.now == LENGTH, {}


class Frames(Slow):
    """Shows the symbol as four frames of an even grey; a step sleeps 5 ms."""

    observation_space = Box(0, 255, (4, 84, 84), np.uint8)

    def _show(self) -> Any:
        self.symbol = int(self.np_random.integers(3))
        return np.full((4, 84, 84), 100 * self.symbol, np.uint8)

    def step(self, action: Any) -> Any:
        """Sleep four milliseconds more."""
        time.sleep(0.004)
        return super().step(action)


@dataclasses.dataclass(frozen=True)
class Task:
    """An environment, and how it is run and trained.

    Attributes:
        ways: that make sense, names of `WAYS`.
        policy: of an environment.
    """

    make: Callable[..., Any]
    kwargs: dict[str, Any]
    vec: dict[str, Any]
    train: dict[str, Any]
    ways: tuple[str, ...] = tuple(WAYS)
    policy: Callable[[Any], torch.nn.Module] = Default


def tasks(spread: float) -> dict[str, Task]:
    """Return those that `--env` names."""
    workers = {"backend": "multiprocessing", "num_envs": WORKERS, "num_workers": WORKERS}
    small = {"horizon": 32, "minibatch_size": 64, "epochs": 2, "learning_rate": 0.005}
    cartpole = {"horizon": 128, "minibatch_size": 256, "epochs": 4, "learning_rate": 0.0025}
    squared = find("puffer_squared")
    narrow = functools.partial(Default, hidden_size=32)
    return {
        "slow": Task(Slow, {"spread": spread}, {**workers, "overwork": True}, small, policy=narrow),
        "frames": Task(
            Frames,
            {"spread": 0.0},
            {**workers, "overwork": True},
            {"horizon": 32, "minibatch_size": 64, "learning_rate": 0.0003},
            ("synchronous", "overlapped", "half batches", "half, overlapped"),
            Convolutional,
        ),
        "cartpole": Task(
            functools.partial(gymnasium.make, "CartPole-v1"),
            {},
            {**workers, "num_workers": min(WORKERS, puffer.vector.usable_cores())},
            cartpole,
            ("synchronous", "overlapped", "half batches", "half, overlapped"),
            narrow,
        ),
        "squared": Task(
            squared.creator,
            {"num_envs": 1024},
            {"backend": "native"},
            {"horizon": 64, "minibatch_size": 8192, "learning_rate": 0.005},
            ("synchronous", "overlapped"),
        ),
    }


def train(task: Task, way: Way, seed: int, steps: int) -> tuple[float, float]:
    """Return steps per second and the mean return at the end."""
    options: dict[str, Any] = {**task.train, **way.train}
    settings = TrainConfig(seed=seed, total_steps=steps, device="cpu", **options)
    with puffer.vector.make(
        task.make, env_kwargs=task.kwargs, final_observations=None, **task.vec, **way.vec
    ) as vecenv:
        torch.manual_seed(seed)
        policy = task.policy(vecenv.driver_env)
        summary = Trainer(Config("bench", settings), vecenv, policy).train()
    return summary["steps_per_second"], summary["return_mean"]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", choices=("slow", "frames", "cartpole", "squared"), default="slow")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20_000, help="of each training")
    parser.add_argument(
        "--spread", type=float, default=1.0, help="slow: share of the time at random"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, {puffer.vector.usable_cores()} usable cores, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, torch {version('torch')}"
    )
    task = tasks(arguments.spread)[arguments.env]
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in task.ways}
    for seed in range(arguments.seeds):
        for name in task.ways:
            speed, score = train(task, WAYS[name], seed, arguments.steps)
            results[name].append((speed, score))
            print(f"{name:<17} seed {seed}  {speed:>9,.0f} steps/s  return {score:.2f}")
    for name, pairs in results.items():
        speeds, scores = zip(*pairs, strict=True)
        print(
            f"{name:<17} median  {statistics.median(speeds):>9,.0f} steps/s "
            f"({min(speeds):,.0f} to {max(speeds):,.0f})  return {statistics.median(scores):.2f}"
        )


if __name__ == "__main__":
    main()
