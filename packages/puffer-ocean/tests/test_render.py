"""Pictures of every environment, in each mode, without a screen."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from puffer.ocean import render
from puffer.ocean.native import OceanEnv

PICTURE = render.Picture(
    width=40,
    height=20,
    background=(10, 20, 30),
    shapes=[
        ("rectangle", (200, 0, 0), 0.0, 0.0, 10.0, 10.0),
        ("circle", (0, 200, 0), 30.0, 10.0, 6.0),
        ("line", (0, 0, 200), 0.0, 18.0, 40.0, 18.0, 2.0),
        ("rectangle", (250, 0, 250), 20.0, 10.0, 0.0, 10.0),
        ("text", (255, 255, 255), 12.0, 0.0, 10.0, "Hi"),
    ],
)


def show(mode: str, picture: render.Picture = PICTURE) -> Any:
    renderer = render.open_renderer(mode, "Test")
    try:
        return renderer.show(picture, 1000)
    finally:
        renderer.close()


def test_shapes_become_pixels() -> None:
    image = show("rgb_array")
    assert image.shape == (20, 40, 3)
    assert image.dtype == np.uint8
    assert tuple(image[5, 5]) == (200, 0, 0)
    assert tuple(image[10, 30]) == (0, 200, 0)
    assert tuple(image[18, 35]) == (0, 0, 200)
    assert tuple(image[15, 15]) == (10, 20, 30)
    assert not (image == (250, 0, 250)).all(axis=-1).any()  # no width, no pixels
    assert image.flags.writeable
    assert image[0:12, 12:24].max() > 200  # the letters


def test_shapes_become_text() -> None:
    text = show("ansi")
    plain = re.sub(r"\x1b\[[^m]*m", "", text)
    assert [len(line) for line in plain.split("\n")] == [40] * 10
    assert "Hi" in plain
    assert "38;2;200;0;0" in text
    assert "48;2;10;20;30" in text


def test_thin_shapes_are_seen_in_text() -> None:
    thin = render.Picture(640, 320, (0, 0, 0), [("rectangle", (9, 9, 9), 100.0, 100.0, 1.0, 1.0)])
    assert "9;9;9" in show("ansi", thin)


def test_pictures_show_what_happens(env_class: type[OceanEnv]) -> None:
    with env_class(2, render_mode="rgb_array") as env:
        env.reset(0)
        frames = [env.render()]
        for _ in range(5):
            env.step(np.ones_like(env.actions))
            frames.append(env.render())
        assert frames[0].dtype == np.uint8
        assert frames[0].ndim == 3
        assert len(np.unique(frames[0].reshape(-1, 3), axis=0)) >= 3
        assert any(not np.array_equal(frames[0], frame) for frame in frames[1:])
        # Where nothing is drawn at random, only their actions tell two simulations apart.
        actions = np.ones_like(env.actions)
        actions[0] = 0
        env.reset(0)
        differ = []
        for _ in range(4):
            env.step(actions)
            differ.append(not np.array_equal(env.render(0), env.render(1)))
        assert any(differ)
        assert env.metadata["render_fps"] > 0


def test_text_of_every_env(env_class: type[OceanEnv]) -> None:
    with env_class(1, render_mode="ansi") as env:
        env.reset(0)
        before = env.render()
        texts = []
        for _ in range(5):
            env.step(np.ones_like(env.actions))
            texts.append(env.render())
        assert isinstance(before, str)
        assert any(text != before for text in texts)


def test_a_window_of_every_env(env_class: type[OceanEnv], monkeypatch: Any) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with env_class(1, render_mode="human") as env:
        env.reset(0)
        assert env.render() is None
        assert env.render() is None
        pygame = sys.modules["pygame"]
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        with pytest.raises(KeyboardInterrupt, match="the window was closed"):
            env.render()


def test_drawing_packages_are_imported_when_needed_only() -> None:
    code = (
        "import sys, numpy as np; from puffer.ocean import Squared; "
        "e = Squared(2); e.reset(0); e.step([0, 0]); "
        "assert not {'PIL', 'pygame', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
