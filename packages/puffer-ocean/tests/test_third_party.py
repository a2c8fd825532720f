"""A stranger's environment, built by the exported CMake package and found by its family."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import puffer.ocean
from puffer.core.errors import UsageError

MAZE = Path(__file__).parents[3] / "examples" / "puffer-maze"


def _needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module} to build")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to import the freshly built `puffer_maze` from."""
    if not MAZE.exists():
        pytest.skip("the examples are not in this distribution")
    _needs("cmake", "pybind11", "ninja")
    pybind11 = importlib.import_module("pybind11")
    folder = tmp_path_factory.mktemp("maze")
    cmake = [sys.executable, "-m", "cmake"]
    configure = [
        *(*cmake, "-S", str(MAZE), "-B", str(folder / "build"), "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={Path(sys.executable).with_name('ninja')}",
        f"-DPufferOcean_DIR={puffer.ocean.get_cmake_dir()}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_INSTALL_PREFIX={folder / 'install'}",
        "-DCMAKE_BUILD_TYPE=Debug",
    ]
    install = [*cmake, "--build", str(folder / "build"), "--target", "install"]
    for command in (configure, install):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    installed = folder / "install" / "puffer_maze"
    for source in (MAZE / "src" / "puffer_maze").iterdir():
        if source.is_file():
            (installed / source.name).write_bytes(source.read_bytes())
    return installed.parent


def test_it_plays_by_its_name(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package)
    family = importlib.import_module("puffer_maze").family
    assert family.ids == ("maze",)
    spec = family.load("maze")
    assert [option.name for option in spec.options][:3] == ["num_envs", "rooms", "max_steps"]
    assert spec.settings["vec"] == {"backend": "native"}
    assert spec.help == "Find the way through a maze that is new in every episode."
    with pytest.raises(UsageError, match="rooms=9: expected 2 to 8"):
        spec.creator(rooms=9)
    with spec.creator(8, rooms=2, report_interval=0, render_mode="rgb_array") as env:
        assert env.observation_space.contains(env.reset(0)[0])
        actions = np.random.default_rng(0).integers(0, 4, (200, 8))
        infos = [info for row in actions for info in env.step(row)[4]]
        assert max(info["perf"] for info in infos) == 1.0
        assert env.render().shape == (160, 160, 3)


def test_another_version_is_refused(tmp_path: Path) -> None:
    _needs("cmake", "pybind11", "ninja")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(x LANGUAGES NONE)\n"
        "find_package(PufferOcean 0.9 CONFIG REQUIRED)\n"
    )
    command = [sys.executable, "-m", "cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build")]
    command += ["-G", "Ninja", f"-DPufferOcean_DIR={puffer.ocean.get_cmake_dir()}"]
    command += [f"-DCMAKE_MAKE_PROGRAM={Path(sys.executable).with_name('ninja')}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert 'compatible with requested version "0.9"' in " ".join(result.stderr.split())
