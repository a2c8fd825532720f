"""How fast the trainer is on a GPU, and what each part of its path there gains.

    python benchmarks/bench_cuda.py [--agents 4096 16384 65536] [--seconds 2] [--json]

Trains `puffer_breakout` with the MLP and with MinGRU. The ladder adds one part after the other at
the smallest number of agents; the rest runs with all of them. A minibatch is an eighth of an
update. Steps per second are those of the median update after a warm-up.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from typing import Any

import torch

from puffer.core.registry import find
from puffer.ocean.kit.bench import machine
from puffer.train.config import resolve
from puffer.train.launch import make_trainer
from puffer.train.recording import Recording
from puffer.train.rollout import Collector

ENV, PARTS = "puffer_breakout", 8
RUNGS = (
    "any batches",
    "batches of a fixed shape, in pinned memory",
    "collection recorded",
    "gradient steps recorded",
)
ALL = len(RUNGS) - 1
# Settings of the tables that are added when all of this is in place.
COMPILED = {"train": {"compile": True}}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "float32": {},
    "observations of float16": {"env": {"observation_dtype": "float16"}},
    "and products of bfloat16": {
        "env": {"observation_dtype": "float16"},
        "train": {"precision": "bfloat16"},
    },
}
Row = dict[str, Any]


def measure(
    agents: int,
    recurrent: str,
    seconds: float,
    changes: dict[str, dict[str, Any]],
    rung: int = ALL,
) -> Row:
    """Return steps per second, and the shares of collection and of the update."""
    spec = find(ENV)
    config, _ = resolve(spec)
    size = agents * config.train.horizon // PARTS
    train = {"device": "cuda", "minibatch_size": size, "total_steps": 10**12}
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, **train, **changes.get("train", {})),
        vec=dataclasses.replace(config.vec, **changes.get("vec", {})),
        policy=dataclasses.replace(config.policy, recurrent=recurrent),
        env={**config.env, "num_envs": agents, **changes.get("env", {})},
    )
    Recording.enabled = rung >= RUNGS.index("collection recorded")
    times: list[float] = []
    with make_trainer(spec, config) as trainer:
        if rung < ALL:
            trainer.recorded = None
        if rung == 0:
            old = trainer.collector
            trainer.collector = Collector(
                old.vecenv, old.policy, old.config, old.device, old.generator
            )
        for _ in range(4):
            trainer.train_update()
        before = {**trainer.collector.seconds, **trainer.seconds}
        began = time.perf_counter()
        while time.perf_counter() - began < seconds or len(times) < 3:
            start = time.perf_counter()
            trainer.train_update()
            times.append(time.perf_counter() - start)
        total = time.perf_counter() - began
        after = {**trainer.collector.seconds, **trainer.seconds}
    return {
        "agents": agents,
        "policy": recurrent,
        "steps_per_second": round(agents * config.train.horizon / statistics.median(times)),
        "shares": {key: round((after[key] - before[key]) / total, 3) for key in after},
        "gigabytes": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }


def main() -> int:
    """Measure and print a table; return 1 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", nargs="+", type=int, default=[4096, 16384, 65536])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no CUDA device")
        return 1
    print("  ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{torch.cuda.get_device_name()}  torch {torch.__version__}")
    first, *_ = options.agents
    cases: list[tuple[str, int, str, dict[str, Any], int]] = []
    for recurrent in ("none", "mingru"):
        for rung, name in enumerate(RUNGS):
            cases.append((name, first, recurrent, {}, rung))
        cases.append(("loss compiled", first, recurrent, COMPILED, ALL))
    for agents in options.agents:
        for recurrent in ("none", "mingru"):
            for name, changes in VARIANTS.items():
                cases.append((name, agents, recurrent, changes, ALL))
    for name, agents, recurrent, changes, rung in cases:
        torch.cuda.reset_peak_memory_stats()
        row = measure(agents, recurrent, options.seconds, changes, rung)
        if options.json:
            print(json.dumps({"case": name, **row}), flush=True)
            continue
        shares = "  ".join(f"{key} {value:.0%}" for key, value in row["shares"].items())
        speed = f"{row['steps_per_second'] / 1e6:6.2f} M/s"
        case = f"{recurrent:<8}{agents:>7,}  {name}"
        print(f"{case:<62}{speed}  {row['gigabytes']:5.1f} GB  {shares}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
