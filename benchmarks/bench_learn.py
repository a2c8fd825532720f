"""What a trainer in order reaches on the sanity environments, with the settings they ship.

Each seed trains from scratch; then 200 episodes are played with actions drawn from the policy. The
score has to reach the bar with every seed. `tests/test_learning.py` of puffer-train does one seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time

from puffer.core.registry import find
from puffer.train import evaluate
from puffer.train.config import resolve
from puffer.train.launch import for_evaluation, make_trainer, make_vecenv

BARS = {
    "puffer_bandit": 0.9,
    "puffer_memory": 0.95,
    "puffer_multiagent": 0.98,
    "puffer_password": 0.98,
    "puffer_spaces": 0.95,
    "puffer_squared_targets": 0.95,
    "puffer_stochastic": 0.98,
    "puffer_continuous": 0.88,
}
EPISODES = 200


def learn(name: str, seed: int) -> tuple[float, float]:
    """Train `name` with its own settings and return the score reached and the seconds it took."""
    spec = find(name)
    config, _ = resolve(spec)
    train = dataclasses.replace(config.train, seed=seed, device="cpu")
    config = dataclasses.replace(config, train=train)
    began = time.perf_counter()
    with make_trainer(spec, config) as trainer:
        trainer.train()
    seconds = time.perf_counter() - began
    with make_vecenv(spec, for_evaluation(spec, config, EPISODES, None)) as vecenv:
        return evaluate(trainer.policy, vecenv, EPISODES, seed=1_000_000 + seed)[
            "score_mean"
        ], seconds


def main() -> int:
    """Print a table, or JSON; return 1 if a seed missed its bar."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", nargs="+", default=list(BARS), choices=list(BARS), help="names")
    parser.add_argument("--seeds", type=int, default=3, help="0 to this number - 1")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    missed = 0
    if not options.json:
        print(f"{'environment':<24}{'bar':>6}{'seconds':>9}  scores of {options.seeds} seeds")
    for name in options.env:
        runs = [learn(name, seed) for seed in range(options.seeds)]
        scores = [score for score, _ in runs]
        seconds = statistics.mean(seconds for _, seconds in runs)
        missed += min(scores) < BARS[name]
        if options.json:
            row = {"environment": name, "bar": BARS[name], "scores": scores, "seconds": seconds}
            print(json.dumps(row), flush=True)
        else:
            text = "  ".join(f"{s:.3f}{'' if s >= BARS[name] else '!'}" for s in scores)
            print(f"{name:<24}{BARS[name]:>6}{seconds:>9.1f}  {text}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
