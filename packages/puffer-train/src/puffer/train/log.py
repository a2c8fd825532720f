"""Loggers: where the numbers of a run go. Anything with `log` and `close` is one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Logger(Protocol):
    """What the trainer asks of a logger."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record `metrics`, numbers by name, at `step` agent steps."""

    def close(self) -> None:
        """Write what is pending."""


class NoLogger:
    """Keeps nothing."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Drop the metrics."""

    def close(self) -> None:
        """Do nothing."""


class JsonLinesLogger:
    """Appends one JSON object per call to a file; a crash loses at most the last line."""

    def __init__(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._file = Path(path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append `{"steps": step, ...}`."""
        self._file.write(to_json({"steps": step, **metrics}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def to_json(metrics: Mapping[str, Any]) -> str:
    """Return one line of JSON in which NaN and infinities are null."""
    return json.dumps({k: _finite(v) for k, v in metrics.items()})


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
