"""The example that moves a CleanRL script to puffer.vector: small as a change, and it runs."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_moving_a_script_takes_forty_lines_at_most():
    plain, ours = (
        (EXAMPLES / f"cleanrl_ppo_atari{suffix}.py").read_text().splitlines()
        for suffix in ("_plain", "")
    )
    changed = [line for line in difflib.ndiff(plain, ours) if line.startswith(("- ", "+ "))]
    assert 0 < len(changed) <= 40


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["cleanrl_ppo_atari", "cleanrl_ppo_atari_plain"])
def test_ppo_for_atari_runs(name: str):
    pytest.importorskip("ale_py", reason="the extra atari is not installed")
    pytest.importorskip("cv2", reason="the extra atari is not installed")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--steps", "256", "--horizon", "16"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["128", "256"]
