"""Draws every environment of Ocean into docs/environments.png, and lists them in environments.md.

Run it with the workspace's Python after an environment was added or changed its looks:
`.venv/bin/python tools/gallery.py`; a test compares the names.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "environments.md"
SHEET = ROOT / "docs" / "environments.png"
CELL, CAPTION, GAP, COLUMNS = 220, 22, 10, 4
STEPS = 12  # from the reset to the picture, with random actions

HEAD = """\
# Environments

All that come with `puffer-ocean`. `puffer-train --env NAME` trains one with its own settings,
`python -m puffer.ocean play NAME` lets you play the native ones of one agent, and after
`import puffer.ocean.gymnasium` Gymnasium makes them too. `tools/gallery.py` makes this page.

![Each environment after some random steps](environments.png)

| name | what | native |
|---|---|---|
"""


def names() -> list[str]:
    """Return the names of all of Ocean's environments, sorted."""
    from puffer.ocean import envs, sanity

    return sorted([*envs.family.ids, *sanity.family.ids])


def page() -> str:
    """Return the text of the page."""
    from puffer.core.registry import find

    rows = []
    for name in names():
        spec = find(name)
        readme = Path(inspect.getfile(spec.creator)).parent / "README.md"
        link = f"../{readme.relative_to(ROOT)}"
        native = "yes" if "num_threads" in {option.name for option in spec.options} else "Python"
        rows.append(f"| [`{name}`]({link}) | {spec.help} | {native} |\n")
    return HEAD + "".join(rows)


def picture(name: str) -> Any:
    """Return the pixels of an environment after some random steps."""
    import puffer.vector
    from puffer.core.registry import find

    kwargs = {"render_mode": "rgb_array"}
    with puffer.vector.make(find(name).creator, env_kwargs=kwargs, num_envs=1) as vecenv:
        vecenv.action_space.seed(4)
        vecenv.reset(seed=4)
        for _ in range(STEPS):
            vecenv.step(vecenv.action_space.sample())
        return vecenv.driver_env.render()


def sheet() -> Any:
    """Return an image of all environments, each with its name below."""
    from PIL import Image, ImageDraw, ImageFont

    shown = names()
    rows = -(-len(shown) // COLUMNS)
    size = (COLUMNS * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP)
    image = Image.new("RGB", size, (250, 250, 250))
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for i, name in enumerate(shown):
        x = GAP + i % COLUMNS * (CELL + GAP)
        y = GAP + i // COLUMNS * (CELL + CAPTION + GAP)
        tile = Image.fromarray(picture(name))
        tile.thumbnail((CELL, CELL))
        image.paste(tile, (x + (CELL - tile.width) // 2, y + (CELL - tile.height) // 2))
        canvas.text((x + CELL / 2, y + CELL + 2), name, (30, 30, 30), font, anchor="ma")
    return image


def main() -> None:
    """Write the page and the picture."""
    PAGE.write_text(page(), "utf-8")
    sheet().save(SHEET, optimize=True)


if __name__ == "__main__":
    main()
