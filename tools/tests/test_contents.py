"""What a wheel of ours may contain."""

from __future__ import annotations

import re

import numpy as np
import pytest

import contents
from venvs import CheckError
from workspace import NATIVE, PACKAGES, ROOT

SOURCES = {"puffer/core/__init__.py", "puffer/core/py.typed"}
GOOD = [*SOURCES, "puffer_core-0.1.0.dist-info/licenses/LICENSE"]
STUB = "puffer/train/_native.pyi"
MODULE = "puffer/train/_native.cpython-311-x86_64-linux-gnu.so"
NATIVE_SOURCES = {"puffer/train/__init__.py", "puffer/train/py.typed", STUB}
NATIVE_GOOD = [*NATIVE_SOURCES, MODULE, "puffer_train-0.1.0.dist-info/licenses/LICENSE"]


def test_good_wheels_pass() -> None:
    contents.check_files("core", GOOD, SOURCES)
    contents.check_files("train", NATIVE_GOOD, NATIVE_SOURCES)


@pytest.mark.parametrize(
    "wrong",
    ["puffer/__init__.py", "puffer/py.typed", "tests/test_a.py", "puffer/vector/make.py",
     "puffer_core.libs/libGL-1.so", "puffer_core-0.1.0.data/scripts/puffer"],
)  # fmt: skip
def test_a_file_outside_the_layer_is_refused(wrong: str) -> None:
    with pytest.raises(CheckError) as caught:
        contents.check_files("core", [*GOOD, wrong], SOURCES)
    assert str(caught.value) == (
        f"the wheel of puffer-core has {wrong}: expected files in puffer/core/ alone"
    )


@pytest.mark.parametrize("stray", ["puffer/core/notes.txt", "puffer/core/x.cpython-311.pyc"])
def test_a_file_that_git_does_not_know_is_refused(stray: str) -> None:
    with pytest.raises(CheckError, match=f"has {stray}, unknown to git"):
        contents.check_files("core", [*GOOD, stray], SOURCES)


@pytest.mark.parametrize("missing", sorted(SOURCES))
def test_a_file_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(CheckError, match=f"the wheel of puffer-core has no {missing}"):
        contents.check_files("core", [name for name in GOOD if name != missing], SOURCES)


def test_types_are_part_of_every_wheel_and_stubs_of_compiled_ones() -> None:
    with pytest.raises(CheckError, match=r"has no puffer/core/py\.typed"):
        contents.check_files("core", [GOOD[-1]], set())
    untyped = [name for name in NATIVE_GOOD if name != STUB]
    with pytest.raises(CheckError, match=r"has no puffer/train/_native\.pyi"):
        contents.check_files("train", untyped, NATIVE_SOURCES - {STUB})


def test_compiled_code_is_where_it_belongs() -> None:
    with pytest.raises(CheckError, match="has 0 modules"):
        contents.check_files("train", [n for n in NATIVE_GOOD if n != MODULE], NATIVE_SOURCES)
    with pytest.raises(CheckError, match="has 1 modules"):
        contents.check_files("core", [*GOOD, MODULE.replace("train", "core")], SOURCES)
    contents.check_tag("train", "puffer_train-0.1.0-cp311-cp311-manylinux_2_34_x86_64.whl")
    contents.check_tag("core", "puffer_core-0.1.0-py3-none-any.whl")
    for layer, tag, word in (
        ("train", "cp311-cp311-linux_x86_64", "manylinux"),
        ("train", "py3-none-any", "expected compiled code"),
        ("core", "cp311-cp311-manylinux_2_34_x86_64", "expected pure code"),
    ):
        with pytest.raises(CheckError, match=word):
            contents.check_tag(layer, f"puffer_{layer}-0.1.0-{tag}.whl")


def test_a_wheel_without_licence_is_refused() -> None:
    with pytest.raises(CheckError) as caught:
        contents.check_files("core", GOOD[:-1], SOURCES)
    assert str(caught.value) == "the wheel of puffer-core has no licence: name it in license-files"


def test_three_megabytes_are_too_many_but_weights_are_not_counted() -> None:
    contents.check_size("ocean", {"a.so": 2_999_999, "a.safetensors": 9_000_000})
    with pytest.raises(CheckError, match=r"has 3\.0 MB .* expected less than 3"):
        contents.check_size("ocean", {"a.so": 2_999_999, "a.py": 1})


def test_the_readme_is_the_description() -> None:
    readme = (ROOT / "packages" / "puffer-core" / "README.md").read_text("utf-8")
    contents.check_readme("core", f"Name: puffer-core\nVersion: 1\n\n{readme}\n")
    with pytest.raises(CheckError, match=r"does not describe itself by its README\.md"):
        contents.check_readme("core", "Name: puffer-core\nVersion: 1\n")


def test_a_graphics_library_is_refused() -> None:
    contents.check_libraries("ocean", ["libstdc++.so.6", "libc.so.6", "ld-linux-x86-64.so.2"])
    with pytest.raises(CheckError, match=r"puffer-ocean's module needs libGL\.so\.1"):
        contents.check_libraries("ocean", ["libc.so.6", "libGL.so.1"])


def test_the_libraries_of_a_module_are_read_from_it() -> None:
    module = np._core._multiarray_umath.__file__
    with open(module, "rb") as file:
        assert "libc.so.6" in contents.needed(file.read())


def test_git_knows_what_each_package_is_typed_by() -> None:
    for layer in PACKAGES:
        known = contents.sources(layer)
        assert f"puffer/{layer}/py.typed" in known
        assert (f"puffer/{layer}/_native.pyi" in known) == (layer in NATIVE)
        assert all(re.match(f"puffer/{layer}/", name) for name in known)


def test_the_licence_of_each_package_is_that_of_the_workspace() -> None:
    licence = (ROOT / "LICENSE").read_text("utf-8")
    for layer in PACKAGES:
        copy = ROOT / "packages" / f"puffer-{layer}" / "LICENSE"
        assert copy.read_text("utf-8") == licence, copy
