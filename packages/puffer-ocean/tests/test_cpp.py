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


@pytest.mark.parametrize(
    "program", ["engine_address", "engine_thread", "block_address", "breakout_address"]
)
def test_cpp_is_right_and_clean(compiled: Path, program: str) -> None:
    result = subprocess.run([compiled / program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def compile_only(source: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Check `source` without making anything of it."""
    include = f"-I{puffer.ocean.get_include()}"
    command = [str(COMPILER), "-std=c++20", include, "-fsyntax-only", *options, str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


SENTENCES = {
    "BadObs": "Obs must be std::uint8_t, std::int8_t, std::int32_t, float or Half",
    "BadAction": "Action must be std::int32_t or float",
    "BadOptions": "an environment lists its options: static constexpr std::tuple config_fields",
    "BadSpec": "an environment needs `static Spec spec(const Config&)` and E{config}",
    "BadReset": "an environment needs `void reset(Rng&)`",
    "BadStep": "an environment needs `void step(Io<Action>, Rng&)`",
    "BadObserve": "an environment needs `void observe(std::span<Obs>) const`",
    "BadUpdate": "`update` must be `void update(std::span<Obs>)`",
    "BadMask": "`mask` must be `void mask(std::span<bool>) const`",
    "BadSave": "`save` and `load` must be `void save(Writer&) const` and `void load(Reader&)`",
    "BadValid": "`valid` must be `bool valid(const Config&) const`",
    "BadShared": "`Shared` must have a constructor Shared(const Config&), and the environment a ",
    "BadDraw": "`draw` must be `void draw(Canvas&) const`",
    "BadStats": "`stat_fields` must be `static constexpr std::tuple stat_fields{field(...), ...}`",
    "BadBlock": "a block needs B(const Config&), put(lane, env), get(lane), bool step(io, lanes), ",
}


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_the_compiler_names_what_an_environment_lacks() -> None:
    result = compile_only(
        Path(__file__).parent / "cpp" / "broken_env.cpp", "-fno-diagnostics-color"
    )
    assert result.returncode != 0
    errors = re.findall(r"error: static assertion failed.*", result.stderr)
    for name, sentence in SENTENCES.items():
        assert sum(sentence in error for error in errors) >= 1, name
    assert len(re.findall("error:", result.stderr)) == len(errors), result.stderr
    # A struct with one fault gets its sentence, and can be read without scrolling.
    for part in result.stderr.split("In instantiation of")[1:]:
        assert part.count("\n") < 15, part


MEMBERS = {
    "Obs": "  using Obs = std::uint8_t;\n",
    "Action": "  using Action = std::int32_t;\n",
    "Config": "  using Config = squared::Config;\n",
    "config_fields": r"  static constexpr std::tuple config_fields\{.*?\};\n",
    "spec": r"  static Spec spec\(.*?\n  \}\n",
    "reset": r"  void reset\(.*?\n  \}\n",
    "step": r"  void step\(.*?\n  \}\n",
    "observe": r"  void observe\(.*?\n  \}\n",
}


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
@pytest.mark.parametrize("member", MEMBERS)
def test_a_real_environment_that_lacks_a_member_is_told_so_in_a_few_lines(
    member: str, tmp_path: Path
) -> None:
    """With the limit of errors that the CMake package sets: what follows from one hides it."""
    package = Path(puffer.ocean.__file__).resolve().parent
    flags = {"g++": "-fmax-errors=3", "clang++": "-ferror-limit=3"}
    assert all(
        flag in (package / "cmake" / "PufferOceanConfig.cmake").read_text()
        for flag in flags.values()
    )
    text, cuts = re.subn(
        MEMBERS[member], "", (package / "envs/squared/squared.hpp").read_text(), flags=re.DOTALL
    )
    assert cuts == 1
    (tmp_path / "squared.hpp").write_text(text)
    source = tmp_path / "squared.cpp"
    source.write_text(
        '#include "squared.hpp"\n#include <puffer/ocean/registry.hpp>\n'
        "PUFFER_ENV(squared, squared::Squared)\n"
    )
    flag = flags["clang++" if "clang" in str(COMPILER) else "g++"]
    result = compile_only(source, flag, "-fno-diagnostics-color")
    assert result.returncode != 0
    assert re.search(rf"error: .*\b{member}\b", result.stderr)
    assert result.stderr.count("\n") < 15, result.stderr


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_the_headers_of_environments_know_neither_python_nor_threads_nor_the_system(
    tmp_path: Path,
) -> None:
    package = Path(puffer.ocean.__file__).resolve().parent
    headers = sorted(package.glob("envs/*/*.hpp"))
    source = tmp_path / "all.cpp"
    source.write_text("".join(f'#include "{header}"\n' for header in headers))
    result = compile_only(source, "-H")
    assert result.returncode == 0, result.stderr
    including = {0: source}
    ours: set[str] = set()
    for dots, path in re.findall(r"^(\.+) (\S+)$", result.stderr, re.MULTILINE):
        header, by = Path(path).resolve(), including[len(dots) - 1]
        including[len(dots)] = header
        if header.is_relative_to(package):
            ours.add(header.name)
        elif by.is_relative_to(package):
            assert header.name in STANDARD, f"{by} includes {header}"
    assert {"env.hpp", "rng.hpp", "breakout.hpp"} <= ours
    assert not ours & {"engine.hpp", "pool.hpp", "registry.hpp"}


# What an environment's header may include: computing, and nothing of the machine.
STANDARD = {
    *("algorithm", "array", "bit", "bitset", "cassert", "climits", "cmath", "concepts", "cstddef"),
    *("cstdint", "cstdlib", "cstring", "deque", "functional", "initializer_list", "iterator"),
    *("limits", "map", "memory", "numbers", "numeric", "optional", "queue", "ranges", "set"),
    *("span", "stdexcept", "string", "string_view", "tuple", "type_traits", "unordered_map"),
    *("unordered_set", "utility", "variant", "vector"),
}
