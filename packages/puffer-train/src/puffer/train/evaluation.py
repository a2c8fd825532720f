"""Evaluation: play whole episodes with a fixed policy and report means and deviations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from puffer.core.spaces import Box
from puffer.train import actions as act
from puffer.train.rollout import initial_state


@torch.no_grad()
def evaluate(
    policy: nn.Module,
    vecenv: Any,
    episodes: int = 100,
    *,
    seed: int | None = None,
    greedy: bool = False,
    on_step: Callable[[list[dict[str, Any]]], None] | None = None,
) -> dict[str, Any]:
    """Play at least `episodes` episodes and return their statistics.

    Each agent plays its first `ceil(episodes / num_agents)` episodes: the first ones to finish
    anywhere would favour short ones.

    Args:
        policy: on any device; put into evaluation mode by the caller if it needs that.
        vecenv: reports one info per episode (native environments: `report_interval=0`); all agents
            in one batch.
        episodes: at least this many are played.
        seed: of the environments and of the policy's sampling; None is fresh entropy.
        greedy: take the most probable action instead of drawing one.
        on_step: called with the episodes so far, as infos, after every step.
    """
    began = time.perf_counter()
    device = next(policy.parameters()).device
    generator = torch.Generator(device)
    generator.manual_seed(np.random.SeedSequence(seed).generate_state(1)[0].item())
    n = vecenv.num_agents
    per_agent = math.ceil(episodes / n)
    played = np.zeros(n, np.int64)
    finished: list[dict[str, Any]] = []
    state = initial_state(policy, n, device)
    observations, _ = vecenv.reset(seed=seed)
    space = vecenv.single_action_space
    steps = 0
    while played.min() < per_agent:
        tensor = torch.as_tensor(observations, device=device)
        if state:
            output, _, state = policy(tensor, state)
        else:
            output, _ = policy(tensor)
        action = act.sample(output, generator, greedy=greedy)[0].cpu().numpy()
        if isinstance(space, Box):
            action = np.clip(action, space.low, space.high)
        observations, _, terminals, truncations, infos = vecenv.step(action)
        steps += n
        if state:
            alive = torch.as_tensor(~(terminals | truncations), device=device)
            state = tuple(s * alive.to(s.dtype).view(1, -1, 1) for s in state)
        for info in infos:
            agent = info.get("agent_id")
            if agent is not None and played[agent] < per_agent:
                played[agent] += 1
                finished.append(info)
        if on_step is not None:
            on_step(finished)
    returns = np.array([info["episode_return"] for info in finished])
    seconds = time.perf_counter() - began
    return {
        "steps": steps,
        "seconds": seconds,
        "steps_per_second": steps / seconds,
        "episodes": len(finished),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "score_mean": float(np.mean([info["score"] for info in finished])),
        "length_mean": float(np.mean([info["episode_length"] for info in finished])),
    }
