"""The curves are those of the metrics: weighted by episodes, averaged over seeds, well-formed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import curves


def write(folder: Path, returns: list[float | None]) -> Path:
    folder.mkdir()
    rows = []
    for i, value in enumerate(returns):
        means = {"episodes": 0.0} if value is None else {"episodes": 2.0, "episode_return": value}
        rows.append(json.dumps({"steps": 1000 * (i + 1), "environment": means}))
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


def test_a_curve_of_known_numbers(tmp_path: Path) -> None:
    run = write(tmp_path / "a", [1.0, None, 3.0, 5.0])
    assert curves.read_curve(run) == [(1000, 1.0), (3000, 3.0), (4000, 5.0)]
    other = curves.read_curve(write(tmp_path / "b", [3.0, 2.0, 5.0, None]))
    assert curves.mean_curve([curves.read_curve(run), other]) == [(1000, 2.0), (3000, 4.0)]


def test_many_updates_become_few_points_weighted_by_episodes(tmp_path: Path) -> None:
    curve = curves.read_curve(write(tmp_path / "a", [float(i % 2) for i in range(4000)]))
    assert len(curve) == curves.POINTS
    assert {y for _, y in curve} == {0.5}


def test_the_picture_is_well_formed(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [1.0, 2.0]), write(tmp_path / "b", [2.0, 4.0])
    target = tmp_path / "x.svg"
    assert curves.main([str(target), f"<pong>={a},{b}"]) == 0
    root = ET.fromstring(target.read_text("utf-8"))
    assert len(root.findall("{*}polyline")) == 3  # two seeds and their mean
    assert "<pong> (2)" in [t.text for t in root.findall("{*}text")]


@pytest.mark.parametrize("words", [[], ["x.svg"], ["x.svg", "a"], ["x.svg", "a=gone"]])
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert curves.main(words) == 2
    assert capsys.readouterr().err


def test_a_run_without_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write(tmp_path / "a", [None])
    assert curves.main([str(tmp_path / "x.svg"), f"a={run}"]) == 2
    assert "no episode has episode_return" in capsys.readouterr().err
