"""Commands run quietly, and virtual environments of their own to run them in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from workspace import ROOT, Command

# What would let a check see this clone, or make each process compile torch anew.
FORGOTTEN = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


class CheckError(Exception):
    """Something is not what it should be; the message says which and how."""


def new_venv(folder: Path) -> Path:
    """Return the interpreter of a new, empty virtual environment."""
    run([sys.executable, "-m", "venv", "--without-pip", folder], "making a virtual environment")
    return folder / "bin" / "python"


def pip(*words: str | Path, python: str | Path = sys.executable, pins: Path | None = None) -> None:
    """Run pip for the environment of `python`; its output is shown only if it fails.

    `pins` is a file of constraints, which hold for what it builds with as well.
    """
    command: Command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "--disable-pip-version-check",
    ]
    run([*command, *words], f"pip {words[0]} {words[-1]}", cwd=ROOT, env=pinned(pins))


def pinned(pins: Path | None) -> dict[str, str]:
    """Return the variables by which pip, old and new, and whoever calls it keep to `pins`."""
    return (
        {} if pins is None else dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(pins))
    )


def run(
    command: Command,
    what: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> str:
    """Run a command, quietly, and return what it printed; `env` comes on top of the present one.

    Raises:
        CheckError: it failed; has the end of its output.
    """
    around = {key: value for key, value in os.environ.items() if key not in FORGOTTEN}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**around, **(env or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        end = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-30:])
        raise CheckError(f"{what} failed:\n{end}")
    return done.stdout
