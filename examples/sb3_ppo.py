"""Stable-Baselines3's PPO on Puffer's environments.

    python examples/sb3_ppo.py [--steps 100000] [--seed 1]

Needs puffer-vector[sb3]. Trains CartPole and prints the mean return of 100 episodes after it.
"""

from __future__ import annotations

import argparse
import time

import gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

import puffer.vector
from puffer.vector.adapters import to_sb3


def make_env() -> gymnasium.Env:
    """Return one environment."""
    return gymnasium.make("CartPole-v1")


def make_envs(num_envs: int) -> VecMonitor:
    """Return environments on two processes as Stable-Baselines3 wants them."""
    vecenv = puffer.vector.make(
        make_env,
        num_envs=num_envs,
        num_workers=2,
        backend="multiprocessing",
        final_observations=True,
    )
    return VecMonitor(to_sb3(vecenv))


def main() -> None:
    """Train and evaluate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    envs = make_envs(8)
    # The settings of RL Baselines3 Zoo for CartPole-v1.
    model = PPO(
        "MlpPolicy", envs, seed=args.seed, n_steps=32, batch_size=256, n_epochs=20, gamma=0.98,
        gae_lambda=0.8, ent_coef=0.0, learning_rate=lambda left: 0.001 * left,
        clip_range=lambda left: 0.2 * left, device="cpu",
    )  # fmt: skip
    began = time.perf_counter()
    model.learn(args.steps)
    seconds = time.perf_counter() - began
    tests = make_envs(8)
    tests.seed(args.seed + 1000)
    mean, deviation = evaluate_policy(model, tests, n_eval_episodes=100)
    print(
        f"{args.steps} steps in {seconds:.1f} s, mean return {mean:.1f} (deviation {deviation:.1f})"
    )
    envs.close()
    tests.close()


if __name__ == "__main__":  # worker processes import this file
    main()
