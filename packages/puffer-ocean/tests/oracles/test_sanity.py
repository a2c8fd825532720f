"""The native sanity environments against slow references of their rules, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.ocean import Bandit, Continuous, Memory, Password, SquaredTargets, Stochastic
from puffer.ocean.native import OceanEnv


class Oracle(Protocol):
    """One episode. It is given all that a player sees, and nothing else."""

    perf: float

    def step(self, action: Any) -> tuple[float, bool]:
        """Return the reward and whether the episode ends by its rules."""

    def observe(self, row: np.ndarray) -> np.ndarray:
        """Return what `row` has to be; what is drawn at random may be taken from it."""


def follow(
    env: OceanEnv, make_oracle: Callable[[np.ndarray], Oracle], steps: int, *, tolerance: float = 0
) -> int:
    """Compare every step of every simulation; return how many episodes ended."""
    ended = 0
    with env:
        env.action_space.seed(5)
        observations, _ = env.reset(1)
        games = [make_oracle(row.copy()) for row in observations]
        ages = np.zeros(env.num_agents, int)
        for _ in range(steps):
            actions = env.action_space.sample()
            observations, rewards, terminals, truncations, infos = env.step(actions)
            ages += 1
            told = {info["agent_id"]: info for info in infos}
            for i, game in enumerate(games):
                reward, over = game.step(actions[i])
                assert abs(rewards[i] - reward) <= max(tolerance, 1e-6)
                assert terminals[i] == over
                assert truncations[i] == (ages[i] == env.max_steps and not over)
                if over or truncations[i]:
                    assert told[i]["perf"] == pytest.approx(game.perf, abs=1e-6)
                    assert told[i]["score"] == told[i]["perf"]
                    games[i], ages[i] = make_oracle(observations[i].copy()), 0
                    ended += 1
                else:
                    assert i not in told
                    expected = game.observe(observations[i])
                    assert np.abs(observations[i] - expected).max() <= tolerance
    return ended


class BanditOracle:
    def __init__(self, best: int) -> None:
        self.best, self.pulls, self.perf = best, [], 0.0

    def step(self, action: int) -> tuple[float, bool]:
        self.pulls.append(int(action))
        self.perf = self.pulls.count(self.best) / len(self.pulls)
        return float(action == self.best), False

    def observe(self, row: np.ndarray) -> np.ndarray:
        return np.ones(1)


@pytest.mark.parametrize(("arms", "best", "max_steps"), [(4, 2, 16), (2, 0, 1), (16, 15, 7)])
def test_bandit(arms: int, best: int, max_steps: int) -> None:
    env = Bandit(16, arms, best, 0.0, max_steps, report_interval=0)
    assert follow(env, lambda row: BanditOracle(best), 100) >= 16 * (100 // max_steps)


def test_the_noise_of_the_bandit_is_uniform_around_what_the_arm_pays() -> None:
    with Bandit(20_000, noise=0.5) as env:
        env.reset(0)
        for arm in range(4):
            rewards = env.step(np.full(20_000, arm))[1]
            paid = float(arm == 2)
            assert np.abs(rewards - paid).max() <= 0.5
            # The deviation of a uniform number is its range / sqrt(12); of the mean, 0.002.
            assert rewards.mean() == pytest.approx(paid, abs=0.01)
            assert rewards.std() == pytest.approx(12**-0.5, abs=0.01)


class MemoryOracle:
    def __init__(self, first: np.ndarray, length: int, delay: int) -> None:
        self.shown, self.length, self.delay = [float(first[0])], length, delay
        self.age, self.perf = 0, 0.0

    def step(self, action: int) -> tuple[float, bool]:
        place = self.age - self.length - self.delay
        self.age += 1
        reward = 0.0
        if place >= 0 and action == (self.shown[place] == 1):
            reward = 1 / self.length
        self.perf += reward
        return reward, self.age == 2 * self.length + self.delay

    def observe(self, row: np.ndarray) -> np.ndarray:
        if self.age >= self.length:
            return np.zeros(1)
        assert row[0] in (-1, 1)
        self.shown.append(float(row[0]))
        return row


@pytest.mark.parametrize(
    ("length", "delay", "max_steps"), [(2, 1, 0), (1, 0, 0), (32, 3, 0), (3, 2, 7), (2, 0, 50)]
)
def test_memory(length: int, delay: int, max_steps: int) -> None:
    env = Memory(32, length, delay, max_steps, report_interval=0)
    assert follow(env, lambda row: MemoryOracle(row, length, delay), 150) >= 64


def test_the_bits_to_remember_are_fair_and_independent() -> None:
    with Memory(10_000, 4) as env:
        shown = [env.reset(0)[0][:, 0].copy()]
        shown += [env.step(np.zeros(10_000, int))[0][:, 0].copy() for _ in range(3)]
    np.testing.assert_allclose(np.corrcoef(shown), np.eye(4), atol=0.05)
    np.testing.assert_allclose(np.mean(shown, axis=1), 0, atol=0.05)


class PasswordOracle:
    def __init__(self, password: str) -> None:
        self.password, self.typed, self.perf = password, "", 0.0

    def step(self, action: int) -> tuple[float, bool]:
        self.typed += str(int(action))
        self.perf = float(self.typed == self.password)
        return self.perf, len(self.typed) == len(self.password)

    def observe(self, row: np.ndarray) -> np.ndarray:
        known = [2.0 * int(digit) - 1 for digit in self.typed]
        return np.array(known + [0.0] * (len(self.password) - len(known)))


@pytest.mark.parametrize(("password", "max_steps"), [("10110", 0), ("0", 0), ("011", 2), ("01", 9)])
def test_password(password: str, max_steps: int) -> None:
    env = Password(64, password, max_steps, report_interval=0)
    assert follow(env, lambda row: PasswordOracle(password), 60) >= 64 * 12


class StochasticOracle:
    def __init__(self, p: float, length: int) -> None:
        self.p, self.length, self.actions, self.perf = p, length, [], 0.0

    def step(self, action: int) -> tuple[float, bool]:
        self.actions.append(int(action))
        share = self.actions.count(0) / len(self.actions)
        self.perf = 1 - ((share - self.p) / max(self.p, 1 - self.p)) ** 2
        over = len(self.actions) == self.length
        return (self.perf if over else 0.0), over

    def observe(self, row: np.ndarray) -> np.ndarray:
        return np.ones(1)


@pytest.mark.parametrize(("p", "length", "max_steps"), [(0.75, 100, 0), (0, 3, 0), (0.4, 9, 4)])
def test_stochastic(p: float, length: int, max_steps: int) -> None:
    env = Stochastic(16, p, length, max_steps, report_interval=0)
    assert follow(env, lambda row: StochasticOracle(p, length), 300) >= 16


def test_only_the_wanted_mixture_scores_and_neither_action_alone_does() -> None:
    scores = {}
    for name, share in (("always", 1.0), ("fair", 0.5), ("never", 0.0), ("wanted", 0.75)):
        with Stochastic(512, report_interval=0) as env:
            env.reset(0)
            ones = np.random.default_rng(0).random((100, 512)) >= share
            infos = [info for row in ones for info in env.step(row.astype(int))[4]]
            scores[name] = np.mean([info["score"] for info in infos])
    assert scores["wanted"] > 0.99
    assert scores["always"] < 0.9
    assert scores["fair"] < 0.9
    assert scores["never"] == 0


class ContinuousOracle:
    def __init__(self, first: np.ndarray, radius: float) -> None:
        assert (np.abs(first) <= 0.5).all()
        assert (first[2:4] == 0).all()
        self.position, self.speed, self.target = (first[k : k + 2].astype(float) for k in (0, 2, 4))
        self.radius, self.perf = radius, 0.0

    def step(self, action: np.ndarray) -> tuple[float, bool]:
        before = float(np.linalg.norm(self.position - self.target))
        self.speed = np.clip(self.speed + 0.01 * action.astype(float), -0.1, 0.1)
        self.position = self.position + self.speed
        after = float(np.linalg.norm(self.position - self.target))
        self.perf = float(after <= self.radius)
        if self.perf:
            return 5.0, True
        if (np.abs(self.position) > 1).any():
            return -1.0, True
        return before - after, False

    def observe(self, row: np.ndarray) -> np.ndarray:
        return np.concatenate([self.position, 10 * self.speed, self.target])


@pytest.mark.parametrize(("radius", "max_steps"), [(0.15, 100), (0.01, 300), (0.5, 20)])
def test_continuous(radius: float, max_steps: int) -> None:
    env = Continuous(16, radius, max_steps, report_interval=0)
    assert follow(env, lambda row: ContinuousOracle(row, radius), 400, tolerance=2e-5) >= 16


class SquaredTargetsOracle:
    STEPS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))

    def __init__(self, first: np.ndarray, distance: int, targets: int) -> None:
        side = 2 * distance + 1
        grid = first.reshape(side, side)
        self.distance, self.number = distance, targets
        self.targets = {(r - distance, c - distance) for r, c in np.argwhere(grid == 2).tolist()}
        assert len(self.targets) == targets
        assert all(max(abs(r), abs(c)) == distance for r, c in self.targets)
        assert np.argwhere(grid == 1).tolist() == [[distance, distance]]
        self.agent, self.perf = (0, 0), 0.0

    def step(self, action: int) -> tuple[float, bool]:
        down, right = self.STEPS[int(action)]
        self.agent = (self.agent[0] + down, self.agent[1] + right)
        found = self.agent in self.targets
        self.targets.discard(self.agent)
        self.perf = 1 - len(self.targets) / self.number
        if self.distance in (abs(self.agent[0]), abs(self.agent[1])):
            self.agent = (0, 0)
        return found / self.number, not self.targets

    def observe(self, row: np.ndarray) -> np.ndarray:
        d = self.distance
        grid = np.zeros((2 * d + 1, 2 * d + 1))
        for r, c in self.targets:
            grid[r + d, c + d] = 2
        grid[self.agent[0] + d, self.agent[1] + d] = 1
        return grid.ravel()


@pytest.mark.parametrize(
    ("distance", "targets", "max_steps"), [(3, 4, 0), (1, 8, 0), (2, 1, 30), (8, 64, 50), (1, 1, 1)]
)
def test_squared_targets(distance: int, targets: int, max_steps: int) -> None:
    env = SquaredTargets(16, distance, targets, max_steps, report_interval=0)
    assert env.max_steps == (max_steps or (targets + 1) * distance)
    assert follow(env, lambda row: SquaredTargetsOracle(row, distance, targets), 300) >= 16


def test_targets_are_uniform_over_the_edge() -> None:
    with SquaredTargets(20_000, 2, 4) as env:
        grid = (env.reset(0)[0] == 2).mean(axis=0).reshape(5, 5)
    edge = np.ones((5, 5), bool)
    edge[1:-1, 1:-1] = False
    # 4 targets on 16 tiles; the deviation of a share of 20,000 is 0.003.
    np.testing.assert_allclose(grid[edge], 0.25, atol=0.015)
    assert (grid[~edge] == 0).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Bandit(arms=1), "arms=1: expected 2 to 16"),
        (lambda: Bandit(best=4), "best=4: expected one of the arms, 0 to 3"),
        (lambda: Bandit(noise=float("nan")), "noise=nan: expected 0 to 100"),
        (lambda: Memory(length=33), "length=33: expected 1 to 32 bits"),
        (lambda: Memory(delay=-1), "delay=-1: expected 0 to 1000000 steps"),
        (lambda: Memory(max_steps=-1), r"or 0 for 2 \* length \+ delay"),
        (lambda: Password(password="12"), "password='12': expected 1 to 32 digits, each 0 or 1"),
        (lambda: Password(password=""), "password='': expected 1 to 32 digits"),
        (lambda: Password(max_steps=-1), "or 0 for the password's length"),
        (lambda: Stochastic(p=1.5), "p=1.5.*: expected a share from 0 to 1"),
        (lambda: Stochastic(length=0), "length=0: expected 1 to 1000000"),
        (lambda: Stochastic(max_steps=-1), "max_steps=-1: expected at least 1, or 0 for length"),
        (lambda: Continuous(radius=1.0), "radius=1.0.*: expected 0.01 to 0.5"),
        (lambda: Continuous(max_steps=0), "max_steps=0: expected at least 1"),
        (lambda: SquaredTargets(distance=9), "distance=9: expected 1 to 8"),
        (lambda: SquaredTargets(targets=25), "targets=25: expected 1 to 24, the tiles of the edge"),
        (lambda: SquaredTargets(max_steps=-1), r"or 0 for \(targets \+ 1\) \* distance"),
    ],
)
def test_options_that_make_no_sense_are_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make()
