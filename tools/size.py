"""Print the lines of code of each package, and fail where a module outgrew its budget.

A line of code is one that is neither blank nor comment nor docstring: what a reader has to hold.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "vector", "ocean", "envs", "train")

# What is promised to stay small enough to read in one sitting: name -> (files, lines it must
# stay under). Paths are relative to packages/.
BUDGETS: dict[str, tuple[tuple[str, ...], int]] = {
    "PufferEnv": (("puffer-core/src/puffer/core/env.py",), 100),
    "Serial": (("puffer-vector/src/puffer/vector/serial.py",), 150),
    "the trainer's path": (
        tuple(
            f"puffer-train/src/puffer/train/{name}.py"
            for name in ("trainer", "rollout", "storage", "advantage", "ppo")
        ),
        1000,
    ),
}

_LAYOUT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# A C++ comment, or a literal in which `//` means nothing.
_CPP_COMMENT = re.compile(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|//[^\n]*|/\*.*?\*/""", re.S)


def count_python(source: str) -> int:
    """Return the number of lines of `source` that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            lines.difference_update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def count_cpp(source: str) -> int:
    """Return the number of lines of `source` that hold code."""
    bare = _CPP_COMMENT.sub(lambda m: m[1] or "\n" * m[0].count("\n"), source)
    return sum(1 for line in bare.splitlines() if line.strip())


def count_files(folder: Path, *suffixes: str) -> int:
    """Return the lines of code of all files below `folder` that end in one of `suffixes`."""
    return sum(
        (count_python if path.suffix == ".py" else count_cpp)(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes
    )


def check_budgets(
    packages: Path, budgets: dict[str, tuple[tuple[str, ...], int]]
) -> tuple[list[str], list[str]]:
    """Return a line to print for each budget, and a sentence for each one that is not kept.

    A file that is missing is a budget not kept: it was renamed, and the table with it should be.
    """
    report, faults = [], []
    for name, (files, limit) in budgets.items():
        missing = [file for file in files if not (packages / file).is_file()]
        if missing:
            faults.append(
                f"{name}: there is no packages/{missing[0]}: mend the table in tools/size.py"
            )
            continue
        lines = sum(count_python((packages / f).read_text(encoding="utf-8")) for f in files)
        report.append(f"{name:<20}{lines:>7} of {limit - 1}")
        if lines >= limit:
            faults.append(f"{name} has {lines} lines of code, expected under {limit}: simplify it")
    return report, faults


def main() -> int:
    """Print the table and the budgets; return 1 if one is not kept."""
    packages = ROOT / "packages"
    counts = {
        name: (
            count_files(packages / f"puffer-{name}" / "src", ".py"),
            count_files(packages / f"puffer-{name}" / "src", ".hpp", ".cpp")
            + count_files(packages / f"puffer-{name}" / "cpp", ".hpp", ".cpp"),
            count_files(packages / f"puffer-{name}" / "tests", ".py", ".hpp", ".cpp"),
        )
        for name in PACKAGES
    }
    print(f"{'lines of code':<20}{'Python':>7}{'C++':>7}{'tests':>7}")
    for name, (python, cpp, tests) in counts.items():
        print(f"{name:<20}{python:>7}{cpp:>7}{tests:>7}")
    python, cpp, tests = (sum(column) for column in zip(*counts.values(), strict=True))
    print(f"{'total':<20}{python:>7}{cpp:>7}{tests:>7}")
    report, faults = check_budgets(packages, BUDGETS)
    print("\nbudgets", *report, sep="\n")
    for fault in faults:
        print(f"tools/size.py: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
