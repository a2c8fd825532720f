"""Atari: the field's preprocessing against Gymnasium's own, lives, limits, ALE's vector env."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from puffer.core import testing
from puffer.core.errors import MissingPackageError, UsageError
from puffer.envs import atari


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingPackageError) as caught:
        atari.make("breakout")
    sentence = str(caught.value)
    assert sentence.startswith("breakout needs the package ale_py, which does not import")
    assert sentence.endswith('pip install "puffer-envs[atari]"')


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frame_skip": 0}, "frame_skip=0: expected an integer >= 1"),
        ({"stack": -1}, "stack=-1: expected an integer >= 1"),
        ({"render_mode": "ansi"}, "render_mode='ansi': pong draws as human or rgb_array"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        atari.make("pong", **options)
    assert str(caught.value) == sentence


needs_ale = pytest.mark.usefixtures("_ale")


@pytest.fixture
def _ale() -> None:
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    pytest.importorskip("cv2", reason="the extra atari is not installed")


@needs_ale
def test_the_names_are_those_of_the_package() -> None:
    import ale_py

    gymnasium.register_envs(ale_py)
    theirs = {name for name in gymnasium.registry if name.startswith("ALE/")}
    assert {f"ALE/{atari._gymnasium_name(game)}-v5" for game in atari.GAMES} == theirs


@needs_ale
def test_it_shows_what_gymnasiums_wrappers_show() -> None:
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    env = atari.make("breakout")
    raw = gymnasium.make("BreakoutNoFrameskip-v4")
    theirs = FrameStackObservation(AtariPreprocessing(raw), 4)
    assert env.single_observation_space.shape == (4, 84, 84)
    theirs.action_space.seed(1)
    for seed in (1, 2):
        np.testing.assert_array_equal(env.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
        ended, compared = False, 0
        while not ended:
            action = theirs.action_space.sample()
            expected, *same, _ = theirs.step(action)
            given, *outcome, _ = env.step(action)
            assert outcome == same
            ended = same[1] or same[2]
            if not ended:  # there theirs does not fetch the last frames
                np.testing.assert_array_equal(given, expected)
                compared += 1
        assert compared > 50


@needs_ale
def test_a_lost_life_ends_the_episode_and_the_game_goes_on() -> None:
    env = atari.make("breakout", episodic_life=True, fire_reset=True)
    env.reset(seed=3)
    lives = []
    for _ in range(6):
        ended = False
        while not ended:
            _, _, ended, truncated, info = env.step(0)
            assert not truncated
        lives.append(info["lives"])
        env.reset()
    assert lives == [4, 3, 2, 1, 0, 4]


@needs_ale
def test_the_limit_truncates() -> None:
    env = atari.make("breakout", max_episode_steps=20, noop_max=0)
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(20)]
    assert ends == [(False, False)] * 19 + [(False, True)]


@needs_ale
def test_rewards_are_clipped_where_that_is_asked_for() -> None:
    def rewards(**options: Any) -> set[float]:
        env = atari.make("video_pinball", **options)
        env.action_space.seed(0)
        env.reset(seed=0)
        return {env.step(env.action_space.sample())[1] for _ in range(300)}

    assert max(rewards()) > 1
    assert rewards(clip_rewards=True) <= {-1.0, 0.0, 1.0}


@needs_ale
def test_ales_vector_environment_keeps_the_contract() -> None:
    testing.check_env(
        lambda buf=None: atari.make("breakout", ale_envs=3, ale_threads=2, buf=buf), steps=200
    )
    with atari.make("breakout", ale_envs=2) as several, atari.make("breakout") as one:
        assert several.num_agents == 2
        assert several.single_observation_space == one.single_observation_space
        assert several.single_action_space == one.single_action_space


@needs_ale
def test_in_ales_vector_environment_the_game_goes_on_after_a_lost_life() -> None:
    with atari.make("breakout", ale_envs=2, episodic_life=True) as env:
        env.reset(seed=3)
        lives: list[int] = []  # of the first game, at the ends of its episodes
        step = env.env.step

        def watched(actions: np.ndarray) -> Any:
            result = step(actions)
            if result[2][0]:
                lives.append(int(result[-1]["lives"][0]))
            return result

        env.env.step = watched
        while len(lives) < 6:
            env.step(np.ones(2, np.int32))
    assert lives == [4, 3, 2, 1, 5, 4]


@needs_ale
def test_ales_vector_environment_takes_seeds_of_any_size() -> None:
    with atari.make("breakout", ale_envs=2) as env:
        first = env.reset(seed=2**40)[0].copy()
        other = env.reset(seed=2**40 + 1)[0].copy()
    np.testing.assert_array_equal(first[1], other[0])


@needs_ale
def test_it_draws_one_game_even_if_several_were_asked_for() -> None:
    with atari.make("pong", ale_envs=8, render_mode="rgb_array") as env:
        env.reset(seed=0)
        assert env.render().shape == (210, 160, 3)
        assert env.metadata["render_fps"] == 15
