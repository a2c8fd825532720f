"""Synchronous and asynchronous training on an environment that takes a millisecond a step.

Trains the same task with all workers in step, with half batches and with batches of whichever are
ready first, in turns within one run, and prints steps per second and the mean return of the last
tenth of the steps: each seed, then the median.

    python benchmarks/bench_async.py [--seeds 3] [--steps 20000] [--spread 1.0]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
import torch

import puffer.vector
from puffer.core.spaces import Box, Discrete
from puffer.train import Config, TrainConfig, Trainer
from puffer.train.models import Default

LENGTH = 8
WORKERS = 8
WAYS: dict[str, dict[str, Any]] = {
    "synchronous": {},
    "half batches": {"batch_size": WORKERS // 2},
    "first ready": {"batch_size": WORKERS // 2, "zero_copy": False},
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


def train(way: dict[str, Any], seed: int, steps: int, spread: float) -> tuple[float, float]:
    """Return steps per second and the mean return at the end."""
    settings = TrainConfig(
        seed=seed,
        total_steps=steps,
        horizon=32,
        minibatch_size=64,
        epochs=2,
        learning_rate=0.005,
        device="cpu",
    )
    options = {"num_envs": WORKERS, "num_workers": WORKERS, "overwork": True, **way}
    with puffer.vector.make(
        Slow,
        env_kwargs={"spread": spread},
        backend="multiprocessing",
        final_observations=True,
        **options,
    ) as vecenv:
        torch.manual_seed(seed)
        policy = Default(vecenv.driver_env, 32)
        summary = Trainer(Config("slow", settings), vecenv, policy).train()
    return summary["steps_per_second"], summary["return_mean"]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20_000, help="of each training")
    parser.add_argument("--spread", type=float, default=1.0, help="share of the time at random")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, {puffer.vector.usable_cores()} usable cores, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, torch {version('torch')}"
    )
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    for seed in range(arguments.seeds):
        for name, way in WAYS.items():
            speed, score = train(way, seed, arguments.steps, arguments.spread)
            results[name].append((speed, score))
            print(f"{name:<14} seed {seed}  {speed:>7.0f} steps/s  return {score:.2f} of {LENGTH}")
    for name, pairs in results.items():
        speeds, scores = zip(*pairs, strict=True)
        print(
            f"{name:<14} median  {statistics.median(speeds):>6.0f} steps/s "
            f"({min(speeds):.0f} to {max(speeds):.0f})  return {statistics.median(scores):.2f}"
        )


if __name__ == "__main__":
    main()
