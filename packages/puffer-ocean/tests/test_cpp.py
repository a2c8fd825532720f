"""The engine in C++ alone, under the sanitizers, and what the compiler tells an author."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import puffer.ocean

COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")

pytestmark = pytest.mark.timeout(900)  # the first test compiles


@pytest.mark.parametrize("program", ["engine_address", "engine_thread", "breakout_address"])
def test_cpp_is_right_and_clean(compiled: Path, program: str) -> None:
    result = subprocess.run([compiled / program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_the_compiler_names_what_an_environment_lacks() -> None:
    source = Path(__file__).parent / "cpp" / "broken_env.cpp"
    include = f"-I{puffer.ocean.get_include()}"
    command = [COMPILER, "-std=c++20", include, "-fsyntax-only", source]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    for sentence in (
        "Obs must be std::uint8_t, std::int8_t, std::int32_t or float",
        "Action must be std::int32_t or float",
        "an environment lists its options: static constexpr std::tuple config_fields",
        "an environment needs `static Spec spec(const Config&)` and E{config}",
        "an environment needs `void reset(Rng&)`",
        "an environment needs `void step(Io<Action>, Rng&)`",
        "an environment needs `void observe(std::span<Obs>) const`",
    ):
        assert re.search(f"error: static assertion failed.*{re.escape(sentence)}", result.stderr)
    assert "[with E = Good]" not in result.stderr
    # One error for each of them, short enough to be read.
    assert len(re.findall("error:", result.stderr)) == 7
    assert len(result.stderr.splitlines()) < 7 * 15
