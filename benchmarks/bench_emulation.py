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

# The most that may be added, in microseconds of a machine on which Gymnasium's wrapper adds
# YARDSTICK to dict3. A busy or slower machine is measured by the same wrapper in the same run.
BARS = {"dict3": 3.0, "dict12": 6.0, "nested": 7.0}
YARDSTICK = 10.6


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


def variants_of(env: Scripted) -> dict[str, tuple[Any, Any]]:
    """Return variant -> (environment, the action to repeat), all reset."""
    flat = GymnasiumPufferEnv(env)
    env.action_space.seed(0)
    native = env.action_space.sample()
    action = flat.emulated.action.new_row()
    flat.emulated.action.pack(native, action)
    action = action if action.shape else int(action)
    variants = {
        "raw": (env, native),
        "puffer": (flat, action),
        "puffer, attached": (attached(env), action),
        "gymnasium": (gymnasium.wrappers.FlattenObservation(env), native),
    }
    for wrapped, _ in variants.values():
        wrapped.reset()
    return variants


def measure(seconds: float, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return case -> variant -> microseconds added per step, one figure a round.

    Each round visits every case, so that all see the same moods of the machine.
    """
    variants = {name: variants_of(env) for name, env in cases().items()}
    steps = {
        (name, variant): max(50, int(seconds / (seconds_of(*pair, 200) / 200)))
        for name, pairs in variants.items()
        for variant, pair in pairs.items()
    }
    added: dict[str, dict[str, list[float]]] = {
        name: {variant: [] for variant in pairs if variant != "raw"}
        for name, pairs in variants.items()
    }
    for number in range(rounds + 1):
        for name, figures in added.items():
            for variant in figures:
                count = steps[name, variant]
                raw = seconds_of(*variants[name]["raw"], count)
                total = seconds_of(*variants[name][variant], count)
                if number > 0:  # the first round is burn-in
                    figures[variant].append((total - raw) / count * 1e6)
    return added


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.004, help="per variant and round")
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    results = measure(args.seconds, args.rounds)
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
    pace = YARDSTICK / statistics.median(results["dict3"]["gymnasium"])
    print(f"microseconds added per step: median (min to max) of {args.rounds}")
    print(f"at the yardstick's pace, times {pace:.2f}; share of Gymnasium's; bar at that pace")
    for name, variants in results.items():
        gym = statistics.median(variants["gymnasium"])
        for variant, figures in variants.items():
            median = statistics.median(figures)
            spread = f"{median:6.2f} ({min(figures):.2f} to {max(figures):.2f})"
            line = f"{name:8}{variant:18}{spread:28}{median * pace:6.2f}"
            if variant != "gymnasium":
                line += f"  {median / gym:.2f}"
                if name in BARS:
                    met = median * pace < BARS[name]
                    line += f"  {BARS[name]} {'met' if met else 'MISSED'}"
            print(line)


if __name__ == "__main__":
    main()
