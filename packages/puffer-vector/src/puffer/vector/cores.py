"""usable_cores: how many processes can run at once here."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


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
