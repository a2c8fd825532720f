"""The kit's command line: it begins a package, measures, lets one play, and says what is wrong."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puffer.core import registry
from puffer.core.errors import UsageError
from puffer.ocean import Breakout, Continuous, Password
from puffer.ocean.__main__ import _parser, main, own_options
from puffer.ocean.kit.new import package_files, write_package
from puffer.ocean.kit.play import action_keys, play
from puffer.ocean.window import Window

PAGE = Path(__file__).parents[3] / "docs" / "write-your-own-environment.md"


@pytest.fixture
def catch_it(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the generated package importable, with its extension as the tests compiled it."""
    monkeypatch.syspath_prepend(compiled)
    monkeypatch.syspath_prepend(compiled.parent / "kit" / "src")
    monkeypatch.setitem(sys.modules, "catch_it._native", importlib.import_module("_probe"))
    yield
    sys.modules.pop("catch_it", None)


def test_new_writes_a_package_under_its_own_name(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "somewhere" / "deep"
    assert main(["new", "moon_lander2", "--path", str(folder)]) == 0
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore",
        "CMakeLists.txt",
        "README.md",
        "pyproject.toml",
        "src/moon_lander2.cpp",
        "src/moon_lander2.hpp",
        "src/moon_lander2/__init__.py",
        "src/moon_lander2/moon_lander2.toml",
        "tests/test_moon_lander2.py",
    }
    assert len((folder / "CMakeLists.txt").read_text().splitlines()) == 4
    for path in folder.rglob("*.*"):
        if path.is_file():
            assert not re.search("my.?env", path.read_text("utf-8"), re.IGNORECASE), path
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "moon-lander2"
    assert project["entry-points"]["puffer.envs"] == {"moon_lander2": "moon_lander2:family"}
    assert "class MoonLander2(native.OceanEnv)" in (
        folder / "src" / "moon_lander2" / "__init__.py"
    ).read_text("utf-8")
    told = capsys.readouterr().out
    assert f"pip install {folder}" in told
    assert "puffer-train --env moon_lander2" in told


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("MyEnv", "expected small letters, digits and single underscores, such as my_env"),
        ("my-env", "expected small letters"),
        ("_env", "expected small letters"),
        ("2048", "expected small letters"),
        ("class", "is a word of Python or C\\+\\+"),
        ("namespace", "is a word of Python or C\\+\\+"),
        ("random", "is that of an installed package or environment"),
        ("numpy", "is that of an installed package or environment"),
        ("puffer_squared", "is that of an installed package or environment"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        write_package(name, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine").touch()
    assert main(["new", "my_env", "--path", str(tmp_path)]) == 2
    assert "is there already, expected an empty or a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.timeout(900)  # the first test that asks for it compiles
def test_the_generated_game_works(catch_it: None) -> None:
    """`tools/dev.py build --check` does the same from the wheels, and runs the package's tests."""
    spec = importlib.import_module("catch_it").family.load("catch_it")
    assert spec.help == "Catch a falling ball with a paddle."
    assert spec.settings["vec"] == {"backend": "native"}
    with spec.creator(64, report_interval=0) as env:
        observations, _ = env.reset(0)
        scores = []
        for _ in range(50):
            ball = (observations == 2).any(axis=1).argmax(axis=1)
            paddle = (observations[:, -1] == 1).argmax(axis=1)
            moves = np.where(ball < paddle, 1, np.where(ball > paddle, 2, 0))
            observations, *_, infos = env.step(moves)
            scores += [info["perf"] for info in infos]
        assert len(scores) > 300
        assert set(scores) == {1.0}


def test_bench_prints_a_row_for_each_size_and_number_of_threads(capsys: Any) -> None:
    flags = ["--copies", "1", "64", "--threads", "1", "2", "--repeats", "1", "--seconds", "0.001"]
    assert main(["bench", "puffer_squared", *flags, "--size", "5"]) == 0
    machine, title, header, *rows = capsys.readouterr().out.splitlines()
    assert "puffer-ocean: " in machine
    assert title.startswith("puffer_squared: 1 repeats")
    assert header.split() == ["copies", "threads", "median", "minimum", "maximum"]
    assert [row.split()[:2] for row in rows] == [["1", "1"], ["64", "1"], ["64", "2"]]
    assert all(float(number) > 0 for row in rows for number in row.split()[2:])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["play", "puffer_squard"], "unknown environment 'puffer_squard': did you mean"),
        (["play", "puffer_spaces"], "puffer_spaces cannot be played: only native"),
        (["bench", "puffer_spaces"], "puffer_spaces is not native"),
        (["bench", "puffer_squared", "--sides", "3"], "does not know '--sides': its options are"),
        (["bench", "puffer_squared", "--size", "x"], "invalid int value: 'x'"),
        (["bench", "puffer_squared", "--size", "4"], "size=4: expected an odd number"),
        (["bench", "puffer_squared", "--repeats", "0"], "0 repeats of 0.1 s: expected at least 1"),
        (["new", "my_env", "--size", "3"], "new does not take '--size'"),
    ],
)
def test_a_command_line_that_means_nothing_gets_a_sentence(
    words: list[str], sentence: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert sentence in error


def test_options_have_the_types_of_their_defaults() -> None:
    spec = registry.find("puffer_password")
    assert own_options(spec, ["--password", "01", "--max-steps", "7"]) == {
        "password": "01",
        "max_steps": 7,
    }
    assert own_options(spec, []) == {}


class Keyboard(Window):
    """A window whose keys are pressed by a script: a list of names for each picture."""

    def __init__(self, script: list[list[str]]) -> None:
        super().__init__(speed=1000)
        self.script, self.shown = script, 0

    def show(self, picture: Any, frames_per_second: float) -> None:
        self._post()
        super().show(picture, frames_per_second)

    def wait_for_key(self) -> str:
        self._post()
        return super().wait_for_key()

    def _post(self) -> None:
        pygame = sys.modules["pygame"]
        pygame.display.init()
        self.shown += 1
        for key in self.script.pop(0) if self.script else []:
            kind = pygame.KEYUP if key.startswith("/") else pygame.KEYDOWN
            code = pygame.key.key_code(key.removeprefix("/"))
            pygame.event.post(pygame.event.Event(kind, key=code))


def test_one_can_play_a_game_that_waits_for_keys() -> None:
    digits = [[digit] for key in "10110" for digit in (key, f"/{key}")]
    keyboard = Keyboard([[], *digits])
    lines = list(play(registry.find("puffer_password"), {}, seed=0, max_steps=5, window=keyboard))
    assert lines == ["Actions: 0 0, 1 1", "score 1 after 5 steps, 100% of the best"]


def test_one_can_play_a_game_that_goes_on_by_itself() -> None:
    keyboard = Keyboard([["left"], [], [], ["/left"], [], []])
    env = Breakout()
    assert action_keys(env) == {"0": 0, "1": 1, "2": 2, "left": 1, "right": 2, "": 0}
    lines = list(play(registry.find("puffer_breakout"), {}, max_steps=6, window=keyboard))
    assert lines[0].startswith("Actions: 0 0, 1 1, 2 2, left 1")
    assert keyboard.shown == 7


def test_continuous_actions_have_keys_too() -> None:
    keys = action_keys(Continuous())
    assert {key: value.tolist() for key, value in keys.items()}["left"] == [-1, 0]
    keyboard = Keyboard([["right"]])
    lines = list(play(registry.find("puffer_continuous"), {}, max_steps=99, window=keyboard))
    assert lines[0] == "Actions: left [-1.0, 0.0], right [1.0, 0.0], up [0.0, -1.0], " + (
        "down [0.0, 1.0]"
    )
    assert lines[1].startswith("score ")  # pushed to the right all the time: off the table


def test_an_environment_without_keys_says_so() -> None:
    class Mute(Continuous):
        keys = {}  # noqa: RUF012

    with pytest.raises(UsageError, match="Mute has no keys to play with: set its `keys`"):
        action_keys(Mute())


def test_the_window_pauses_steps_and_changes_its_speed() -> None:
    env = Password()
    env.reset(0)

    class Typist(Keyboard):
        """Presses keys whenever the window looks, not once for each picture."""

        def show(self, picture: Any, frames_per_second: float) -> None:
            Window.show(self, picture, frames_per_second)

        def _read_events(self) -> None:
            self._post()
            super()._read_events()

    window = Typist([["p"], [], ["n"], [], ["p"], ["+", "+", "-"], ["escape"]])
    window.show(env.picture(), 1000)  # `p` pauses; `n` lets it go on to the next picture
    assert (window.paused, window.shown) == (True, 3)
    window.show(env.picture(), 1000)  # still paused, until `p` is pressed again
    assert (window.paused, window.shown) == (False, 5)
    window.show(env.picture(), 1000)
    assert window.speed == 32  # no faster than 64; then half of it
    with pytest.raises(KeyboardInterrupt, match="Esc was pressed"):
        window.show(env.picture(), 1000)


@pytest.mark.timeout(900)  # the first test that asks for it compiles
@pytest.mark.skipif(not PAGE.exists(), reason="the page is not in this distribution")
def test_the_page_says_what_is_generated(catch_it: None) -> None:
    text = PAGE.read_text("utf-8")
    header = package_files("catch_it")["src/catch_it.hpp"]
    blocks = re.findall(r"```cpp\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        assert block in header
    (entry,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert entry in package_files("catch_it")["pyproject.toml"]
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)
    assert names["rewards"].shape == (4096,)


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not in this distribution")
def test_the_commands_of_the_page_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^python -m puffer\.ocean (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["new", "play", "bench"]
    assert main(lines[0].split()) == 0
    assert (tmp_path / "catch_it" / "src" / "catch_it.hpp").exists()
    parser = _parser()
    for line in lines[1:]:
        assert parser.parse_args(line.split()).name == "catch_it"
