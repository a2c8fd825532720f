"""Evaluation counts each simulation's first episodes, ends, and says how returns are spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.errors import UsageError
from puffer.core.stats import episode_info
from puffer.train import evaluate
from puffer.train.dashboard import summary_line
from puffer.train.evaluation import PATIENCE_STEPS, summarize


class Constant(nn.Module):
    """Always prefers action 0."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, observations):
        return self.bias.expand(len(observations), 2), torch.zeros(len(observations), 1)


class World(PufferEnv):
    """Simulations of several agents; simulation k has episodes of `2 + k` steps, reward 1 each.

    Args:
        report: "simulation" gives one info per episode, "nothing" none.
        dead: agents (of each simulation) that never live.
    """

    def __init__(self, simulations=2, agents=3, report="simulation", dead=(), buf=None):
        self.single_observation_space = Box(0, 1, (1,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents = simulations * agents
        self.simulations, self.agents, self.report, self.dead = simulations, agents, report, dead
        super().__init__(buf)

    @property
    def num_simulations(self):
        return self.simulations

    def reset(self, seed=None):
        self.ticks = np.zeros(self.simulations, int)
        rows = np.arange(self.num_agents) % self.agents
        self.masks[:] = ~np.isin(rows, self.dead)
        return self.observations, []

    def step(self, actions):
        self.ticks += 1
        ended = self.ticks == 2 + np.arange(self.simulations)
        self.terminals[:] = np.repeat(ended, self.agents) & self.masks
        self.rewards[:] = self.masks
        living = self.masks.reshape(self.simulations, self.agents).any(1)
        infos = [
            {**episode_info(n, n), "agent_id": k * self.agents}
            for k, n in enumerate(self.ticks.tolist())
            if ended[k] and living[k] and self.report == "simulation"
        ]
        self.ticks[ended] = 0
        return self.observations, self.rewards, self.terminals, self.truncations, infos


def run(episodes, **options):
    with puffer.vector.make(World, env_kwargs=options, backend="native") as vecenv:
        return evaluate(Constant(), vecenv, episodes, seed=0)


def test_one_info_per_simulation_of_several_agents():
    summary = run(10)
    assert summary["episodes"] == 10  # the first five of each
    assert summary["return_mean"] == 2.5
    assert summary["steps"] == 5 * 3 * 6
    assert summary["return_percentiles"] == {"5": 2, "25": 2, "50": 2.5, "75": 3, "95": 3}


def test_an_environment_that_reports_nothing_is_counted_by_its_flags():
    summary = run(12, report="nothing")
    assert summary["episodes"] == 12  # the first two of each agent
    assert summary["return_mean"] == 2.5
    assert summary["length_mean"] == 2.5


@pytest.mark.parametrize("report", ["simulation", "nothing"])
def test_masked_agents_do_not_count_as_steps_and_are_not_waited_for(report):
    summary = run(12, report=report, dead=(1, 2))
    assert summary["return_mean"] == 2.5
    assert summary["steps"] % 2 == 0
    assert summary["episodes"] == {"simulation": 12, "nothing": 4}[report]


def test_where_nobody_lives():
    with pytest.raises(UsageError, match=r"no episode ended and no agent lived for 1,000 steps"):
        run(1, dead=(0, 1, 2))
    assert PATIENCE_STEPS == 1000


def test_an_agent_of_a_pettingzoo_environment_that_never_lives():
    class Parallel:
        possible_agents = ("a", "b", "ghost")
        metadata = {"name": "parallel"}  # noqa: RUF012
        render_mode = None

        def observation_space(self, agent):
            return Box(0, 1, (1,), np.float32)

        def action_space(self, agent):
            return Discrete(2)

        def reset(self, seed=None, options=None):
            self.tick, self.agents = 0, ["a", "b"]
            return self._of(np.zeros(1, np.float32)), self._of({})

        def step(self, actions):
            self.tick += 1
            ended = {a: self.tick == (2 if a == "a" else 4) for a in self.agents}
            present, self.agents = self.agents, [a for a in self.agents if not ended[a]]
            return (
                dict.fromkeys(present, np.zeros(1, np.float32)),
                dict.fromkeys(present, 1.0),
                ended,
                dict.fromkeys(present, False),
                {a: {} for a in present},
            )

        def _of(self, value):
            return dict.fromkeys(self.agents, value)

        def close(self):
            pass

    with puffer.vector.make(Parallel, num_envs=2) as vecenv:
        summary = evaluate(Constant(), vecenv, 12, seed=0)
    assert summary["episodes"] == 8  # two of each agent that lives
    assert summary["return_mean"] == 3
    assert summary["steps"] >= 2 * 2 * 6


def test_percentiles_of_known_returns():
    infos = [episode_info(float(x), 10) for x in range(101)]
    summary = summarize(infos)
    assert summary["return_percentiles"] == {"5": 5, "25": 25, "50": 50, "75": 75, "95": 95}
    assert summary["return_std"] == pytest.approx(np.arange(101).std())


def test_perf_is_that_of_the_episodes_which_tell_it():
    won, lost = ({**episode_info(r, 9), "score": r, "perf": p} for r, p in ((1, 1.0), (-1, 0.0)))
    summary = summarize([won, won, won, lost, episode_info(1.0, 9)])
    assert summary["perf_mean"] == 0.75
    assert summarize([episode_info(1.0, 9)])["perf_mean"] is None
    named = {
        "environment": "connect4",
        **summary,
        "steps": 45,
        "seconds": 1,
        "steps_per_second": 45,
    }
    assert "score 0.6, perf 0.75, length 9 over 5 episodes" in summary_line(named)
    assert "perf" not in summary_line({**named, "perf_mean": None})
