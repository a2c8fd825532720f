"""Pokemon Red on a cartridge of our own: rewards, observations, states, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from game_boy import make_rom

from puffer.core.errors import UsageError
from puffer.envs import pokemon_red
from puffer.envs.pokemon_red import BUTTONS

ACTION = {name: i for i, name in enumerate(BUTTONS)}


@pytest.fixture
def rom(tmp_path: Path) -> str:
    pytest.importorskip("pyboy", reason="the extra pokemon-red is not installed")
    path = tmp_path / "red.gb"
    path.write_bytes(make_rom())
    return str(path)


def make(rom: str, **options: Any) -> Any:
    return pokemon_red.env_creator()(rom_path=rom, **options)


def unpack(env: Any, row: np.ndarray) -> dict[str, np.ndarray]:
    sample: dict[str, np.ndarray] = env.emulated.observation.unpack(row)
    return sample


@pytest.fixture
def env(rom: str) -> Any:
    """Powered on, with the cartridge's program running."""
    with make(rom, max_episode_steps=1000) as env:
        env.reset(seed=0)
        for _ in range(20):  # the boot program takes its time
            env.step(ACTION["b"])
        assert unpack(env, env.step(ACTION["b"])[0])["place"].tolist() == [0, 10, 20]
        yield env


def test_walking_shows_and_pays_where_it_is_new(env: Any) -> None:
    walk = [("right", 0.02), ("right", 0.02), ("left", 0.0), ("down", 0.02), ("up", 0.0)]
    places = []
    screens = []
    for name, expected in walk:
        row, reward, *_ = env.step(ACTION[name])
        assert reward == pytest.approx(expected)
        sample = unpack(env, row)
        places.append(sample["place"].tolist())
        screens.append(sample["screen"])
    assert places == [[0, 10, 21], [0, 10, 22], [0, 10, 21], [0, 11, 21], [0, 10, 21]]
    assert screens[0].std() > 0
    assert (screens[0] != screens[1]).any(), "the picture follows"
    np.testing.assert_array_equal(screens[2], screens[0])


@pytest.mark.parametrize(("button", "reward"), [("a", 1.0), ("b", 0.5), ("start", 5.0)])
def test_progress_pays_once(env: Any, button: str, reward: float) -> None:
    paid = [env.step(ACTION[button])[1] for _ in range(3)]
    assert paid == pytest.approx([reward] * 3)
    assert env.step(ACTION["select"])[1] == 0


def test_the_memory_is_seen(env: Any) -> None:
    level = unpack(env, env.step(ACTION["down"])[0])["levels"][0]
    for name in ("b", "start", "start", "select"):
        row = env.step(ACTION[name])[0]
    sample = unpack(env, row)
    assert sample["levels"].tolist() == [level + 1, 0, 0, 0, 0, 0]
    assert sample["health"].tolist() == [0.5, 0, 0, 0, 0, 0]
    assert sample["badges"].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert sample["in_battle"].tolist() == [1]


def test_a_saved_game_goes_on_bit_by_bit(env: Any) -> None:
    actions = [ACTION[name] for name in ("right", "a", "down", "down", "start", "up")]
    for action in actions:
        env.step(action)
    state = env.env.save()
    expected = [env.step(action) for action in actions]
    first = env.env.load(state)
    assert first["place"].tolist() == [0, 11, 21]
    for action, (row, reward, *_) in zip(actions, expected, strict=True):
        again, same, *_ = env.step(action)
        np.testing.assert_array_equal(again, row)
        assert same == reward


def test_a_state_of_something_else_is_refused(env: Any) -> None:
    with pytest.raises(UsageError, match="state of 3 bytes is none of Pokemon Red"):
        env.env.load(b"abc")


def test_episodes_begin_with_the_given_state_and_end_at_their_limit(
    env: Any, rom: str, tmp_path: Path
) -> None:
    for _ in range(4):
        env.step(ACTION["right"])
    file = tmp_path / "begin.state"
    file.write_bytes(env.env._save_emulator())
    with make(rom, init_state=str(file), max_episode_steps=3) as other:
        for _ in range(2):
            row, _ = other.reset(seed=1)
            assert unpack(other, row)["place"].tolist() == [0, 10, 24]
            outcomes = [other.step(ACTION["down"]) for _ in range(3)]
            assert [outcome[3] for outcome in outcomes] == [False, False, True]
            assert not any(outcome[2] for outcome in outcomes)
            statistics = outcomes[-1][4]
            assert (statistics["places"], statistics["badges"]) == (4, 0)


def test_the_seed_decides_how_long_nothing_is_done(rom: str) -> None:
    frames = set()
    with make(rom, noop_max=30) as env:
        for seed in (1, 1, 2, 3):
            env.reset(seed=seed)
            frames.add((seed, env.env._save_emulator()))
    assert len(frames) == 3


def test_it_draws(rom: str) -> None:
    with make(rom, render_mode="rgb_array") as env:
        env.reset(seed=0)
        assert env.render().shape == (144, 160, 3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rom_path": ""}, r"needs the image of your own cartridge: pass rom_path \(--env.rom-"),
        ({"rom_path": "none.gb"}, "rom_path='none.gb': there is no such file"),
        ({"init_state": "none"}, "init_state='none': there is no such file"),
        ({"frames": 1}, "frames=1, max_episode_steps=2048, noop_max=0: expected integers >= 2"),
        ({"render_mode": "human"}, "render_mode='human': pokemon_red draws as rgb_array"),
    ],
)
def test_what_is_missing_or_wrong(
    rom: str, options: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(pokemon_red.ROM_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=sentence):
        pokemon_red.env_creator()(**{"rom_path": rom, **options})


def test_another_game_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.gb"
    path.write_bytes(make_rom(b"TETRIS"))
    with pytest.raises(UsageError, match=r"has the title 'TETRIS' \(SHA-1 [0-9a-f]{40}\)"):
        pokemon_red.find_rom(str(path))


def test_the_path_may_be_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "blue.gb"
    path.write_bytes(make_rom(b"POKEMON BLUE"))
    monkeypatch.setenv(pokemon_red.ROM_VARIABLE, str(path))
    assert pokemon_red.find_rom("") == path
