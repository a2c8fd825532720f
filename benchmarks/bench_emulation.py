"""What emulation costs: microseconds per step on top of the raw environment.

Side by side, interleaved in one run: the raw environment, GymnasiumPufferEnv as it is (a new row
each step), GymnasiumPufferEnv with attached buffers (as vector environments use it), and
Gymnasium's FlattenObservation. The environments return prepared observations, so that nothing but
the wrapper is measured. What counts is CPU time, in which waiting for a busy core has no part.

    python benchmarks/bench_emulation.py [--seconds 0.004] [--rounds 101] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv

BARS = {"dict3": 3.0, "dict12": 6.0, "nested": 7.0}  # microseconds, the most that may be added


class Scripted(gymnasium.Env[Any, Any]):
    """Returns a few prepared observations in turn."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space = observation
        self.action_space = action
        observation.seed(0)
        self.samples = [observation.sample() for _ in range(4)]
        self.info: dict[str, Any] = {}
        self.clock = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the first observation."""
        return self.samples[0], self.info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Return the next observation."""
        self.clock += 1
        return self.samples[self.clock & 3], 0.0, False, False, self.info


def cases() -> dict[str, Scripted]:
    """Return the environments to measure, by name."""

    def box(shape: tuple[int, ...], dtype: Any, low: float = 0, high: float = 100) -> spaces.Box:
        return spaces.Box(low, high, shape, dtype)

    nethack = {
        "glyphs": box((21, 79), np.int16),
        "chars": box((21, 79), np.uint8),
        "colors": box((21, 79), np.uint8),
        "specials": box((21, 79), np.uint8),
        "blstats": box((27,), np.int64),
        "message": box((256,), np.uint8),
        "inv_glyphs": box((55,), np.int16),
        "inv_letters": box((55,), np.uint8),
        "inv_oclasses": box((55,), np.uint8),
        "inv_strs": box((55, 80), np.uint8),
        "tty_chars": box((24, 80), np.uint8),
        "tty_cursor": box((2,), np.uint8),
    }
    nested = {
        "player": spaces.Dict(
            {
                "position": box((3,), np.float32, -1, 1),
                "health": box((1,), np.float32),
                "inventory": spaces.Tuple((box((8,), np.int64), spaces.Discrete(5))),
            }
        ),
        "image": box((16, 16), np.uint8),
        "task": spaces.Discrete(10),
    }
    action = spaces.Tuple(
        (
            spaces.Discrete(4),
            spaces.Dict({"use": spaces.MultiDiscrete([3, 3]), "jump": spaces.Discrete(2)}),
        )
    )
    three = {
        "image": box((84, 84, 3), np.uint8),
        "state": box((32,), np.float32),
        "task": spaces.Discrete(8),
    }
    return {
        "box": Scripted(box((4,), np.float32, -1, 1), spaces.Discrete(2)),
        "dict3": Scripted(spaces.Dict(three), spaces.Discrete(2)),
        "dict12": Scripted(spaces.Dict(nethack), spaces.Discrete(8)),
        "nested": Scripted(spaces.Dict(nested), action),
    }


def attached(env: Scripted) -> GymnasiumPufferEnv:
    """Return `env` emulated, writing into buffers."""
    wrapped = GymnasiumPufferEnv(env)
    fields = Buffers.fields(wrapped.single_observation_space, wrapped.single_action_space, 1)
    wrapped.attach(Buffers.allocate(fields))
    return wrapped


def seconds_of(env: Any, action: Any, steps: int) -> float:
    """Return the seconds of CPU time that `steps` steps take."""
    step = env.step
    begin = time.process_time()
    for _ in range(steps):
        step(action)
    return time.process_time() - begin


def measure(env: Scripted, seconds: float, rounds: int) -> dict[str, list[float]]:
    """Return variant -> microseconds added per step, one figure a round."""
    flat = GymnasiumPufferEnv(env)
    env.action_space.seed(0)
    native = env.action_space.sample()
    action = flat.emulated.action.new_row()
    flat.emulated.action.pack(native, action)
    action = action if action.shape else int(action)
    variants = {
        "puffer": (flat, action),
        "puffer, attached": (attached(env), action),
        "gymnasium": (gymnasium.wrappers.FlattenObservation(env), native),
    }
    for wrapped, _ in variants.values():
        wrapped.reset()
    added: dict[str, list[float]] = {name: [] for name in variants}
    steps = {
        name: max(50, int(seconds / (seconds_of(wrapped, act, 50) / 50)))
        for name, (wrapped, act) in variants.items()
    }
    for _ in range(rounds):
        for name, (wrapped, act) in variants.items():
            count = steps[name]
            raw = seconds_of(env, native, count)
            total = seconds_of(wrapped, act, count)
            added[name].append((total - raw) / count * 1e6)
    return {name: figures[1:] for name, figures in added.items()}  # the first round is burn-in


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.004, help="per variant and round")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    results = {name: measure(env, args.seconds, args.rounds + 1) for name, env in cases().items()}
    machine = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    if args.json:
        print(json.dumps({"machine": machine, "microseconds_added": results}))
        return
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"{'microseconds added per step':18}  median (min to max) of {args.rounds}")
    for name, variants in results.items():
        gym = statistics.median(variants["gymnasium"])
        for variant, figures in variants.items():
            median = statistics.median(figures)
            note = "" if variant == "gymnasium" else f"  {median / gym:.2f} of Gymnasium's"
            if variant != "gymnasium" and name in BARS:
                note += f", bar {BARS[name]}: {'met' if median < BARS[name] else 'MISSED'}"
            print(
                f"{name:8}{variant:18}{median:7.2f} "
                f"({min(figures):.2f} to {max(figures):.2f}){note}"
            )


if __name__ == "__main__":
    main()
