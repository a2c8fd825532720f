"""Every planted bug still applies, and is what Python finds."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

import mutants


def test_every_bug_can_be_planted():
    found = mutants.load()
    assert mutants.find_faults(found) == []
    assert len(found) >= 25


def test_what_no_longer_applies_is_named():
    first = mutants.load()[0]
    gone = dataclasses.replace(first, name="gone", old="text that is nowhere")
    lost = dataclasses.replace(first, name="lost", tests=["packages/nowhere.py"])
    assert mutants.find_faults([gone, lost, lost]) == [
        f"gone: its text occurs 0 times in {first.file}",
        "lost: there are no tests packages/nowhere.py",
        "lost: there are no tests packages/nowhere.py",
        "lost: two have this name",
    ]


def test_planting_leaves_the_original_alone(tmp_path):
    first = mutants.load()[0]
    before = (mutants.ROOT / first.file).read_text()
    source = mutants.plant(first, tmp_path)
    planted = source / first.file.partition("/src/")[2]
    assert planted.read_text() == before.replace(first.old, first.new) != before
    assert (mutants.ROOT / first.file).read_text() == before


@pytest.mark.parametrize("package", ["vector", "train"])
def test_python_finds_what_was_planted(tmp_path, package):
    """Also in a package that is compiled, whose editable installation is found first."""
    first = next(m for m in mutants.load() if f"puffer-{package}/" in m.file)
    source = mutants.plant(first, tmp_path)
    question = f"import importlib.util as u; print(u.find_spec('puffer.{package}').origin)"
    done = subprocess.run(
        [sys.executable, "-c", question],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(source / "puffer" / package / "__init__.py")
    assert package == "vector" or list((source / "puffer" / package).glob("_native*.so"))
