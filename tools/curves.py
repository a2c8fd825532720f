"""Draw learning curves as an SVG: `python3 tools/curves.py curves.svg NAME=RUN[,RUN...] ...`.

RUN is the folder of a run, or its metrics.jsonl. The runs of a NAME, its seeds, share a colour; the
strong line is their mean where all have numbers.
"""

from __future__ import annotations

import html
import json
import math
import sys
from pathlib import Path

COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8f6bb3", "#c98a1b", "#4a4a4a")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 70, 20, 20, 50
POINTS = 200
Curve = list[tuple[float, float]]


def read_curve(path: Path, key: str = "episode_return") -> Curve:
    """Return (steps, mean over the episodes since the point before) of a run, smoothed to POINTS.

    Raises:
        ValueError: no episode of the run had the key.
    """
    file = path / "metrics.jsonl" if path.is_dir() else path
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    last = max((row["steps"] for row in rows), default=0)
    sums: dict[int, list[float]] = {}
    for row in rows:
        value, weight = row["environment"].get(key), row["environment"].get("episodes", 0)
        if value is None or not weight:
            continue
        place = sums.setdefault(math.ceil(row["steps"] * POINTS / last), [0.0, 0.0])
        place[0] += weight * value
        place[1] += weight
    if not sums:
        raise ValueError(f"{file}: no episode has {key}")
    return [(i * last / POINTS, total / weight) for i, (total, weight) in sorted(sums.items())]


def mean_curve(curves: list[Curve]) -> Curve:
    """Return the mean of the curves at the points of the first that all have."""
    tables = [dict(curve) for curve in curves]
    shared = [x for x, _ in curves[0] if all(x in table for table in tables)]
    return [(x, sum(table[x] for table in tables) / len(tables)) for x in shared]


def short(number: float) -> str:
    """Return 1500000 as 1.5M."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return f"{number:.3g}"


def draw(groups: dict[str, list[Curve]], key: str = "episode_return") -> str:
    """Return the SVG of named groups of curves."""
    every = [point for curves in groups.values() for curve in curves for point in curve]
    right = max(x for x, _ in every)
    low, high = min(y for _, y in every), max(y for _, y in every)
    high += (high == low) * 1.0

    def place(point: tuple[float, float]) -> str:
        x = LEFT + point[0] / right * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    def text(x: float, y: float, words: str, anchor: str, colour: str = "#333") -> str:
        place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}"'
        return f"<text {place}>{html.escape(words)}</text>"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for i in range(5):
        value = low + i * (high - low) / 4
        y = float(place((0, value)).split(",")[1])
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{value:.4g}", "end"))
        x = LEFT + i * (WIDTH - LEFT - RIGHT) / 4
        parts.append(text(x, HEIGHT - BOTTOM + 20, short(i * right / 4), "middle"))
    parts.append(text(WIDTH / 2, HEIGHT - 10, f"{key.replace('_', ' ')} after steps", "middle"))
    for i, (name, curves) in enumerate(groups.items()):
        colour = COLOURS[i % len(COLOURS)]
        for curve in curves:
            line = " ".join(map(place, curve))
            style = f'fill="none" stroke="{colour}" opacity="0.35"'
            parts.append(f'<polyline points="{line}" {style}/>')
        line = " ".join(map(place, mean_curve(curves)))
        style = f'fill="none" stroke="{colour}" stroke-width="2.5"'
        parts.append(f'<polyline points="{line}" {style}/>')
        parts.append(text(LEFT + 12, TOP + 16 + 18 * i, f"{name} ({len(curves)})", "start", colour))
    return "\n".join([*parts, "</svg>", ""])


def main(words: list[str]) -> int:
    """Draw what the command line names."""
    if len(words) < 2 or not all("=" in word for word in words[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    groups = {}
    for word in words[1:]:
        name, _, runs = word.partition("=")
        try:
            groups[name] = [read_curve(Path(run)) for run in runs.split(",")]
        except (OSError, ValueError) as error:
            print(f"tools/curves.py: {word}: {error}", file=sys.stderr)
            return 2
    Path(words[0]).write_text(draw(groups), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
