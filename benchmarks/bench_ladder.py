"""The most speed for the effort: Squared written in four ways, steps per second on one core.

Each is stepped through Python with random actions drawn beforehand, in turns, after a burn-in.
`--write` puts the table into the README of examples/pysquared.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import puffer.vector
from puffer.ocean import Squared
from puffer.ocean.kit.bench import machine

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "pysquared"
sys.path.insert(0, str(EXAMPLE))

from pysquared import GymSquared, PySquared  # noqa: E402

COPIES = 1024
BATCHES = 16


def bare(copies: int) -> Any:
    """Return Gymnasium's own vector environment of as many copies."""
    mode = gymnasium.vector.AutoresetMode.SAME_STEP
    return gymnasium.vector.SyncVectorEnv([GymSquared] * copies, autoreset_mode=mode)


# What was written -> a vector environment of so many copies, and the copies.
RUNGS: dict[str, tuple[Callable[[int], Any], int]] = {
    "C++ struct (`Squared`)": (lambda n: Squared(n), COPIES),
    "Python `PufferEnv` in NumPy (`PySquared`)": (lambda n: PySquared(n), COPIES),
    "Gymnasium environment, emulated (`GymSquared`)": (
        lambda n: puffer.vector.make(GymSquared, num_envs=n),
        64,
    ),
    "the same in Gymnasium's `SyncVectorEnv`": (bare, 64),
}


def main() -> None:
    """Measure every rung in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each")
    parser.add_argument("--seconds", type=float, default=0.3, help="per measurement, at least")
    parser.add_argument("--write", action="store_true", help="into examples/pysquared/README.md")
    options = parser.parse_args()
    envs = {name: (make(copies), copies) for name, (make, copies) in RUNGS.items()}
    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {name: [] for name in envs}
    for env, _ in envs.values():
        env.reset(seed=0)
    for _ in range(options.repeats + 1):
        for name, (env, copies) in envs.items():
            actions = list(rng.integers(0, 5, (BATCHES, copies)))
            calls, start = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - start) < options.seconds:
                for row in actions:
                    env.step(row)
                calls += BATCHES
            rates[name].append(calls * copies / elapsed)
    lines = ["| written as | copies | steps/s | from - to |", "|---|---|---|---|"]
    for name, (_, copies) in envs.items():
        middle, low, high = (f(rates[name][1:]) for f in (statistics.median, min, max))
        lines.append(f"| {name} | {copies} | {middle:,.0f} | {low:,.0f} - {high:,.0f} |")
    about = machine()
    known = ("processor", "cores", "python", "numpy", "puffer-ocean")
    about_text = ", ".join(f"{key} {about[key]}" for key in known)
    text = "\n".join(lines) + (
        f"\n\nMedians of {options.repeats} runs in turns, while {about['load']:.0f} programs"
        f" shared the cores: {about_text}."
    )
    print(text)
    if options.write:
        readme = EXAMPLE / "README.md"
        old = readme.read_text("utf-8")
        new = re.sub(r"<!-- ladder -->.*", lambda _: f"<!-- ladder -->\n{text}\n", old, flags=re.S)
        readme.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
