"""Where a run comes from: versions, the state of the git repository, the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

_PACKAGES = ("puffer-core", "puffer-vector", "puffer-ocean", "puffer-envs", "puffer-train", "torch",
             "numpy", "gymnasium")  # fmt: skip


def describe_start(argv: Sequence[str]) -> dict[str, Any]:
    """Return what to remember of a start of `puffer-train` with these words, as JSON values."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": ["puffer-train", *argv],
        "versions": versions(),
        "git": git_state(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what a run does."""
    found = {"python": platform.python_version(), "implementation": sys.implementation.name}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state() -> dict[str, Any] | None:
    """Return commit, branch and whether files differ, of the current folder; None without git."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "changed_files": [line[2:].strip() for line in (changes or "").splitlines()][:100],
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None
