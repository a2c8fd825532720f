"""Every planted bug still applies, and one is planted and noticed."""

from __future__ import annotations

import dataclasses

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
