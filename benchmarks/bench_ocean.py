"""Steps per second of Ocean's environments on one core, through Python's `env.step(actions)`.

Random actions (int64, as policies give them) are drawn beforehand; everything else that a user pays
for is inside the clock. Repeats go round all cases, so that a busy moment hits each of them alike;
the first round is a burn-in. `steps` are agent steps: a call steps every copy once.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from puffer.core.registry import find

NAMES = (
    "puffer_squared",
    "puffer_cartpole",
    "puffer_breakout",
    "puffer_pong",
    "puffer_connect4",
)
COPIES = (1, 64, 1024, 4096)
BATCHES = 16  # of actions, drawn beforehand; few enough to stay in the cache, like a policy's


class Case:
    """One environment with a number of copies."""

    def __init__(self, name: str, copies: int) -> None:
        self.name, self.copies = name, copies
        self.env = find(name).creator(num_envs=copies)
        self.env.reset(seed=0)
        choices = self.env.single_action_space.n
        self.actions = list(np.random.default_rng(0).integers(0, choices, (BATCHES, copies)))
        self.rates: list[float] = []

    def measure(self, seconds: float) -> None:
        """Add one measurement of at least `seconds`."""
        step, calls = self.env.step, 0
        start = time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            for actions in self.actions:
                step(actions)
            calls += BATCHES
        self.rates.append(calls * self.copies / elapsed)

    def summary(self) -> dict[str, Any]:
        """Return median, minimum and maximum of all measurements but the first."""
        rates = self.rates[1:]
        return {
            "environment": self.name,
            "copies": self.copies,
            "median": statistics.median(rates),
            "minimum": min(rates),
            "maximum": max(rates),
        }


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "puffer-ocean": importlib.metadata.version("puffer-ocean"),
    }


def main() -> None:
    """Measure all cases and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", nargs="+", default=NAMES, help="names to measure")
    parser.add_argument("--copies", nargs="+", type=int, default=COPIES, help="simulations")
    parser.add_argument("--repeats", type=int, default=9, help="measurements per case")
    parser.add_argument("--seconds", type=float, default=0.1, help="per measurement, at least")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    cases = [Case(name, copies) for name in options.env for copies in options.copies]
    for _ in range(options.repeats + 1):
        for case in cases:
            case.measure(options.seconds)
    results = [case.summary() for case in cases]
    if options.json:
        print(json.dumps({"machine": machine(), "results": results}))
        return
    print("  ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{options.repeats} repeats of {options.seconds} s; million steps/s on one core")
    print(f"{'environment':<18}{'copies':>8}{'median':>10}{'minimum':>10}{'maximum':>10}")
    for row in results:
        rates = "".join(f"{row[key] / 1e6:>10.2f}" for key in ("median", "minimum", "maximum"))
        print(f"{row['environment']:<18}{row['copies']:>8}{rates}")


if __name__ == "__main__":
    main()
