"""Gymnasium's spaces under one name, and what buffers need to know about flat ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box as Box
from gymnasium.spaces import Dict as Dict
from gymnasium.spaces import Discrete as Discrete
from gymnasium.spaces import Graph as Graph
from gymnasium.spaces import MultiBinary as MultiBinary
from gymnasium.spaces import MultiDiscrete as MultiDiscrete
from gymnasium.spaces import OneOf as OneOf
from gymnasium.spaces import Sequence as Sequence
from gymnasium.spaces import Space as Space
from gymnasium.spaces import Text as Text
from gymnasium.spaces import Tuple as Tuple

from puffer.core.errors import ActionError, SpaceError

FlatActionSpace = Discrete | MultiDiscrete | Box

# Seen as unsigned, a negative integer lies above every limit: one comparison does for both ends.
_UNSIGNED = {np.dtype(f"i{size}"): np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
_UNSIGNED |= {unsigned: unsigned for unsigned in _UNSIGNED.values()}
_FEW = 64  # numbers that a set tests faster than NumPy


def check_observation_space(space: object, owner: str) -> Box:
    """Return `space` if it is a Box, as rows of a buffer need; the error calls it by `owner`."""
    if not isinstance(space, Box):
        raise SpaceError(
            f"{owner}.single_observation_space is {space!r}, expected a Box: "
            "wrap the environment with puffer.core.emulation"
        )
    return space


def check_action_space(space: object, owner: str) -> FlatActionSpace:
    """Return `space` if it is a flat action space that starts at 0."""
    if not isinstance(space, Discrete | MultiDiscrete | Box):
        raise SpaceError(
            f"{owner}.single_action_space is {space!r}, expected Discrete, MultiDiscrete or Box: "
            "wrap the environment with puffer.core.emulation"
        )
    if not isinstance(space, Box) and np.any(np.asarray(space.start) != 0):
        raise SpaceError(
            f"{owner}.single_action_space is {space!r}, expected a space that starts at 0: "
            "wrap the environment with puffer.core.emulation"
        )
    if isinstance(space, MultiDiscrete) and space.nvec.ndim != 1:
        raise SpaceError(
            f"{owner}.single_action_space has nvec of shape {space.nvec.shape}, "
            "expected one dimension: flatten nvec"
        )
    return space


def action_layout(space: FlatActionSpace) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype of one agent's action: int32 for discrete kinds, else the Box's."""
    if isinstance(space, Discrete):
        return (), np.dtype(np.int32)
    if isinstance(space, MultiDiscrete):
        return space.nvec.shape, np.dtype(np.int32)
    return space.shape, np.dtype(space.dtype)


def joint_space(space: Space[Any], rows: int) -> FlatActionSpace:
    """Return the space of `rows` samples of a flat `space`, stacked along a new first dimension."""
    if isinstance(space, Discrete):
        return MultiDiscrete(np.full(rows, space.n, np.int64))
    if isinstance(space, MultiDiscrete):
        return MultiDiscrete(np.tile(space.nvec, (rows, *(1,) * space.nvec.ndim)))
    if isinstance(space, Box):
        low = np.broadcast_to(space.low, (rows, *space.shape))
        high = np.broadcast_to(space.high, (rows, *space.shape))
        return Box(low, high, dtype=space.dtype.type)
    raise SpaceError(f"{space!r} is not flat: expected Discrete, MultiDiscrete or Box")


def num_action_logits(space: FlatActionSpace) -> int:
    """Return the width of an action mask: the sum of nvec; 0 for a Box."""
    if isinstance(space, Discrete):
        return int(space.n)
    return int(space.nvec.sum()) if isinstance(space, MultiDiscrete) else 0


