"""SharedBlock: one anonymous piece of memory that holds every array of a vector environment."""

from __future__ import annotations

import ctypes
import dataclasses
import math
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np

from puffer.core.buffers import Fields

ALIGNMENT = 64  # bytes: a cache line, and the widest vector registers


@dataclasses.dataclass(frozen=True)
class SharedBlock:
    """Memory that worker processes share, however they are started, and that has no name.

    The operating system frees it with the last process that maps it, even if all are killed.

    Attributes:
        memory: the bytes; they go to a worker as part of its arguments.
        fields: name -> (shape, dtype) of the arrays, which lie in it one after another.
    """

    memory: Any
    fields: Fields

    @classmethod
    def allocate(cls, context: BaseContext, fields: Fields) -> SharedBlock:
        """Return a new block of zeros."""
        size = sum(_padded_size(*field) for field in fields.values())
        return cls(context.RawArray(ctypes.c_uint8, size + ALIGNMENT), fields)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return name -> array; each begins at a multiple of 64 bytes and keeps the block alive."""
        memory = np.frombuffer(self.memory, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        arrays = {}
        for name, (shape, dtype) in self.fields.items():
            stop = start + math.prod(shape) * dtype.itemsize
            arrays[name] = memory[start:stop].view(dtype).reshape(shape)
            start += _padded_size(shape, dtype)
        return arrays


def _padded_size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    size = math.prod(shape) * dtype.itemsize
    return size + -size % ALIGNMENT
