"""Install what no extra can: `python -m puffer.envs.install nmmo` shows pip's lines, asks and runs.

Neural MMO asks for exact old versions of NumPy, Gymnasium and PettingZoo and for Python 3.10, and
runs with new ones: its dependencies are installed first, then the package without them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

# Name -> the words of each call of pip, in order.
STEPS = {
    "nmmo": (
        (
            "install",
            *("cython>=3", "setuptools>=70.1,<82", "wheel"),
            *("numpy>=2", "scipy", "imageio", "ordered-set", "psutil", "tqdm", "dill"),
            *("gymnasium>=1", "pettingzoo>=1.24.1"),
        ),
        (
            "install",
            # Cached wheels may have been built with an older NumPy, which this one cannot load.
            *("--no-deps", "--no-build-isolation", "--no-cache-dir", "--ignore-requires-python"),
            "nmmo==2.1.2",
        ),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Show what would be run, ask, and run it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m puffer.envs.install", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("name", choices=sorted(STEPS), help="what to install")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(argv)
    print(f"{options.name} is compiled here: that needs a C compiler and Python's headers.")
    lines = [[sys.executable, "-m", "pip", *words] for words in STEPS[options.name]]
    for line in lines:
        print(" ".join(f'"{word}"' if set("<>=") & set(word) else word for word in line))
    if not options.yes and not _agreed():
        print("nothing was installed")
        return 1
    for line in lines:
        if code := subprocess.run(line, check=False).returncode:
            print(f"pip ended with code {code}: what it said stands above", file=sys.stderr)
            return code
    return 0


def _agreed() -> bool:
    try:
        return input("run these? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


if __name__ == "__main__":
    raise SystemExit(main())
