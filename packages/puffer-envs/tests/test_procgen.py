"""Procgen: copies with seeds of their own, levels by number, and modes that the game has."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.envs import procgen

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("procgen") is None, reason="the extra procgen is not installed"
)


def play(env: Any, seed: int | None, actions: np.ndarray) -> np.ndarray:
    """Return the observations, `(steps, num_envs, 64, 64, 3)`."""
    env.reset(seed=seed)
    return np.stack([env.step(row)[0].copy() for row in actions])


def test_each_copy_has_a_seed_of_its_own() -> None:
    actions = np.random.default_rng(0).integers(15, size=(40, 3))
    three = procgen.env_creator("coinrun")(num_envs=3)
    together = play(three, 7, actions)
    for k in range(3):
        alone = play(procgen.env_creator("coinrun")(), 7 + k, actions[:, k : k + 1])
        np.testing.assert_array_equal(together[:, k], alone[:, 0])
    np.testing.assert_array_equal(play(three, 7, actions), together)
    assert (together[:, 0] != together[:, 1]).any()
    assert (play(three, None, actions) != together).any()


def test_ended_episodes_are_told_with_their_level() -> None:
    env = procgen.env_creator()(num_envs=4, distribution_mode="easy", num_levels=2, start_level=5)
    env.reset(seed=0)
    rng, infos, total = np.random.default_rng(0), [], np.zeros(4)
    while len(infos) < 6:
        _, rewards, terminals, truncations, new = env.step(rng.integers(15, size=4))
        assert [info["agent_id"] for info in new] == np.flatnonzero(terminals).tolist()
        assert not truncations.any()
        total += rewards
        for info in new:
            assert info["episode_return"] == pytest.approx(total[info["agent_id"]])
            assert info["level_seed"] in (5, 6)
            assert 0 <= info["perf"] <= 1
            total[info["agent_id"]] = 0
        infos += new


def test_one_level_looks_the_same_for_every_seed() -> None:
    env = procgen.env_creator("maze")(num_levels=1, start_level=3)
    np.testing.assert_array_equal(env.reset(seed=1)[0].copy(), env.reset(seed=2)[0])


def test_every_mode_of_every_game_runs() -> None:
    for mode, games in procgen.MODES.items():
        name = min(games)
        with procgen.env_creator(name)(distribution_mode=mode) as env:
            env.reset(seed=0)
            env.step([0])


def test_it_draws_large_frames() -> None:
    with procgen.env_creator()(render_mode="rgb_array") as env:
        env.reset(seed=0)
        assert env.render().shape == (512, 512, 3)
        assert env.render().std() > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_envs": 0}, "num_envs=0: expected an integer >= 1"),
        ({"num_levels": -1}, "num_levels=-1: expected an integer >= 0"),
        ({"distribution_mode": "memory"}, "distribution_mode='memory': coinrun has easy, hard, ex"),
        (
            {"distribution_mode": "exploration", "num_levels": 2},
            "num_levels=2, start_level=0: exploration has one level of its own",
        ),
        ({"render_mode": "human"}, "render_mode='human': coinrun draws as rgb_array"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        procgen.env_creator("coinrun")(**options)
    assert str(caught.value).startswith(sentence)
