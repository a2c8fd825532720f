"""The command: trains, evaluates, and answers wrong input with one sentence and exit code 2."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest

from puffer.train import cli

QUICK = ["--env", "test/match", "--train.total-steps", "1000", "--train.device", "cpu"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, match_spec):
    monkeypatch.chdir(tmp_path)


def json_lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


SUMMARY = {
    "environment", "steps", "seconds", "steps_per_second", "episodes", "return_mean", "return_std",
    "score_mean", "length_mean", "checkpoint",
}  # fmt: skip
EVAL = SUMMARY | {"return_percentiles", "perf_mean"}


def test_train_then_eval(capsys, tmp_path):
    assert cli.main([*QUICK, "--ui", "json", "--env.num-envs", "16"]) == 0
    *updates, summary = json_lines(capsys)
    assert updates
    assert updates[0]["losses"]["entropy"] > 0
    assert set(summary) == SUMMARY
    assert summary["steps"] >= 1000
    assert os.path.isfile(summary["checkpoint"])
    run = next((tmp_path / "experiments").iterdir())
    left = [".lock", "checkpoints", "config.toml", "metrics.jsonl", "run.json", "tensorboard"]
    assert sorted(p.name for p in run.iterdir()) == left
    for path in ("latest", str(run), summary["checkpoint"]):
        argv = ["--env", "test/match", "--mode", "eval", "--eval-model-path", path, "--ui", "json"]
        assert cli.main(argv) == 0
        evaluated = json_lines(capsys)[-1]
        assert set(evaluated) == EVAL
        assert evaluated["episodes"] == 100
        assert evaluated["checkpoint"] == summary["checkpoint"] or path != summary["checkpoint"]


def test_the_stored_settings_repeat_the_run(capsys, tmp_path):
    assert cli.main([*QUICK, "--ui", "json", "--policy.recurrent", "lstm"]) == 0
    first = json_lines(capsys)[-1]
    config = next((tmp_path / "experiments").iterdir()) / "config.toml"
    assert cli.main(["--env", "test/match", "--config", str(config), "--ui", "json"]) == 0
    second = json_lines(capsys)[-1]
    assert first["return_mean"] == second["return_mean"]
    argv = ["--env", "test/match", "--mode", "eval", "--eval-model-path", "latest"]
    assert cli.main(argv) == 0  # it knows from the checkpoint that the policy is recurrent


def test_eval_without_a_checkpoint_says_so(capsys):
    assert cli.main(["--env", "test/match", "--mode", "eval", "--episodes", "5"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"median return [\d.]+, nine in ten from [\d.]+ to [\d.]+;", out)
    assert "this policy is untrained" in out
    assert "test/match: return" in out


def test_list_and_print_config(capsys):
    assert cli.main(["--list"]) == 0
    assert "test/match  Name the symbol shown." in capsys.readouterr().out
    assert cli.main(["--env", "test/match", "--print-config", "--train.horizon", "3"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"horizon = 3 +# command line", out)
    assert re.search(r"gamma = 0\.99 +# default", out)


def test_a_flag_can_take_a_setting_away(capsys, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[train]\nreward_clip = 1.0\ntarget_kl = 0.5\n")
    argv = ["--env", "test/match", "--config", str(settings), "--print-config"]
    taken = ["--train.reward-clip", "none", "--train.target-kl=none", "--policy.recurrent", "none"]
    assert cli.main(argv) == 0
    assert "reward_clip = 1.0" in capsys.readouterr().out
    assert cli.main([*argv, *taken]) == 0
    out = capsys.readouterr().out
    assert "reward_clip" not in out
    assert "target_kl" not in out
    assert 'recurrent = "none"' in out


def test_export_and_baseline(capsys, tmp_path, monkeypatch, match_spec):
    from puffer.core import registry
    from puffer.core.registry import EnvFamily

    assert cli.main([*QUICK, "--ui", "json", "--policy.hidden-size", "16"]) == 0
    export = ["--env", "test/match", "--mode", "export", "--export-path", "agent.safetensors"]
    assert cli.main(export) == 0
    assert "exported: agent.safetensors (1 KiB)" in capsys.readouterr().out
    spec = dataclasses.replace(match_spec, baseline=str(tmp_path / "agent.safetensors"))
    family = EnvFamily(("test/match",), lambda name: spec)
    monkeypatch.setattr(registry, "families", lambda: {"test": family})
    argv = ["--env", "test/match", "--mode", "eval", "--ui", "json"]
    scores = []
    for given in (["--baseline"], ["--eval-model-path", "latest"]):
        assert cli.main([*argv, *given]) == 0
        summary = json_lines(capsys)[-1]
        assert set(summary) == EVAL
        scores.append(summary["return_mean"])
    assert scores[0] == pytest.approx(scores[1], abs=0.1)  # half precision changes next to nothing
    assert cli.main([*argv, "--baseline", "--eval-model-path", "latest"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_an_export_too_large_to_ship_says_so(capsys):
    assert cli.main([*QUICK, "--ui", "none", "--policy.hidden-size", "50000"]) == 0
    assert cli.main(["--env", "test/match", "--mode", "export"]) == 0
    assert "an environment may ship 200 KiB" in capsys.readouterr().out
    assert os.path.isfile("test-match.safetensors")


def wrong_inputs():
    yield [], "no environment given: expected --env NAME"
    yield ["--env", "test/mach"], "unknown environment 'test/mach': did you mean test/match"
    yield ["--env", "test/match", "--train.horizn", "3"], "unknown option --train.horizn"
    yield ["--env", "test/match", "--train.horizon", "x"], "--train.horizon: invalid literal"
    yield ["--env", "test/match", "--train.learning-rate", "-1"], "expected a number > 0"
    yield (
        [*QUICK, "--vec", "multiprocessing", "--vec.num-envs", "5", "--vec.num-workers", "2"],
        "num_envs=5 is not a multiple of num_workers=2",
    )
    yield (
        ["--env", "test/match", "--mode", "eval", "--eval-model-path", "gone"],
        "gone: no such file or folder",
    )
    yield (
        ["--env", "test/match", "--mode", "eval", "--eval-model-path", "latest"],
        "no checkpoint of test/match",
    )
    yield ["--env", "test/match", "--config", "gone.toml"], "gone.toml: cannot be read"
    yield [*QUICK, "--policy", "nowhere:Net"], "--policy nowhere:Net: No module named 'nowhere'"
    yield [*QUICK, "--eval-model-path", "latest"], "is for --mode eval"
    yield [*QUICK, "--render", "ansi"], "--render ansi: is for --mode eval"
    yield (
        ["--env", "test/match", "--mode", "eval", "--video", "film.avi"],
        "expected a name that ends in .gif or .mp4",
    )
    yield (
        ["--env", "test/match", "--mode", "eval", "--video", "no/film.gif"],
        "its folder does not exist",
    )
    yield (
        ["--env", "test/match", "--mode", "eval", "--episodes", "-1"],
        "--episodes -1: expected a number >= 0",
    )
    yield [*QUICK, "--train.data-dir", "/proc/nothing"], "cannot create a folder in it"
    yield [*QUICK, "--mode", "sweep-carbs"], "--mode sweep-carbs: sweeps are not built yet"
    yield [*QUICK, "--mode", "eval", "--baseline"], "test/match ships no trained agent"
    yield [*QUICK, "--mode", "eval", "--track"], "--track: is for --mode train"
    yield [*QUICK, "--mode", "eval", "--resume"], "--resume latest: is for --mode train"
    yield [*QUICK, "--baseline"], "--baseline: is for --mode eval"
    yield [*QUICK, "--export-path", "x"], "--export-path x: is for --mode export"
    yield [*QUICK, "--autotune-seconds", "120"], "--autotune-seconds 120: is for --mode autotune"
    yield [*QUICK, "--autotune-minutes=1"], "--autotune-minutes 1: is for --mode autotune"
    yield [*QUICK, "--mode", "profile", "--greedy"], "--greedy: is for --mode eval; this is --mode"
    yield [*QUICK, "--resume"], "--resume latest: no checkpoint of test/match"
    yield ["--resume", "gone"], "--resume gone: no such file or folder"
    yield [*QUICK, "--vec", "ray"], "--vec.backend"
    yield (
        ["--env", "nowhere:make", "--mode", "eval"],
        "--env nowhere:make: No module named 'nowhere'",
    )
    yield ["--env", "os:pathsep"], "is a str, expected a class or function that returns an env"
    yield ["--env", "os:getcwdd"], "os has no getcwdd: did you mean getcwd"
    yield ["--env", ":x"], "expected package.module:attribute"


@pytest.mark.parametrize(("argv", "sentence"), list(wrong_inputs()))
def test_wrong_input_is_one_sentence_and_code_2(argv, sentence, capsys):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("puffer-train: ")
    assert captured.err.count("\n") == 1


def test_cuda_where_there_is_none(monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["--env", "test/match", "--train.device", "cuda"]) == 2
    assert "no CUDA device that torch can use: use --train.device cpu" in capsys.readouterr().err


def test_a_checkpoint_of_another_environment_and_random_bytes(capsys, tmp_path):
    assert cli.main([*QUICK, "--ui", "json"]) == 0
    path = json_lines(capsys)[-1]["checkpoint"]
    assert cli.main(["--env", "test/other", "--mode", "eval", "--eval-model-path", path]) == 2
    assert "was trained on test/match, not on test/other" in capsys.readouterr().err
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(1000))
    assert cli.main(["--env", "test/match", "--mode", "eval", "--eval-model-path", "noise"]) == 2
    assert "is not a checkpoint" in capsys.readouterr().err


def test_divergence_is_code_3(capsys):
    argv = [*QUICK, "--train.learning-rate", "1e30", "--ui", "none"]
    assert cli.main(argv) == 3
    assert "finite" in capsys.readouterr().err


def test_start_is_quick_and_imports_no_torch_for_help():
    code = (
        "import sys; from puffer.train.cli import main; "
        "main(['--list']); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["--help"], ["--list"]])
def test_nobody_has_to_read_all_of_it(argv, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "puffer.train", *argv]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_broken_pipe_of_somebody_elses_is_not_taken_for_it(monkeypatch):
    def broken(argv):
        raise BrokenPipeError("of a server that an environment talks to")

    monkeypatch.setattr("puffer.train.cli._run", broken)
    with open(os.devnull, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(BrokenPipeError, match="server"):
            cli.main([])
