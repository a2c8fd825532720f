"""The code of the page on training in Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "train-in-python.md"


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    if not PAGE.exists():
        pytest.skip("the package's sources lie outside of the repository")
    text = PAGE.read_text()
    names: dict[str, Any] = {}
    for match in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        line = text.count("\n", 0, match.start(1))
        # Blank lines in front make a traceback show the page's own line numbers.
        exec(compile("\n" * line + match[1], str(PAGE), "exec"), names)
    steps, mean = capsys.readouterr().out.split("\n")[0].split()
    assert int(steps) >= 8_000
    assert float(mean) > 35  # by chance it is 22
