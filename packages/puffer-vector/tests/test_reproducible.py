"""The same seed gives the same trajectories, bit for bit, however the work is divided."""

from __future__ import annotations

import numpy as np
import pytest
from vector_scripted import CountingEnv

import puffer.vector

STEPS = 500
SIMULATIONS = 24
# name -> (num_envs, options of make, threads of each env)
DIVISIONS = {
    "native, 1 thread": (1, {"backend": "native"}, 1),
    "native, 2 threads": (1, {"backend": "native"}, 2),
    "serial": (4, {"backend": "serial"}, 1),
    "1 worker": (4, {"backend": "multiprocessing", "num_workers": 1}, 1),
    "2 workers": (4, {"backend": "multiprocessing", "num_workers": 2}, 1),
    "4 groups": (4, {"backend": "multiprocessing", "num_workers": 2, "group_envs": 1}, 1),
}


def trajectory(env, num_envs, options, env_kwargs):
    with puffer.vector.make(
        env, env_kwargs=env_kwargs, num_envs=num_envs, final_observations=True, **options
    ) as vecenv:
        rng = np.random.default_rng(1)
        vecenv.reset(seed=11)
        record = []
        for _ in range(STEPS):
            n = vecenv.single_action_space.n
            vecenv.send(rng.integers(n, size=SIMULATIONS))
            observations, rewards, terminals, truncations, infos, agent_ids, masks = vecenv.recv()
            ended = terminals | truncations
            arrays = (observations, rewards, terminals, truncations, agent_ids, masks)
            final = vecenv.final_observations[ended]
            episodes = sorted((i["agent_id"], i["episode_return"]) for i in infos)
            record.append((*(a.tobytes() for a in (*arrays, final)), episodes))
    return record


def same_for_all(env, make_kwargs):
    records = {
        name: trajectory(env, num_envs, options, make_kwargs(SIMULATIONS // num_envs, threads))
        for name, (num_envs, options, threads) in DIVISIONS.items()
    }
    reference = records["serial"]
    assert len({observations for observations, *_ in reference}) > 10
    assert sum(len(row[-1]) for row in reference) > SIMULATIONS
    for name, record in records.items():
        for t, (row, expected) in enumerate(zip(record, reference, strict=True)):
            assert row == expected, f"{name}, step {t}"


def test_scripted():
    same_for_all(CountingEnv, lambda agents, threads: {"num_agents": agents})


@pytest.mark.filterwarnings("ignore:.*copies of Squared in one process")
def test_ocean():
    ocean = pytest.importorskip("puffer.ocean")
    same_for_all(
        ocean.Squared,
        lambda simulations, threads: {
            "num_envs": simulations,
            "num_threads": threads,
            "report_interval": 0,
        },
    )
