"""The tool that installs each extra alone: it knows all of them, and its table is on the page."""

from __future__ import annotations

import re

import extras
import families


def test_each_family_has_an_extra_that_is_on_the_page():
    forwarded = {
        extra: needs
        for extra, needs in extras.needs("train").items()
        if extra in families.registered()
    }
    assert set(forwarded) == set(extras.needs("envs")) == set(families.registered())
    for extra, needs in forwarded.items():
        assert [need.partition(">")[0] for need in needs] == [
            "puffer-ocean",
            f"puffer-envs[{extra}]",
        ]
    below = families.PAGE.read_text("utf-8").partition(families.EXTRAS)[2]
    assert re.findall(r"^\| `([\w-]+)` \|", below, re.M) == list(forwarded)


def test_versions_are_told_of_what_an_extra_is_about():
    needs = ["minihack==1.0.2; python_version < '3.14'", "nle>=1.3,<2", "Box2D", "setuptools<82"]
    assert extras.about("minihack", needs) == ["minihack", "nle", "box2d", "setuptools"]
    assert extras.about("nmmo", ["cython>=3"]) == ["nmmo"]
    assert extras.tell(["nle", "absent"], {"nle": "1.3.0", "numpy": "2"}) == "nle 1.3.0"


def test_the_cartridge_is_written(tmp_path):
    assert extras.write_cartridge(tmp_path).stat().st_size == 32 * 1024


def test_an_unknown_extra_lists_the_known(capsys):
    assert extras.main(["atary"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tools/extras.py: 'atary': expected classic-control, ")
