"""MAgent2: padded crowds, random opponents, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.envs import magent


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    if "sentence" not in request.fixturenames:
        pytest.importorskip("magent2", reason="the extra magent is not installed")


def make(name: str, **options: Any) -> Any:
    return magent.env_creator(name)(**options)


@pytest.mark.parametrize(
    ("name", "rows", "shape", "actions"),
    [
        ("battle", 162, (845,), 21),
        ("battlefield", 24, (845,), 21),
        ("adversarial_pursuit", 75, (500,), 13),
        ("combined_arms", 162, (1521,), 25),
        ("gather", 495, (1125,), 33),
        ("tiger_deer", 121, (405,), 9),
    ],
)
def test_a_crowd_has_a_row_for_each_and_one_space(
    name: str, rows: int, shape: tuple[int, ...], actions: int
) -> None:
    with contextlib.closing(make(name)) as env:
        assert env.num_agents == rows
        assert int(np.prod(env.single_observation_space.shape)) == shape[0]
        assert env.single_observation_space.dtype == np.float32
        assert env.single_action_space.n == actions
        observations, _ = env.reset(seed=0)
        assert len(observations) == rows


@pytest.mark.parametrize(("name", "side", "rows"), [("battle", "red", 81), ("tiger_deer", "t", 20)])
def test_against_chance_one_side_is_left(name: str, side: str, rows: int) -> None:
    def play(seed: int) -> list[Any]:
        with contextlib.closing(make(name, opponent="random", max_cycles=30)) as env:
            assert len(env.possible_agents) == rows
            assert all(agent.startswith(side) for agent in env.possible_agents)
            env.reset(seed=seed)
            trace = []
            while env.agents:
                observations, rewards, *_ = env.step({agent: 1 for agent in env.agents})
                assert set(observations) <= set(env.possible_agents)
                trace.append((sum(rewards.values()), sum(o.sum() for o in observations.values())))
        return trace

    assert play(1) == play(1)
    assert play(1) != play(2)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("battle", {"max_cycles": 0}, "max_cycles=0: expected an integer >= 1"),
        ("battle", {"map_size": 5}, "map_size=5: expected an integer >= 12"),
        ("gather", {"map_size": 45}, "map_size=45: gather has one size, leave it out"),
        ("battle", {"opponent": "x"}, "opponent='x': battle is played against self or random"),
        ("gather", {"opponent": "random"}, "gather is played against self, since there is one"),
        ("battle", {"render_mode": "ansi"}, "render_mode='ansi': battle draws as human or rgb"),
    ],
)
def test_wrong_options(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make(name, **options)
