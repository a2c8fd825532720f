"""Installs each extra of puffer-train from the built wheels, alone, and plays an environment of it.

    python3 tools/dev.py build --extras [EXTRA ...]

Each goes into an empty virtual environment of its own, with the newest packages that pip finds for
it and the PyTorch of constraints.txt. Without names it is all of them, some minutes, and the table
is written into docs/families.md, below what tools/families.py writes.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

import venvs
import wheels
from families import EXTRAS, PAGE
from venvs import CheckError
from workspace import ROOT

HEAD = """
`tools/dev.py build --extras` installs each extra of the built wheels of `puffer-train` in an empty
virtual environment, on Python {python}, lets pip check that the versions fit together, and plays 64
random steps of the environment named.

| extra | played | versions |
|---|---|---|
"""
# What an extra cannot bring by itself: the second step, as users run it.
SECOND_STEPS = {"nmmo": ["-m", "puffer.envs.install", "nmmo", "--yes"]}
# Told of each extra, beside what it is about: extras pull these apart.
SHARED = ["numpy", "gymnasium"]
CARTRIDGE = ROOT / "packages" / "puffer-envs" / "tests" / "helpers"

PLAY = """
import importlib.metadata, json, sys
import puffer.ocean, puffer.train, puffer.vector
from puffer.core import registry
name = registry.families()[sys.argv[1]].ids[0]
spec = registry.find(name)
native = spec.settings.get("vec", {}).get("backend") == "native"
vec = {"backend": "native"} if native else {"backend": "serial", "num_envs": 2}
with puffer.vector.make(spec.creator, env_kwargs=json.loads(sys.argv[2]), **vec) as vecenv:
    vecenv.reset(seed=1)
    for _ in range(64):
        vecenv.step(vecenv.action_space.sample())
versions = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
print(json.dumps([name, versions]))
"""


def main(words: list[str]) -> int:
    """Try the extras named, or all of them and write the page; return the exit code."""
    known = needs("train")
    families = [extra for extra in known if any("puffer-envs[" in need for need in known[extra])]
    if wrong := sorted(set(words) - set(families)):
        print(f"tools/extras.py: {wrong[0]!r}: expected {', '.join(families)}", file=sys.stderr)
        return 2
    rows, failed = [], []
    built = wheels.build()
    with tempfile.TemporaryDirectory(prefix="puffer-extras-") as folder:
        for extra in words or families:
            try:
                rows.append(try_extra(extra, built, Path(folder)))
                print(rows[-1], end="", flush=True)
            except CheckError as error:
                failed.append(extra)
                print(f"{extra}: {error}", file=sys.stderr, flush=True)
            shutil.rmtree(Path(folder) / extra, ignore_errors=True)  # a gigabyte each
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    elif not words:
        above = PAGE.read_text("utf-8").partition(EXTRAS)[0].rstrip("\n")
        head = HEAD.format(python=platform.python_version())
        PAGE.write_text(f"{above}\n\n{EXTRAS}{head}{''.join(rows)}", "utf-8")
    return 1 if failed else 0


def try_extra(extra: str, built: dict[str, Path], folder: Path) -> str:
    """Install one extra, play it, and return its row of the table.

    Raises:
        CheckError: it does not install, its packages do not fit together, or it does not play.
    """
    python = venvs.new_venv(folder / extra)
    pins = folder / "constraints.txt"
    pins.write_text(
        re.findall(r"^torch==.*", (ROOT / "constraints.txt").read_text("utf-8"), re.M)[0]
    )
    ours = [f"{path}[{extra}]" if layer == "train" else path for layer, path in built.items()]
    venvs.pip("install", "--no-compile", "--constraint", pins, *ours, python=python)
    venvs.pip("check", python=python)
    if extra in SECOND_STEPS:
        venvs.run([python, "-m", "ensurepip"], f"pip for {extra}")
        venvs.run([python, *SECOND_STEPS[extra]], f"the second step of {extra}", cwd=folder)
    options = {"rom_path": str(write_cartridge(folder))} if extra == "pokemon-red" else {}
    done = subprocess.run(
        [python, "-c", PLAY, extra, json.dumps(options)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CheckError(f"playing it failed:\n{done.stderr}")
    name, versions = json.loads(done.stdout.splitlines()[-1])
    told = list(dict.fromkeys([*SHARED, *about(extra, needs("envs")[extra])]))
    return f"| `{extra}` | `{name}` | {tell(told, versions)} |\n"


def needs(layer: str) -> dict[str, list[str]]:
    """Return extra -> its requirements, of one of our packages."""
    text = (ROOT / "packages" / f"puffer-{layer}" / "pyproject.toml").read_text("utf-8")
    extras: dict[str, list[str]] = tomllib.loads(text)["project"]["optional-dependencies"]
    return extras


def about(extra: str, requirements: Iterable[str]) -> list[str]:
    """Return the distributions that an extra, and its second step, are about."""
    names = [re.split(r"[^\w.-]", need, maxsplit=1)[0].lower() for need in requirements]
    return [extra] if extra in SECOND_STEPS else names


def tell(names: Iterable[str], versions: dict[str, str]) -> str:
    """Return the names with their versions, of those that were installed."""
    return ", ".join(f"{name} {versions[name]}" for name in names if name in versions)


def write_cartridge(folder: Path) -> Path:
    """Write the free cartridge of the tests, and return where it lies."""
    path = folder / "free.gb"
    code = "import sys, game_boy; sys.stdout.buffer.write(game_boy.make_rom())"
    command = [sys.executable, "-c", code]
    path.write_bytes(subprocess.run(command, cwd=CARTRIDGE, capture_output=True, check=True).stdout)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
