"""The trained agents that ship with Ocean's environments play well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from puffer.core.registry import find
from puffer.ocean import envs, sanity
from puffer.train import cli

# What a few episodes score at least: well below the mean of 100, well above what chance gives.
LEAST = {
    "puffer_bandit": 0.9,
    "puffer_breakout": 650.0,
    "puffer_cartpole": 190.0,
    "puffer_connect4": 0.3,  # of eight games
    "puffer_continuous": 0.88,
    "puffer_memory": 0.9,
    "puffer_multiagent": 0.98,
    "puffer_password": 0.98,
    "puffer_pong": 18.0,
    "puffer_snake": 2.0,  # the return of a snake: an evaluation is of agents, not of arenas
    "puffer_spaces": 0.95,
    "puffer_squared": 0.9,
    "puffer_squared_targets": 0.9,
    "puffer_stochastic": 0.98,
}
NAMES = (*envs.family.ids, *sanity.family.ids)
SHIPPED = [name for name in NAMES if find(name).baseline is not None]


def test_what_is_played_here_is_what_ships() -> None:
    assert sorted(LEAST) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_baseline_plays_well(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert Path(str(find(name).baseline)).stat().st_size <= 200 * 1024
    command = ["--env", name, "--mode", "eval", "--baseline", "--episodes", "8", "--ui", "json"]
    assert cli.main(command) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["episodes"] >= 8
    assert summary["score_mean"] >= LEAST[name]
