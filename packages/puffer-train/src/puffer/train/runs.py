"""A run's folder: its settings, where it came from, its checkpoints, and how to find them again.

    experiments/<run_id>/
        config.toml     every setting, with where it came from
        run.json        the environment; for each start the command, versions and git state
        metrics.jsonl   one line per update
        tensorboard/    the same for TensorBoard
        checkpoints/<steps>/{model.safetensors, state.safetensors, state.json}
        checkpoints/{latest, best}    the names of two of them

Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import safetensors

from puffer.core.errors import UsageError
from puffer.train.files import clean, read_file, remove_folder, write_file, write_folder

FORMAT = "puffer-checkpoint-1"
MODEL, TENSORS, STATE = "model.safetensors", "state.safetensors", "state.json"
LATEST, BEST = "latest", "best"
MAX_BYTES = 16 << 30
_STEPS = re.compile(r"\d{12}")


class Checkpoints:
    """The checkpoints of one run; whatever interrupts a save, an older one stays whole.

    Args:
        folder: `checkpoints` of the run's folder; made when something is written.
        keep: how many of the newest stay, beside the best one.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def write(
        self, steps: int, files: Mapping[str, bytes], state: Mapping[str, Any], score: float | None
    ) -> Path:
        """Write a checkpoint, move `latest` to it, and return its folder.

        One that is there already stays: the same run has the same state after the same steps.

        Args:
            steps: its name.
            files: name -> content.
            state: JSON values that go into `state.json`, with the digests of the files.
            score: decides which one is `best`; None takes no part.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{steps:012d}"
        if not path.exists():
            digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            record = {"format": FORMAT, "steps": steps, "score": score, "sha256": digests, **state}
            write_folder(path, {**files, STATE: json.dumps(record).encode()})
        best = self.pointed(BEST)
        if score is not None and (best is None or score >= _score(best)):
            best = path
            write_file(self.folder / BEST, path.name.encode())
        write_file(self.folder / LATEST, path.name.encode())
        for old in self.all()[self.keep :]:
            if old not in (path, best):
                remove_folder(old)
        return path

    def at(self, steps: int) -> Path | None:
        """Return the whole checkpoint after so many steps, if there is one."""
        path = self.folder / f"{steps:012d}"
        return path if _is_folder(path) else None

    def all(self) -> list[Path]:
        """Return every whole checkpoint, the one with most steps first."""
        if not self.folder.is_dir():
            return []
        found = [p for p in self.folder.iterdir() if _STEPS.fullmatch(p.name) and _is_folder(p)]
        return sorted(found, key=lambda p: p.name, reverse=True)

    def pointed(self, name: str) -> Path | None:
        """Return what `latest` or `best` points to; None where that leads nowhere."""
        try:
            target = read_file(self.folder / name, 64).decode("ascii").strip()
        except (UsageError, UnicodeDecodeError):
            return None
        path = self.folder / target
        return path if _STEPS.fullmatch(target) and _is_folder(path) else None

    def candidates(self) -> Iterator[Path]:
        """Yield what `latest` points to, then the others, the one with most steps first."""
        latest = self.pointed(LATEST)
        if latest is not None:
            yield latest
        yield from (path for path in self.all() if path != latest)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the state and the files of a checkpoint whose digests are right.

    Raises:
        UsageError: something is missing, damaged, or not what puffer-train writes.
    """
    if path.is_symlink():
        raise UsageError(f"{path}: is a symbolic link, expected the folder itself: copy it")
    try:
        state = json.loads(read_file(path / STATE, 256 << 20))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path / STATE}: is not JSON ({error}): use another checkpoint"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        got = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise UsageError(
            f"{path / STATE}: has format {got!r}, expected {FORMAT!r}: give a checkpoint that this "
            "version of puffer-train saved"
        )
    digests = state.get("sha256")
    if not isinstance(digests, dict) or set(digests) != {MODEL, TENSORS}:
        raise UsageError(
            f"{path / STATE}: names the files {sorted(digests or ())}, expected {MODEL} and "
            f"{TENSORS}: use another checkpoint"
        )
    files = {name: read_file(path / name, MAX_BYTES) for name in (MODEL, TENSORS)}
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise UsageError(
                f"{path / name}: is damaged, its SHA-256 is not the one in {STATE}: use another "
                "checkpoint"
            )
    return state, files


