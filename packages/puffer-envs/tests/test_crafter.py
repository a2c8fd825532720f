"""Crafter: time and death told apart, achievements counted, worlds that repeat themselves."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.envs import crafter

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("crafter") is None, reason="the extra crafter is not installed"
)
SMALL = {"area": 16}


def play(env: Any, steps: int, seed: int) -> list[bytes]:
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).integers(17, size=steps)
    return [env.step(action)[0].tobytes() for action in actions]


def test_time_truncates_and_counts_the_achievements() -> None:
    env = crafter.env_creator()(length=3, **SMALL)
    env.reset(seed=0)
    outcomes = [env.step(0)[1:] for _ in range(3)]
    assert [outcome[1:3] for outcome in outcomes] == [(False, False), (False, False), (False, True)]
    info = outcomes[-1][3]
    unlocked = [value for key, value in info.items() if key.startswith("unlocked_")]
    assert len(unlocked) == 22
    assert info["score"] == sum(unlocked)
    assert info["perf"] == sum(unlocked) / 22


def test_death_terminates() -> None:
    env = crafter.env_creator()(**SMALL)
    env.reset(seed=0)
    env.env.env._player.health = 0
    *_, terminal, truncation, _ = env.step(0)
    assert (terminal, truncation) == (True, False)


def test_no_reward_gives_none_and_still_counts() -> None:
    env = crafter.env_creator("CrafterNoReward-v1")(length=1, **SMALL)
    env.reset(seed=0)
    env.env.env._player.achievements["collect_wood"] = 1
    _, reward, *_, info = env.step(0)
    assert reward == 0
    assert info["score"] == info["unlocked_collect_wood"] == 1


def test_a_seed_gives_its_world_whatever_came_before() -> None:
    used, new = crafter.env_creator()(**SMALL), crafter.env_creator()(**SMALL)
    play(used, 20, 1)
    used.reset()
    assert play(used, 50, 2) == play(new, 50, 2)
    assert used.reset()[0].tobytes() == new.reset()[0].tobytes()


def test_creatures_that_disappear_are_chosen_in_order() -> None:
    env = crafter.env_creator()(**SMALL)
    env.reset(seed=0)
    world = env.env.env._world
    for chunk in world.chunks.values():
        assert [creature for creature in world.objects if creature in chunk] == list(chunk)


def test_people_see_more_pixels_than_the_agent() -> None:
    env = crafter.env_creator()(render_mode="rgb_array", size=32, **SMALL)
    assert env.reset(seed=0)[0].shape == (32, 32, 3)
    assert env.render().shape == (576, 576, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 0}, "length=0: expected an integer >= 1"),
        ({"size": 4}, "size=4: expected at least a pixel for each of 9 cells"),
        ({"render_mode": "human"}, "render_mode='human': CrafterReward-v1 draws as rgb_array"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        crafter.env_creator()(**options)
    assert str(caught.value) == sentence
