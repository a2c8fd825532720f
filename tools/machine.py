"""What this machine must have before the workspace can be set up, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_PYTHON = f"python3.{sys.version_info.minor}"


def missing() -> list[str]:
    """Return a sentence for each thing that somebody must install by hand."""
    return [fault for fault in (venv_fault(), headers_fault(), compiler_fault()) if fault]


def venv_fault() -> str | None:
    """Return what to do if this Python cannot make virtual environments."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return None
    return (
        f"{sys.executable} has no venv module: install it (Debian, Ubuntu: sudo apt install "
        f"{_PYTHON}-venv; others: use a Python from https://www.python.org/downloads)"
    )


def headers_fault() -> str | None:
    """Return what to do if extensions cannot be compiled for this Python."""
    if os.name == "nt" or (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return None
    return (
        f"{sys.executable} has no C headers (Python.h): install them (Debian, Ubuntu: sudo apt "
        f"install {_PYTHON}-dev; Fedora: sudo dnf install {_PYTHON}-devel)"
    )


def compiler_fault() -> str | None:
    """Return what to do if there is no compiler for C++20."""
    if os.name == "nt":  # CMake finds Visual Studio by itself, or says that it did not
        return None
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    compiler = next((name for name in names if shutil.which(name)), None)
    install = (
        "(Debian, Ubuntu: sudo apt install g++; Fedora: sudo dnf install gcc-c++; "
        "macOS: xcode-select --install)"
    )
    if compiler is None:
        return f"there is no C++ compiler (looked for {', '.join(names)}): install one {install}"
    done = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"],
        input="#include <concepts>\n#include <span>\nint main() {}\n",
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    return (
        f"the compiler {compiler} does not compile C++20: install GCC 11, Clang 14 or a newer one "
        f"{install}, or name another with the environment variable CXX"
    )
