"""Checkpoints: safetensors with a header, written whole or not at all, loaded without pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from puffer.core.errors import UsageError

FORMAT = "puffer-checkpoint-1"
MODEL = "model.safetensors"


def save_checkpoint(
    run_dir: str | Path, steps: int, policy: nn.Module, header: Mapping[str, Any]
) -> Path:
    """Write `run_dir/checkpoints/<steps>/model.safetensors` and return its path.

    The folder appears under its name only when it is complete and on the disk.

    Args:
        run_dir: the run's folder; created if absent.
        steps: names the checkpoint.
        policy: its parameters and buffers are written.
        header: what evaluation needs to rebuild the policy; JSON values by name.
    """
    folder = Path(run_dir) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in policy.state_dict().items()}
    metadata = {"format": FORMAT, "steps": str(steps)}
    metadata |= {key: json.dumps(value) for key, value in header.items()}
    target = folder / f"{steps:012d}"
    temporary = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=folder))
    try:
        safetensors.torch.save_file(tensors, temporary / MODEL, metadata)
        _flush(temporary / MODEL)
        if target.exists():  # the same step of the same run: an update of itself
            shutil.rmtree(target)
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return target / MODEL


def find_checkpoint(path: str, data_dir: str | Path, environment: str) -> Path:
    """Return the checkpoint file that `path` means: a file, a folder, or `latest`.

    A folder means the newest checkpoint in it; `latest` the newest one of `environment` in
    `data_dir`.

    Raises:
        UsageError: there is none.
    """
    if path == "latest":
        files = [f for f in _newest_first(Path(data_dir)) if _environment(f) == environment]
        if not files:
            raise UsageError(
                f"--eval-model-path latest: no checkpoint of {environment} in {data_dir}: "
                f"train one with `puffer-train --env {environment}`"
            )
        return files[0]
    given = Path(path)
    if given.is_dir():
        files = _newest_first(given)
        if not files:
            raise UsageError(f"--eval-model-path {path}: no {MODEL} in this folder")
        return files[0]
    if not given.is_file():
        raise UsageError(
            f"--eval-model-path {path}: no such file or folder: give a checkpoint, a run's folder "
            "or latest"
        )
    return given


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a checkpoint.

    Raises:
        UsageError: the file is not one of our checkpoints.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise UsageError(
                f"{path}: is a safetensors file of format {metadata.get('format')!r}, "
                f"expected {FORMAT!r}: give a checkpoint that puffer-train saved"
            )
        skip = ("format",)
        return {key: json.loads(value) for key, value in metadata.items() if key not in skip}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{path}: is not a checkpoint ({error}): give a {MODEL} that puffer-train saved"
        ) from error


def load_weights(path: str | Path, policy: nn.Module) -> None:
    """Load the weights of a checkpoint into a policy of the same shape.

    Raises:
        UsageError: names, shapes or the file do not fit; the policy is unchanged.
    """
    read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UsageError(f"{path}: is damaged ({error}): use another checkpoint") from error
    have = {name: tuple(t.shape) for name, t in policy.state_dict().items()}
    got = {name: tuple(t.shape) for name, t in tensors.items()}
    if have != got:
        odd = sorted(k for k in have.keys() | got.keys() if have.get(k) != got.get(k))[0]
        raise UsageError(
            f"{path}: does not fit this policy: {odd} has shape {got.get(odd)} in the file and "
            f"{have.get(odd)} in the policy: use the settings that it was trained with"
        )
    policy.load_state_dict(tensors)


def _newest_first(folder: Path) -> list[Path]:
    files = [f for f in folder.rglob(MODEL) if not f.parent.name.startswith(".")]
    return sorted(files, key=lambda f: (f.stat().st_mtime_ns, f.parent.name), reverse=True)


def _environment(path: Path) -> str | None:
    try:
        environment: str | None = read_header(path).get("environment")
    except UsageError:
        return None
    return environment


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
