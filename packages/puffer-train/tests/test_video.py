"""Drawing while evaluating: files that play, text, a window, and sentences where it cannot be."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from puffer.train import cli

EVAL = ["--env", "puffer_cartpole", "--mode", "eval", "--env.max-steps", "12"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_gif(capsys):
    assert cli.main([*EVAL, "--video", "film.gif"]) == 0
    assert "video: film.gif" in capsys.readouterr().out
    with Image.open("film.gif") as film:
        assert 5 <= film.n_frames <= 12
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")))
    assert frames[0].std() > 10
    assert (frames[0] != frames[-1]).any()


def test_mp4():
    import av

    assert cli.main([*EVAL, "--video", "film.mp4"]) == 0
    with av.open("film.mp4") as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert 5 <= len(frames) <= 12
    assert frames[0].std() > 10


def test_text_and_window(capsys):
    assert cli.main([*EVAL, "--render", "ansi"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 20
    assert cli.main([*EVAL, "--render", "human"]) == 0


def test_sentences(capsys, monkeypatch):
    assert cli.main([*EVAL, "--video", "film.gif", "--render", "ansi"]) == 2
    assert "--video and --render ansi exclude each other" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "av", None)
    assert cli.main([*EVAL, "--video", "film.mp4"]) == 2
    assert '--video needs av: pip install "puffer-train[video]"' in capsys.readouterr().err
