"""The bytes in which a vector environment saves its environments' states, one after another."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from puffer.core.errors import UsageError

MAGIC = b"puffer-vector 1\n"


def pack(states: Sequence[bytes]) -> bytes:
    """Return one piece of bytes that holds the states of all environments, in their order."""
    lengths = struct.pack(f"<{len(states) + 1}Q", len(states), *map(len, states))
    return b"".join((MAGIC, lengths, *states))


def unpack(state: bytes, num_envs: int) -> list[bytes]:
    """Return the states that `pack` was given.

    Raises:
        UsageError: other bytes, or as many states as there are not environments.
    """
    start = len(MAGIC) + 8
    if not state.startswith(MAGIC) or len(state) < start:
        raise UsageError("set_state() was given bytes that no vector environment's state() made")
    (count,) = struct.unpack_from("<Q", state, len(MAGIC))
    if count != num_envs:
        raise UsageError(
            f"set_state() was given the state of {count} envs, expected {num_envs}: "
            "make the vector environment with the same num_envs"
        )
    states = []
    if len(state) >= start + 8 * count:
        stop = start + 8 * count
        for length in struct.unpack_from(f"<{count}Q", state, start):
            states.append(state[stop : stop + length])
            stop += length
        if stop == len(state):
            return states
    raise UsageError("set_state() was given a state that is cut short: read the whole file")
