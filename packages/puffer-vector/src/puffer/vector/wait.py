"""Waiter: the one place where a process waits for another. Poll for a moment, then sleep.

Measured on two cores, with two workers: a wake by polling takes 6 microseconds, by semaphore 31.
But a poll only pays if it succeeds, so a waiter whose last wait was long sleeps at once, and tries
polling again every eighth time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Semaphore
from typing import Any

POLL_SECONDS = 50e-6
SHORT_SECONDS = 100e-6  # a wait that polling could have shortened, waking included

TRY_AGAIN = 8

# Polling gives the core away between two looks, so that it never keeps a worker from running.
_give_way: Callable[[], Any] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Waiter:
    """Waits for semaphores, which also order memory, on every processor.

    Args:
        may_poll: whether there are cores for it; with one alone, whoever polls delays the other.
    """

    def __init__(self, may_poll: bool) -> None:
        self._may_poll = may_poll
        self._sleeps = 0  # how many times more to sleep at once

    def wait(self, semaphore: Semaphore, check: Callable[[], None], check_seconds: float) -> None:
        """Take one from `semaphore`, however long that takes.

        Args:
            semaphore: what its poster wrote before is visible afterwards.
            check: called after every `check_seconds` of waiting in vain; raises to end the wait.
            check_seconds: see `check`.
        """
        acquire = semaphore.acquire
        if acquire(False):
            return
        clock = time.perf_counter
        began = clock()
        if self._may_poll and not self._sleeps:
            sleep_at = began + POLL_SECONDS
            while clock() < sleep_at:
                _give_way()
                if acquire(False):
                    return
        while not acquire(True, check_seconds):
            check()
        if clock() - began < SHORT_SECONDS:
            self._sleeps = 0
        else:
            self._sleeps = (self._sleeps or TRY_AGAIN) - 1
