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

ENV, PARTS = "puffer_breakout", 8
EAGER: dict[str, Any] = {"cuda_graphs": False}
# What is added on each rung: (name, settings of [train], of [vec], whether collection alone is
# recorded, nothing is, or both are).
LADDER: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("torch as it is", EAGER, {"turns": 1}, "nothing"),
    ("batches of a fixed shape, pinned memory", {}, {"turns": 1}, "nothing"),
    ("collection recorded", {}, {"turns": 1}, "collection"),
    ("gradient steps recorded", {}, {"turns": 1}, "both"),
    ("environments in two turns", {}, {"turns": 2}, "both"),
    ("loss compiled", {"compile": True}, {"turns": 2}, "both"),
]
Row = dict[str, Any]


def measure(
    agents: int,
    recurrent: str,
    seconds: float,
    train: dict[str, Any],
    vec: dict[str, Any],
    recorded: str = "both",
) -> Row:
    """Return steps per second, and the shares of collection and of the update."""
    spec = find(ENV)
    config, _ = resolve(spec)
    size = agents * config.train.horizon // PARTS
    changes = {"device": "cuda", "minibatch_size": size, "total_steps": 10**12, **train}
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, **changes),
        vec=dataclasses.replace(config.vec, **vec),
        policy=dataclasses.replace(config.policy, recurrent=recurrent),
        env={**config.env, "num_envs": agents},
    )
    Recording.enabled = recorded != "nothing"
    times: list[float] = []
    with make_trainer(spec, config) as trainer:
        if recorded == "collection":
            trainer.recorded = None
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
    cases = [
        (f"{recurrent}: {name}", first, recurrent, train, vec, recorded)
        for recurrent in ("none", "mingru")
        for name, train, vec, recorded in LADDER
    ]
    for agents in options.agents:
        for recurrent in ("none", "mingru"):
            for precision in ("float32", "bfloat16"):
                name = f"{recurrent}, {precision}, {agents:,} agents"
                cases.append((name, agents, recurrent, {"precision": precision}, {}, "both"))
    for name, agents, recurrent, train, vec, recorded in cases:
        torch.cuda.reset_peak_memory_stats()
        row = measure(agents, recurrent, options.seconds, train, vec, recorded)
        if options.json:
            print(json.dumps({"case": name, **row}), flush=True)
            continue
        shares = "  ".join(f"{key} {value:.0%}" for key, value in row["shares"].items())
        speed = f"{row['steps_per_second'] / 1e6:6.2f} M/s"
        print(f"{name:<58}{speed}  {row['gigabytes']:5.1f} GB  {shares}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
