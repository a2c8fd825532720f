"""usable_cores: how many processes can run at once here; Spread: that they do so."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

LOOK_SECONDS = 1e-3  # between two looks; who shares a core both times is moved

# The core that this thread is on; None where the system does not tell, or moves nobody.
_current_core: Callable[[], int] | None = None
if hasattr(os, "sched_setaffinity"):
    _current_core = getattr(ctypes.PyDLL(None), "sched_getcpu", None)


def usable_cores() -> int:
    """Return the cores that this process may use, by affinity and by the quotas of its cgroups."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(int, _quotas())]))


def _quotas() -> list[float]:
    """Return the cores that each quota on this process is worth; none outside of containers."""
    quotas = []
    for folder in _folders():
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):  # version 2, 1
            try:
                words = " ".join((folder / name).read_text() for name in names).split()
                quota, period = map(int, words)
            except (OSError, ValueError):  # no such file, or no limit ("max")
                continue
            if quota > 0 and period > 0:  # version 1 says -1 for no limit
                quotas.append(quota / period)
    return quotas


def _folders() -> list[Path]:
    """Return the folders of our cgroup and of those above it, as far as they can be seen."""
    folders = [CGROUPS, CGROUPS / "cpu"]
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = CGROUPS / "cpu" if controllers else CGROUPS
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [root.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    return folders


class Spread:
    """Keeps a worker from sharing a core with another one while some core has neither.

    Workers that sleep and wake within microseconds look idle to Linux, which may leave two on one
    core for 20 to 50 milliseconds: a step of 180 microseconds then takes 400. Whoever shares a core
    for a millisecond is put on one that no worker runs on, and is then as free as before: nothing
    that an environment starts is bound to a core.

    Args:
        cores: where each worker ran last; an integer for each, shared by all.
        worker: the number of this one.
    """

    def __init__(self, cores: memoryview, worker: int) -> None:
        self._cores, self._worker = cores, worker
        self._next_look = 0.0
        self._shared = False  # whether the last look found another one there

    def look(self, now: float) -> None:
        """Note where this worker runs, and move it if it shared a core for too long.

        Args:
            now: the time, in seconds.
        """
        if now < self._next_look or _current_core is None:
            return
        self._next_look = now + LOOK_SECONDS
        core = _current_core()
        shared = core in self._others()
        if shared and self._shared:
            self._move()
            core, shared = _current_core(), False
        self._cores[self._worker], self._shared = core, shared

    def _others(self) -> list[int]:
        cores = self._cores.tolist()
        del cores[self._worker]
        return cores

    def _move(self) -> None:
        allowed = os.sched_getaffinity(0)  # of this thread alone
        free = allowed.difference(self._others())
        if free:
            with contextlib.suppress(OSError):  # somebody took cores away in between
                os.sched_setaffinity(0, free)
                os.sched_setaffinity(0, allowed)