class Run:
    """The folder of one run."""

    def __init__(self, path: Path, keep: int = 3) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints", keep)
        self._record: dict[str, Any] = {}
        self._settings = ""
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, data_dir: str, env_name: str, keep: int = 3) -> Run:
        """Make a folder of its own for a run, named after environment and time."""
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", env_name).strip(".")
        stamp = time.strftime("%Y%m%d-%H%M%S")
        path = Path(data_dir) / f"{safe}-{stamp}-{secrets.token_hex(2)}"
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(
                f"train.data_dir={data_dir!r}: cannot create a folder in it ({error.strerror}): "
                "choose another with --train.data-dir"
            ) from error
        return cls(path, keep)

    def begin(self, env_name: str, settings: str, start: Mapping[str, Any]) -> None:
        """Take the folder for this process and write down how the run starts, or goes on.

        Args:
            env_name: the environment.
            settings: the text of config.toml.
            start: what to remember of this start; JSON values.

        Raises:
            UsageError: another process has taken it, or it cannot be written.
        """
        self._take()
        clean(self.path)
        clean(self.checkpoints.folder)
        starts = read_run(self.path).get("starts", [])
        self._record = {"environment": env_name, "starts": [*starts, dict(start)]}
        self._settings = settings
        try:
            self._write_down()
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written ({error.strerror})") from error

    def ensure(self) -> bool:
        """Make the folder anew if somebody has deleted it; return whether that was so."""
        if (self.path / "run.json").exists():
            return False
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_down()
        return True

    def touch(self) -> None:
        """Let the folder be the newest of its kind for `ls -t`."""
        os.utime(self.path)

    def close(self) -> None:
        """Give the folder free."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_down(self) -> None:
        write_file(self.path / "config.toml", self._settings.encode())
        write_file(self.path / "run.json", json.dumps(self._record, indent=2).encode())

    def _take(self) -> None:
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            return
        try:
            self._lock = (self.path / ".lock").open("w")
            # Locks of this kind end with the process, and worker processes do not inherit them.
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self.close()
            raise UsageError(
                f"{self.path}: another process is training in this folder, or it is not writable "
                f"({error.strerror}): wait for it, or begin a run of its own"
            ) from error
        except OSError:  # a file system without locks
            self.close()


def read_run(path: Path) -> dict[str, Any]:
    """Return the content of a run's `run.json`; empty where there is none that can be read."""
    try:
        record = json.loads(read_file(path / "run.json", 64 << 20))
    except (UsageError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def trim_metrics(path: Path, steps: int) -> None:
    """Drop the lines of a metrics file that come after `steps`, and a last one that is cut off."""
    if not path.exists():
        return
    lines = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            if line.endswith(b"\n") and json.loads(line)["steps"] <= steps:
                lines.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    write_file(path, b"".join(lines))


def runs_of(data_dir: str | Path, environment: str | None = None) -> list[Path]:
    """Return the folders in `data_dir` with a checkpoint (of an environment), newest save first."""
    folder = Path(data_dir)
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        newest = next(Checkpoints(path / "checkpoints").candidates(), None)
        if newest is None:
            continue
        trained_on = read_run(path).get("environment") or environment_of(newest / MODEL)
        if environment in (None, trained_on):
            found.append((newest.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def find_checkpoints(
    given: str, data_dir: str | Path, environment: str | None, option: str
) -> list[Path]:
    """Return the checkpoint folders or weight files that `given` means, the best choice first.

    `latest` and `best` are of the newest run (of `environment`) in `data_dir`; the folder of a run,
    or its name in `data_dir`, means its latest. The rest stand in where the first is damaged.

    Raises:
        UsageError: there is none.
    """
    if given in (LATEST, BEST):
        runs = runs_of(data_dir, environment)
        if not runs:
            kind = environment or "NAME"
            raise UsageError(
                f"{option} {given}: no checkpoint of {environment or 'any environment'} in "
                f"{data_dir}: train one with `puffer-train --env {kind}`"
            )
        checkpoints = Checkpoints(runs[0] / "checkpoints")
        best = checkpoints.pointed(BEST) if given == BEST else None
        return [best] if best is not None else list(checkpoints.candidates())
    for path in (Path(given), Path(data_dir) / given):
        if path.is_file() or (path / STATE).exists() or (path / MODEL).exists():
            return [path]
        if path.is_dir():
            inner = path if path.name == "checkpoints" else path / "checkpoints"
            found = list(Checkpoints(inner).candidates())
            if not found:
                raise UsageError(f"{option} {given}: no checkpoint in this folder")
            return found
    raise UsageError(
        f"{option} {given}: no such file or folder: give a checkpoint, a run's folder or latest"
    )


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a weight file; empty if it is a safetensors file of other making.

    Raises:
        UsageError: the file is no safetensors file, a link, or of another format of ours.
    """
    path = Path(path)
    if path.is_symlink():
        raise UsageError(f"{path}: is a symbolic link, expected the file itself: copy it")
    if _is_pickle(path):
        raise UsageError(
            f"{path}: is a pickle, which can run any code when it is opened, so it is not; if you "
            'trust it, convert its weights: python -c "import torch, safetensors.torch as s; '
            f"x = torch.load('{path}', weights_only=False); x = getattr(x, 'state_dict', "
            f"lambda: x)(); s.save_file(x, '{path.with_suffix('.safetensors')}')\""
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        if metadata.get("format", "pt") == "pt":
            return {}
        if metadata["format"] != FORMAT:
            raise UsageError(
                f"{path}: is a safetensors file of format {metadata['format']!r}, "
                f"expected {FORMAT!r}: give a checkpoint that puffer-train saved"
            )
        return {key: json.loads(value) for key, value in metadata.items() if key != "format"}
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{path}: is not a checkpoint ({error}): give a {MODEL} that puffer-train saved"
        ) from error


def environment_of(path: Path) -> str | None:
    """Return the environment that a weight file was trained on; None if it does not say."""
    try:
        environment = read_header(path).get("environment")
    except UsageError:
        return None
    return environment if isinstance(environment, str) else None


def _is_pickle(path: Path) -> bool:
    """Return whether a file looks like what `torch.save` or `pickle.dump` writes."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    if start[8:] == b"{":  # safetensors: the length of its header, which may be any, then JSON
        return False
    by_protocol = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05"
    return by_protocol or start.startswith(b"PK\x03\x04")


def _is_folder(path: Path) -> bool:
    return not path.is_symlink() and (path / STATE).is_file()


def _score(path: Path) -> float:
    try:
        return float(json.loads(read_file(path / STATE, 256 << 20))["score"])
    except (UsageError, ValueError, TypeError, KeyError, RecursionError):
        return -math.inf
