"""Interrupts: the first SIGINT or SIGTERM ends training after its update, the second at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

EXIT_TERMINATED = 143


class Interrupts:
    """A context that remembers SIGINT and SIGTERM; outside the main thread it does nothing.

    Args:
        inform: called with a sentence when the first signal arrives.

    Attributes:
        pending: the signal that arrived, or None.
    """

    def __init__(self, inform: Callable[[str], None]) -> None:
        self._inform = inform
        self.pending: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:  # as a shell sets it for background jobs
                    self._before[number] = signal.signal(number, self._arrive)
            except ValueError:  # not the main thread: whoever called us handles signals
                return self
        return self

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def leave(self) -> None:
        """Raise what the pending signal means: KeyboardInterrupt or SystemExit(143)."""
        if self.pending == signal.SIGTERM:
            raise SystemExit(EXIT_TERMINATED)
        raise KeyboardInterrupt

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        second = self.pending is not None
        self.pending = number
        if second:
            self.leave()
        name = "interrupted" if number == signal.SIGINT else "terminated"
        self._inform(f"{name}: this update is finished and saved; once more leaves at once")
