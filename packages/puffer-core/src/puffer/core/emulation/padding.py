"""Agents with differing spaces under one: rows and actions as wide as the widest agent's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from puffer.core.actions import ActionLayout
from puffer.core.errors import SpaceError
from puffer.core.layout import Layout
from puffer.core.spaces import Box, Discrete, FlatActionSpace, MultiDiscrete


def pad_observations(layouts: list[Layout]) -> Layout:
    """Return the layout of a flat Box that holds a row of each of `layouts`, zeros behind it.

    It has their dtype if they share one, else it is bytes.
    """
    dtypes = {layout.space.dtype for layout in layouts}
    if len(dtypes) > 1:
        longest = max(layout.new_row().nbytes for layout in layouts)
        return Layout.of(Box(0, 255, (longest,), np.uint8))
    width = max(layout.new_row().size for layout in layouts)
    dtype = dtypes.pop()
    low, high = _widest([layout.space for layout in layouts], width)
    return Layout.of(Box(low, high, dtype=dtype.type))


def bind_padded(layout: Layout, row: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Return a function that writes a sample of `layout` into the front of `row`, now zero."""
    row[...] = 0
    memory = row.view(np.uint8)[: layout.new_row().nbytes]
    write = layout.bind(memory.view(layout.space.dtype).reshape(layout.space.shape))

    def write_front(sample: Any) -> np.ndarray:
        write(sample)
        return row

    return write_front


class PaddedAction:
    """One flat action space for agents whose own differ.

    An agent's own action is the front of a padded one. A category that the agent does not have
    stands for its category 0, a number beyond its bounds for the bound.

    Attributes:
        space: as wide as the widest agent's, with the most categories.
    """

    def __init__(self, agents: list[Any], layouts: list[ActionLayout]) -> None:
        kinds = {type(layout.space) for layout in layouts}
        if len(kinds) > 1:
            listed = ", ".join(
                f"{agent!r}: {layout.space}" for agent, layout in zip(agents, layouts, strict=True)
            )
            raise SpaceError(
                f"agents have action spaces of different kinds, which no padding makes equal: "
                f"{listed}"
            )
        self.space = _widest_action([layout.space for layout in layouts])

    def unpacker(self, layout: ActionLayout) -> Callable[[Any], Any]:
        """Return the function that turns a padded action into one of the agent's own."""
        unpack, space = layout.unpack, layout.space
        if isinstance(space, Discrete):
            n = int(space.n)
            return lambda action: unpack(action if action < n else 0)
        if isinstance(space, MultiDiscrete):
            nvec = space.nvec

            def unpack_categories(action: Any) -> Any:
                own = np.asarray(action)[: nvec.size]
                return unpack(np.where(own < nvec, own, 0))

            return unpack_categories
        size, shape, low, high = space.low.size, space.shape, space.low, space.high

        def unpack_numbers(action: Any) -> Any:
            return unpack(np.clip(np.asarray(action)[:size].reshape(shape), low, high))

        return unpack_numbers

    def allowed(self, layout: ActionLayout) -> np.ndarray:
        """Return the agent's own categories as a mask of the padded space: bool, sum of nvec.

        A component that the agent does not have allows its category 0.
        """
        own = _nvec(layout.space)
        return np.concatenate(
            [
                np.arange(n) < (own[i] if i < own.size else 1)
                for i, n in enumerate(_nvec(self.space))
            ]
        )


def _nvec(space: FlatActionSpace) -> np.ndarray:
    if isinstance(space, Discrete):
        return np.array([space.n])
    return np.asarray(space.nvec if isinstance(space, MultiDiscrete) else [], np.int64)


def _widest_action(spaces: list[FlatActionSpace]) -> FlatActionSpace:
    if isinstance(spaces[0], Box):
        boxes = [space for space in spaces if isinstance(space, Box)]
        width = max(box.low.size for box in boxes)
        dtype = np.result_type(*(box.dtype for box in boxes))
        low, high = _widest(boxes, width)
        return Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type)
    nvecs = [_nvec(space) for space in spaces]
    width = max(nvec.size for nvec in nvecs)
    most = np.max([np.pad(nvec, (0, width - nvec.size)) for nvec in nvecs], axis=0)
    return Discrete(int(most[0])) if isinstance(spaces[0], Discrete) else MultiDiscrete(most)


def _widest(boxes: list[Box], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return flat bounds that hold each of `boxes` with zeros behind it."""

    def padded(bounds: np.ndarray) -> np.ndarray:
        return np.pad(bounds.reshape(-1), (0, width - bounds.size))

    low = np.min([padded(box.low) for box in boxes], axis=0)
    return low, np.max([padded(box.high) for box in boxes], axis=0)
