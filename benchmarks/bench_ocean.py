"""Steps per second of Ocean's environments through Python's `env.step(actions)`.

How it is measured is said in `puffer.ocean.kit.bench`, which `python -m puffer.ocean bench` uses
for one environment.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

from puffer.core.registry import find
from puffer.ocean.envs import family
from puffer.ocean.kit.bench import Case, machine, measure

COPIES = (1, 64, 1024, 4096, 16384)


def make_cases(
    name: str,
    rows: int,
    threads: int,
    kernels: Sequence[str],
    dtypes: Sequence[str],
    **options: Any,
) -> list[Case]:
    """Return as many simulations as together have `rows` agents, but at least one.

    Once for each kernel and dtype of observations, of those that the environment has.
    """
    spec = find(name)
    with spec.creator(num_envs=1) as one:
        copies = max(1, rows // one.num_agents)
    choice = "observation_dtype" in {option.name for option in spec.options}
    cases = [
        Case(spec, copies, threads, changes, kernel=kernel, **options)
        for kernel in kernels
        for changes in ([{"observation_dtype": dtype} for dtype in dtypes] if choice else [{}])
    ]
    return list({(case.env.kernel, dtype_of(case)): case for case in cases}.values())


def dtype_of(case: Case) -> str:
    """Return the dtype of the case's observations."""
    return str(case.env.single_observation_space.dtype)


def main() -> None:
    """Measure all cases and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", nargs="+", default=family.ids, help="names to measure")
    parser.add_argument("--copies", nargs="+", type=int, default=COPIES, help="agents")
    parser.add_argument("--threads", nargs="+", type=int, default=(1,), help="0: what pays")
    parser.add_argument(
        "--kernels", nargs="+", default=("scalar", "auto"), help="auto: the widest vectors"
    )
    parser.add_argument(
        "--observation-dtypes", nargs="+", default=("float32",), help="where there is a choice"
    )
    parser.add_argument("--actions", default="int64", help="their dtype, as a policy gives them")
    parser.add_argument("--repeats", type=int, default=9, help="measurements per case")
    parser.add_argument("--seconds", type=float, default=0.1, help="per measurement, at least")
    parser.add_argument(
        "--cpu-time", action="store_true", help="of one thread, where others use the machine"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    clock = time.thread_time if options.cpu_time else time.perf_counter
    cases = [
        case
        for name in options.env
        for copies in options.copies
        for threads in options.threads
        for case in make_cases(
            name,
            copies,
            threads,
            options.kernels,
            options.observation_dtypes,
            dtype=options.actions,
            clock=clock,
        )
    ]
    results = measure(cases, options.repeats, options.seconds)
    for case, row in zip(cases, results, strict=True):
        row["observation_dtype"] = dtype_of(case)
    if options.json:
        print(json.dumps({"machine": machine(), "results": results}))
        return
    print("  ".join(f"{key}: {value}" for key, value in machine().items()))
    unit = "s of CPU time" if options.cpu_time else "s"
    print(f"{options.repeats} repeats of {options.seconds} {unit}; million agent steps/s")
    print(
        f"{'environment':<24}{'copies':>7}{'threads':>8} {'kernel':<10}{'dtype':<8}"
        f"{'median':>10}{'minimum':>10}{'maximum':>10}{'us/call':>10}{'gain':>8}"
    )
    scalar: dict[tuple[str, int, int], float] = {}
    for case, row in zip(cases, results, strict=True):
        rates = "".join(f"{row[key] / 1e6:>10.2f}" for key in ("median", "minimum", "maximum"))
        call = 1e6 * case.env.num_agents / row["median"]
        size = (row["environment"], row["copies"], case.threads)
        if row["kernel"] == "scalar":
            scalar[size] = row["median"]
        gain = f"{row['median'] / scalar[size]:>8.2f}" if size in scalar else ""
        print(
            f"{row['environment']:<24}{row['copies']:>7}{row['threads']:>8} {row['kernel']:<10}"
            f"{row['observation_dtype']:<8}"
            f"{rates}{call:>10.2f}{gain}"
        )


if __name__ == "__main__":
    main()
