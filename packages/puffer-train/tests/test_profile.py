"""--mode profile: shares that add up, and a trace that a browser can show."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from puffer.train import cli
from puffer.train.profile import busy_seconds

PROFILE = ["--env", "test/match", "--mode", "profile", "--vec", "native"]


@pytest.fixture(autouse=True)
def _short_and_in_its_own_folder(tmp_path, monkeypatch, match_spec):
    from puffer.train import modes

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(modes, "PROFILE_SECONDS", 0.2)


@pytest.mark.parametrize(
    ("more", "phases"), [((), {"env", "forward"}), (("--train.overlap",), {"wait"})]
)
def test_shares_add_up_and_nothing_else_is_written(more, phases, capfd, tmp_path):
    argv = [*PROFILE, *more, "--ui", "json", "--train.data-dir", str(tmp_path / "out")]
    argv += ["--train.optimizer", "muon"]
    assert cli.main(argv) == 0
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert err == ""
    assert set(report["phases"]) == {*phases, "update", "advantage", "rest"}
    assert sum(report["phases"].values()) == pytest.approx(1, abs=0.05)
    assert 0 < sum(report["operations"].values()) <= 1
    assert 0 <= report["python"] < 1
    assert report["steps_per_second"] > 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test-match-trace.json"]
    trace = json.loads(Path(report["trace"]).read_text("utf-8"))
    here = {"gradients", "clip", "muon"} | {"forward"} & phases  # others' threads are not traced
    compiled = {f"puffer::{name}" for name in here}
    assert compiled <= {event.get("name") for event in trace["traceEvents"]}


def test_it_reads_well(capsys):
    assert cli.main(PROFILE) == 0
    out = capsys.readouterr().out
    assert "steps/s\n" in out
    assert "Python between operations: at most" in out
    assert "trace, for https://ui.perfetto.dev: experiments/test-match-trace.json" in out


def test_busy_time_counts_what_overlaps_once():
    def event(start, end, name="aten::mm"):
        return SimpleNamespace(name=name, time_range=SimpleNamespace(start=start, end=end))

    events = [event(10, 20), event(0, 5), event(12, 14), event(18, 30), event(0, 99, "Step#Adam")]
    assert busy_seconds(events) == pytest.approx(25e-6)
