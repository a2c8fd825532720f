"""How fast the trainer is, and how soon an agent is good, from the same runs.

Trains each environment with the settings it ships, seed after seed. At ever later moments the clock
is stopped and 100 episodes are played with actions drawn from the policy, until their mean score
has reached every mark. The clock begins with the first step of the environments.

    python benchmarks/bench_train.py [--env puffer_breakout ...] [--seeds 3] [--json]
    python benchmarks/bench_train.py --sb3        the same tasks with Stable-Baselines3's PPO, too

A mark with a bar is missed if it takes longer; the exit code is then 1. For figures nothing else
may use the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from puffer.core.registry import EnvSpec, find
from puffer.ocean.kit.bench import machine
from puffer.train import evaluate
from puffer.train.config import Config, resolve
from puffer.train.launch import for_evaluation, make_trainer, make_vecenv

# Environment -> (score, seconds that it may take, None: no bar).
MARKS: dict[str, list[tuple[float, float | None]]] = {
    "puffer_breakout": [(100, None), (400, None), (800, 600)],
    "puffer_pong": [(18, None), (20, 180)],
    "puffer_cartpole": [(195, 5)],
    "classic-control/CartPole-v1": [(475, None)],
}
EPISODES = 100
FIRST_LOOK, LATER = 0.25, 1.15  # seconds of training, and the factor from each look to the next
Row = dict[str, Any]


def settings(name: str, seed: int, device: str = "cpu") -> tuple[EnvSpec, Config]:
    """Return the environment and what it ships, with a seed."""
    spec = find(name)
    config, _ = resolve(spec)
    train = dataclasses.replace(config.train, seed=seed, device=device)
    return spec, dataclasses.replace(config, train=train)


def run(name: str, seed: int, device: str) -> Row:
    """Train `name` until all its marks are reached, or to its end; return what that took."""
    spec, config = settings(name, seed, device)
    with make_trainer(spec, config) as trainer:

        def advance() -> bool:
            trainer.train_update()
            return not trainer.done

        return watch(spec, config, "puffer", trainer.policy, advance, lambda: trainer.steps)


class SB3Policy(nn.Module):
    """The policy of a model of Stable-Baselines3 as `evaluate` wants it."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and values."""
        distribution = self.policy.get_distribution(observations).distribution
        return distribution.logits, self.policy.predict_values(observations)


def run_sb3(name: str, seed: int, give_up: float) -> Row:
    """Train `name` with Stable-Baselines3's PPO through `to_sb3`, for as many steps at most.

    It is given up after so many seconds, which are wall time, with the score that it has then.
    """
    from stable_baselines3 import PPO

    import puffer.vector
    from puffer.vector.adapters import to_sb3

    spec, config = settings(name, seed)
    native = config.vec.backend == "native"
    env = {**config.env, "num_envs": 64} if native else dict(config.env)
    options = {"backend": "native"} if native else {"backend": "serial", "num_envs": 8}
    envs = to_sb3(
        puffer.vector.make(spec.creator, env_kwargs=env, final_observations=None, **options)
    )
    # SB3's own defaults for a native game; RL Baselines3 Zoo's settings for CartPole-v1.
    zoo: Row = {} if native else {
        "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8,
        "ent_coef": 0.0, "learning_rate": 0.001,
    }  # fmt: skip
    model = PPO("MlpPolicy", envs, seed=seed, device="cpu", **zoo)
    _, callback = model._setup_learn(config.train.total_steps)
    end = time.perf_counter() + give_up

    def advance() -> bool:
        model.collect_rollouts(envs, callback, model.rollout_buffer, model.n_steps)
        model.train()
        return model.num_timesteps < config.train.total_steps and time.perf_counter() < end

    policy = SB3Policy(model.policy)
    row = watch(spec, config, "sb3", policy, advance, lambda: model.num_timesteps)
    envs.close()
    return row


def watch(
    spec: EnvSpec,
    config: Config,
    trainer: str,
    policy: nn.Module,
    advance: Callable[[], bool],
    steps: Callable[[], int],
) -> Row:
    """Call `advance` until it says no or all marks are reached; return steps, times and scores."""
    name, seed = spec.name, config.train.seed
    left = [score for score, _ in MARKS[name]]
    reached: dict[str, float] = {}
    seconds, next_look, score = 0.0, FIRST_LOOK, float("nan")
    going = True
    with make_vecenv(spec, for_evaluation(spec, config, EPISODES, None)) as stage:
        while going and left:
            began = time.perf_counter()
            going = advance()
            seconds += time.perf_counter() - began
            if seconds < next_look and going:
                continue
            next_look = seconds * LATER
            score = evaluate(policy, stage, EPISODES, seed=1_000_000 + seed)["score_mean"]
            while left and score >= left[0]:
                reached[f"{left.pop(0):g}"] = round(seconds, 1)
    return {
        "environment": name,
        "trainer": trainer,
        "seed": seed,
        "steps": steps(),
        "steps_per_second": round(steps() / seconds),
        "seconds_to": reached,
        "last_score": round(score, 1),
    }


def show(name: str, rows: list[Row]) -> int:
    """Print one line for each mark of `name` and return how many bars were missed."""
    missed = 0
    for trainer in dict.fromkeys(row["trainer"] for row in rows):
        own = [row for row in rows if row["trainer"] == trainer]
        speed = statistics.median(row["steps_per_second"] for row in own)
        for score, bar in MARKS[name]:
            times = [row["seconds_to"].get(f"{score:g}") for row in own]
            words = ["never" if t is None else f"{t:.1f}" for t in times]
            late = bar is not None and any(t is None or t > bar for t in times)
            missed += late and trainer == "puffer"
            limit = "" if bar is None else f"{bar:g}"
            print(
                f"{name:<30}{trainer:<8}{speed:>10,.0f}{score:>8g}{limit:>8}  "
                f"{'  '.join(words)}{'  missed' if late else ''}",
                flush=True,
            )
    return missed


def main() -> int:
    """Run what was asked for; return 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", nargs="+", default=list(MARKS), choices=list(MARKS), help="names")
    parser.add_argument("--seeds", type=int, default=3, help="1 to this number")
    parser.add_argument("--device", default="cpu", help="of puffer's training")
    parser.add_argument("--sb3", action="store_true", help="Stable-Baselines3, too")
    parser.add_argument("--give-up", type=float, default=1800, help="seconds of one run of SB3")
    parser.add_argument("--json", action="store_true", help="one JSON object a run")
    options = parser.parse_args()
    if not options.json:
        print("  ".join(f"{key}: {value}" for key, value in machine().items()))
        print(f"{'environment':<30}{'trainer':<8}{'steps/s':>10}{'score':>8}{'bar':>8}  seconds")
    missed = 0
    for name in options.env:
        rows: list[Row] = []
        for seed in range(1, options.seeds + 1):
            rows.append(run(name, seed, options.device))
            if options.sb3:
                rows.append(run_sb3(name, seed, options.give_up))
            if options.json:
                for row in rows[-1 - options.sb3 :]:
                    print(json.dumps(row), flush=True)
        if not options.json:
            missed += show(name, rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
