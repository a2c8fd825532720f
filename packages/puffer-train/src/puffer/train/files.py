"""Files that are whole or absent: written aside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from puffer.core.errors import UsageError

INCOMPLETE = ".incomplete-"  # names begin so until what they name is whole, or while it is removed


def write_file(path: Path, data: bytes) -> None:
    """Make `path` hold `data`; a crash at any instant leaves the old content or the new one."""
    aside = _aside(path)
    try:
        _write(aside, data)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make `path`, which does not exist, a folder with these files; it appears when all are whole.

    Args:
        path: its parent exists.
        files: name -> content.
    """
    aside = _aside(path)
    try:
        aside.mkdir()
        for name, data in files.items():
            _write(aside / name, data)
        _flush_folder(aside)
        aside.rename(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _flush_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder; it vanishes at once, so that nobody finds half of it."""
    aside = _aside(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove what a killed process left aside in `folder`, in which no other process writes."""
    for path in folder.glob(f"{INCOMPLETE}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def read_file(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        UsageError: it cannot be read, is a link or no file, or is larger than `limit_bytes`.
    """
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise UsageError(f"{path}: is a symbolic link, expected the file itself: copy it")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path}: is no file")
        if status.st_size > limit_bytes:
            raise UsageError(
                f"{path}: has {status.st_size:,} bytes, expected at most {limit_bytes:,}"
            )
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _aside(path: Path) -> Path:
    return path.with_name(f"{INCOMPLETE}{path.name}-{secrets.token_hex(4)}")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """Write the names in a folder to the disk, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
