"""What a person (or a program) sees of a run: a live dashboard, plain lines, JSON or nothing."""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from puffer.core.stats import mean_infos
from puffer.train.log import to_json

LEISURE = 150  # drawing takes at most one part in so many of a run
Kind = Literal["auto", "rich", "plain", "json", "none"]


class UI(Protocol):
    """What the command line asks of a user interface."""

    def update(self, steps: int, metrics: Mapping[str, Any]) -> None:
        """Take the numbers of one update; shows at most a few times a second."""

    def message(self, text: str) -> None:
        """Show a sentence."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Show what came out."""

    def close(self) -> None:
        """Give the terminal back."""


def make_ui(kind: Kind, environment: str, total_steps: int) -> UI:
    """Return the user interface called `kind`; `auto` is rich on a terminal, else plain."""
    if kind == "auto":
        kind = "rich" if sys.stdout.isatty() else "plain"
    if kind == "rich":
        return RichUI(environment, total_steps)
    if kind == "plain":
        return PlainUI(total_steps)
    return JsonUI() if kind == "json" else NoUI()


class NoUI:
    """Shows nothing."""

    def update(self, steps: int, metrics: Mapping[str, Any]) -> None:
        """Ignore the numbers."""

    def message(self, text: str) -> None:
        """Ignore the sentence."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Ignore the outcome."""

    def close(self) -> None:
        """Do nothing."""


class JsonUI(NoUI):
    """Prints one JSON object a line on standard output, at most one a second; then the summary."""

    def __init__(self) -> None:
        self._pace = _Pace(1.0)

    def update(self, steps: int, metrics: Mapping[str, Any]) -> None:
        """Print the numbers."""
        if self._pace.due():
            _write(to_json({"steps": steps, **metrics}))

    def message(self, text: str) -> None:
        """Print the sentence to standard error."""
        _write(text, sys.stderr)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Print the summary, the last line."""
        _write(to_json(summary))


class PlainUI(NoUI):
    """Prints a line every few seconds."""

    def __init__(self, total_steps: int) -> None:
        self._total = total_steps
        self._pace = _Pace(2.0)
        self._window = _Window()

    def update(self, steps: int, metrics: Mapping[str, Any]) -> None:
        """Print where the run stands."""
        self._window.add(steps, metrics)
        if not self._pace.due() and steps < self._total:
            return
        window = self._window.take()
        environment = window["environment"]
        parts = [
            f"{min(steps / self._total, 1):4.0%}",
            f"{count(steps)} steps",
            f"{count(window['steps_per_second'])}/s",
            f"return {number(environment.get('episode_return', math.nan))}",
            f"length {number(environment.get('episode_length', math.nan))}",
            f"entropy {number(metrics['losses']['entropy'])}",
            f"{duration(remaining(steps, self._total, metrics['seconds']))} left",
        ]
        _write("  ".join(parts))

    def message(self, text: str) -> None:
        """Print the sentence."""
        _write(text)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Print the outcome in one line."""
        _write(summary_line(summary))


class RichUI(NoUI):
    """A live dashboard in the terminal, drawn twice a second or, where that takes long, less."""

    def __init__(self, environment: str, total_steps: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._environment, self._total = environment, total_steps
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False)
        self._pace = _Pace(0.5)
        self._window = _Window()
        self._shown: Mapping[str, float] = {}
        self._returns: list[float] = []
        self._live.start()

    def update(self, steps: int, metrics: Mapping[str, Any]) -> None:
        """Redraw the dashboard."""
        self._window.add(steps, metrics)
        if not self._pace.due() and steps < self._total:
            return
        began = time.perf_counter()
        window = self._window.take()
        self._shown = {**self._shown, **window["environment"]}
        if "episode_return" in window["environment"]:
            self._returns.append(window["environment"]["episode_return"])
        panel = draw(
            self._environment, self._total, steps, metrics, window, self._shown, self._returns
        )
        self._live.update(panel, refresh=True)
        self._pace.interval_seconds = max(0.5, LEISURE * (time.perf_counter() - began))

    def message(self, text: str) -> None:
        """Print the sentence above the dashboard."""
        self._console.print(text, highlight=False, markup=False)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Leave the last picture and print the outcome."""
        self.close()
        self._console.print(summary_line(summary), highlight=False, markup=False)

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()


def draw(
    environment: str,
    total_steps: int,
    steps: int,
    metrics: Mapping[str, Any],
    window: Mapping[str, Any],
    statistics: Mapping[str, float],
    returns: Sequence[float] = (),
) -> Any:
    """Return the dashboard as a rich renderable that fits terminals from 80 columns on.

    Args:
        environment: its name.
        total_steps: where the run ends.
        steps: where it stands.
        metrics: of the last update, from `Trainer.train_update`.
        window: `steps_per_second` since the last drawing.
        statistics: the newest means over episodes.
        returns: mean returns from the start of the run on, drawn as a curve.
    """
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    progress = {
        "steps": f"{count(steps)} of {count(total_steps)}",
        "steps/s": count(window["steps_per_second"]),
        "updates": str(metrics["updates"]),
        "elapsed": duration(metrics["seconds"]),
        "left": duration(remaining(steps, total_steps, metrics["seconds"])),
    }
    whole = max(metrics["seconds"], 1e-9)
    phases = {name: seconds / whole for name, seconds in metrics["phases"].items()}
    phases["other"] = max(0.0, 1 - sum(phases.values()))
    episodes = {k: number(v) for k, v in statistics.items() if k != "episodes"}
    losses = {**metrics["losses"], "learning_rate": metrics["learning_rate"]}

    columns = Table.grid(expand=True, padding=(0, 1))
    for ratio in (6, 6, 7):
        columns.add_column(ratio=ratio)
    columns.add_row(
        Group(
            _table("Progress", progress),
            _table("Share of time", {k: f"{v:.0%}" for k, v in phases.items()}),
        ),
        _table("Episodes", dict(list(episodes.items())[:12]) or {"none finished": ""}),
        _table("Losses", {k: number(v) for k, v in losses.items()}),
    )
    top = Table.grid(expand=True)
    top.add_row(ProgressBar(total=total_steps, completed=min(steps, total_steps)))
    top.add_row(f"[dim]return[/] [green]{sparkline(returns, 60)}[/]" if returns else "")
    title = f"[bold]puffer[/] {environment}"
    return Panel(Group(top, columns), title=title, title_align="left", box=box.ROUNDED)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a curve of at most `width` characters, from the lowest value to the highest."""
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[int(7 * (v - low) / span)] for v in values)


