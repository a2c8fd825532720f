"""Checkpoints: weights and training state as safetensors and JSON, loaded without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError
from puffer.train.files import read_file, write_file
from puffer.train.runs import (
    FORMAT,
    MAX_BYTES,
    MODEL,
    TENSORS,
    Checkpoints,
    read_checkpoint,
    read_header,
)


def save_checkpoint(
    checkpoints: Checkpoints,
    steps: int,
    policy: nn.Module,
    header: Mapping[str, Any],
    state: Mapping[str, Any],
    score: float | None = None,
) -> Path:
    """Write `<steps>/` with the weights and the state, and return its folder.

    Args:
        checkpoints: of the run.
        steps: names the checkpoint.
        policy: its parameters and buffers are written.
        header: what evaluation needs to rebuild the policy; JSON values by name.
        state: all else that continues the run; see `pack`.
        score: of the policy, to find the best; None if unknown.
    """
    tensors: dict[str, Tensor] = {}
    tree = pack(state, tensors)
    files = {
        MODEL: safetensors.torch.save(_weights(policy), _metadata(steps, header)),
        TENSORS: safetensors.torch.save(tensors),
    }
    return checkpoints.write(steps, files, {"tree": tree}, score)


def load_checkpoint(path: Path, policy: nn.Module) -> dict[str, Any]:
    """Load the weights of a checkpoint folder into `policy` and return the rest of the state.

    Raises:
        UsageError: it is damaged, or does not fit the policy, which is then unchanged.
    """
    record, files = read_checkpoint(path)
    try:
        tensors = safetensors.torch.load(files[TENSORS])
        state = unpack(record["tree"], tensors)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"{path}: is not what puffer-train saves ({type(error).__name__}: {error}): use "
            "another checkpoint"
        ) from error
    if not isinstance(state, dict):
        raise UsageError(f"{path}: holds no state: use another checkpoint")
    _load(path / MODEL, files[MODEL], policy)
    return state


def load_weights(path: str | Path, policy: nn.Module) -> None:
    """Load a weight file into a policy of the same shape.

    Raises:
        UsageError: names, shapes or the file do not fit; the policy is unchanged.
    """
    read_header(path)
    _load(Path(path), read_file(Path(path), MAX_BYTES), policy)


def export_weights(path: Path, policy: nn.Module, header: Mapping[str, Any], steps: int) -> int:
    """Write the weights alone, in half precision, for `--baseline`; return the bytes.

    Raises:
        UsageError: a weight is too large for half precision, or the file cannot be written.
    """
    tensors = {}
    for name, tensor in _weights(policy).items():
        tensors[name] = tensor.half() if tensor.is_floating_point() else tensor
        if not bool(torch.isfinite(tensors[name]).all()):
            raise UsageError(f"{name} is not finite in half precision: this policy has diverged")
    data = safetensors.torch.save(tensors, _metadata(steps, header))
    try:
        write_file(path, data)
    except OSError as error:
        raise UsageError(f"--export-path {path}: cannot be written ({error.strerror})") from error
    return len(data)


def pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON, with its tensors, arrays and bytes moved to `tensors`.

    Dicts (keyed by str or by int), lists, tuples, numbers, strings and None are the rest of what it
    may consist of. A tuple comes back as a list.
    """
    if isinstance(value, Mapping):
        items = [[key, pack(item, tensors)] for key, item in value.items()]
        return {"dict": items}
    if isinstance(value, list | tuple):
        return [pack(item, tensors) for item in value]
    if isinstance(value, Tensor | np.ndarray | bytes):
        name = str(len(tensors))
        kind = {Tensor: "tensor", bytes: "bytes"}.get(type(value), "array")
        if isinstance(value, bytes):
            value = np.frombuffer(value, np.uint8)
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value.copy())
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {kind: name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot save a {type(value).__name__}")


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `pack` was given, on the CPU."""
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    tensor = tensors[content]
    if kind == "tensor":
        return tensor
    return tensor.numpy() if kind == "array" else tensor.numpy().tobytes()


def restore(target: Any, saved: Any, name: str) -> None:
    """Copy a saved tensor or array into one of the same shape.

    Raises:
        UsageError: the shapes differ.
    """
    if tuple(target.shape) != tuple(saved.shape):
        raise UsageError(
            f"{name} has shape {tuple(saved.shape)} in the checkpoint and {tuple(target.shape)} in "
            "this run: resume with the settings that it was trained with"
        )
    target[...] = saved


def _weights(policy: nn.Module) -> dict[str, Tensor]:
    # Copies, since safetensors refuses tensors that share memory, as tied weights do.
    return {name: t.detach().cpu().clone().contiguous() for name, t in policy.state_dict().items()}


def _metadata(steps: int, header: Mapping[str, Any]) -> dict[str, str]:
    values = {key: json.dumps(value) for key, value in header.items()}
    return {"format": FORMAT, "steps": str(steps), **values}


def _load(path: Path, data: bytes, policy: nn.Module) -> None:
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError) as error:
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
