"""Emulated rows as torch tensors: the structure of a batch of observations, without a copy.

The only module of Puffer's core that imports torch; no other module imports it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from puffer.core.errors import SpaceError, UsageError
from puffer.core.layout import Emulated, Layout

Tensors = Any  # a tensor, or a dict of Tensors


class Whole(NamedTuple):
    """A lone array: the row itself is the observation."""

    dtype: torch.dtype
    shape: tuple[int, ...]


class Leaf(NamedTuple):
    """Where the elements of one leaf lie: `offset` and `size` are bytes within a row."""

    offset: int
    size: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class Struct(NamedTuple):
    """Where the members of a structure lie; `shape` is () unless it is repeated."""

    offset: int
    size: int
    shape: tuple[int, ...]
    members: tuple[tuple[str, Leaf | Struct], ...]


NativeDtype = Whole | Leaf | Struct


def nativize_dtype(emulated: Emulated | Layout) -> NativeDtype:
    """Return what `nativize_tensor` needs to know of an emulated environment's observations.

    Args:
        emulated: `env.emulated`, or the layout of the observations.

    Raises:
        UsageError: `emulated` is None, as it is in environments that are flat by nature.
        SpaceError: a leaf of a dtype that torch does not have, such as longdouble.
    """
    layout = emulated.observation if isinstance(emulated, Emulated) else emulated
    if not isinstance(layout, Layout):
        raise UsageError(f"emulated is {emulated!r}: expected env.emulated of an emulated env")
    if layout.is_array:
        return Whole(_torch_dtype(layout.dtype, "observation"), layout.space.shape)
    return _native(layout.dtype, 0, "observation")


def nativize_tensor(observations: torch.Tensor, dtype: NativeDtype) -> Tensors:
    """Return `observations` as a nested dict of tensors, which are views of it.

    A leaf of shape `shape` becomes `(*batch, *shape)`. Keys are those of `env.obs_dtype`: the keys
    of a Dict, and f0, f1 and so on for a Tuple. A lone leaf is one tensor. Works on any device and
    under `torch.compile(fullgraph=True)`.

    Args:
        observations: `(*batch, *row_shape)`, any batch shape, with the dtype of the flat space and
            contiguous rows.
        dtype: from `nativize_dtype`.

    Raises:
        UsageError: rows of another size.
    """
    if isinstance(dtype, Whole):
        return observations
    size = observations.shape[-1] * observations.element_size()
    if size != dtype.size:
        raise UsageError(
            f"observations have rows of {size} bytes, expected {dtype.size}: "
            "is this a batch of another environment?"
        )
    return _views(observations, dtype)


def layer_init(
    layer: torch.nn.Module, std: float = math.sqrt(2), bias_const: float = 0.0
) -> torch.nn.Module:
    """Return `layer`, its weight now orthogonal with gain `std`, its bias constant.

    As PPO's reference implementations do (Engstrom et al. 2020, arXiv:2005.12729).
    """
    torch.nn.init.orthogonal_(layer.weight, std)  # type: ignore[arg-type]
    if getattr(layer, "bias", None) is not None:
        torch.nn.init.constant_(layer.bias, bias_const)  # type: ignore[arg-type]
    return layer


def _native(dtype: np.dtype[Any], offset: int, name: str) -> Leaf | Struct:
    """Return where an element of `dtype`, `offset` bytes behind its parent's start, lies."""
    shape = dtype.shape
    if dtype.base.names is None:
        return Leaf(offset, dtype.itemsize, _torch_dtype(dtype.base, name), shape)
    fields: Mapping[str, Any] = dtype.base.fields or {}
    members = tuple(
        (member, _native(fields[member][0], fields[member][1], f"{name}[{member!r}]"))
        for member in dtype.base.names
    )
    return Struct(offset, dtype.itemsize, shape, members)


def _views(rows: torch.Tensor, place: Leaf | Struct) -> Tensors:
    """Return views of `place` in `rows`, whose last dimension is the parent's memory."""
    batch, unit = rows.shape[:-1], rows.element_size()
    part = rows.narrow(-1, place.offset // unit, place.size // unit)
    if isinstance(place, Leaf):
        if place.size == 0:
            return part.new_empty((*batch, *place.shape), dtype=place.dtype)
        if place.dtype is torch.bool and torch.compiler.is_compiling():
            # Inductor's vectorised C++ (torch 2.13) does not compile a reinterpretation as bool.
            return part.ne(0).view((*batch, *place.shape))
        return part.view(place.dtype).view((*batch, *place.shape))
    if place.shape:
        each = place.size // unit // math.prod(place.shape)
        part = part.view((*batch, *place.shape, each))
    return {name: _views(part, member) for name, member in place.members}


def _torch_dtype(dtype: np.dtype[Any], name: str) -> torch.dtype:
    found = getattr(torch, "bool" if dtype.kind == "b" else dtype.name, None)
    if not isinstance(found, torch.dtype):
        raise SpaceError(f"{name} has dtype {dtype}, which torch does not have: cast it")
    return found
