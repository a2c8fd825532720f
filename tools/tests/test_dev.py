"""The door: an older Python gets its sentence, wrong words get exit code 2."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import commands
import dev
import workspace


@pytest.fixture(autouse=True)
def no_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "ensure", lambda: None)


def test_python_3_6_can_read_the_door() -> None:
    ast.parse(Path(dev.__file__).read_text("utf-8"), feature_version=(3, 6))


def test_this_python_is_new_enough() -> None:
    assert dev.too_old(sys.version_info[:3]) is None


def test_an_old_python_is_told_which_newer_one_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dev.shutil, "which", lambda name: name if name == "python3.12" else None)
    assert dev.too_old((3, 8, 18)) == (
        "Python 3.11 or newer is needed, this is 3.8.18: "
        "python3.12 is installed, so run `python3.12 tools/dev.py ...`"
    )


def test_an_old_python_alone_is_told_where_to_get_a_newer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dev.shutil, "which", lambda name: None)
    sentence = dev.too_old((3, 10, 1))
    assert sentence is not None
    assert sentence.startswith("Python 3.11 or newer is needed, this is 3.10.1: install it")
    for remedy in ("sudo apt install python3.11", "sudo dnf install", "brew install python"):
        assert remedy in sentence


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in commands.COMMANDS:
        assert f"\n  {name} " in out


def test_no_command_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main([]) == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tset"], "tools/dev.py: unknown command 'tset': did you mean test?"),
        (
            ["zzz"],
            "tools/dev.py: unknown command 'zzz': there is bench, build, lint, test, train",
        ),
        (["lint", "now"], "tools/dev.py: lint does not take 'now': see `tools/dev.py --help`"),
        (["build", "-x"], "tools/dev.py: build does not take '-x': see `tools/dev.py --help`"),
    ],
)
def test_wrong_words(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(words) == 2
    assert capsys.readouterr().err.strip() == sentence


def test_an_unknown_benchmark_names_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_vector.py").touch()
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    assert commands.main(["bench", "vectors"]) == 2
    expected = "tools/dev.py: unknown benchmark 'vectors': did you mean vector?"
    assert capsys.readouterr().err.strip() == expected


def test_a_benchmark_gets_the_words_after_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "benchmarks").mkdir()
    script = tmp_path / "benchmarks" / "bench_vector.py"
    script.write_text("import sys; sys.exit(len(sys.argv))", "utf-8")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "PYTHON", Path(sys.executable))
    assert commands.main(["bench", "vector", "--a", "--b"]) == 3
    assert commands.main(["bench", "--vector", "--a"]) == 2
    assert commands.main(["bench"]) == 1


def test_train_and_test_hand_their_words_on(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(commands, "_become", lambda c: became.append([str(w) for w in c]) or 7)
    monkeypatch.chdir(workspace.ROOT)
    assert commands.main(["train", "--env", "a", "--help"]) == 7
    assert commands.main(["test", "-k", "b"]) == 7
    assert became[0] == [str(workspace.BIN / "puffer-train"), "--env", "a", "--help"]
    assert became[1] == [str(workspace.PYTHON), "-m", "pytest", "-k", "b"]


def test_lint_runs_every_check_and_names_those_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    class Done:
        def __init__(self, code: int) -> None:
            self.returncode = code

    def run(command: workspace.Command, **_: object) -> Done:
        ran.append(" ".join(str(word) for word in command))
        return Done(1 if "mypy" in ran[-1] else 0)

    monkeypatch.setattr(commands.subprocess, "run", run)
    assert commands.main(["lint"]) == 1
    assert len(ran) == 5
    assert "tools/size.py" in ran[-1]
    assert capsys.readouterr().out.splitlines()[-1] == "failed: mypy"


def test_a_failed_set_up_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise workspace.SetUpError("no compiler")

    monkeypatch.setattr(workspace, "ensure", fail)
    assert commands.main(["test"]) == 1
    assert capsys.readouterr().err == "no compiler\n"


def test_sanitize_is_a_program_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    become: list[list[str]] = []
    monkeypatch.setattr(commands, "_become", lambda words: become.append([*map(str, words)]) or 0)
    monkeypatch.setattr(commands.os, "chdir", lambda path: None)
    assert commands.main(["test", "--sanitize", "--steps", "9"]) == 0
    assert commands.main(["test", "-k", "seed"]) == 0
    sanitize, tests = become
    assert sanitize[1:] == [str(commands.ROOT / "tools" / "sanitize.py"), "--steps", "9"]
    assert tests[1:] == ["-m", "pytest", "-k", "seed"]
