"""What goes wrong in a long run: the last good checkpoint stays, and the sentence says why."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys

import pytest

from puffer.core import registry
from puffer.core.registry import EnvFamily, EnvSpec, Option
from puffer.train import cli
from puffer.train.runs import Checkpoints, read_checkpoint
from puffer.train.trainer import Trainer

ARGV = ["--env", "test/faulty", "--train.device", "cpu", "--train.checkpoint-seconds", "0.001"]
ARGV += ["--train.total-steps", "5000", "--ui", "plain"]


@pytest.fixture(autouse=True)
def _faulty(match_class, monkeypatch, tmp_path):
    """`test/faulty` is `Match` whose agent 5 goes wrong at step `when`."""

    class Faulty(match_class):
        def __init__(self, num_envs=8, when=40, what="nan", field="observations", buf=None):
            self.when, self.what, self.field, self.steps = when, what, field, 0
            super().__init__(num_envs, buf=buf)

        def step(self, actions):
            results = super().step(actions)
            self.steps += 1
            if self.steps == self.when:
                if self.field == "raise":
                    raise RuntimeError("the simulator crashed")
                getattr(self, self.field)[5] = float(self.what)
            return results

    options = (
        Option("num_envs", 8, "simulations"),
        Option("when", 40, "step"),
        Option("what", "nan", "value"),
        Option("field", "observations", "array"),
    )
    settings = {"train": {"horizon": 16, "minibatch_size": 64}, "vec": {"backend": "native"}}
    spec = EnvSpec("test/faulty", Faulty, options, settings)
    family = EnvFamily(("test/faulty",), lambda name: spec)
    monkeypatch.setattr(registry, "families", lambda: {"test": family})
    monkeypatch.chdir(tmp_path)


def checkpoints(tmp_path):
    (folder,) = (tmp_path / "experiments").glob("*/checkpoints")
    return Checkpoints(folder)


@pytest.mark.parametrize("what", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("field", ["observations", "rewards"])
def test_numbers_that_are_not_finite(field, what, tmp_path, capsys):
    assert cli.main([*ARGV, "--env.field", field, "--env.what", what]) == 3
    err = capsys.readouterr().err
    # Observation 40 is what step 41 starts from, reward 40 comes with step 40.
    step = 41 if field == "observations" else 40
    assert f"test/faulty: the {field} of agent 5 are not finite at its step {step} ([" in err
    last = checkpoints(tmp_path).pointed("latest")
    assert f"the last good checkpoint is {last.relative_to(tmp_path)}" in err
    assert read_checkpoint(last)[0]["steps"] == 2 * 16 * 8  # step 40 is in the third segment


def test_an_enormous_reward_stops_at_the_loss(tmp_path, capsys):
    assert cli.main([*ARGV, "--env.field", "rewards", "--env.what", "1e38"]) == 3
    assert "the loss is not finite" in capsys.readouterr().err
    assert read_checkpoint(checkpoints(tmp_path).pointed("latest"))[0]["steps"] == 2 * 16 * 8


def test_divergence_before_any_checkpoint(capsys):
    assert cli.main([*ARGV, "--env.when", "3"]) == 3
    assert "no checkpoint was saved before" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--train.overlap",)])
def test_an_environment_that_raises_leaves_a_checkpoint_of_the_last_update(more, tmp_path):
    argv = [*ARGV, *more, "--env.field", "raise", "--train.checkpoint-seconds", "1000"]
    with pytest.raises(RuntimeError, match="the simulator crashed"):
        cli.main(argv)
    state = read_checkpoint(checkpoints(tmp_path).pointed("latest"))[0]
    assert state["steps"] == 2 * 16 * 8


def fine(*argv):
    return cli.main([*ARGV, "--env.when", "0", *argv])


def test_a_disk_that_fills_up_costs_checkpoints_and_not_the_run(tmp_path, capsys, monkeypatch):
    """The system itself refuses files above a size, as it refuses them on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    save, calls = Trainer.save, []

    def sometimes(trainer, run_dir):
        calls.append(trainer.steps)
        full = 1 < len(calls) <= 3
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if full else limits[0], limits[1]))
        try:
            return save(trainer, run_dir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(Trainer, "save", sometimes)
    assert fine() == 0
    out = capsys.readouterr().out
    assert out.count("cannot be written (File too large): make room") == 2
    assert "training goes on" in out
    left = checkpoints(tmp_path)
    assert read_checkpoint(left.pointed("latest"))[0]["steps"] >= 5000
    assert not list(left.folder.glob(".*"))


def test_a_disk_that_is_full_at_the_end_is_a_failure(tmp_path, capsys, monkeypatch):
    def full(trainer, run_dir):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trainer, "save", full)
    assert fine("--train.checkpoint-seconds", "1000") == 1
    assert "cannot be written (No space left on device): make room" in capsys.readouterr().err


def test_a_folder_that_is_deleted_while_training(tmp_path, capsys, monkeypatch):
    update, calls = Trainer.train_update, []

    def delete(trainer):
        calls.append(trainer.steps)
        if len(calls) == 5:
            shutil.rmtree(tmp_path / "experiments")
        return update(trainer)

    monkeypatch.setattr(Trainer, "train_update", delete)
    assert fine() == 0
    assert "was deleted: it is made again" in capsys.readouterr().out
    assert read_checkpoint(checkpoints(tmp_path).pointed("latest"))[0]["steps"] >= 5000
    (run,) = (tmp_path / "experiments").iterdir()
    assert {"config.toml", "run.json", "metrics.jsonl"} <= {p.name for p in run.iterdir()}


def test_a_clock_that_jumps_changes_nothing(tmp_path, capsys, monkeypatch):
    import time

    clock, calls = time.time, []

    def jumping():
        calls.append(0)
        return clock() + (-1) ** len(calls) * 10**6

    monkeypatch.setattr(time, "time", jumping)
    assert fine("--ui", "json") == 0
    *updates, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 0 < summary["seconds"] < 1000
    assert all(0 < u["seconds"] < 1000 for u in updates)


def test_two_runs_at_once_have_a_folder_each(tmp_path):
    command = [sys.executable, "-m", "puffer.train", "--env", "puffer_squared", "--ui", "json"]
    command += ["--env.num-envs", "64", "--train.total-steps", "20000", "--train.device", "cpu"]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) for _ in range(2)]
    summaries = [json.loads(p.communicate()[0].splitlines()[-1]) for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert summaries[0]["checkpoint"] != summaries[1]["checkpoint"]
    assert summaries[0]["return_mean"] == summaries[1]["return_mean"]


@pytest.mark.parametrize("stream", ["stdout", "ascii"])
def test_a_terminal_that_is_closed_or_knows_no_unicode(tmp_path, stream):
    command = [sys.executable, "-m", "puffer.train", "--env", "puffer_squared", "--ui", "plain"]
    command += ["--env.num-envs", "64", "--train.total-steps", "20000", "--train.device", "cpu"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"} if stream == "ascii" else None
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    if stream == "stdout":
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        process.wait()
    else:
        out, err = process.communicate()
        assert b"puffer_squared: return" in out
    assert process.returncode == 0, err
    assert err == b""
    assert read_checkpoint(checkpoints(tmp_path).pointed("latest"))[0]["steps"] >= 20_000
