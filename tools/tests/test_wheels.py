"""What a wheel of ours may contain."""

from __future__ import annotations

import sys

import pytest

import wheels

GOOD = [
    "puffer/core/__init__.py",
    "puffer/core/py.typed",
    "puffer_core-0.1.0.dist-info/licenses/LICENSE",
]


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
        wheels.check_content("core", [name for name in GOOD if "py.typed" not in name])
    assert str(caught.value) == "the wheel of puffer-core has no puffer/core/py.typed: add one"


def test_a_wheel_without_licence_is_refused() -> None:
    with pytest.raises(wheels.CheckError) as caught:
        wheels.check_content("core", GOOD[:2])
    assert str(caught.value) == (
        "the wheel of puffer-core has no licence: name it in license-files"
    )


def test_the_licence_of_each_package_is_that_of_the_workspace() -> None:
    licence = (wheels.ROOT / "LICENSE").read_text("utf-8")
    for layer in wheels.LAYERS:
        copy = wheels.ROOT / "packages" / f"puffer-{layer}" / "LICENSE"
        assert copy.read_text("utf-8") == licence, copy


def test_a_failed_command_shows_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(wheels.CheckError) as caught:
        wheels.run([sys.executable, "-c", "print('first'); raise SystemExit('last')"], "a step")
    assert str(caught.value).splitlines() == ["a step failed:", "    first", "    last"]
