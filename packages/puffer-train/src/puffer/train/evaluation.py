"""Evaluation: play whole episodes with a fixed policy and report means, deviations, percentiles."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from puffer.core.errors import UsageError
from puffer.core.stats import episode_info, mean_infos
from puffer.train import actions as act
from puffer.train.rollout import forward, initial_state, to_environment

PERCENTILES = (5, 25, 50, 75, 95)
PATIENCE_STEPS = 1000  # a simulation without a living agent for so long has no more episodes


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

    Each simulation (each agent, where every agent reports its own episodes) plays its first
    `ceil(episodes / simulations)` ones: the first to finish anywhere would favour short ones. Where
    some agent never lives, there are fewer.

    Args:
        policy: on any device; put into evaluation mode by the caller if it needs that.
        vecenv: reports each episode (native environments: `report_interval=0`); all agents in one
            batch.
        episodes: as many are played.
        seed: of the environments and of the policy's sampling; None is fresh entropy.
        greedy: take the most probable action instead of drawing one.
        on_step: called with the episodes so far, as infos, after every step.

    Raises:
        UsageError: no agent lives, so that no episode ever ends.
    """
    began = time.perf_counter()
    device = next(policy.parameters()).device
    generator = torch.Generator(device)
    generator.manual_seed(np.random.SeedSequence(seed).generate_state(1)[0].item())
    state = initial_state(policy, vecenv.num_agents, device)
    starts = torch.ones(vecenv.num_agents, dtype=torch.bool, device=device)
    counted = _Episodes(vecenv, episodes)
    vecenv.async_reset(seed)
    observations, *_, masks = vecenv.recv()
    steps = 0
    while not counted.complete:
        tensor = torch.as_tensor(observations, device=device)
        output, _, state = forward(policy, tensor, state, starts)
        allowed = vecenv.action_masks
        if allowed is not None:
            allowed = torch.as_tensor(allowed, device=device)
        action, _ = act.sample(output, generator, allowed, greedy=greedy)
        acted = masks.copy()
        vecenv.send(to_environment(action, vecenv.single_action_space))
        observations, rewards, terminals, truncations, infos, _, masks = vecenv.recv()
        ends, valid = terminals | truncations, acted & masks
        steps += int(valid.sum())
        starts = torch.as_tensor(ends | ~acted, device=device)
        counted.step(infos, rewards, ends & valid, valid, masks)
        if on_step is not None:
            on_step(counted.infos)
    seconds = time.perf_counter() - began
    timing = {"steps": steps, "seconds": seconds, "steps_per_second": steps / seconds}
    return {**timing, **summarize(counted.infos)}


def summarize(infos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the statistics of episodes, given as one info each.

    `perf_mean`, the mean score mapped to 0..1, is None where no episode tells it.

    Raises:
        UsageError: there are none.
    """
    if not infos:
        raise UsageError(
            f"no episode ended and no agent lived for {PATIENCE_STEPS:,} steps: check the "
            "environment's masks"
        )
    returns = np.array([info["episode_return"] for info in infos], np.float64)
    return {
        "episodes": len(infos),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_percentiles": {
            str(p): float(value)
            for p, value in zip(PERCENTILES, np.percentile(returns, PERCENTILES), strict=True)
        },
        "score_mean": float(np.mean([info["score"] for info in infos])),
        "perf_mean": mean_infos(infos).get("perf"),
        "length_mean": float(np.mean([info["episode_length"] for info in infos])),
    }


class _Episodes:
    """The first episodes of each simulation, or of each agent where agents report their own."""

    def __init__(self, vecenv: Any, episodes: int) -> None:
        env = vecenv.driver_env
        self.infos: list[dict[str, Any]] = []
        self._wanted = episodes
        self._simulations = vecenv.total_envs * env.num_simulations
        self._rows = vecenv.num_agents // self._simulations
        self._returns = np.zeros(vecenv.num_agents)
        self._lengths = np.zeros(vecenv.num_agents, np.int64)
        self._idle = np.zeros(self._simulations, np.int64)
        self._reported: bool | None = None  # by infos; decided when the first episode ends
        self._divide(per_agent=env.emulated is not None)

    def _divide(self, *, per_agent: bool) -> None:
        self._per_agent = per_agent
        columns = self._rows if per_agent else 1
        self._each = math.ceil(self._wanted / (self._simulations * columns))
        self._played = np.zeros((self._simulations, columns), np.int64)

    @property
    def complete(self) -> bool:
        """Whether all have played theirs, or never will.

        An agent that was absent is not waited for once another has played one episode more.
        """
        played = self._played
        over = (played >= self._each).all(1) | (played > self._each).any(1)
        return bool((over | (self._idle >= PATIENCE_STEPS)).all())

    def step(
        self,
        infos: Sequence[Mapping[str, Any]],
        rewards: np.ndarray,
        ends: np.ndarray,
        valid: np.ndarray,
        masks: np.ndarray,
    ) -> None:
        """Take what one step brought."""
        self._returns += rewards
        self._lengths += valid
        alive = masks.reshape(self._simulations, self._rows).any(1)
        self._idle = np.where(alive, 0, self._idle + 1)
        own = [info for info in infos if "agent_id" in info]
        if self._reported is None and (own or ends.any()):
            self._reported = bool(own)
            if not own:  # an environment that tells no more than its flags
                self._divide(per_agent=True)
        if not self._reported:
            own = [
                {**episode_info(self._returns[row], int(self._lengths[row])), "agent_id": row}
                for row in np.flatnonzero(ends).tolist()
            ]
        self._returns[ends] = 0
        self._lengths[ends] = 0
        for info in own:
            simulation, row = divmod(int(info["agent_id"]), self._rows)
            place = simulation, row if self._per_agent else 0
            if self._played[place] < self._each:
                self.infos.append(dict(info))
            self._played[place] += 1
