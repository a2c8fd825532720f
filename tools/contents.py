"""What a wheel of ours must contain, and what it may not."""

from __future__ import annotations

import re
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from venvs import CheckError
from workspace import NATIVE, ROOT

MOST_BYTES = 3_000_000  # compressed, without the weights of the baselines
WEIGHTS = ".safetensors"
# What a compiled module may ask the system for: the languages' own libraries, no graphics.
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libpthread.so.0"}


def check(layer: str, wheel: Path) -> None:
    """Refuse a wheel that is not as it should be.

    Raises:
        CheckError: names the first thing that is wrong.
    """
    with zipfile.ZipFile(wheel) as archive:
        files = [file for file in archive.infolist() if not file.is_dir()]
        sizes = {file.filename: file.compress_size for file in files}
        check_files(layer, sizes, sources(layer))
        check_size(layer, sizes)
        (metadata,) = (name for name in sizes if name.endswith(".dist-info/METADATA"))
        check_readme(layer, archive.read(metadata).decode())
        for name in sizes:
            if name.endswith(".so"):
                check_libraries(layer, needed(archive.read(name)))
    check_tag(layer, wheel.name)


def sources(layer: str) -> set[str]:
    """Return the files that git knows of a package, by their names in its wheel."""
    folder = ROOT / "packages" / f"puffer-{layer}" / "src"
    listing = subprocess.run(["git", "ls-files"], cwd=folder, capture_output=True, check=True)
    return set(listing.stdout.decode().splitlines())


def check_files(layer: str, names: Iterable[str], expected: set[str]) -> None:
    """Refuse files outside `puffer/LAYER/`, and others in it than the `expected` and compiled.

    Raises:
        CheckError: names the first wrong file, or one that is missing.
    """
    wheel, own = f"the wheel of puffer-{layer}", f"puffer/{layer}/"
    files = {name for name in names if ".dist-info/" not in name}
    for name in sorted(files):
        if not name.startswith(own):
            raise CheckError(f"{wheel} has {name}: expected files in {own} alone")
    compiled = {name for name in files if re.fullmatch(own + r"_native\.[\w-]+\.(so|pyd)", name)}
    if len(compiled) != (layer in NATIVE):
        raise CheckError(f"{wheel} has {len(compiled)} modules {own}_native: expected one if any")
    if stray := sorted(files - compiled - expected):
        raise CheckError(f"{wheel} has {stray[0]}, unknown to git: add it there or delete it")
    stub = {f"{own}_native.pyi"} if compiled else set()
    for name in sorted({f"{own}py.typed", *stub, *expected}):
        if name not in files:
            raise CheckError(f"{wheel} has no {name}")
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        raise CheckError(f"{wheel} has no licence: name it in license-files")


def check_size(layer: str, sizes: Mapping[str, int]) -> None:
    """Refuse a wheel of `MOST_BYTES` or more; the weights of baselines are not counted.

    Raises:
        CheckError: it is too large.
    """
    total = sum(size for name, size in sizes.items() if not name.endswith(WEIGHTS))
    if total >= MOST_BYTES:
        raise CheckError(
            f"the wheel of puffer-{layer} has {total / 1e6:.1f} MB beside the baselines' weights: "
            f"expected less than {MOST_BYTES / 1e6:.0f}"
        )


def check_readme(layer: str, metadata: str) -> None:
    """Refuse a wheel whose description, what an index shows of it, is not the README.

    Raises:
        CheckError: it is not.
    """
    readme = (ROOT / "packages" / f"puffer-{layer}" / "README.md").read_text("utf-8")
    if metadata.partition("\n\n")[2].strip() != readme.strip():
        raise CheckError(f"the wheel of puffer-{layer} does not describe itself by its README.md")


def check_libraries(layer: str, libraries: Iterable[str]) -> None:
    """Refuse a compiled module that is linked to more than the languages' own libraries.

    Raises:
        CheckError: names the library.
    """
    for name in libraries:
        if name not in LIBRARIES and not name.startswith("ld-linux"):
            raise CheckError(f"puffer-{layer}'s module needs {name}: link it to no such library")


def needed(module: bytes) -> list[str]:
    """Return the libraries that a compiled module is linked to, as binutils read it."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(module)
        file.flush()
        command = ["readelf", "--dynamic", "--wide", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(r"\(NEEDED\).*\[(.+)\]", told)


def check_tag(layer: str, name: str) -> None:
    """Refuse a compiled wheel that claims no more than this system, and a pure one with a system.

    Raises:
        CheckError: it is of the other kind.
    """
    platform = name.removesuffix(".whl").split("-")[-1]
    if (platform == "any") == (layer in NATIVE):
        raise CheckError(f"{name}: expected {'compiled' if layer in NATIVE else 'pure'} code")
    if platform.startswith("linux_"):
        raise CheckError(f"{name}: expected the tag of a manylinux, which auditwheel gives")