def write_actions(
    actions: npt.ArrayLike, out: np.ndarray, space: FlatActionSpace, *, agents_per_env: int = 0
) -> None:
    """Check `actions` (rows of `space`) and write them into `out`; on error `out` is unchanged.

    Discrete kinds take any integer dtype; a Box takes finite numbers within its bounds.

    Args:
        actions: shape `out.shape`; anything numpy can view, a CPU tensor included.
        out: the buffer, with one row per agent.
        space: the space of one row.
        agents_per_env: if given, an error names the env beside the agent.

    Raises:
        ActionError: wrong shape or dtype, or a value outside the space.
    """
    given = np.asarray(actions)
    if given.shape != out.shape:
        raise ActionError(f"actions have shape {given.shape}, expected {out.shape}")
    if isinstance(space, Box):
        if given.dtype.kind not in "fiub":
            raise ActionError(f"actions have dtype {given.dtype}, expected {out.dtype}")
        given = given.astype(out.dtype, copy=False)
        # Written so that NaN fails too.
        inside = (given >= space.low) & (given <= space.high)
        allowed = "the Box's bounds"
    else:
        if given.dtype.kind not in "iu":
            raise ActionError(
                f"actions have dtype {given.dtype}, expected integers such as {out.dtype}"
            )
        limit = space.n if isinstance(space, Discrete) else space.nvec
        inside = (given >= 0) & (given < limit)
        allowed = f"0 to {limit - 1}" if isinstance(space, Discrete) else f"0 to nvec-1 of {limit}"
    if not inside.all():
        where = tuple(int(i) for i in np.argwhere(~inside)[0])
        env = f" of env {where[0] // agents_per_env}" if agents_per_env else ""
        raise ActionError(
            f"action {given[where]} of agent {where[0]}{env} is outside the action space: "
            f"expected {allowed}" + (f", component {list(where[1:])}" if len(where) > 1 else "")
        )
    out[...] = given


def action_writer(
    out: np.ndarray, space: FlatActionSpace, *, agents_per_env: int = 0
) -> Callable[[npt.ArrayLike], None]:
    """Return the fastest function that does what `write_actions` does, always into `out`."""
    write_slowly = functools.partial(
        write_actions, out=out, space=space, agents_per_env=agents_per_env
    )
    if isinstance(space, Box):
        return _number_writer(out, space, write_slowly)
    shape, size = out.shape, out.size
    limit: Any = int(space.n) if isinstance(space, Discrete) else space.nvec
    one_limit = isinstance(space, Discrete)
    all_fit, largest = np.logical_and.reduce, np.maximum.reduce
    few = one_limit and out.ndim == 1 and size <= _FEW and limit <= 1024
    known = frozenset(range(limit)) if few else frozenset()

    def write(actions: npt.ArrayLike) -> None:
        given = np.asarray(actions)
        unsigned = _UNSIGNED.get(given.dtype)
        if unsigned is not None and given.shape == shape:
            if few:
                fit = known.issuperset(given.tolist())
            elif one_limit:
                fit = largest(given.view(unsigned), axis=None) < limit
            else:
                fit = all_fit(given.view(unsigned) < limit, axis=None)
            if fit:
                out[...] = given
                return
        write_slowly(actions)  # which says what is wrong

    return write


def _number_writer(
    out: np.ndarray, space: Box, write_slowly: Callable[[npt.ArrayLike], None]
) -> Callable[[npt.ArrayLike], None]:
    """Return what writes numbers of the right kind and place at once, and leaves all else."""
    shape, dtype = out.shape, out.dtype
    low, high = (np.broadcast_to(bound, shape).copy() for bound in (space.low, space.high))
    inside = np.empty((2, *shape), np.bool_)
    above, below, compare = inside[0], inside[1], np.less_equal
    all_inside = np.ones_like(inside).tobytes()

    def write(actions: npt.ArrayLike) -> None:
        given = np.asarray(actions)
        if given.dtype == dtype and given.shape == shape:
            compare(low, given, above)
            compare(given, high, below)
            if inside.tobytes() == all_inside:
                out[...] = given
                return
        write_slowly(actions)  # which says what is wrong

    return write