def _table(title: str, rows: Mapping[str, str]) -> Any:
    from rich.table import Table

    table = Table(
        box=None,
        show_header=False,
        title=title,
        title_justify="left",
        title_style="bold cyan",
        padding=(0, 1, 0, 0),
    )
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), value)
    return table


def summary_line(summary: Mapping[str, Any]) -> str:
    """Return a run's outcome as one line for people."""
    line = (
        f"{summary['environment']}: return {number(summary['return_mean'])} "
        f"± {number(summary['return_std'])}, score {number(summary['score_mean'])}, "
        f"{_perf(summary)}length {number(summary['length_mean'])} "
        f"over {summary['episodes']} episodes{_percentiles(summary)}; "
        f"{count(summary['steps'])} steps in {duration(summary['seconds'])} "
        f"({count(summary['steps_per_second'])} steps/s)"
    )
    return f"{line}\ncheckpoint: {summary['checkpoint']}" if summary.get("checkpoint") else line


def _perf(summary: Mapping[str, Any]) -> str:
    """Return the score mapped to 0..1, where the summary knows it: the games won, say."""
    perf = summary.get("perf_mean")
    return "" if perf is None else f"perf {number(perf)}, "


def _percentiles(summary: Mapping[str, Any]) -> str:
    """Return the middle of the returns, where the summary knows it."""
    found = summary.get("return_percentiles")
    if not found:
        return ""
    low, middle, high = (number(found[p]) for p in ("5", "50", "95"))
    return f", median return {middle}, nine in ten from {low} to {high}"


def remaining(steps: int, total: int, seconds: float) -> float:
    """Return the seconds left at the average speed so far."""
    return max(0.0, (total - steps) * seconds / steps) if steps else math.inf


def count(value: float) -> str:
    """Return a large number as people read it: 12.3k, 4.56M."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def number(value: float) -> str:
    """Return a measured number in at most eight characters; a dash for NaN."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """Return `1:02:03` or `2:03`."""
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Pace:
    """Says when the next output is due."""

    def __init__(self, interval_seconds: float) -> None:
        self.interval_seconds, self._next = interval_seconds, 0.0

    def due(self) -> bool:
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + self.interval_seconds
        return True


class _Window:
    """Averages what happened since it was last shown."""

    def __init__(self) -> None:
        self._infos: list[Mapping[str, Any]] = []
        self._start = (0, 0.0)
        self._end = (0, 0.0)

    def add(self, steps: int, metrics: Mapping[str, Any]) -> None:
        self._infos.append(metrics["environment"])
        self._end = (steps, metrics["seconds"])

    def take(self) -> dict[str, Any]:
        infos, self._infos = self._infos, []
        (steps, seconds), self._start = self._start, self._end
        elapsed = max(self._end[1] - seconds, 1e-9)
        return {
            "environment": mean_infos(infos),
            "steps_per_second": (self._end[0] - steps) / elapsed,
        }


def _write(text: str, stream: Any = None) -> None:
    """Write a line; whoever reads it may have left, as the reader of a pipe does."""
    stream = stream or sys.stdout
    try:
        stream.write(text + "\n")
        stream.flush()
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "replace").decode() + "\n")
    except BrokenPipeError:
        # What is left in the buffer would fail again, loudly, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
