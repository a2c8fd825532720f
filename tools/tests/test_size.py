"""The size report: what counts as a line of code, and what a broken budget says."""

from __future__ import annotations

from pathlib import Path

import pytest

import size


def test_python_counts_code_alone() -> None:
    source = '''"""Module docstring
over two lines."""

import os  # a comment beside code counts once


# a comment alone
class A:
    """Docstring."""

    text = """two lines
    that are a value"""

    def f(self) -> int:
        """Doc

        string.
        """
        return (
            1
        )
'''
    assert size.count_python(source) == 8


def test_cpp_counts_code_alone() -> None:
    source = """// comment
#include <span>

/* over
   two lines */ int a = 1;  // beside code
const char* url = "http://x";  /* one */
/* only comment */
char quote = '"'; // "
"""
    assert size.count_cpp(source) == 4


def test_a_budget_is_kept_below_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n", encoding="utf-8")
    (tmp_path / "b.py").write_text("z = 3\n", encoding="utf-8")
    report, faults = size.check_budgets(tmp_path, {"pair": (("a.py", "b.py"), 4)})
    assert faults == []
    assert report[0].split() == ["pair", "3", "of", "3"]


def test_a_budget_that_is_reached_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 2\n", encoding="utf-8")
    _, faults = size.check_budgets(tmp_path, {"small": (("a.py",), 2)})
    assert faults == ["small has 2 lines of code, expected under 2: simplify it"]


def test_a_budget_whose_file_is_gone_is_a_fault(tmp_path: Path) -> None:
    _, faults = size.check_budgets(tmp_path, {"gone": (("core/no.py",), 2)})
    assert faults == ["gone: there is no packages/core/no.py: mend the table in tools/size.py"]


def test_the_exit_code_tells_of_a_broken_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(size, "BUDGETS", {"none": (("no.py",), 1)})
    assert size.main() == 1
    captured = capsys.readouterr()
    assert "there is no packages/no.py" in captured.err
    assert captured.out.splitlines()[0].split() == ["lines", "of", "code", "Python", "C++", "tests"]
