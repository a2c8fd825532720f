"""SharedBlock: one anonymous piece of memory that holds every array of a vector environment."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import weakref
from multiprocessing import reduction
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np

from puffer.core.buffers import Fields

ALIGNMENT = 64  # bytes: a cache line, and the widest vector registers


class SharedBlock:
    """Memory that worker processes share, however they are started, and that has no name.

    The operating system frees it with the last process that maps it, even if all are killed. On
    Linux it lies in no file system, so that the size of `/dev/shm` does not limit it.

    Attributes:
        fields: name -> (shape, dtype) of the arrays, which lie in it one after another.
    """

    def __init__(self, memory: Any, fields: Fields) -> None:
        self.fields = fields
        self._memory = memory

    @classmethod
    def allocate(cls, context: BaseContext, fields: Fields) -> SharedBlock:
        """Return a new block of zeros."""
        size = sum(_padded_size(*field) for field in fields.values()) + ALIGNMENT
        if hasattr(os, "memfd_create"):
            return cls(_Memfd.create(size), fields)
        return cls(context.RawArray(ctypes.c_uint8, size), fields)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return name -> array; each begins at a multiple of 64 bytes and keeps the block alive."""
        is_memfd = isinstance(self._memory, _Memfd)
        memory = np.frombuffer(self._memory.map if is_memfd else self._memory, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        arrays = {}
        for name, (shape, dtype) in self.fields.items():
            stop = start + math.prod(shape) * dtype.itemsize
            arrays[name] = memory[start:stop].view(dtype).reshape(shape)
            start += _padded_size(shape, dtype)
        return arrays


class _Memfd:
    """A mapped file without a name; pickled among a worker's arguments, it stays the same one."""

    def __init__(self, fd: int, size: int) -> None:
        weakref.finalize(self, os.close, fd)
        self._fd = fd
        self._size = size
        self.map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, size: int) -> _Memfd:
        """Return a new one, of zeros."""
        fd = os.memfd_create("puffer")
        os.ftruncate(fd, size)
        return cls(fd, size)

    def __reduce__(self) -> Any:
        return _reopen, (reduction.DupFd(self._fd), self._size)


def _reopen(copy: Any, size: int) -> _Memfd:
    return _Memfd(copy.detach(), size)


def _padded_size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    size = math.prod(shape) * dtype.itemsize
    return size + -size % ALIGNMENT
