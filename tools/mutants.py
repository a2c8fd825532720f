"""Plant known bugs one at a time, run the tests that ought to notice, and say which survive.

    python tools/mutants.py [--check] [--jobs N] [WORD ...]

The bugs stand in mutants.toml: a text that occurs once in a file, what it becomes, and the tests to
run. Each is planted in a copy of the package's sources, which Python finds before the originals;
the working tree is never touched. WORDs choose the bugs whose names hold one of them; `--check`
only proves that every one of them still applies.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
FORGET = """\
import sys

sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "{finder}"]
"""
TIMEOUT = 900  # seconds; a bug that hangs is noticed, too


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One bug: in `file`, `old` becomes `new`; `tests` are pytest's words, from the root."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]
    survives: str = ""  # why nothing notices, where that is known

    @property
    def package(self) -> Path:
        """The folder `src` that the file stands in."""
        path = ROOT / self.file
        return next(parent for parent in path.parents if parent.name == "src")


def load(path: Path = LIST) -> list[Mutant]:
    """Return all bugs of the list."""
    tables = tomllib.loads(path.read_text("utf-8"))["mutant"]
    return [Mutant(**table) for table in tables]


def find_faults(mutants: Sequence[Mutant]) -> list[str]:
    """Return a sentence for each bug that cannot be planted or whose tests are not there."""
    faults = []
    for mutant in mutants:
        path = ROOT / mutant.file
        times = path.read_text("utf-8").count(mutant.old) if path.is_file() else 0
        if times != 1:
            faults.append(f"{mutant.name}: its text occurs {times} times in {mutant.file}")
        elif mutant.old == mutant.new:
            faults.append(f"{mutant.name}: changes nothing")
        files = [word.partition("::")[0] for word in mutant.tests if word.startswith("packages/")]
        missing = [file for file in files if not (ROOT / file).is_file()]
        if missing or not files:
            faults.append(f"{mutant.name}: there are no tests {', '.join(missing)}")
    names = [mutant.name for mutant in mutants]
    faults += [
        f"{name}: two have this name" for name in sorted(set(names)) if names.count(name) > 1
    ]
    return faults


def plant(mutant: Mutant, folder: Path) -> Path:
    """Copy the sources with the bug into `folder` and return what goes onto Python's path.

    A package with compiled code is not found by the path alone: what it was built into comes
    along, and Python is told to forget where its editable installation lies.
    """
    target = folder / "src"
    shutil.copytree(mutant.package, target, ignore=shutil.ignore_patterns("__pycache__"))
    path = target / (ROOT / mutant.file).relative_to(mutant.package)
    path.write_text(path.read_text("utf-8").replace(mutant.old, mutant.new), "utf-8")
    installed = Path(sysconfig.get_path("purelib"))
    for library in installed.glob("puffer/*/_native*.so"):
        if (package := target / library.parent.relative_to(installed)).is_dir():
            shutil.copy(library, package)
    finder = f"_editable_skbc_{mutant.package.parent.name.replace('-', '_')}"
    (target / "sitecustomize.py").write_text(FORGET.format(finder=finder), "utf-8")
    return target


def is_caught(mutant: Mutant) -> tuple[bool, float]:
    """Return whether the tests fail with the bug, and how many seconds that took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="puffer-mutant-") as folder:
        source = plant(mutant, Path(folder))
        environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(
                [*command, *mutant.tests],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True, time.perf_counter() - began
    if done.returncode not in (0, 1):  # pytest itself failed: nothing was tested
        raise RuntimeError(f"{mutant.name}: pytest says {done.stdout[-2000:]}{done.stderr[-500:]}")
    return done.returncode == 1, time.perf_counter() - began


def main(words: Sequence[str]) -> int:
    """Plant every bug asked for; return 1 if one cannot be planted or survives unexpectedly."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="parts of the names of bugs")
    parser.add_argument("--check", action="store_true", help="only prove that all can be planted")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    options = parser.parse_args(words)
    mutants = load()
    faults = find_faults(mutants)
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    if faults or options.check:
        return 1 if faults else 0
    chosen = [m for m in mutants if not options.words or any(w in m.name for w in options.words)]
    survivors = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, (caught, seconds) in zip(chosen, pool.map(is_caught, chosen), strict=True):
            print(
                f"{'caught' if caught else 'SURVIVED':<9}{seconds:>6.0f} s  {mutant.name}",
                flush=True,
            )
            if not caught:
                survivors.append(mutant)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if any(not mutant.survives for mutant in survivors) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
