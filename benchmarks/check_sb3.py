"""Which of Stable-Baselines3's own tests of vector environments our adapter passes.

    python benchmarks/check_sb3.py                       print the list
    python benchmarks/check_sb3.py --write docs/adapters.md    put it between the page's markers

Fetches the source distribution of the installed Stable-Baselines3, which holds its tests, and runs
them twice: as they are, and with `to_sb3` in the place of DummyVecEnv (backend Serial) and of
SubprocVecEnv (backend Multiprocessing), inside SB3's own modules too. A test applies if it makes
such an environment. Stable-Baselines3, pandas and pytest have to be installed.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FILES = "test_vec_*.py"
MARKS = "<!-- check_sb3: begin -->\n", "<!-- check_sb3: end -->\n"
Result = dict[str, Any]  # outcome, reason, and how many vector environments were made


def fetch_tests(folder: Path) -> Path:
    """Return the folder of the tests, unpacked into `folder`."""
    name = f"stable-baselines3=={version('stable-baselines3')}"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--no-binary=stable-baselines3", "-d", folder, name], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests


def replace_classes(made: list[str]) -> None:
    """Put our adapter in the place of SB3's classes; `made` notes each construction."""
    import stable_baselines3.common.vec_env as sb3

    import puffer.vector
    from puffer.vector.adapters.sb3 import SB3VecEnv
    from puffer.vector.recipe import own_env

    class DummyVecEnv(SB3VecEnv):
        """Ours, to be constructed as theirs is; tests are told apart by the name."""

        def __init__(self, env_fns: list[Any]) -> None:
            made.append("serial")
            vecenv = puffer.vector.make(
                list(env_fns), num_envs=len(env_fns), final_observations=True
            )
            super().__init__(vecenv)

        @property
        def envs(self) -> list[Any]:
            """The environments themselves, which tests look into."""
            return self.vecenv.call(own_env)

    class SubprocVecEnv(SB3VecEnv):
        """Ours, to be constructed as theirs is."""

        def __init__(self, env_fns: list[Any], start_method: str | None = None) -> None:
            made.append("multiprocessing")
            super().__init__(
                puffer.vector.make(
                    list(env_fns),
                    num_envs=len(env_fns),
                    backend="multiprocessing",
                    final_observations=True,
                    start_method=start_method,
                    overwork=True,
                )
            )

    ours = {sb3.DummyVecEnv: DummyVecEnv, sb3.SubprocVecEnv: SubprocVecEnv}
    for name, module in list(sys.modules.items()):
        if name.startswith("stable_baselines3"):
            for attribute, value in list(vars(module).items()):
                if isinstance(value, type) and value in ours:
                    setattr(module, attribute, ours[value])


class Recorder:
    """A pytest plugin that keeps the outcome of each test."""

    def __init__(self, made: list[str]) -> None:
        self.made = made
        self.results: dict[str, Result] = {}

    def pytest_runtest_setup(self, item: Any) -> None:
        """Count from here on."""
        self.made.clear()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the outcome, and the first line of what was wrong."""
        if report.when != "call" and report.outcome == "passed":
            return
        reason = ""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = (crash.message if crash else str(report.longrepr)).splitlines()[0]
        elif report.skipped:
            reason = report.longrepr[2].removeprefix("Skipped: ")
        self.results[report.nodeid.partition("tests/")[2]] = {
            "outcome": report.outcome,
            "reason": reason,
            "made": len(self.made),
        }


def run_here(tests: Path, ours: bool, files: str, more: list[str]) -> dict[str, Result]:
    """Run the tests in this process."""
    import pytest
    import stable_baselines3  # noqa: F401 - all its modules, before the classes are replaced

    made: list[str] = []
    if ours:
        replace_classes(made)
    recorder = Recorder(made)
    chosen = sorted(map(str, tests.glob(files)))
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={tests.parent}", *more]
    pytest.main([*options, *chosen], plugins=[recorder])
    return recorder.results


def run(tests: Path, who: str, args: argparse.Namespace) -> dict[str, Result]:
    """Run the tests in a process of their own."""
    out = tests.parent / f"{who}.json"
    command = [sys.executable, __file__, "--who", who, "--tests", tests, "--files", args.files]
    # One thread: these networks are small, and the environments need the other cores.
    done = subprocess.run(
        [*command, "--out", out, *args.more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
    return dict(json.loads(out.read_text()))


def table(own: dict[str, Result], ours: dict[str, Result]) -> str:
    """Return the list as Markdown."""
    packages = ("stable-baselines3", "gymnasium", "numpy", "torch")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    applies = [name for name in ours if ours[name]["made"]]
    count = collections.Counter(ours[name]["outcome"] for name in applies)
    lines = [
        f"{len(ours)} tests, {len(applies)} of which make a vector environment: "
        + ", ".join(f"{n} {outcome}" for outcome, n in sorted(count.items(), reverse=True))
        + f" ({versions}).",
        "",
        "| test | cases | SB3's classes | `to_sb3` |",
        "|---|---|---|---|",
    ]
    functions: dict[str, list[str]] = {}
    for name in applies:
        functions.setdefault(name.partition("[")[0], []).append(name)
    for function, names in functions.items():
        file, _, short = function.partition(".py::")
        mine = summary([ours[name] for name in names])
        theirs = summary([own.get(name, {"outcome": "not run", "reason": ""}) for name in names])
        lines.append(f"| `{file}`: `{short}` | {len(names)} | {theirs} | {mine} |")
    rest = collections.Counter(name.partition(".py")[0] for name in ours if not ours[name]["made"])
    others = ", ".join(f"{n} of `{file}`" for file, n in rest.items())
    lines += ["", f"The others make none, or were skipped: {others}."]
    return "\n".join(lines) + "\n"


def summary(results: list[Result]) -> str:
    """Return the outcome of a test's cases, with the reason of those that did not pass."""
    wrong = [result for result in results if result["outcome"] != "passed"]
    if not wrong:
        return "passed"
    reason = wrong[0]["reason"].replace("|", "\\|")[:150]
    return f"{len(wrong)} {wrong[0]['outcome']}: {reason}"


def main() -> None:
    """Fetch, run both ways, and list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", default=FILES, help="which test files")
    parser.add_argument("--write", type=Path, help="a page with markers, to put the list into")
    parser.add_argument("--tests", type=Path, help="the folder of the tests, if it is there")
    parser.add_argument("--who", choices=("own", "ours"), help="run once, in this process")
    parser.add_argument("--out", type=Path)
    args, args.more = parser.parse_known_args()
    if args.who:
        results = run_here(args.tests, args.who == "ours", args.files, args.more)
        args.out.write_text(json.dumps(results))
        return
    missing = [m for m in ("stable_baselines3", "pandas", "pytest") if find_spec(m) is None]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        tests = args.tests or fetch_tests(Path(folder))
        listing = table(run(tests, "own", args), run(tests, "ours", args))
    if args.write:
        head, _, rest = args.write.read_text().partition(MARKS[0])
        args.write.write_text(head + MARKS[0] + listing + MARKS[1] + rest.partition(MARKS[1])[2])
    print(listing)


if __name__ == "__main__":
    main()
