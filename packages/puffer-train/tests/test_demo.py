"""The commands of the tutorial's "Training Demo", with our name, on environments of our own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch

from puffer.train import cli

# What makes a test of a training run of minutes.
SHORT = ["--train.total-steps", "2000", "--train.horizon", "8", "--train.device", "cpu"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1)}, "your_model.pt")


def run(line, *more):
    name, *argv = line.split()
    assert name == "puffer-train"
    return cli.main([*argv, *more])


@pytest.mark.parametrize(
    "line",
    ["puffer-train --help", "puffer-train --help --env puffer_snake"],
)
def test_help(line, capsys):
    with pytest.raises(SystemExit) as done:
        run(line)
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert "--train.learning-rate" in out
    assert ("--env.num-threads" in out) == ("puffer_snake" in line)


def test_train_evaluate_and_find_the_run(tmp_path, capsys):
    line = "puffer-train --env puffer_snake --mode train --train.learning-rate 0.001 --env.vision 3"
    assert run(line, *SHORT, "--ui", "json") == 0
    checkpoint = json.loads(capsys.readouterr().out.splitlines()[-1])["checkpoint"]
    listing = subprocess.run(
        "ls -lt experiments | head", shell=True, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "puffer_snake" in listing[1]  # the first line says "total"
    (folder,) = (tmp_path / "experiments").iterdir()
    config = (folder / "config.toml").read_text()
    assert "learning_rate = 0.001" in config
    assert "# command line" in config
    shutil.copy(checkpoint, "your_model.safetensors")
    few = ["--episodes", "1"]
    assert run("puffer-train --env puffer_snake --mode eval", *few) == 0
    assert "this policy is untrained" in capsys.readouterr().out
    line = "puffer-train --env puffer_snake --mode eval --eval-model-path your_model.safetensors"
    assert run(line, *few) == 0
    assert "your_model.safetensors" in capsys.readouterr().out


def test_a_pickled_model_is_refused_with_the_way_to_convert_it(capsys):
    assert run("puffer-train --env puffer_snake --mode eval --eval-model-path your_model.pt") == 2
    assert "is a pickle" in capsys.readouterr().err


def test_the_baseline(capsys):
    assert run("puffer-train --env puffer_snake --mode eval --baseline", "--episodes", "1") == 0
    assert "snake.safetensors" in capsys.readouterr().out


def test_a_sweep_is_told_to_be_missing(capsys):
    assert run("puffer-train --mode sweep-carbs --env puffer_pong") == 2
    err = capsys.readouterr().err
    assert "sweeps are not built yet" in err
    assert err.count("\n") == 1


def test_tracking_without_the_package_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run("puffer-train --env puffer_snake --mode train --track", *SHORT) == 2
    assert 'pip install "puffer-train[wandb]"' in capsys.readouterr().err


def test_breakout_of_the_arcade_needs_its_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    assert run("puffer-train --mode train --env breakout --vec multiprocessing") == 2
    assert 'pip install "puffer-envs[atari]"' in capsys.readouterr().err


def test_breakout_of_the_arcade_is_trained_in_worker_processes(tmp_path, capsys):
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    line = "puffer-train --mode train --env breakout --vec multiprocessing"
    few = ["--train.total-steps", "128", "--train.minibatch-size", "64", "--train.epochs", "1"]
    assert run(line, *SHORT, *few, "--ui", "json") == 0
    first, *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["steps"], last["steps"]) == (64, 128)
    (folder,) = (tmp_path / "experiments").iterdir()
    assert 'backend = "multiprocessing"' in (folder / "config.toml").read_text()
