"""A run's folder survives kills, full disks and meddling, and is found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from puffer.core.errors import UsageError
from puffer.train import files
from puffer.train.checkpoint import save_checkpoint
from puffer.train.runs import (
    MODEL,
    Checkpoints,
    Run,
    find_checkpoints,
    read_checkpoint,
    read_run,
    trim_metrics,
)


def save(run_dir, steps, environment="test/match", score=None, keep=3):
    header = {"environment": environment, "env": {"a": 1}}
    checkpoints = Checkpoints(run_dir / "checkpoints", keep)
    return save_checkpoint(checkpoints, steps, nn.Linear(2, 3), header, {}, score)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_hundred_kills_while_saving_leave_a_checkpoint_each(tmp_path):
    script = Path(__file__).parent / "helpers_kill.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "c", "100"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[2]) > 0  # some saves ended; the others were cut


def test_the_newest_and_the_best_stay(tmp_path):
    for steps, score in enumerate([0.5, 0.9, 0.1, None, 0.2, 0.3]):
        save(tmp_path, steps, score=score, keep=2)
    folder = tmp_path / "checkpoints"
    kept = ["000000000001", "000000000004", "000000000005"]
    assert names(folder) == [*kept, "best", "latest"]
    checkpoints = Checkpoints(folder)
    assert checkpoints.pointed("best").name == kept[0]
    assert checkpoints.pointed("latest").name == kept[2]


def test_a_score_of_zero_is_a_score(tmp_path):
    save(tmp_path, 1, score=0.0)
    save(tmp_path, 2, score=-1.0)
    assert Checkpoints(tmp_path / "checkpoints").pointed("best").name == "000000000001"


def test_the_same_steps_again_keep_the_checkpoint(tmp_path):
    path = save(tmp_path, 5)
    before = (path / MODEL).read_bytes()
    assert save(tmp_path, 5) == path
    assert (path / MODEL).read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace", "rename"])
def test_a_failed_save_leaves_nothing_and_keeps_the_old_one(tmp_path, monkeypatch, call):
    old = save(tmp_path, 1)

    def fail(*args):
        raise OSError(28, "No space left on device")

    target = Path if call == "rename" else os
    with monkeypatch.context() as patch:
        patch.setattr(target, call, fail)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, 2)
    left = names(tmp_path / "checkpoints")
    assert [n for n in left if n.startswith(files.INCOMPLETE)] == []
    assert Checkpoints(tmp_path / "checkpoints").pointed("latest") == old
    read_checkpoint(old)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"../../../etc", b"000000000009", b"/etc/passwd", b"x" * 1000]
)
def test_a_corrupt_latest_points_nowhere_and_the_newest_stands_in(tmp_path, content):
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    (tmp_path / "checkpoints" / "latest").write_bytes(content)
    assert Checkpoints(tmp_path / "checkpoints").pointed("latest") is None
    assert find_checkpoints(str(tmp_path), tmp_path, None, "--resume")[0] == newest


def test_a_pointer_or_checkpoint_that_is_a_link_is_passed_over(tmp_path):
    path = save(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    (folder / "latest").unlink()
    (folder / "latest").symlink_to(folder / "best")
    (folder / "000000000009").symlink_to(path)
    checkpoints = Checkpoints(folder)
    assert checkpoints.pointed("latest") is None
    assert checkpoints.all() == [path]


def test_find_by_every_name(tmp_path, monkeypatch):
    first, second = save(tmp_path / "a", 5, score=2.0), save(tmp_path / "a", 60, score=1.0)
    other = save(tmp_path / "b", 1, "test/other")
    for order, path in enumerate((first, second, other)):
        os.utime(path, (order, order))

    def found(given, environment=None):
        return find_checkpoints(given, tmp_path, environment, "--resume")

    assert found("latest") == [other]
    assert found("latest", "test/match") == [second, first]
    assert found("best", "test/match") == [first]
    assert found("a") == found(str(tmp_path / "a")) == [second, first]
    assert found(str(first)) == [first]
    assert found(str(first / MODEL)) == [first / MODEL]


def test_what_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    for given, sentence in (
        ("latest", r"--resume latest: no checkpoint of test/match in .*: train one with"),
        ("empty", r"--resume empty: no checkpoint in this folder"),
        ("nothing", "--resume nothing: no such file or folder: give a checkpoint"),
    ):
        with pytest.raises(UsageError, match=sentence):
            find_checkpoints(given, tmp_path, "test/match", "--resume")


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    run = Run.create(str(tmp_path), "test/match")
    run.begin("test/match", "[train]\n", {})
    code = (
        "from puffer.train.runs import Run; from pathlib import Path\n"
        f"try: Run(Path({str(run.path)!r})).begin('x', '', {{}})\n"
        "except ValueError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "another process is training in this folder" in done.stdout
    run.close()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert len(read_run(run.path)["starts"]) == 2


def test_runs_of_the_same_second_and_of_a_clock_that_went_back_differ(tmp_path, monkeypatch):
    import time

    paths = set()
    for stamp in ("20261125-120000", "20261125-120000", "20201125-120000"):
        monkeypatch.setattr(time, "strftime", lambda _, stamp=stamp: stamp)
        paths.add(Run.create(str(tmp_path), "a/b:c").path)
    assert len(paths) == 3
    assert all(p.parent == tmp_path for p in paths)


def test_beginning_removes_what_a_kill_left(tmp_path):
    run = Run.create(str(tmp_path), "x")
    (run.path / "checkpoints" / ".incomplete-1-ab").mkdir(parents=True)
    (run.path / ".incomplete-run.json-ab").write_text("x")
    run.begin("x", "", {})
    run.close()
    assert names(run.path) == [".lock", "checkpoints", "config.toml", "run.json"]
    assert names(run.path / "checkpoints") == []


def test_a_deleted_folder_is_made_again(tmp_path):
    import shutil

    run = Run.create(str(tmp_path), "x")
    run.begin("x", "[train]\n", {"steps": 0})
    assert not run.ensure()
    shutil.rmtree(run.path)
    assert run.ensure()
    assert (run.path / "config.toml").read_text() == "[train]\n"
    run.close()


def test_metrics_are_trimmed_to_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"steps": n, "x": 1}) for n in (10, 20, 30)]
    path.write_text("\n".join(lines) + '\n{"steps": 40, "x')
    trim_metrics(path, 20)
    assert path.read_text().splitlines() == lines[:2]
    trim_metrics(tmp_path / "none", 20)


def test_nothing_of_it_needs_torch():
    code = "import sys, puffer.train.runs; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
    assert torch is not None
