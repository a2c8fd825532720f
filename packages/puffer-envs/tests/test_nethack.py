"""NLE and MiniHack: seeds that hold, time told apart from death, observations that stay."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.envs import minihack, nethack
from puffer.envs.load import require

needs_nle = pytest.mark.skipif(
    importlib.util.find_spec("nle") is None, reason="the extra nethack is not installed"
)
needs_minihack = pytest.mark.skipif(
    importlib.util.find_spec("minihack") is None, reason="the extra minihack is not installed"
)


def play(env: Any, games: int, seed: int | None = None) -> list[bytes]:
    """Return the rows of some games of 30 random steps each."""
    actions = np.random.default_rng(0).integers(env.action_space.n, size=(games, 30))
    rows = []
    for game in actions:
        rows.append(env.reset(seed=seed)[0].tobytes())
        seed = None
        for action in game:
            row, _, terminal, truncation, _ = env.step(action)
            rows.append(row.tobytes())
            if terminal or truncation:
                break
    return rows


@needs_nle
def test_a_seed_decides_all_games_that_follow() -> None:
    one, other = nethack.env_creator()(), nethack.env_creator()()
    play(one, 1)
    first = play(one, 3, seed=5)
    assert first == play(other, 3, seed=5)
    assert first != play(other, 3, seed=6)
    assert len({row for row in first if row in set(play(other, 1))}) == 0


@needs_nle
def test_time_truncates_and_shows_the_game_as_it_was() -> None:
    limited, free = (nethack.env_creator()(max_episode_steps=n) for n in (5, 500))
    for env in (limited, free):
        env.reset(seed=3)
        steps = [env.step(0) for _ in range(5)]
        assert [step[2] for step in steps] == [False] * 5
        assert [step[3] for step in steps] == [False] * 4 + [env is limited]
        if env is limited:
            assert steps[-1][4] == {"end_status": -1, "is_ascended": False}
            last = steps[-1][0]
    np.testing.assert_array_equal(last, steps[-1][0])
    assert limited.reset(seed=4)[0].tobytes() == free.reset(seed=4)[0].tobytes()


@needs_nle
def test_a_death_terminates() -> None:
    env = nethack.env_creator("NetHack-v0")()
    env.reset(seed=1)
    game = env.env.unwrapped
    press = game.nethack.step
    game.nethack.step = lambda key: (press(key)[0], True)
    *_, terminal, truncation, info = env.step(0)
    assert (terminal, truncation, info["end_status"]) == (True, False, 1)


@needs_nle
@pytest.mark.parametrize("name", [name for name in nethack.HELP if "Challenge" not in name])
def test_a_step_does_what_that_of_nle_does(name: str) -> None:
    ours, own = (nethack.env_creator(name)(max_episode_steps=150).env for _ in range(2))
    assert ours._step == ours._press
    own._step = own.env.step
    rng = np.random.default_rng(0)
    for seed in (1, 2, None):
        begun = [game.reset(seed=seed)[0].values() for game in (ours, own)]
        for one, other in zip(*begun, strict=True):
            np.testing.assert_array_equal(one, other)
        ended = False
        while not ended:
            action = int(rng.integers(ours.action_space.n))
            (seen, *outcome), (expected, *same) = ours.step(action), own.step(action)
            assert outcome == same
            assert list(seen) == list(expected)
            for key, value in expected.items():
                np.testing.assert_array_equal(seen[key], value)
            ended = outcome[1] or outcome[2]


@needs_nle
def test_a_task_that_is_done_has_the_perf_of_one() -> None:
    env = nethack.env_creator("NetHackStaircase-v0")(max_episode_steps=2)
    env.reset(seed=1)
    env.step(0)
    assert env.step(0)[4]["perf"] == 0
    env.reset(seed=1)
    game = env.env.unwrapped
    game._is_episode_end = lambda observation: game.StepStatus.TASK_SUCCESSFUL
    *_, terminal, truncation, info = env.step(0)
    assert (terminal, truncation, info["perf"]) == (True, False, 1)


@needs_nle
def test_rows_are_not_overwritten_by_the_next_step() -> None:
    env = nethack.env_creator()()
    row, _ = env.reset(seed=1)
    before = row.copy()
    for action in range(8):
        env.step(action)
    np.testing.assert_array_equal(row, before)


@needs_nle
def test_keys_say_what_is_observed() -> None:
    env = nethack.env_creator()(keys="tty_chars, blstats", full_keyboard=True)
    assert env.obs_dtype.names == ("blstats", "tty_chars")
    assert env.action_space.n == 86
    env.reset(seed=0)


@needs_nle
def test_nles_own_environment_is_emulated_as_the_tutorial_does() -> None:
    nle: Any = require("nle.env", "nethack", "the tutorial's sample")
    env = GymnasiumPufferEnv(env=nle.NLE())
    row, _ = env.reset()
    structured = row.view(env.obs_dtype)
    assert set(structured.dtype.names) == set(env.env.observation_space.spaces)
    assert structured["screen_descriptions"].shape == (1, 21, 79, 80)
    assert row.nbytes == structured.dtype.itemsize
    env.close()


@needs_nle
def test_the_challenge_plays_without_seeds() -> None:
    env = nethack.env_creator("NetHackChallenge-v0")(max_episode_steps=3)
    assert env.action_space.n == 121
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


@needs_nle
def test_it_draws_text_and_images() -> None:
    with nethack.env_creator()(render_mode="ansi") as env:
        env.reset(seed=0)
        assert "@" in env.render()
        assert "chars" not in env.obs_dtype.names
    with nethack.env_creator()(render_mode="rgb_array") as env:
        env.reset(seed=0)
        assert env.render().shape == (336, 1264, 3)


@needs_nle
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keys": ""}, "keys='': expected names of observations, such as 'glyphs,blstats,message'"),
        ({"keys": "glyph"}, "keys='glyph': there is no observation 'glyph', did you mean glyphs"),
        ({"max_episode_steps": -1}, "max_episode_steps=-1: expected an integer >= 0"),
        ({"render_mode": "human"}, "render_mode='human': NetHackScore-v0 draws as ansi or rgb_arr"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        nethack.env_creator()(**options)
    assert str(caught.value).startswith(sentence)


@needs_minihack
@pytest.mark.parametrize("name", ["MiniHack-River-v0", "MiniHack-MultiRoom-N2-v0"])
def test_minihacks_levels_repeat_for_a_seed(name: str) -> None:
    if "MultiRoom" in name:
        pytest.importorskip("pygame", reason="the extra minihack is not installed")
    one, other = minihack.env_creator(name)(), minihack.env_creator(name)()
    play(one, 2, seed=8)
    assert play(one, 2, seed=5) == play(other, 2, seed=5)


@needs_minihack
def test_minihack_tells_time_from_success() -> None:
    env = minihack.env_creator("MiniHack-Room-5x5-v0")(max_episode_steps=300)
    env.reset(seed=0)
    ends = set()
    for action in np.random.default_rng(0).integers(8, size=3000):
        *_, reward, terminal, truncation, info = env.step(action)
        if terminal or truncation:
            assert (reward > 0.5, info["perf"]) == (terminal, terminal)
            ends.add(terminal)
            env.reset()
    assert True in ends


@needs_minihack
def test_minihack_shows_crops_and_images() -> None:
    env = minihack.env_creator()(keys="chars_crop,pixel_crop")
    row, _ = env.reset(seed=0)
    crop = row.view(env.obs_dtype)[0]
    assert crop["chars_crop"][4, 4] == ord("@")
    assert crop["pixel_crop"].shape == (144, 144, 3)
