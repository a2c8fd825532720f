"""The engine in C++ alone, under the sanitizers, and what the compiler tells an author."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import puffer.ocean

COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or ""
SOURCES = Path(__file__).parent / "cpp"
FLAGS = [
    "-std=c++20",
    "-ffp-contract=off",
    f"-I{puffer.ocean.get_include()}",
    f"-I{Path(puffer.ocean.get_include()).parent / 'envs'}",
    "-pthread",
]

pytestmark = pytest.mark.skipif(not COMPILER, reason="no C++ compiler")


PROGRAMS = [
    ("engine_test.cpp", "address,undefined"),
    ("engine_test.cpp", "thread"),
    ("breakout_test.cpp", "address,undefined"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Return (source, sanitizer) -> test program, compiled side by side."""
    folder = tmp_path_factory.mktemp("cpp")
    compilers, programs = [], {}
    for number, (source, sanitizer) in enumerate(PROGRAMS):
        target = programs[source, sanitizer] = folder / str(number)
        flags = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-Og", "-g1"]
        flags += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
        command = [COMPILER, *FLAGS, *flags, SOURCES / source, "-o", target]
        compilers.append(subprocess.Popen(command))
    assert [compiler.wait() for compiler in compilers] == [0] * len(PROGRAMS)
    return programs


@pytest.mark.parametrize(("source", "sanitizer"), PROGRAMS)
def test_cpp_is_right_and_clean(
    programs: dict[tuple[str, str], Path], source: str, sanitizer: str
) -> None:
    program = programs[source, sanitizer]
    result = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_compiler_names_what_an_environment_lacks() -> None:
    command = [COMPILER, *FLAGS, "-fsyntax-only", SOURCES / "broken_env.cpp"]
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
