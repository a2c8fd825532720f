"""Where the time of training goes: the share of each phase, of Python itself, and a trace."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from puffer.train.parallel import Crew
from puffer.train.trainer import Trainer

WARM_UP, TRACED = 2, 3  # updates


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What some updates were spent on.

    Attributes:
        steps_per_second: agent steps, with nothing but the training running.
        phases: name -> its share of the time, 0..1; together 1.
        python: the share of the time, 0..1, in which neither an operation of torch nor the
            environment ran. Measured while tracing, which slows Python down and at times stops
            it: an upper bound, of the update in which it was least.
        operations: name -> its own share of the time of all operations, the largest first.
    """

    steps_per_second: float
    phases: dict[str, float]
    python: float
    operations: dict[str, float]

    def lines(self) -> list[str]:
        """Return the report as text."""
        return [
            f"{self.steps_per_second:,.0f} steps/s",
            *_table("phase", self.phases),
            *_table("operation", self.operations),
            f"Python between operations: at most {self.python:.1%}",
        ]


def profile_training(trainer: Trainer, seconds: float, trace: Path) -> Report:
    """Train for at least `seconds`, then trace a few updates, on one thread; the last into `trace`.

    The trace is JSON that chrome://tracing and https://ui.perfetto.dev show.

    Raises:
        OSError: the trace cannot be written.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own words, on standard error
    for _ in range(WARM_UP):
        trainer.train_update()
    before, steps, began = trainer.phases, trainer.steps, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        trainer.train_update()
    phases = {name: value - before[name] for name, value in trainer.phases.items()}
    phases["rest"] = max(0.0, elapsed - sum(phases.values()))
    speed = (trainer.steps - steps) / elapsed
    trainer.crew = Crew(trainer.crew.parts)  # what other threads do is not traced
    with profile(activities=[ProfilerActivity.CPU]):  # what it needs to begin is not Python's
        trainer.train_update()
    python = []
    for _ in range(TRACED):
        idle, began = _idle(trainer), time.perf_counter()
        with profile(activities=[ProfilerActivity.CPU]) as traced:
            trainer.train_update()
            seconds = time.perf_counter() - began
        idle = _idle(trainer) - idle
        python.append(1 - (busy_seconds(traced.events() or ()) + idle) / seconds)
    trace.parent.mkdir(parents=True, exist_ok=True)
    traced.export_chrome_trace(str(trace))
    operations = {e.key: e.self_cpu_time_total for e in traced.key_averages() if "#" not in e.key}
    total = sum(operations.values())
    ranked = sorted(operations.items(), key=lambda item: -item[1])[:10]
    return Report(
        steps_per_second=speed,
        phases={name: value / elapsed for name, value in phases.items()},
        python=max(0.0, min(python)),
        operations={name: value / total for name, value in ranked},
    )


def busy_seconds(events: Iterable[Any]) -> float:
    """Return for how long at least one of the profiler's events ran.

    Those with a # in their names are spans of Python code with operations inside, and count not.
    """
    spans = sorted((e.time_range.start, e.time_range.end) for e in events if "#" not in e.name)
    busy, last = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    return busy / 1e6


def _idle(trainer: Trainer) -> float:
    """Return the seconds that the trainer's thread spent with environments or waiting for them."""
    return trainer.phases["env" if trainer.ahead is None else "wait"]


def _table(title: str, shares: dict[str, float]) -> list[str]:
    width = max(map(len, (title, *shares)))
    rows = [f"  {name:<{width}}  {share:6.1%}" for name, share in shares.items()]
    return [f"  {title:<{width}}   share", *rows]
