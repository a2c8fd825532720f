"""Layout: any observation space as one flat row, written in place and read back without loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from puffer.core.errors import SpaceError
from puffer.core.fields import ArrayField, Field, ScalarField, build
from puffer.core.spaces import Box, Space

if TYPE_CHECKING:
    from puffer.core.actions import ActionLayout


@dataclasses.dataclass(frozen=True, slots=True)
class Emulated:
    """The layouts of an emulated environment: what `puffer.core.pytorch.nativize_dtype` takes."""

    observation: Layout
    action: ActionLayout


class Layout:
    """How the samples of one observation space lie in a flat row.

    A lone array (Box, MultiDiscrete, MultiBinary) keeps its shape and dtype; a lone Discrete is one
    integer. Anything else is an aligned NumPy structure: its row is a flat array of the dtype that
    all leaves share, or of bytes where they differ.

    Attributes:
        original: the space that was laid out; it is never changed.
        space: the flat Box that holds every row; bounds are carried over unless rows are bytes.
        dtype: what `row.view(layout.dtype)` takes: the structure, or the plain dtype of a lone leaf.
    """

    def __init__(self, original: Space[Any], field: Field) -> None:
        self.original = original
        self.field = field
        self.dtype = field.dtype
        self._lone = isinstance(field, ArrayField | ScalarField)
        base = field.base
        size = field.dtype.itemsize * int(np.prod(field.shape))
        if size == 0:
            raise SpaceError(f"{field.name} is {original!r}, which holds no data: expected a leaf")
        if base is None:
            self.space = Box(0, 255, (size,), np.uint8)
            return
        low, high = field.bounds()
        shape = field.shape if isinstance(field, ArrayField) else low.shape
        self.space = Box(
            low.astype(base).reshape(shape), high.astype(base).reshape(shape), dtype=base.type
        )

    @classmethod
    def of(
        cls, space: Space[Any], *, max_length: int | None = None, name: str = "observation"
    ) -> Layout:
        """Return the layout of `space`.

        Args:
            space: any Gymnasium space.
            max_length: how many items a Sequence, and nodes and edges a Graph, may have.
            name: how errors call the sample.

        Raises:
            SpaceError: a leaf that cannot be laid out; the message names it.
        """
        return cls(space, build(space, name, max_length))

    def new_row(self) -> np.ndarray:
        """Return a row of zeros."""
        return np.zeros(self.space.shape, self.space.dtype)

    def bind(self, row: np.ndarray, *, strict: bool = True) -> Callable[[Any], None]:
        """Return the fastest function that writes a sample into `row`, again and again.

        It checks keys, shapes and dtypes (`check` checks values too), or, unless `strict`, lets
        NumPy cast and broadcast what it can. `row` is C-contiguous, with the shape and dtype of
        `space`.
        """
        write = self.field.writer(self._view(row), strict)
        check = self.field.check

        def write_or_explain(sample: Any) -> None:
            try:
                write(sample)
            except SpaceError:
                raise
            except Exception:
                check(sample)
                raise

        return write_or_explain

    def check(self, sample: Any) -> None:
        """Raise `SpaceError`, which names the leaf, if `sample` is not in the original space."""
        self.field.check(sample)

    def pack(self, sample: Any, row: np.ndarray) -> None:
        """Write `sample` into `row`, checking everything."""
        self.field.check(sample)
        self.bind(row)(sample)

    def unpack(self, row: np.ndarray) -> Any:
        """Return a new sample of the original space, equal to the one that was packed."""
        return self.field.read(self._view(np.asarray(row, order="C")))

    def _view(self, row: np.ndarray) -> np.ndarray:
        return row.reshape(1, *self.field.shape) if self._lone else row.view(self.dtype)
