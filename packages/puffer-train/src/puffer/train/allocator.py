"""Make the C library keep the memory that tensors free, instead of fetching it anew each time."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_LARGEST = 2**30


def keep_freed_memory() -> bool:
    """Ask glibc to reuse freed blocks of any size; return whether it is there and agreed.

    By default a block of megabytes goes back to the system when it is freed, and the next one
    costs a page fault for every 4 KiB: on a CPU a third of a small network's update. For the whole
    process, which from then on keeps the most that it ever needed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
    return all([mallopt(name, value) for name, value in settings.items()])
