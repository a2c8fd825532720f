"""Trains the agents that ship with Ocean's environments and evaluates them.

`python tools/baselines.py [NAME ...]` trains each environment with the settings of its TOML, writes
the weights in half precision beside it, and prints what 100 episodes with them are worth.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from puffer.core.registry import find
from puffer.ocean import envs, sanity

NOTHING_TO_LEARN = ("puffer_performance", "puffer_performance_empiric")
NAMES = [n for n in (*envs.family.ids, *sanity.family.ids) if n not in NOTHING_TO_LEARN]


def run(*words: str) -> dict[str, Any]:
    """Run `puffer-train` and return the last object that it prints."""
    command = [sys.executable, "-m", "puffer.train", *words, "--ui", "json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    for line in reversed(result.stdout.splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            return dict(json.loads(line))
    return {}


def beside(name: str) -> Path:
    """Return where the weights of an environment lie: in the folder of its settings."""
    module = importlib.import_module(find(name).creator.__module__)
    return Path(str(module.__file__)).with_name(f"{name.removeprefix('puffer_')}.safetensors")


def make(name: str, run_folder: str | None, seed: int) -> None:
    """Train (or take the newest run of `run_folder`), export, evaluate and print one line."""
    with tempfile.TemporaryDirectory() as scratch:
        trained: dict[str, Any] = {}
        if run_folder is None:
            where = ["--train.data-dir", scratch, "--train.seed", str(seed)]
            trained = run("--env", name, *where)
        model = run_folder or str(next(Path(scratch).iterdir()))
        export = ["--mode", "export", "--eval-model-path", model]
        run("--env", name, *export, "--export-path", str(beside(name)))
    played = run("--env", name, "--mode", "eval", "--baseline")
    size = beside(name).stat().st_size / 1024
    print(
        f"{name:<24}{trained.get('steps', 0) / 1e6:>8.1f}{trained.get('seconds', 0):>8.0f}"
        f"{played['score_mean']:>10.2f}{played['return_mean']:>10.2f}{size:>8.0f}"
    )


def main() -> None:
    """Make the baselines that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES, help="environments")
    parser.add_argument("--run", help="folder of a run to take instead of training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    options = parser.parse_args()
    columns = ("M steps", 8), ("seconds", 8), ("score", 10), ("return", 10), ("KiB", 8)
    print(f"{'environment':<24}" + "".join(f"{title:>{width}}" for title, width in columns))
    for name in options.names:
        make(name, options.run, options.seed)


if __name__ == "__main__":
    main()
