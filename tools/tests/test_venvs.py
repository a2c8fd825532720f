"""Commands run for a check: quiet, out of sight of this clone, and clear when they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import venvs


def test_a_failed_command_shows_its_end() -> None:
    with pytest.raises(venvs.CheckError) as caught:
        venvs.run([sys.executable, "-c", "print('first'); raise SystemExit('last')"], "a step")
    assert str(caught.value).splitlines() == ["a step failed:", "    first", "    last"]


def test_a_command_sees_the_pins_and_no_path_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    code = "import os; print([os.environ.get(k) for k in ('PYTHONPATH', 'PIP_CONSTRAINT')])"
    pins = venvs.pinned(Path("pins.txt"))
    assert venvs.run([sys.executable, "-c", code], "looking", env=pins) == "[None, 'pins.txt']\n"
    assert venvs.pinned(None) == {}
