"""What a wheel of ours may contain."""

from __future__ import annotations

import sys

import pytest

import wheels

GOOD = ["puffer/core/__init__.py", "puffer/core/py.typed", "puffer_core-0.1.0.dist-info/RECORD"]


def test_a_good_wheel_passes() -> None:
    wheels.check_content("core", GOOD)


@pytest.mark.parametrize("wrong", ["puffer/__init__.py", "puffer/py.typed", "tests/test_a.py"])
def test_a_file_outside_the_layer_is_refused(wrong: str) -> None:
    with pytest.raises(wheels.CheckError) as caught:
        wheels.check_content("core", [*GOOD, wrong])
    assert str(caught.value) == (
        f"the wheel of puffer-core has {wrong}: expected files in puffer/core/ alone"
    )


def test_another_layers_file_is_refused() -> None:
    with pytest.raises(wheels.CheckError, match=r"puffer/vector/make\.py"):
        wheels.check_content("core", [*GOOD, "puffer/vector/make.py"])


def test_a_wheel_without_py_typed_is_refused() -> None:
    with pytest.raises(wheels.CheckError) as caught:
        wheels.check_content("core", GOOD[:1])
    assert str(caught.value) == "the wheel of puffer-core has no puffer/core/py.typed: add one"


def test_a_failed_command_shows_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(wheels.CheckError) as caught:
        wheels.run([sys.executable, "-c", "print('first'); raise SystemExit('last')"], "a step")
    assert str(caught.value).splitlines() == ["a step failed:", "    first", "    last"]
