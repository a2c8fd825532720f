"""The code of the documentation runs, as far as the packages that it needs are installed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs" / "emulation.md", ROOT / "packages" / "puffer-core" / "README.md"]
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>\w+) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_the_page_runs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not page.exists():
        pytest.skip("the package's sources lie outside of the repository")
    text = page.read_text()
    names: dict[str, Any] = {}
    ran = 0
    for match in BLOCK.finditer(text):
        needs = match["needs"]
        if needs and importlib.util.find_spec(needs) is None:
            continue
        line = text.count("\n", 0, match.start("code"))
        # Blank lines in front make a traceback show the page's own line numbers.
        exec(compile("\n" * line + match["code"], str(page), "exec"), names)
        ran += 1
    assert ran > 0
    assert "Error" not in capsys.readouterr().err
