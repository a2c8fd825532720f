"""Guards: a logger that raises, blocks or is slow costs its own numbers, never the training."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from puffer.train.log import Logger


class Guarded:
    """Runs a logger in a thread of its own, behind a queue of bounded length.

    Args:
        name: of the logger, for people.
        make: returns the logger; called in the thread, since it may block, too.
        warn: called with a sentence, once for each kind of trouble.
        capacity: as many calls may wait; what comes while that many do is dropped.
        patience_seconds: how long `close` waits for what is pending.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Logger],
        warn: Callable[[str], None],
        *,
        capacity: int = 1000,
        patience_seconds: float = 30.0,
    ) -> None:
        self._name, self._make, self._warn = name, make, warn
        self._patience_seconds = patience_seconds
        self._queue: queue.Queue[tuple[int, dict[str, Any]] | None] = queue.Queue(capacity)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"logger {name}", daemon=True)
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Hand the metrics to the thread; never blocks, never raises."""
        try:
            self._queue.put_nowait((step, dict(metrics)))
        except queue.Full:
            self._dropped += 1
            if self._dropped == 1:
                self._warn(f"{self._name} does not keep up: it misses numbers, training goes on")

    def close(self) -> None:
        """Wait until all is logged, but not for ever."""
        try:
            self._queue.put(None, timeout=self._patience_seconds)
            self._thread.join(self._patience_seconds)
        except queue.Full:
            pass
        if self._thread.is_alive():
            self._warn(
                f"{self._name} did not finish within {self._patience_seconds:g} seconds: its last "
                "numbers may be lost, metrics.jsonl has them all"
            )

    def _run(self) -> None:
        try:
            logger = self._make()
            while (entry := self._queue.get()) is not None:
                logger.log(*entry)
            logger.close()
        except Exception as error:
            self._warn(
                f"{self._name} failed ({type(error).__name__}: {error}): it logs no more, training "
                "goes on"
            )
            while self._queue.get() is not None:  # so that nobody waits for a place in it
                pass


class Tolerant:
    """Calls a quick logger directly; its first failure is reported, and it is asked again."""

    def __init__(self, name: str, logger: Logger, warn: Callable[[str], None]) -> None:
        self._name, self._logger, self._warn = name, logger, warn
        self._failed = False

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Log; never raises what the disk says."""
        try:
            self._logger.log(step, metrics)
        except OSError as error:
            if not self._failed:
                self._warn(f"{self._name} cannot be written ({error.strerror}): training goes on")
            self._failed = True

    def close(self) -> None:
        """Close the logger."""
        self._logger.close()
