"""Loggers write what they are given, and none of their troubles stops the training."""

from __future__ import annotations

import json
import sys
import threading
import time
import types

import pytest

from puffer.train import cli
from puffer.train.log import JsonLinesLogger, flatten
from puffer.train.log.guard import Guarded, Tolerant
from puffer.train.log.tensorboard import TensorBoardLogger

METRICS = {"losses": {"entropy": 1.5, "kl": float("nan")}, "updates": 3, "name": "x"}


class Kept:
    def __init__(self):
        self.entries, self.closed = [], False

    def log(self, step, metrics):
        self.entries.append((step, metrics))

    def close(self):
        self.closed = True


def test_flatten_keeps_finite_numbers_under_their_names():
    assert flatten(METRICS) == {"losses/entropy": 1.5, "updates": 3.0}


def test_a_guarded_logger_gets_everything_in_order():
    kept, said = Kept(), []
    guard = Guarded("kept", lambda: kept, said.append)
    for step in range(500):
        guard.log(step, METRICS)
    guard.close()
    assert [step for step, _ in kept.entries] == list(range(500))
    assert kept.closed
    assert said == []


@pytest.mark.parametrize("where", ["make", "log", "close"])
def test_a_logger_that_raises_is_told_of_once(where):
    class Raising(Kept):
        def log(self, step, metrics):
            if where == "log":
                raise RuntimeError("server is down")

        def close(self):
            if where == "close":
                raise RuntimeError("server is down")

    def make():
        if where == "make":
            raise RuntimeError("server is down")
        return Raising()

    said = []
    guard = Guarded("tracker", make, said.append, capacity=10)
    for step in range(1000):
        guard.log(step, METRICS)
        if step % 10 == 0:
            time.sleep(0.001)
    guard.close()
    told = [s for s in said if "server is down" in s]
    assert told == [
        "tracker failed (RuntimeError: server is down): it logs no more, training goes on"
    ]


def test_a_logger_that_blocks_is_not_waited_for():
    release, said = threading.Event(), []

    class Blocking(Kept):
        def log(self, step, metrics):
            release.wait()

    guard = Guarded("tracker", Blocking, said.append, capacity=10, patience_seconds=0.1)
    began = time.perf_counter()
    for step in range(10_000):
        guard.log(step, METRICS)
    guard.close()
    assert time.perf_counter() - began < 20  # not for ever
    assert said == [
        "tracker does not keep up: it misses numbers, training goes on",
        "tracker did not finish within 0.1 seconds: its last numbers may be lost, "
        "metrics.jsonl has them all",
    ]
    release.set()


def test_a_full_disk_is_told_of_once_and_tried_again():
    class Full(Kept):
        def log(self, step, metrics):
            if step < 3:
                raise OSError(28, "No space left on device")
            super().log(step, metrics)

    kept, said = Full(), []
    logger = Tolerant("metrics.jsonl", kept, said.append)
    for step in range(5):
        logger.log(step, {})
    assert [step for step, _ in kept.entries] == [3, 4]
    assert said == ["metrics.jsonl cannot be written (No space left on device): training goes on"]


def test_json_lines_come_back_after_the_file_was_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    logger = JsonLinesLogger(path)
    logger.log(1, METRICS)
    path.unlink()
    logger.log(2, METRICS)
    line = json.loads(path.read_text())
    assert line["steps"] == 2
    assert line["losses"] == {"entropy": 1.5, "kl": None}


def test_tensorboard_events_hold_the_numbers(tmp_path):
    from tensorboardX.event_file_writer import EventsWriter  # noqa: F401 - the writer is installed
    from tensorboardX.proto.event_pb2 import Event

    logger = TensorBoardLogger(tmp_path)
    logger.log(7, METRICS)
    logger.close()
    (file,) = tmp_path.glob("events.out.tfevents.*")
    data, found, at = file.read_bytes(), {}, 0
    while at < len(data):  # a record: length, its checksum, the event, its checksum
        length = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found |= {v.tag: (event.step, v.simple_value) for v in event.summary.value}
        at += 16 + length
    assert found == {"losses/entropy": (7, 1.5), "updates": (7, 3.0)}


# --- Weights & Biases, as a module that keeps what it is told -------------------------------------

QUICK = ["--env", "test/match", "--train.total-steps", "2000", "--train.device", "cpu", "--track"]


@pytest.fixture
def fake_wandb(monkeypatch, tmp_path, match_spec):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    module = types.ModuleType("wandb")
    module.logged, module.given, module.finished = [], {}, 0

    def log(metrics, step):
        module.logged.append((step, metrics))

    def finish():
        module.finished += 1

    def init(**given):
        module.given = given
        return types.SimpleNamespace(log=log, finish=finish)

    module.init = init
    module.login = lambda prompt, verify: False
    module.Settings = dict
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_track(fake_wandb, tmp_path, capsys):
    argv = [*QUICK, "--wandb-project", "mine", "--wandb-group", "g"]
    assert cli.main(argv) == 0
    (run,) = (tmp_path / "experiments").iterdir()
    given = fake_wandb.given
    assert given["mode"] == "offline"
    assert (given["project"], given["group"]) == ("mine", "g")
    assert given["id"] == given["name"] == run.name
    assert given["config"]["train"]["total_steps"] == 2000
    steps = [json.loads(line)["steps"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in fake_wandb.logged] == steps
    assert "losses/entropy" in fake_wandb.logged[0][1]
    assert fake_wandb.finished == 1
    assert "no account of Weights & Biases is configured" in capsys.readouterr().out


def test_track_with_an_account_or_a_mode_of_the_users(fake_wandb, monkeypatch):
    fake_wandb.login = lambda prompt, verify: True
    assert cli.main([*QUICK, "--ui", "none"]) == 0
    assert fake_wandb.given["mode"] is None
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert cli.main([*QUICK, "--ui", "none"]) == 0
    assert fake_wandb.given["mode"] == "disabled"


def test_training_goes_on_without_the_tracker(fake_wandb, tmp_path, capsys):
    def init(**given):
        raise ConnectionError("no route to host")

    fake_wandb.init = init
    assert cli.main(QUICK) == 0
    out = capsys.readouterr().out
    assert "Weights & Biases failed (ConnectionError: no route to host): it logs no more" in out
    assert list((tmp_path / "experiments").glob("*/checkpoints/latest"))


def test_track_without_the_package(tmp_path, monkeypatch, match_spec, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert cli.main(QUICK) == 2
    assert '--track needs wandb: pip install "puffer-train[wandb]"' in capsys.readouterr().err
