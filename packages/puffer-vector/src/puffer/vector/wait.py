"""Waiter: the one place where a process waits for another. Poll for a moment, then sleep.

Measured on two cores, with two workers: a wake by polling takes 6 microseconds, by semaphore 31.
But a poll only pays if it succeeds, so a waiter whose last wait was long sleeps at once, and tries
polling again every eighth time.

A worker polls for longer than the main process. It waits for the slower workers of a batch, and
while the main process wakes, looks at the batch and commands the next; a core that sleeps meanwhile
takes some 40 microseconds to wake, for the main process as well. In two workers a step of 64
environments of CartPole took 215 microseconds by 50 of polling and 193 by 100 or 400; one of eight
of NetHack 276 by 100, 253 by 200 and 255 by 400.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Semaphore
from typing import Any

POLL_SECONDS = 50e-6  # of the main process
WORKER_POLL_SECONDS = 300e-6

TRY_AGAIN = 8

# Polling gives the core away between two looks, so that it never keeps a worker from running.
_give_way: Callable[[], Any] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Waiter:
    """Waits for semaphores, which also order memory, on every processor.

    Args:
        may_poll: whether there are cores for it; with one alone, whoever polls delays the other.
        poll_seconds: for how long, at most, in one wait.
    """

    def __init__(self, may_poll: bool, poll_seconds: float = POLL_SECONDS) -> None:
        self._may_poll = may_poll
        self._poll_seconds = poll_seconds
        self._short_seconds = 2 * poll_seconds  # polling could have helped, waking included
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
            sleep_at = began + self._poll_seconds
            while clock() < sleep_at:
                _give_way()
                if acquire(False):
                    return
        while not acquire(True, check_seconds):
            check()
        if clock() - began < self._short_seconds:
            self._sleeps = 0
        else:
            self._sleeps = (self._sleeps or TRY_AGAIN) - 1
