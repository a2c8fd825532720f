"""wait: the one place where a process waits for another. Poll for a moment, then sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Semaphore
from typing import Any

POLL_SECONDS = 50e-6

# Polling gives the core away between two looks, so that it never keeps a worker from running.
_give_way: Callable[[], Any] = getattr(os, "sched_yield", lambda: time.sleep(0))


def wait(semaphore: Semaphore, check: Callable[[], None], check_seconds: float) -> None:
    """Take one from `semaphore`, however long that takes.

    Args:
        semaphore: it also orders memory: what its poster wrote before is visible afterwards.
        check: called after every `check_seconds` of waiting in vain; raises to end the wait.
        check_seconds: see `check`.
    """
    acquire = semaphore.acquire
    if acquire(False):
        return
    clock = time.perf_counter
    sleep_at = clock() + POLL_SECONDS
    while clock() < sleep_at:
        _give_way()
        if acquire(False):
            return
    while not acquire(True, check_seconds):
        check()
