"""MAgent2: padded crowds, random opponents, and what is refused."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np
import pytest

import puffer.vector
from puffer.core.emulation import PettingZooPufferEnv
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
        assert env.masks.all()


def own_game(name: str, **options: Any) -> Any:
    """Return MAgent2's own environment, cured of acting by wrong actions.

    It counts its teams before it has laid out the field, so that on the first step of an episode
    every team does what the first one was told.
    """
    module = importlib.import_module(f"magent2.environments.{magent._MODULES[name]}")
    game = module.parallel_env(**options)
    lay_out = game.generate_map

    def lay_out_and_count() -> None:
        lay_out()
        game.team_sizes = [game.env.get_num(handle) for handle in game.handles]

    game.generate_map = lay_out_and_count
    return game


def play(vecenv: Any, seed: int, steps: int) -> list[Any]:
    """Return what random steps leave in each array, and the infos."""
    vecenv.action_space.seed(seed)
    observations, _ = vecenv.reset(seed=seed)
    trace: list[Any] = [observations.copy()]
    for _ in range(steps):
        *arrays, infos = vecenv.step(vecenv.action_space.sample())
        arrays += [vecenv.final_observations * arrays[2].any(), vecenv.action_masks]
        trace += [np.array(array) for array in arrays]
        trace.append(np.array([sorted(map(str, info.items())) for info in infos]))
    return trace


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("battle", {"map_size": 18}),  # where many die
        ("battlefield", {"map_size": 46, "extra_features": True}),
        ("adversarial_pursuit", {"minimap_mode": True}),
        ("combined_arms", {"map_size": 18, "minimap_mode": True, "extra_features": True}),
        ("gather", {}),
        ("tiger_deer", {"map_size": 16}),
    ],
)
def test_it_does_what_the_emulated_game_does(name: str, options: dict[str, Any]) -> None:
    def emulated() -> PettingZooPufferEnv:
        return PettingZooPufferEnv(own_game(name, max_cycles=60, **options), pad=True)

    extras: dict[str, Any] = {"final_observations": True, "action_masks": True}
    with (
        puffer.vector.make(emulated, backend="serial", num_envs=1, **extras) as slow,
        puffer.vector.make(
            magent.env_creator(name), env_kwargs={"max_cycles": 60, **options}, **extras
        ) as fast,
    ):
        assert fast.single_observation_space == slow.single_observation_space
        assert fast.single_action_space == slow.single_action_space
        for seed in (1, 2):
            for one, other in zip(play(fast, seed, 130), play(slow, seed, 130), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "side", "rows"), [("battle", "red", 81), ("tiger_deer", "t", 20)])
def test_against_chance_one_side_is_left(name: str, side: str, rows: int) -> None:
    """What the others do is drawn in the order of their names, and the rest is MAgent2's game."""
    game = own_game(name, max_cycles=30)
    with contextlib.closing(make(name, opponent="random", max_cycles=30)) as env:
        assert env.num_agents == rows
        for seed in (1, 2):
            rng = np.random.default_rng(seed)
            game.reset(seed)
            env.reset(seed=seed)
            for _ in range(29):
                others = [a for a in game.agents if not a.startswith(side)]
                drawn = dict(zip(others, rng.random(len(others)), strict=True))
                acts = {a: int(x * game.action_space(a).n) for a, x in drawn.items()}
                ours = {a: 1 for a in game.agents if a.startswith(side)}
                seen, rewards, *_ = game.step({**ours, **acts})
                env.step(np.ones(rows, np.int64))
                for row in np.flatnonzero(env.masks):
                    agent = env.possible_agents[row]
                    assert env.rewards[row] == np.float32(rewards[agent])
                    np.testing.assert_array_equal(env.observations[row], seen[agent])


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
