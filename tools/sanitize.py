"""Random steps of every native environment under the sanitizers of the C++ compiler.

Builds `packages/puffer-ocean/tests/cpp/walk.cpp` with all environments and without Python, once
with the address and undefined-behaviour sanitizers and once with the thread sanitizer, and runs
both. A report ends the program with an error.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pybind11

ROOT = Path(__file__).resolve().parent.parent
OCEAN = ROOT / "packages" / "puffer-ocean"
BUILD = OCEAN / "build" / "sanitize"


def build() -> int:
    """Configure and compile what is out of date; return the exit code."""
    configure: list[str | Path] = [
        *(sys.executable, "-m", "cmake", "-S", OCEAN / "tests" / "cpp", "-B", BUILD, "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={Path(sys.executable).with_name('ninja')}",
        f"-DPufferOcean_DIR={OCEAN / 'src' / 'puffer' / 'ocean' / 'cmake'}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
        *("-DWALK=ON", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=", "-Wno-dev"),
    ]
    compile_all: list[str | Path] = [sys.executable, "-m", "cmake", "--build", BUILD, "-j", "2"]
    for command in (configure, compile_all):
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    return 0


def main() -> int:
    """Build and run both programs; return 1 if one of them reports anything."""
    parser = argparse.ArgumentParser(prog="tools/dev.py test --sanitize", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="agent steps of each")
    parser.add_argument("--env", default="", help="one environment instead of all")
    options = parser.parse_args()
    if code := build():
        return code
    failed = []
    for program, threads in (("walk_address", 1), ("walk_thread", 3)):
        print(f"--- {program}, {threads} threads", flush=True)
        command: list[str | Path] = [BUILD / program, str(options.steps), str(threads), options.env]
        if subprocess.run(command, check=False).returncode:
            failed.append(program)
    print(f"failed: {', '.join(failed)}" if failed else "no report")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
