"""The error classes, and suggestions."""

from __future__ import annotations

import pytest

from puffer.core import errors


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("squred", ["squared", "breakout"], "did you mean squared?"),
        ("ab", ["abc", "abd"], "did you mean abd or abc?"),
        ("zzz", ["squared", "breakout"], "there is breakout, squared"),
        ("zzz", [], "there is none"),
    ],
)
def test_near_names_the_nearest(name: str, known: list[str], expected: str) -> None:
    assert errors.near(name, known) == expected


def test_near_lists_no_more_than_a_sentence_holds() -> None:
    names = [f"name{i:03}" for i in range(300)]
    assert errors.near("zzz", names).startswith("there is name000, name001, ")
    assert errors.near("zzz", names).endswith("name023 and 276 more")


def test_all_errors_have_one_root() -> None:
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(found) > 8
    assert all(issubclass(error, errors.PufferError) for error in found)
