"""The samples of the README and of the page on adapters run, each document as one program."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import puffer.vector

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "packages" / "puffer-vector" / "README.md", ROOT / "docs" / "adapters.md"]
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>\w+) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


@pytest.mark.timeout(300)  # training and worker processes, on a machine that may be busy
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_samples(page):
    blocks = [
        block["code"]
        for block in BLOCK.finditer(page.read_text("utf-8"))
        if block["needs"] is None or importlib.util.find_spec(block["needs"])
    ]
    assert len(blocks) >= 3
    too_many = ["-W", "ignore:num_workers"] if puffer.vector.usable_cores() == 1 else []
    result = subprocess.run(
        [sys.executable, "-W", "error", *too_many, "-c", "\n".join(blocks)],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout
