"""--mode autotune: finds the better settings of a made-up task, and runs on a real one."""

from __future__ import annotations

import contextlib
import json
import math

import pytest

from puffer.core.errors import UsageError
from puffer.train import Config, TrainConfig, cli
from puffer.train.autotune import Trial, attempt_with, autotune, changes, train_to_score
from puffer.train.config import VecConfig

START = Config(
    "test/match",
    TrainConfig(minibatch_size=8192, horizon=64),
    VecConfig(backend="native"),
    env={"num_envs": 256},
)


def valley(config, seconds):
    """Soonest with minibatches of 1024 steps and 512 simulations; slow ones are given up."""
    train = config.train
    far = abs(math.log2(train.minibatch_size / 1024)) + abs(math.log2(config.env["num_envs"] / 512))
    needed = 10 * 2 ** (far + abs(math.log2(train.horizon / 64)))
    return Trial(config, min(needed, seconds), score=100 / needed, reached=needed <= seconds)


@pytest.mark.parametrize("seconds", [1000, 11])  # 11: only the best settings arrive at all
def test_it_walks_to_the_best_settings(seconds):
    shown = []
    first, best = autotune(START, valley, seconds, 1000, lambda *trial: shown.append(trial))
    assert changes(START, best.config) == {"train.minibatch_size": 1024, "env.num_envs": 512}
    assert best.reached
    assert best.seconds == 10
    assert first.config == START
    assert [trial for trial, better in shown if better][-1] == best
    configs = [trial.config for trial, _ in shown]
    assert all(config not in configs[:i] for i, config in enumerate(configs))


def test_no_trial_begins_when_the_time_is_over():
    tried = []

    def attempt(config, seconds):
        tried.append(config)
        return Trial(config, 1.0, 1.0, reached=True)

    first, best = autotune(START, attempt, 10, -1)
    assert first is best
    assert tried == [START]


def test_what_fails_is_a_trial_that_lost():
    @contextlib.contextmanager
    def make_trainer(config):
        raise UsageError("too many")
        yield

    trial = attempt_with(make_trainer, 1.0)(START, 5.0)
    assert (trial.failure, trial.reached) == ("too many", False)
    assert not trial.beats(Trial(START, 5.0, score=-100.0))
    assert Trial(START, 5.0, score=-100.0).beats(trial)


class Rising:
    """Ends 40 episodes an update, each time with a better score."""

    updates = 0

    @property
    def done(self):
        return self.updates == 50

    def train_update(self):
        self.updates += 1
        return {"environment": {"episodes": 40, "score": float(self.updates)}}


def test_a_score_is_the_mean_of_the_last_hundred_episodes():
    trainer = Rising()
    _, mean = train_to_score(trainer, 10.0, 60.0)
    assert (trainer.updates, mean) == (11, 10.0)  # 10, 11 and 9: 120 episodes
    assert math.isnan(train_to_score(Rising(), -1e9, 0.0)[1])


ARGV = ["--env", "test/match", "--mode", "autotune", "--vec", "native"]


@pytest.fixture
def _own_folder(tmp_path, monkeypatch, match_spec):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_own_folder")
def test_the_command(capsys, tmp_path):
    quick = ["--autotune-seconds", "0.5", "--autotune-minutes", "0.03"]
    assert cli.main([*ARGV, "--autotune-score", "0.4", *quick]) == 0
    out = capsys.readouterr().out
    assert "as given  <- best" in out
    assert cli.main([*ARGV, "--autotune-score", "99", *quick, "--ui", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert not result["best"]["reached"]
    assert result["first"]["config"] == {}
    assert list(tmp_path.iterdir()) == []  # no run's folder


@pytest.mark.usefixtures("_own_folder")
def test_a_score_is_needed_and_only_here(capsys):
    assert cli.main(ARGV) == 2
    assert "give the mean score to reach with --autotune-score" in capsys.readouterr().err
    assert cli.main(["--env", "test/match", "--autotune-score", "0"]) == 2
    assert "--autotune-score 0: is for --mode autotune" in capsys.readouterr().err
