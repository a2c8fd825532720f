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
    """Appends one JSON object per call to a file; a crash loses at most the last line.

    The file is opened for each line, so that it is there again after somebody removed it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append `{"steps": step, ...}`.

        Raises:
            OSError: the file cannot be written.
        """
        with self._path.open("a", encoding="utf-8") as file:
            file.write(to_json({"steps": step, **metrics}) + "\n")

    def close(self) -> None:
        """Do nothing: every line is in the file already."""


class Loggers:
    """Several loggers as one."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = loggers

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Give the metrics to each."""
        for logger in self._loggers:
            logger.log(step, metrics)

    def close(self) -> None:
        """Close each."""
        for logger in self._loggers:
            logger.close()


def flatten(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers of nested metrics under names such as `losses/entropy`."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            flat[prefix + key] = float(value)
    return flat


def to_json(metrics: Mapping[str, Any]) -> str:
    """Return one line of JSON in which NaN and infinities are null."""
    return json.dumps({k: _finite(v) for k, v in metrics.items()})


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
