"""The commands of the tutorial's "Training Demo", with our name, on environments of our own."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
import torch

from puffer.core import registry
from puffer.train import cli

SNAKE = "puffer_snake" if "puffer_snake" in registry.names() else "puffer_pong"
OPTION = ["--env.vision", "3"] if SNAKE == "puffer_snake" else ["--env.num-envs", "16"]
# What makes a test of a training run of minutes.
SHORT = ["--train.total-steps", "2000", "--train.horizon", "8", "--train.device", "cpu"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1)}, "your_model.pt")


def run(line, *more):
    name, *argv = line.replace("SNAKE", SNAKE).split()
    assert name == "puffer-train"
    return cli.main([*argv, *more])


@pytest.mark.parametrize(
    "line",
    ["puffer-train --help", "puffer-train --help --env SNAKE"],
)
def test_help(line, capsys):
    with pytest.raises(SystemExit) as done:
        run(line)
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert "--train.learning-rate" in out
    assert ("--env.num-threads" in out) == ("SNAKE" in line)


def test_train_evaluate_and_find_the_run(tmp_path, capsys):
    line = "puffer-train --env SNAKE --mode train --train.learning-rate 0.001"
    assert run(line, *OPTION, *SHORT, "--ui", "json") == 0
    checkpoint = json.loads(capsys.readouterr().out.splitlines()[-1])["checkpoint"]
    listing = subprocess.run(
        "ls -lt experiments | head", shell=True, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert SNAKE in listing[1]  # the first line says "total"
    (folder,) = (tmp_path / "experiments").iterdir()
    config = (folder / "config.toml").read_text()
    assert "learning_rate = 0.001" in config
    assert "# command line" in config
    shutil.copy(checkpoint, "your_model.safetensors")
    few = ["--episodes", "1"]
    assert run("puffer-train --env SNAKE --mode eval", *few) == 0
    assert "this policy is untrained" in capsys.readouterr().out
    line = "puffer-train --env SNAKE --mode eval --eval-model-path your_model.safetensors"
    assert run(line, *few) == 0
    assert "your_model.safetensors" in capsys.readouterr().out


def test_a_pickled_model_is_refused_with_the_way_to_convert_it(capsys):
    assert run("puffer-train --env SNAKE --mode eval --eval-model-path your_model.pt") == 2
    assert "is a pickle" in capsys.readouterr().err


def test_the_baseline(capsys):
    """Evaluated where one ships, else refused with a sentence."""
    code = run("puffer-train --env SNAKE --mode eval --baseline", "--episodes", "1")
    out, err = capsys.readouterr()
    if registry.find(SNAKE).baseline is None:
        assert code == 2
        assert f"{SNAKE} ships no trained agent: train one" in err
    else:
        assert code == 0
        assert ".safetensors" in out


def test_a_sweep_is_told_to_be_missing(capsys):
    assert run("puffer-train --mode sweep-carbs --env puffer_pong") == 2
    err = capsys.readouterr().err
    assert "sweeps are not built yet" in err
    assert err.count("\n") == 1


def test_tracking_without_the_package_says_what_to_install(capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run("puffer-train --env SNAKE --mode train --track", *SHORT) == 2
    assert 'pip install "puffer-train[wandb]"' in capsys.readouterr().err


def test_breakout_of_the_arcade_needs_its_package(capsys):
    if "breakout" in {a for f in registry.families().values() for a in f.aliases}:
        assert registry.find("breakout").name.startswith("atari/")
        return
    assert run("puffer-train --mode train --env breakout --vec multiprocessing") == 2
    assert "breakout" in capsys.readouterr().err
