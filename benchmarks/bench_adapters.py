"""What the adapters add to a step, and CartPole through them beside the libraries' own classes.

Everything runs in this process, in turns, and what is measured is CPU time in microseconds per
vector step: median, minimum and maximum over the turns. Stable-Baselines3 is measured if installed.

    python benchmarks/bench_adapters.py [--turns 15] [--steps 1000]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.spaces import Box, Discrete
from puffer.vector.adapters import to_gymnasium, to_sb3


class EmptyEnv(PufferEnv):
    """Many agents to whom nothing happens."""

    can_fill_final_observations = True

    def __init__(self, num_agents: int = 8, buf: Any = None) -> None:
        self.single_observation_space = Box(-1, 1, (4,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents = num_agents
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> Any:
        """Do nothing."""
        return self.observations, []

    def step(self, actions: Any) -> Any:
        """Do nothing."""
        return self.observations, self.rewards, self.terminals, self.truncations, []


def make_cartpole() -> gymnasium.Env[Any, Any]:
    """Return one CartPole."""
    return gymnasium.make("CartPole-v1")


def make(creator: Any, num_envs: int = 1, **kwargs: Any) -> Any:
    """Return a vector environment of ours."""
    return puffer.vector.make(
        creator, num_envs=num_envs, env_kwargs=kwargs, final_observations=True
    )


def cases() -> dict[str, Any]:
    """Return name -> what has `reset` and `step`."""
    found = {
        "empty, 8 rows: Serial": make(EmptyEnv),
        "empty, 8 rows: to_gymnasium": to_gymnasium(make(EmptyEnv)),
        "empty, 8 rows: to_gymnasium, copy=False": to_gymnasium(make(EmptyEnv), copy=False),
        "CartPole, 8 envs: Serial": make(make_cartpole, 8),
        "CartPole, 8 envs: to_gymnasium": to_gymnasium(make(make_cartpole, 8)),
        "CartPole, 8 envs: Gymnasium's SyncVectorEnv": SyncVectorEnv(
            [make_cartpole] * 8, autoreset_mode=AutoresetMode.SAME_STEP
        ),
    }
    if find_spec("stable_baselines3") is not None:
        from stable_baselines3.common.vec_env import DummyVecEnv

        found["empty, 8 rows: to_sb3"] = to_sb3(make(EmptyEnv))
        found["CartPole, 8 envs: to_sb3"] = to_sb3(make(make_cartpole, 8))
        found["CartPole, 8 envs: SB3's DummyVecEnv"] = DummyVecEnv([make_cartpole] * 8)
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=15, help="measurements of each case")
    parser.add_argument("--steps", type=int, default=1000, help="steps of each measurement")
    arguments = parser.parse_args()
    packages = [name for name in ("numpy", "gymnasium", "stable_baselines3") if find_spec(name)]
    print(
        f"{platform.processor() or platform.machine()}, {puffer.vector.usable_cores()} usable "
        f"cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
    )
    vecenvs = cases()
    actions = np.random.default_rng(0).integers(0, 2, (arguments.steps, 8))
    times: dict[str, list[float]] = {name: [] for name in vecenvs}
    for turn in range(-1, arguments.turns):  # the first turn warms up
        for name, vecenv in vecenvs.items():
            vecenv.reset()
            begin = time.process_time()
            for row in actions:
                vecenv.step(row)
            if turn >= 0:
                times[name].append((time.process_time() - begin) / arguments.steps * 1e6)
    print(f"{'CPU us per step':<48}{'median':>8}{'min':>8}{'max':>8}")
    for name in sorted(times):
        row = statistics.median(times[name]), min(times[name]), max(times[name])
        print(f"{name:<48}" + "".join(f"{value:8.1f}" for value in row))
        vecenvs[name].close()


if __name__ == "__main__":
    main()
