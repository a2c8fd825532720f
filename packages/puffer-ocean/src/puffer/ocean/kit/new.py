"""Writes a package of its own for a new environment, from the files in `template/`.

The template is a working package called `my_env`; each file has the suffix `.in`, so that tools
leave it alone. Its name, in the four ways that it is spelled, is all that is replaced.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from puffer.core import registry
from puffer.core.errors import UsageError

# Python's own, and what it shares with C++, are checked by `keyword`.
_CPP_WORDS = (
    " alignas alignof auto bitand bitor bool case catch char compl const constexpr decltype default"
    " delete do double enum explicit export extern false float friend goto inline int long mutable"
    " namespace new noexcept operator private protected public puffer register requires short"
    " signed sizeof static std struct switch template this throw true typedef typeid typename"
    " union unsigned using virtual void volatile xor "
)


def write_package(name: str, folder: Path) -> list[Path]:
    """Write a complete package for an environment called `name`, and return its files.

    Args:
        name: of the environment, of the Python package and of the C++ namespace.
        folder: receives the files; it may exist if it is empty.

    Raises:
        UsageError: a name that something refuses, or a folder with something in it.
    """
    check_name(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--path {folder}: is there already, expected an empty or a new folder")
    written = []
    for path, text in package_files(name).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        written.append(file)
    return written


def package_files(name: str) -> dict[str, str]:
    """Return path -> text of each file of the package for an environment called `name`."""
    words = {
        "my_env": name,
        "my-env": name.replace("_", "-"),
        "MyEnv": "".join(part.capitalize() for part in name.split("_")),
        "My env": name.replace("_", " ").capitalize(),
    }
    template = importlib.resources.files("puffer.ocean.kit") / "template"
    return {
        _replace(str(path).removesuffix(".in"), words): _replace(source.read_text("utf-8"), words)
        for path, source in _walk(template, PurePosixPath())
    }


def check_name(name: str) -> None:
    """Return if `name` can be an environment's.

    Raises:
        UsageError: it is no identifier in small letters, or something else is called so.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UsageError(
            f"the name {name!r}: expected small letters, digits and single underscores, such as "
            "my_env"
        )
    if keyword.iskeyword(name) or f" {name} " in _CPP_WORDS:
        raise UsageError(f"the name {name!r} is a word of Python or C++: choose another one")
    if name in registry.names() or importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"the name {name!r} is that of an installed package or environment: choose another one"
        )


def _walk(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _walk(entry, path / entry.name)
        elif entry.name.endswith(".in"):
            yield path / entry.name, entry


def _replace(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, words)), lambda match: words[match[0]], text)
