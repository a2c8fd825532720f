"""Breakout through Python: a good player wins. Its rules are tested in cpp/breakout_test.cpp."""

from __future__ import annotations

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.ocean import Breakout


def _catch(observations: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """Return moves towards where the ball comes down, to meet it at share `aim` of the paddle."""
    x, y, x_speed, y_speed = (observations[:, 2:6] * [576, 330, 512, 512]).T
    falling = y_speed > 0
    seconds = np.where(falling, (280 - y) / np.where(falling, y_speed, 1), 0)
    landing = abs(x + x_speed * seconds)
    landing = np.where(landing > 544, 2 * 544 - landing, landing) + 16
    target = np.where(falling, landing, 288)
    paddle = observations[:, 0] * 576 + aim * observations[:, 9] * 62
    return np.where(target < paddle - 5, 1, np.where(target > paddle + 5, 2, 0))


def test_a_good_player_clears_both_screens() -> None:
    num_envs, rng = 64, np.random.default_rng(0)
    with Breakout(num_envs, report_interval=0) as env:
        observations, _ = env.reset(0)
        aim, returns, infos = np.full(num_envs, 0.5), np.zeros(num_envs), []
        for _ in range(5000):
            rising = observations[:, 5] < 0
            aim = np.where(rising, rng.uniform(0.1, 0.9, num_envs), aim)
            observations, rewards, terminals, truncations, ended = env.step(
                _catch(observations, aim)
            )
            returns += rewards
            infos += [(info, returns[info["agent_id"]]) for info in ended]
            returns[terminals | truncations] = 0
    assert all(info["score"] == info["episode_return"] == total for info, total in infos)
    assert all(info["perf"] == pytest.approx(info["score"] / 864) for info, _ in infos)
    assert np.mean([info["score"] for info, _ in infos]) > 432
    assert max(info["score"] for info, _ in infos) == 864


def test_random_play_scores_about_one() -> None:
    with Breakout(512, report_interval=1000) as env:
        env.reset(0)
        actions = np.random.default_rng(0).integers(0, 3, (1000, 512))
        infos = [info for row in actions for info in env.step(row)[4]]
    assert 0.3 < infos[0]["score"] < 3
    assert infos[0]["episodes"] > 1000


def test_more_ticks_in_a_step() -> None:
    actions = np.full(1, 2)
    with Breakout(frame_skip=1) as one, Breakout(frame_skip=8) as eight:
        one.reset(3)
        eight.reset(3)
        for _ in range(8):
            one.step(actions)
        eight.step(actions)
        # The serve is drawn in the first tick of either.
        np.testing.assert_allclose(one.observations, eight.observations, atol=1e-6)
        assert one.metadata["render_fps"] == 60
        assert eight.metadata["render_fps"] == 7.5


def test_no_ticks_in_a_step() -> None:
    with pytest.raises(UsageError, match="frame_skip=0: expected at least 1"):
        Breakout(frame_skip=0)
