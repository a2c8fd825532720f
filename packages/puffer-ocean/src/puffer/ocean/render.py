"""Turns the shapes that an environment draws into pixels, a window or text."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from puffer.core.errors import MissingPackageError, UsageError
from puffer.ocean.extension import RENDER_MODES

Color = tuple[int, int, int]
Shape = tuple[Any, ...]  # kind, color, then the kind's numbers: see canvas.hpp


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """What one simulation looks like: shapes on a background, lengths in pixels."""

    width: float
    height: float
    background: Color
    shapes: list[Shape]


class Renderer(Protocol):
    """One way to show pictures."""

    def show(self, picture: Picture, frames_per_second: float) -> Any:
        """Show one picture."""

    def close(self) -> None:
        """Release what it holds; calling it again does nothing."""


def open_renderer(mode: str | None, owner: str) -> Renderer:
    """Return the renderer of a render mode; `owner` names the env in errors.

    Raises:
        UsageError: an unknown mode.
        MissingPackageError: the mode needs the extra `render`.
    """
    if mode is None:
        return _NoRenderer(owner)
    renderers: dict[str, Callable[[], Renderer]] = {
        "rgb_array": ImageRenderer,
        "human": _open_window,
        "ansi": _TextRenderer,
    }
    if mode not in renderers:
        raise UsageError(
            f"render_mode={mode!r}: {owner} has {', '.join(repr(m) for m in RENDER_MODES)} or None"
        )
    return renderers[mode]()


def _open_window() -> Renderer:
    from puffer.ocean.window import Window  # here, for it needs this module

    return Window()


class _NoRenderer:
    def __init__(self, owner: str) -> None:
        self._owner = owner

    def show(self, picture: Picture, frames_per_second: float) -> None:
        raise UsageError(
            f"{self._owner} was made without render_mode: "
            f"give it one of {', '.join(repr(m) for m in RENDER_MODES)}"
        )

    def close(self) -> None:
        pass


class ImageRenderer:
    """Gives a new (height, width, 3) uint8 array for each picture."""

    _SMOOTH = 2  # drawn at twice the size, then averaged: round shapes get smooth edges

    def __init__(self, mode: str = "rgb_array") -> None:
        self._image = require("PIL.Image", mode)
        self._draw = require("PIL.ImageDraw", mode)
        self._font = require("PIL.ImageFont", mode)

    def show(self, picture: Picture, frames_per_second: float) -> np.ndarray:
        """Return the picture's pixels."""
        scale = self._SMOOTH
        size = (round(picture.width), round(picture.height))
        image = self._image.new("RGB", (size[0] * scale, size[1] * scale), picture.background)
        canvas = self._draw.Draw(image)
        for kind, color, *numbers in picture.shapes:
            if kind == "text":
                x, y, height, text = numbers
                font = self._font.load_default(height * scale)
                canvas.text((x * scale, y * scale), text, color, font)
                continue
            numbers = [number * scale for number in numbers]
            if kind == "rectangle":
                x, y, width, height = numbers
                if min(width, height) >= 1:
                    canvas.rectangle((x, y, x + width - 1, y + height - 1), color)
            elif kind == "circle":
                x, y, radius = numbers
                canvas.ellipse((x - radius, y - radius, x + radius - 1, y + radius - 1), color)
            elif kind == "line":
                x0, y0, x1, y1, width = numbers
                canvas.line((x0, y0, x1, y1), color, round(width))
        return np.array(image.reduce(scale))

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class _TextRenderer:
    """Gives a text of coloured half blocks, two pixels to a character, for a terminal."""

    _COLUMNS, _ROWS = 72, 22  # at most; leaves a terminal of 80 x 24 a margin

    def show(self, picture: Picture, frames_per_second: float) -> str:
        pixels = max(picture.width / self._COLUMNS, picture.height / (2 * self._ROWS), 1)
        columns, rows = round(picture.width / pixels), round(picture.height / pixels / 2)
        cells = np.empty((2 * rows, columns, 3), np.uint8)
        cells[...] = picture.background
        # The middle of each cell, in the picture's pixels.
        x = (np.arange(columns) + 0.5) * (picture.width / columns)
        y = (np.arange(2 * rows)[:, None] + 0.5) * (picture.height / (2 * rows))
        letters: dict[tuple[int, int], str] = {}
        for kind, color, *numbers in picture.shapes:
            if kind == "text":
                left, top, size, text = numbers
                row = int((top + size / 2) / picture.height * rows)
                first = int(left / picture.width * columns)
                letters.update({(row, first + k): letter for k, letter in enumerate(text)})
            else:
                cells[_inside(kind, numbers, x, y)] = color
        return "\n".join(_text_row(cells, row, letters) for row in range(rows))

    def close(self) -> None:
        pass


def _inside(kind: str, numbers: list[float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which cells with centres `x`, `y` lie in a shape, or are the nearest to it."""
    cell = x[0]  # half a cell's side: shapes thinner than a cell are shown as wide as one
    if kind == "rectangle":
        left, top, width, height = numbers
        half_width, half_height = max(width / 2, cell), max(height / 2, cell)
        return np.asarray(
            (abs(x - left - width / 2) < half_width) & (abs(y - top - height / 2) < half_height)
        )
    if kind == "circle":
        left, top, radius = numbers
        return np.asarray(np.hypot(x - left, y - top) < max(radius, cell))
    x0, y0, x1, y1, width = numbers
    length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
    along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
    distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
    return np.asarray(distance < max(width / 2, cell))


def _text_row(cells: np.ndarray, row: int, letters: dict[tuple[int, int], str]) -> str:
    parts, last = [], ""
    for column, (above, below) in enumerate(zip(cells[2 * row], cells[2 * row + 1], strict=True)):
        letter = letters.get((row, column))
        front = (255, 255, 255) if letter else above
        colors = "\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*front, *below)
        if colors != last:
            parts.append(colors)
            last = colors
        parts.append(letter or ("▀" if (above != below).any() else " "))
    return "".join(parts) + "\x1b[0m"


def require(module: str, mode: str) -> ModuleType:
    """Return the imported `module`, which the render mode `mode` needs.

    Raises:
        MissingPackageError: it is not installed; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"render_mode={mode!r} needs {module.partition('.')[0]}, which is not installed: "
            'pip install "puffer-ocean[render]"'
        ) from error
