"""What a person sees of a run."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from puffer.train import dashboard
from puffer.train.dashboard import JsonUI, PlainUI, count, draw, duration, number, sparkline

METRICS = {
    "updates": 120,
    "seconds": 60.0,
    "steps_per_second": 5e5,
    "learning_rate": 0.0021,
    "environment": {"episodes": 3.0, "episode_return": 123.4, "episode_length": 900.0},
    "losses": {"policy_loss": -0.0123, "entropy": 0.78, "explained_variance": float("nan")},
    "phases": {"env": 15.0, "forward": 18.0, "update": 24.0, "advantage": 0.6},
}


@pytest.mark.parametrize("width", [80, 160])
def test_the_dashboard_fits_and_shows_everything(width):
    console = Console(width=width, file=io.StringIO())
    statistics = {**METRICS["environment"], "score": 7.5}
    console.print(
        draw("puffer_x", 90_000_000, 30_000_000, METRICS, {"steps_per_second": 5e5}, statistics,
             [1.0, 2.0, 3.0])
    )  # fmt: skip
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for shown in ("puffer_x", "30M of 90M", "500k", "1:00", "2:00", "25%", "40%", "123.4", "7.5",
                  "-0.0123", "0.0021", "▁▄█"):  # fmt: skip
        assert shown in text
    assert "nan" not in text


def test_plain_lines(capsys):
    ui = PlainUI(1_000_000)
    ui.update(250_000, METRICS)
    line = capsys.readouterr().out
    assert line.startswith(" 25%  250k steps  4.17k/s  return 123.4  length 900  entropy 0.78")
    assert line.endswith("3:00 left\n")


def test_json_lines_are_valid_even_with_nan(capsys):
    JsonUI().update(5, METRICS)
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["losses"]["explained_variance"] is None
    assert parsed["steps"] == 5


def test_auto_is_plain_without_a_terminal(monkeypatch):
    assert isinstance(dashboard.make_ui("auto", "x", 1), PlainUI)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    ui = dashboard.make_ui("auto", "x", 1)
    ui.close()
    assert isinstance(ui, dashboard.RichUI)


def test_numbers_as_people_read_them():
    assert [count(x) for x in (5, 1234, 5e6, 2.5e9)] == ["5", "1.23k", "5M", "2.5B"]
    assert [duration(x) for x in (5, 65, 3725, float("inf"))] == ["0:05", "1:05", "1:02:05", "-"]
    assert [number(x) for x in (0.123456, 0, -1.2e-6, 123456, float("nan"))] == [
        "0.1235", "0", "-1.2e-06", "1.2e+05", "-",
    ]  # fmt: skip
    assert sparkline([3.0], 10) == "▁"
    assert len(sparkline(list(range(1000)), 60)) == 60
