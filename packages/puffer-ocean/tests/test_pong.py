"""Pong against a slow reference of its rules and a trace that was worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.ocean import Pong

STAY, UP, DOWN = 0, 1, 2


class Reference:
    """One game, from the observation of its serve on."""

    def __init__(self, observation: np.ndarray, max_score: int, opponent_speed: int) -> None:
        self.max_score, self.opponent_speed = max_score, opponent_speed
        self.points = [0, 0]
        self.serve(observation)

    def serve(self, observation: np.ndarray) -> None:
        """Begin a round; the vertical speed of the ball is drawn, so it is read."""
        self.paddles = [285, 285]  # of the agent, of the opponent
        self.ball = [100, 304]
        self.speed = [10, round(float(observation[5]) * 13)]
        assert self.speed[1] in (-1, 0, 1)

    def tick(self, action: int) -> tuple[float, bool]:
        """Return the reward, and whether somebody has a point."""
        way = {STAY: 0, UP: -1, DOWN: 1}[action]
        self.paddles[0] = min(max(self.paddles[0] + 8 * way, 0), 570)
        aim = self.ball[1] + 16 - 35
        gap = aim - self.paddles[1]
        if abs(gap) > self.opponent_speed:
            gap = self.opponent_speed if gap > 0 else -self.opponent_speed
        self.paddles[1] = min(max(self.paddles[1] + gap, 0), 570)
        self.ball[0] += self.speed[0]
        self.ball[1] += self.speed[1]
        if self.ball[1] < 0 or self.ball[1] > 640 - 32:
            self.ball[1] = 0 if self.ball[1] < 0 else 640 - 32
            self.speed[1] = -self.speed[1]
        if 20 < self.ball[0] < 500 - 20 - 32:
            return 0.0, False
        side = 0 if self.ball[0] > 250 else 1
        self.ball[0] = (448, 20)[side]
        top = self.paddles[side]
        covered = set(range(top, top + 70)) & set(range(self.ball[1], self.ball[1] + 32))
        if not covered:
            self.points[1 - side] += 1
            return (-1.0, 1.0)[side], True
        self.speed[0] = -self.speed[0]
        if side == 1:
            return 0.0, False
        self.speed[1] = min(max(self.speed[1] + 3 * way, -13), 13)
        if self.speed[1] == 0:
            self.speed[1] = -3 if self.ball[1] + 16 < top + 35 else 3
        return 0.1, False

    def observation(self) -> list[float]:
        """Return what the agent sees."""
        paddle, opponent = self.paddles
        x, y = self.ball
        places = [paddle / 570, opponent / 570, (x - 20) / 428, y / 608]
        speeds = [self.speed[0] / 10, self.speed[1] / 13]
        return places + speeds + [points / self.max_score for points in self.points]


def chase(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return moves that keep the paddle near the ball, and often move while they hit it."""
    ball = observations[:, 3] * 608 + 16
    paddle = observations[:, 0] * 570 + 35
    wanted = ball - paddle + rng.uniform(-60, 60, len(ball))
    return np.where(wanted < -20, UP, np.where(wanted > 20, DOWN, STAY))


@pytest.mark.parametrize(("max_score", "opponent_speed"), [(3, 8), (2, 3)])
def test_every_step_follows_the_rules(max_score: int, opponent_speed: int) -> None:
    num_envs, rng = 16, np.random.default_rng(1)
    hits = points = games_over = 0
    with Pong(num_envs, max_score=max_score, opponent_speed=opponent_speed) as env:
        observations, _ = env.reset(3)
        games = [Reference(row, max_score, opponent_speed) for row in observations]
        for _ in range(1500):
            moves = chase(observations, rng)
            moves[::4] = rng.integers(0, 3, len(moves[::4]))
            observations, rewards, terminals, truncations, _ = env.step(moves)
            assert not truncations.any()
            for i, game in enumerate(games):
                reward, scored = game.tick(int(moves[i]))
                assert abs(rewards[i] - reward) < 1e-6
                assert terminals[i] == (max(game.points) == max_score)
                hits += reward == 0.1
                if terminals[i]:
                    games[i] = Reference(observations[i], max_score, opponent_speed)
                    games_over += 1
                elif scored:
                    game.serve(observations[i])
                    points += reward == 1
            expected = [game.observation() for game in games]
            np.testing.assert_allclose(observations, expected, rtol=0, atol=1e-6)
    assert min(hits, points, games_over) > 5


