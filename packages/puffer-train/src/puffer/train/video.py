"""Drawing while evaluating: a window, text in the terminal, or a video file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from puffer.core.errors import MissingPackageError, UsageError

DEFAULT_FPS = 30


class Screen:
    """Shows an environment after every step.

    Args:
        render: none, human (the environment's own window) or ansi (text on standard output).
        video: path of a .gif or .mp4 to write, or "".
    """

    def __init__(self, render: str, video: str) -> None:
        suffix = Path(video).suffix.lower()
        if video and suffix not in (".gif", ".mp4"):
            raise UsageError(f"--video {video}: expected a name that ends in .gif or .mp4")
        if video and render != "none":
            raise UsageError(f"--video and --render {render} exclude each other: give one")
        if video and not Path(video).absolute().parent.is_dir():
            raise UsageError(f"--video {video}: its folder does not exist: create it first")
        self.render_mode = "rgb_array" if video else (None if render == "none" else render)
        self._video = video
        self._writer: Any = None

    def show(self, env: Any) -> None:
        """Draw `env`, in whose `render_mode` this screen was made."""
        if self.render_mode is None:
            return
        picture = env.render()
        fps = env.metadata.get("render_fps", DEFAULT_FPS)
        if self.render_mode == "ansi":
            clear = "\x1b[H\x1b[2J" if sys.stdout.isatty() else ""
            sys.stdout.write(f"{clear}{picture}\n")
            sys.stdout.flush()
            time.sleep(1 / fps if clear else 0)
        elif self._video:
            if self._writer is None:
                make = _GifWriter if self._video.lower().endswith(".gif") else _Mp4Writer
                self._writer = make(self._video, fps)
            self._writer.add(np.asarray(picture))

    def close(self) -> None:
        """Finish the video file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _GifWriter:
    def __init__(self, path: str, fps: float) -> None:
        self._image = _import("PIL.Image", "puffer-train[video]")
        # GIF counts hundredths of a second, and viewers slow down what is below 2 of them.
        self._path, self._milliseconds = path, max(20, round(100 / fps) * 10)
        self._frames: list[Any] = []

    def add(self, frame: np.ndarray) -> None:
        # A palette image is a third of the memory, and what the file holds anyway.
        self._frames.append(self._image.fromarray(frame).quantize(64))

    def close(self) -> None:
        self._frames[0].save(
            self._path,
            save_all=True,
            append_images=self._frames[1:],
            duration=self._milliseconds,
            loop=0,
        )


class _Mp4Writer:
    def __init__(self, path: str, fps: float) -> None:
        av = _import("av", "puffer-train[video]")
        self._frame = av.VideoFrame
        self._container = av.open(path, "w")
        self._stream = self._container.add_stream("libx264", rate=round(fps))
        self._stream.pix_fmt = "yuv420p"

    def add(self, frame: np.ndarray) -> None:
        height, width = (n - n % 2 for n in frame.shape[:2])  # the format needs even sides
        if not self._stream.codec_context.is_open:
            self._stream.height, self._stream.width = height, width
        picture = self._frame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), "rgb24")
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


def _import(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f'--video needs {module.partition(".")[0]}: pip install "{extra}"'
        ) from error
