"""The samples of the README run, as one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_samples():
    text = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    samples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(samples) == 3
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(samples)], capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout
