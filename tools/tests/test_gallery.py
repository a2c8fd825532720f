"""The page of all environments is the one that its script makes."""

from __future__ import annotations

import gallery


def test_the_page_lists_what_there_is() -> None:
    assert gallery.PAGE.read_text("utf-8") == gallery.page(), "run tools/gallery.py"
    assert gallery.SHEET.exists()


def test_each_environment_draws_a_picture() -> None:
    for name in ("puffer_squared", "puffer_spaces", "puffer_multiagent"):
        assert gallery.picture(name).ndim == 3
