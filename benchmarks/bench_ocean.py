"""Steps per second of Ocean's environments through Python's `env.step(actions)`.

How it is measured is said in `puffer.ocean.kit.bench`, which `python -m puffer.ocean bench` uses
for one environment.
"""

from __future__ import annotations

import argparse
import json

from puffer.core.registry import find
from puffer.ocean.envs import family
from puffer.ocean.kit.bench import Case, machine, measure

COPIES = (1, 64, 1024, 4096, 16384)


def make_case(name: str, rows: int, threads: int, dtype: str) -> Case:
    """Return as many simulations as together have `rows` agents, but at least one."""
    spec = find(name)
    with spec.creator(num_envs=1) as one:
        return Case(spec, max(1, rows // one.num_agents), threads, dtype=dtype)


def main() -> None:
    """Measure all cases and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", nargs="+", default=family.ids, help="names to measure")
    parser.add_argument("--copies", nargs="+", type=int, default=COPIES, help="agents")
    parser.add_argument("--threads", nargs="+", type=int, default=(1,), help="0: what pays")
    parser.add_argument("--actions", default="int64", help="their dtype, as a policy gives them")
    parser.add_argument("--repeats", type=int, default=9, help="measurements per case")
    parser.add_argument("--seconds", type=float, default=0.1, help="per measurement, at least")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    cases = [
        make_case(name, copies, threads, options.actions)
        for name in options.env
        for copies in options.copies
        for threads in options.threads
    ]
    results = measure(cases, options.repeats, options.seconds)
    if options.json:
        print(json.dumps({"machine": machine(), "results": results}))
        return
    print("  ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{options.repeats} repeats of {options.seconds} s; million agent steps/s")
    print(
        f"{'environment':<24}{'copies':>7}{'threads':>8} {'kernel':<10}"
        f"{'median':>10}{'minimum':>10}{'maximum':>10}{'us/call':>10}"
    )
    for case, row in zip(cases, results, strict=True):
        rates = "".join(f"{row[key] / 1e6:>10.2f}" for key in ("median", "minimum", "maximum"))
        call = 1e6 * case.env.num_agents / row["median"]
        print(
            f"{row['environment']:<24}{row['copies']:>7}{row['threads']:>8} {row['kernel']:<10}"
            f"{rates}{call:>10.2f}"
        )


if __name__ == "__main__":
    main()
