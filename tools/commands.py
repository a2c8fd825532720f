"""What the commands of tools/dev.py do, once the workspace is set up."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable

import workspace
from workspace import BIN, PYTHON, ROOT

HELP = """\
usage: python3 tools/dev.py COMMAND [...]

Each command first sets up what it needs in .venv of this clone (a minute or two, once).

  train [...]          train an agent: the words that follow are those of puffer-train
                       (train --env puffer_squared; train --help)
  test [...]           run the tests; the words that follow are those of pytest
                       (test packages/puffer-core; test -k seed)
  test --sanitize      a million random steps of each native environment under the sanitizers of
                       the C++ compiler, without Python (--steps N, --env NAME)
  lint                 check style, types, who imports whom, and the size of modules
  build [--check]      build five sdists, and from them the wheels, into dist/; --check installs
                       each alone, and trains a third party's environment with them
  build --extras [...] install each extra of puffer-train (or those named) alone, and play it
  bench [NAME] [...]   run benchmarks/bench_NAME.py (--NAME will do), or all of them
"""


def train(words: list[str]) -> int:
    """Be `puffer-train` with these words, in the folder where the user stands."""
    workspace.ensure()
    return _become([BIN / "puffer-train", *words])


def test(words: list[str]) -> int:
    """Be pytest with these words, in the workspace; with `--sanitize` be tools/sanitize.py."""
    workspace.ensure()
    os.chdir(ROOT)
    if words[:1] == ["--sanitize"]:
        return _become([PYTHON, ROOT / "tools" / "sanitize.py", *words[1:]])
    return _become([PYTHON, "-m", "pytest", *words])


def lint(words: list[str]) -> int:
    """Run every check, also after one has failed."""
    _refuse(words, "lint")
    workspace.ensure()
    checks: dict[str, workspace.Command] = {
        "ruff check": [PYTHON, "-m", "ruff", "check", "."],
        "ruff format": [PYTHON, "-m", "ruff", "format", "--check", "."],
        "mypy": [PYTHON, "-m", "mypy"],
        "import-linter": [BIN / "lint-imports", "--no-cache"],
        "size": [PYTHON, "tools/size.py"],
    }
    failed = []
    for name, command in checks.items():
        print(f"--- {name}", flush=True)
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def build(words: list[str]) -> int:
    """Build the wheels; with `--check` prove that each works alone, with `--extras` each extra."""
    if words[:1] == ["--extras"]:
        tool, words = "extras.py", words[1:]
    else:
        tool = "wheels.py"
        _refuse([word for word in words if word != "--check"], "build")
    workspace.ensure()
    command: workspace.Command = [PYTHON, ROOT / "tools" / tool, *words]
    return subprocess.run(command, check=False).returncode


def bench(words: list[str]) -> int:
    """Run the named benchmark with the words that follow its name, or all of them."""
    known = {path.stem.removeprefix("bench_"): path for path in ROOT.glob("benchmarks/bench_*.py")}
    name = words[0].removeprefix("--") if words else None
    if name is not None and name not in known:
        raise UsageError(_unknown("benchmark", name, known))
    workspace.ensure()
    names, rest = (sorted(known), []) if name is None else ([name], words[1:])
    codes = []
    for name in names:
        print(f"--- {name}", flush=True)
        codes.append(subprocess.run([PYTHON, known[name], *rest], check=False).returncode)
    return max(codes, default=0)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "test": test,
    "lint": lint,
    "build": build,
    "bench": bench,
}


class UsageError(Exception):
    """A command line that means nothing; the message says what there is."""


def main(words: list[str]) -> int:
    """Run the command that `words` name; return the exit code, 2 for a wrong command line."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    try:
        if words[0] not in COMMANDS:
            raise UsageError(_unknown("command", words[0], COMMANDS))
        return COMMANDS[words[0]](words[1:])
    except UsageError as error:
        print(f"tools/dev.py: {error}", file=sys.stderr)
        return 2
    except workspace.SetUpError as error:
        print(error, file=sys.stderr)
        return 1


def _refuse(words: list[str], command: str) -> None:
    if words:
        raise UsageError(f"{command} does not take {words[0]!r}: see `tools/dev.py --help`")


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names) or 'none'}"
    return f"unknown {kind} {word!r}: {hint}"


def _become(command: workspace.Command) -> int:
    """Replace this process, so that signals and the exit code are the command's own."""
    words = [str(word) for word in command]
    # The set-up leaves byte code to the first import. Without it each process compiles torch anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if os.name != "nt":
        os.execv(words[0], words)
    return subprocess.run(words, check=False).returncode
