"""What importing a layer adds to importing numpy and gymnasium, in milliseconds.

Each import is timed within a fresh process, in turns with that of numpy and gymnasium alone, after
a first round that is not counted. `torch` is imported by puffer.train alone, and by that lazily.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from puffer.ocean.kit.bench import machine

FIRST = "import numpy, gymnasium"
THEN = (
    "import puffer.core",
    "import puffer.vector",
    "import puffer.ocean",  # loads no environment
    "from puffer.ocean import Breakout",
    "import puffer.train",
)
CODE = """
import time
start = time.perf_counter()
{}
between = time.perf_counter()
{}
print(between - start, time.perf_counter() - between)
"""


def measure(then: str) -> tuple[float, float]:
    """Return the milliseconds of importing numpy and gymnasium, and of `then` after them."""
    command = [sys.executable, "-c", CODE.format(FIRST, then)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    first, added = (1000 * float(word) for word in told.split())
    return first, added


def main() -> None:
    """Import each in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=15, help="processes for each line")
    options = parser.parse_args()
    firsts: list[float] = []
    added: dict[str, list[float]] = {then: [] for then in THEN}
    for repeat in range(options.repeats + 1):
        for then, numbers in added.items():
            first, more = measure(then)
            if repeat:
                firsts.append(first)
                numbers.append(more)
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{'':<36}{'median':>8}{'minimum':>9}{'maximum':>9}  ms")
    for name, numbers in {FIRST: firsts, **added}.items():
        middle, low, high = (f(numbers) for f in (statistics.median, min, max))
        print(f"{name:<36}{middle:>8.1f}{low:>9.1f}{high:>9.1f}")


if __name__ == "__main__":
    main()
