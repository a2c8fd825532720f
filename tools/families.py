"""Lists the third-party families in docs/families.md, from a run of their tests.

    .venv/bin/python tools/families.py [PYTHON ...]

Each PYTHON is an interpreter with the workspace's packages, pytest and some of the extras; a family
is listed as the first one found it in which its package is installed. Without any it is this one.
A test compares the families of the page with those that are registered.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "families.md"
TESTS = ROOT / "packages" / "puffer-envs" / "tests" / "test_families.py"
PREFIX = "puffer.envs."
EXTRAS = "## Each extra alone\n"  # what follows on the page is written by tools/extras.py

# Test -> the column that it fills.
CHECKS = {
    "test_it_keeps_the_contract_of_its_interface": "contract",
    "test_two_workers_repeat_what_one_process_does": "repeats",
    "test_it_is_silent_and_leaves_no_files": "silent",
}
HEAD = """\
# Environments of others

The families of `puffer-envs`. `pip install "puffer-train[EXTRA]"` brings one, and then
`puffer-train --env NAME` trains on it with its own settings; `puffer-train --list` has all names.

The table is made by `tools/families.py` from a run of
[their tests](../packages/puffer-envs/tests/test_families.py). Each environment tried passes
the checker of its interface (Gymnasium's `check_env`, PettingZoo's `parallel_api_test`, our own for
a native vector), takes up to 1,000 random steps in this process and the same in two worker
processes, equal to the bit, prints nothing and leaves no file. The last columns count environments.

| family, extra | names | tried | package | checker | repeats | silent |
|---|---|---|---|---|---|---|
"""


@dataclasses.dataclass
class Family:
    """What a run said of one family: its package, and check -> environment -> outcome."""

    package: str = ""
    outcomes: dict[str, dict[str, str]] = dataclasses.field(
        default_factory=lambda: {column: {} for column in CHECKS.values()}
    )

    @property
    def tried(self) -> list[str]:
        """The environments whose package was there."""
        contract = self.outcomes["contract"]
        return [name for name, outcome in contract.items() if outcome != "skipped"]

    def tell(self, column: str) -> str:
        """Return how many of those tried passed, and why not all were compared."""
        outcomes = [o for o in self.outcomes[column].values() if o != "skipped"]
        text = f"{sum(o != 'failed' for o in outcomes)} of {len(outcomes)}"
        reasons = {o for o in outcomes if o not in ("passed", "failed")}
        return "; ".join([text, *sorted(reasons)])


def run(python: str) -> dict[str, Family]:
    """Return what the tests of the families say in the interpreter `python`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-o", "junit_family=xunit1", f"--junitxml={report}"]
        subprocess.run([python, "-m", "pytest", *options, str(TESTS)], cwd=ROOT, check=False)
        return parse(report.read_text("utf-8"))


def parse(report: str) -> dict[str, Family]:
    """Return family -> what pytest's report says of it."""
    families: dict[str, Family] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        found = re.fullmatch(r"(\w+)\[([^/\]]+)/?(.*)\]", case.get("name", ""))
        if found is None or found[1] not in CHECKS:
            continue
        family = families.setdefault(found[2], Family())
        outcome = "passed"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
        elif case.find("skipped") is not None:
            outcome = "skipped"
        for note in case.iter("property"):
            if note.get("name") == "package":
                family.package = note.get("value", "")
            elif note.get("name") == "unrepeatable" and outcome == "passed":
                outcome = note.get("value", "")
        family.outcomes[CHECKS[found[1]]][found[3]] = outcome
    return families


def rows(runs: Sequence[dict[str, Family]]) -> Iterator[str]:
    """Yield a row for each registered family, as the first run that had its package tells."""
    for family, ids in registered().items():
        told = next((r[family] for r in runs if family in r and r[family].tried), Family())
        tried = ", ".join(f"`{name}`" for name in told.tried) or "none: the package was absent"
        columns = [told.tell(column) if told.tried else "" for column in CHECKS.values()]
        cells = [f"`{family}`", str(ids), tried, told.package, *columns]
        yield "| " + " | ".join(cells) + " |\n"


def registered() -> dict[str, int]:
    """Return the families of puffer-envs, sorted, and how many names each has."""
    from puffer.core import registry

    entries = importlib.metadata.entry_points(group=registry.GROUP)
    values = {entry.name: entry.value for entry in entries}
    return {
        name: len(family.ids)
        for name, family in sorted(registry.families().items())
        if values[name].startswith(PREFIX)
    }


def main() -> None:
    """Run the tests and write the page, as far as it tells of them."""
    runs = [run(python) for python in sys.argv[1:] or [sys.executable]]
    _, title, below = PAGE.read_text("utf-8").partition(EXTRAS)
    PAGE.write_text(HEAD + "".join(rows(runs)) + (f"\n{title}{below}" if title else ""), "utf-8")


if __name__ == "__main__":
    main()