def test_a_trace_by_hand() -> None:
    """The agent waits in the middle, then moves down as the ball arrives: its spin is seen."""
    env = Pong()
    seed = next(s for s in range(100) if env.reset(s)[0][0, 5] > 0.05)  # a serve downwards
    observation = env.reset(seed)[0][0]

    def shown() -> list[int]:
        values = observation[:6] * [570, 570, 428, 608, 10, 13] + [0, 0, 20, 0, 0, 0]
        return [round(value) for value in values.tolist()]

    def play(move: int, times: int) -> float:
        return sum(float(env.step([move])[1][0]) for _ in range(times))

    assert shown() == [285, 285, 100, 304, 10, 1]
    assert play(STAY, 1) == 0
    assert shown() == [285, 285, 110, 305, 10, 1]  # the opponent looks at where the ball was
    assert play(STAY, 32) == 0
    assert shown() == [285, 317, 430, 337, 10, 1]
    assert play(DOWN, 1) == 0
    assert shown() == [293, 318, 440, 338, 10, 1]
    assert play(DOWN, 1) == pytest.approx(0.1)  # 450 would be behind the line
    assert shown() == [301, 319, 448, 339, -10, 4]
    assert play(UP, 42) == 0  # the opponent keeps up with this ball
    assert shown() == [0, 484, 28, 507, -10, 4]
    assert play(STAY, 1) == 0
    assert shown() == [0, 488, 20, 511, 10, 4]
    assert play(STAY, 25) == 0
    assert shown() == [0, 570, 270, 608, 10, -4]  # back from the lower wall, on which it stood
    env.close()


def test_more_ticks_in_a_step() -> None:
    with Pong(8, frame_skip=1) as one, Pong(8, frame_skip=6) as six:
        one.reset(3)
        six.reset(3)
        assert (one.metadata["render_fps"], six.metadata["render_fps"]) == (60, 10)
        for move in np.random.default_rng(0).integers(0, 3, (25, 8)):
            rewards = sum(one.step(move)[1].copy() for _ in range(6))
            six.step(move)
            still = rewards > -0.5  # after a point the serves are drawn anew
            np.testing.assert_allclose(six.rewards, rewards, atol=1e-6)
            np.testing.assert_array_equal(one.observations[still], six.observations[still])
            if not still.all():
                break
        assert not still.all()


def test_a_game_says_how_it_went() -> None:
    with Pong(16, report_interval=0, max_score=3) as env:
        observations, _ = env.reset(0)
        rng = np.random.default_rng(0)
        infos: list[dict[str, Any]] = []
        for _ in range(3000):
            observations, *_, ended = env.step(chase(observations, rng))
            infos += ended
    assert len(infos) > 10
    for info in infos:
        assert -3 <= info["score"] <= 3
        assert info["perf"] in [pytest.approx(points / 3) for points in range(4)]
        assert (info["score"] > 0) == (info["perf"] == 1)
        returns = info["episode_return"] - info["score"]  # what is left are hits, 0.1 each
        assert returns * 10 == pytest.approx(round(returns * 10), abs=1e-3)
        assert returns > -1e-3


@pytest.mark.parametrize(
    ("option", "least"), [("frame_skip", 1), ("max_score", 1), ("opponent_speed", 0)]
)
def test_options_that_make_no_game(option: str, least: int) -> None:
    with pytest.raises(UsageError, match=f"{option}={least - 1}: expected at least {least}"):
        Pong(**{option: least - 1})  # type: ignore[arg-type]
