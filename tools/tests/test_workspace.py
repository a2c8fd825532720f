"""The set-up: what it waits for, what it tells, and when it does nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import machine
import workspace


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small clone with a virtual environment that works, and nothing missing on the machine."""
    native = tmp_path / "packages" / "puffer-ocean" / "src"
    native.mkdir(parents=True)
    (native / "env.hpp").write_text("int a;", "utf-8")
    (native / "env.py").write_text("a = 1", "utf-8")
    (native.parent / "pyproject.toml").write_text("[project]", "utf-8")
    (tmp_path / "packages" / "puffer-train" / "cpp").mkdir(parents=True)
    (tmp_path / "constraints.txt").write_text("numpy==2.4.6", "utf-8")
    groups = '[dependency-groups]\nbuild = ["hatchling"]\ntest = ["pytest"]\nlint = ["ruff"]\n'
    (tmp_path / "pyproject.toml").write_text(groups, "utf-8")
    venv = tmp_path / ".venv"
    venv.mkdir()
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setattr(workspace, "VENV", venv)
    monkeypatch.setattr(workspace, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(workspace, "LOG", venv / "set-up.log")
    monkeypatch.setattr(workspace, "STAMP", venv / "set-up.json")
    monkeypatch.setattr(workspace, "_venv_works", lambda: True)
    monkeypatch.setattr(machine, "missing", list)
    return tmp_path


@pytest.fixture
def steps(clone: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the steps that `ensure` runs, none of which does anything."""
    labels: list[str] = []
    monkeypatch.setattr(workspace, "run_step", lambda label, *_: labels.append(label))
    return labels


def test_the_second_set_up_does_nothing(steps: list[str]) -> None:
    workspace.ensure()
    assert [label[:5] for label in steps] == ["[1/2]", "[2/2]"]
    workspace.ensure()
    assert len(steps) == 2


def test_a_changed_header_compiles_its_package_alone(clone: Path, steps: list[str]) -> None:
    workspace.ensure()
    for package, header in ("ocean", "src/env.hpp"), ("train", "cpp/new.hpp"):
        steps.clear()
        (clone / f"packages/puffer-{package}" / header).write_text("int b;", "utf-8")
        workspace.ensure()
        assert steps == [f"[1/1] compiling puffer-{package}"]
        workspace.ensure()
        assert len(steps) == 1


def test_a_changed_python_file_needs_no_set_up(clone: Path, steps: list[str]) -> None:
    workspace.ensure()
    steps.clear()
    (clone / "packages/puffer-ocean/src/env.py").write_text("a = 2", "utf-8")
    workspace.ensure()
    assert steps == []


@pytest.mark.parametrize(
    "file", ["constraints.txt", "pyproject.toml", "packages/puffer-ocean/pyproject.toml"]
)
def test_changed_requirements_install_again(clone: Path, steps: list[str], file: str) -> None:
    workspace.ensure()
    steps.clear()
    with (clone / file).open("a", encoding="utf-8") as stream:
        stream.write("\n# changed\n")
    workspace.ensure()
    assert len(steps) == 2


def test_a_moved_clone_gets_a_new_virtual_environment(clone: Path, steps: list[str]) -> None:
    workspace.ensure()
    stamp = json.loads(workspace.STAMP.read_text("utf-8"))
    workspace.STAMP.write_text(json.dumps({**stamp, "root": "elsewhere"}), "utf-8")
    (clone / ".venv" / "old").touch()
    steps.clear()
    workspace.ensure()
    assert steps[0] == "[1/3] virtual environment"
    assert not (clone / ".venv" / "old").exists()


def test_a_failed_compilation_is_tried_again_and_nothing_else(
    clone: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.ensure()
    (clone / "packages/puffer-ocean/src/env.hpp").write_text("broken", "utf-8")

    def fail(label: str, *_: object) -> None:
        raise workspace.SetUpError(label)

    with monkeypatch.context() as broken:
        broken.setattr(workspace, "run_step", fail)
        with pytest.raises(workspace.SetUpError):
            workspace.ensure()
    steps.clear()
    workspace.ensure()
    assert steps == ["[1/1] compiling puffer-ocean"]


def test_a_set_up_that_was_killed_leaves_no_stamp(
    clone: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.ensure()
    before = (clone / "constraints.txt").read_text("utf-8")
    (clone / "constraints.txt").write_text("numpy==2.4.5", "utf-8")

    def killed(label: str, *_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(workspace, "run_step", killed)
        with pytest.raises(KeyboardInterrupt):
            workspace.ensure()
    (clone / "constraints.txt").write_text(before, "utf-8")
    steps.clear()
    workspace.ensure()
    assert len(steps) == 2


def test_half_installed_packages_are_installed_again(clone: Path) -> None:
    packages = clone / ".venv/lib/python3/site-packages"
    for name, files in {"whole": ("METADATA", "RECORD"), "half": ("METADATA",)}.items():
        (packages / f"{name}-1.dist-info").mkdir(parents=True)
        for file in files:
            (packages / f"{name}-1.dist-info" / file).touch()
    workspace._forget_half_installed()
    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]


def test_the_steps_name_constraints_packages_and_tools(clone: Path) -> None:
    (build, first), (_, second) = workspace._all_steps({})
    assert build == "build tools"
    assert "hatchling" in first
    for name, extras in workspace.PACKAGES.items():
        wanted = f"packages/puffer-{name}" + (f"[{extras}]" if extras else "")
        assert second[second.index(wanted) - 1] == "--editable"
    assert {"--no-build-isolation", "pytest", "ruff"} <= set(second)
    for command in (first, second):
        assert command[command.index("--constraint") + 1] == clone / "constraints.txt"


def test_what_is_missing_is_said_before_anything_is_done(
    clone: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "missing", lambda: ["no compiler", "no venv"])
    with pytest.raises(workspace.SetUpError, match=r"^no compiler\nno venv$"):
        workspace.ensure()
    assert steps == []


def test_a_step_that_works_shows_its_label(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.run_step("[1/1] greeting", [sys.executable, "-c", "print('hello')"])
    assert workspace.LOG.read_text("utf-8").strip() == "hello"
    assert capsys.readouterr().err == "[1/1] greeting ...\n"


def test_a_step_that_fails_shows_its_end_and_a_remedy(clone: Path) -> None:
    code = "for i in range(30): print('line', i)\nraise SystemExit('CMake Error at 3')"
    with pytest.raises(workspace.SetUpError) as caught:
        workspace.run_step("[2/3] compiling", [sys.executable, "-c", code])
    lines = str(caught.value).splitlines()
    assert lines[0] == "[2/3] compiling failed:"
    assert "    line 9" not in lines
    assert "    line 29" in lines
    assert "    CMake Error at 3" in lines
    assert lines[-1] == (
        f"a package does not compile: see the log (the whole output: {workspace.LOG})"
    )


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full: make room"),
        ("Temporary failure in name resolution", "the package index could not be reached"),
        ("ERROR: No matching distribution found for x", "no fitting version was found"),
        ("anything else", "run this again; if it fails in the same way, delete .venv first"),
    ],
)
def test_remedies(output: str, remedy: str) -> None:
    assert workspace.failure("a step", output).splitlines()[-1].startswith(remedy)


# --- the machine ---------------------------------------------------------------------------------


def test_nothing_is_missing_where_these_tests_run() -> None:
    assert machine.missing() == []


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.compiler_fault() == (
        "there is no C++ compiler (looked for c++, g++, clang++): install one "
        "(Debian, Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++; "
        "macOS: xcode-select --install)"
    )


def test_a_compiler_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old-g++"
    old.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    old.chmod(0o755)
    monkeypatch.setenv("CXX", str(old))
    fault = machine.compiler_fault()
    assert fault is not None
    assert fault.startswith(f"the compiler {old} does not compile C++20: install GCC 11, Clang 14")
    assert fault.endswith("or name another with the environment variable CXX")


def test_no_venv_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    fault = machine.venv_fault()
    assert fault is not None
    assert f"{sys.executable} has no venv module: install it" in fault
    assert f"sudo apt install python3.{sys.version_info.minor}-venv" in fault


def test_no_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sysconfig, "get_path", lambda name: str(tmp_path))
    fault = machine.headers_fault()
    assert fault is not None
    assert f"{sys.executable} has no C headers (Python.h): install them" in fault
    assert f"sudo apt install python3.{sys.version_info.minor}-dev" in fault


# --- two at once ---------------------------------------------------------------------------------


@pytest.fixture
def held_lock(clone: Path) -> Iterator[int]:
    fcntl = pytest.importorskip("fcntl", reason="Windows has no flock")
    folder = os.open(clone, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    yield folder
    os.close(folder)


def test_a_second_set_up_waits_for_the_first(
    held_lock: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    real = fcntl.flock

    def release_then_lock(folder: int, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:  # it now waits: the first one ends
            real(held_lock, fcntl.LOCK_UN)
        real(folder, operation)

    monkeypatch.setattr(fcntl, "flock", release_then_lock)
    with workspace._lock():
        pass
    assert capsys.readouterr().err == "Another set-up is at work here: waiting for it.\n"
