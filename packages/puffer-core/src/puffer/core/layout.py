"""Layout: any observation space as one flat row, written in place and read back without loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from puffer.core._fields import ArrayField, Field, Memory, ScalarField, StructField, join
from puffer.core._varying import GraphField, OneOfField, SequenceField, TextField
from puffer.core.errors import SpaceError
from puffer.core.spaces import (
    Box,
    Dict,
    Discrete,
    Graph,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Space,
    Text,
    Tuple,
)

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
        dtype: what `row.view(layout.dtype)` takes: the structure, or the dtype of a lone leaf.
        is_array: whether it is a lone array.
    """

    def __init__(self, original: Space[Any], field: Field) -> None:
        if field.size == 0:
            raise SpaceError(f"{field.name} is {original!r}, which holds no data: expected a leaf")
        self.original = original
        self._field = field
        self.is_array = isinstance(field, ArrayField)
        self.dtype = field.dtype
        self.space = _flat_space(field)

    @classmethod
    def of(
        cls,
        space: Space[Any],
        *,
        max_length: int | None = None,
        strict: bool = True,
        name: str = "observation",
    ) -> Layout:
        """Return the layout of `space`.

        Args:
            space: any Gymnasium space.
            max_length: how many items a Sequence, and nodes and edges a Graph, may have.
            strict: refuse samples of a wrong shape or dtype; else NumPy casts what it can.
            name: how errors call the sample.

        Raises:
            SpaceError: a leaf that cannot be laid out; the message names it.
        """
        return cls(space, _build(space, name, max_length, strict))

    def new_row(self) -> np.ndarray:
        """Return a row of zeros."""
        return np.zeros(self.space.shape, self.space.dtype)

    def row_maker(self) -> Callable[[Any], np.ndarray]:
        """Return the fastest function that gives a newly allocated row for a sample.

        It checks keys, shapes and dtypes; `check` checks values too.
        """
        field, base, explain = self._field, self.space.dtype, self._explain
        if isinstance(field, ArrayField):
            memory = field.memory

            def copy(sample: Any) -> np.ndarray:
                try:
                    return memory(sample).copy()
                except Exception:
                    explain(sample)
                    raise

            return copy
        append, frombuffer = field.append, np.frombuffer

        def make(sample: Any) -> np.ndarray:
            parts: list[Memory] = []
            try:
                append(sample, parts)
                try:
                    return frombuffer(bytearray().join(parts), base)
                except TypeError:  # an array that is not contiguous
                    return frombuffer(bytearray(join(parts)), base)
            except Exception:
                explain(sample)
                raise

        return make

    def bind(self, row: np.ndarray) -> Callable[[Any], np.ndarray]:
        """Return the fastest function that writes a sample into `row` and returns `row`.

        It checks as that of `row_maker` does. `row` is C-contiguous, with the shape and dtype of
        `space`.
        """
        view, explain = self._view(row), self._explain
        write = self._field.bind(view)

        def write_row(sample: Any) -> np.ndarray:
            try:
                write(sample)
            except Exception:
                explain(sample)
                raise
            return row

        if not isinstance(self._field, ArrayField):
            return write_row
        dtype, shape = self._field.dtype, self._field.shape
        target = view.reshape(shape)
        if len(shape) == 1:
            line: Any = target.data  # as the field writes it, without a call

            def write_line(sample: Any) -> np.ndarray:
                if type(sample) is np.ndarray:
                    try:
                        line[:] = sample  # compares shapes and formats itself
                        return row
                    except (TypeError, ValueError):
                        pass
                return write_row(sample)

            return write_line

        def write_array(sample: Any) -> np.ndarray:
            # What `write` does with the arrays of most environments, without a call.
            if type(sample) is np.ndarray and sample.dtype is dtype and sample.shape == shape:
                target[...] = sample
                return row
            return write_row(sample)

        return write_array

    def check(self, sample: Any) -> None:
        """Raise `SpaceError`, which names the leaf, if `sample` is not in the original space."""
        self._field.check(sample)

    def pack(self, sample: Any, row: np.ndarray) -> None:
        """Write `sample` into `row`, checking everything."""
        self.check(sample)
        self.bind(row)(sample)

    def pack_batch(self, batch: Any, rows: np.ndarray) -> None:
        """Write a batch of samples, as Gymnasium's vector environments give it, into `rows`.

        Raises:
            SpaceError: a leaf of another shape; the message names it.
        """
        if isinstance(self._field, ArrayField):
            self._field.write_batch(rows, batch)
        else:
            self._field.write_batch(rows.view(self.dtype)[:, 0], batch)

    def unpack(self, row: np.ndarray) -> Any:
        """Return a new sample of the original space, equal to the one that was packed."""
        return self._field.read(self._view(np.asarray(row, order="C")))

    def unpack_batch(self, rows: np.ndarray) -> Any:
        """Return the samples in `rows`, batched as Gymnasium's vector environments give them.

        Their arrays are views of `rows`, which is C-contiguous; only samples that vary in length
        or kind are new objects.
        """
        return self._field.read_batch(rows if self.is_array else rows.view(self.dtype)[:, 0])

    def _view(self, row: np.ndarray) -> np.ndarray:
        """Return `row` as the field's dtype, with a first dimension of 1."""
        return row[np.newaxis] if self.is_array else row.view(self.dtype)

    def _explain(self, sample: Any) -> None:
        """Raise a `SpaceError` that names the leaf, if writing `sample` failed because of one."""
        try:
            self._field.check(sample)
        except SpaceError as error:
            raise error from None


def _flat_space(field: Field) -> Box:
    if field.base is None:
        return Box(0, 255, (field.size,), np.uint8)
    low, high = field.bounds()
    shape = field.shape if isinstance(field, ArrayField) else low.shape
    return Box(
        low.astype(field.base).reshape(shape),
        high.astype(field.base).reshape(shape),
        dtype=field.base.type,
    )


def _build(space: Space[Any], name: str, max_length: int | None, strict: bool) -> Field:
    """Return the field of `space`."""

    def build(member: Space[Any], member_name: str) -> Field:
        return _build(member, member_name, max_length, strict)

    if isinstance(space, Box | MultiDiscrete | MultiBinary):
        return ArrayField(space, name, strict=strict)
    if isinstance(space, Discrete):
        return ScalarField(space, name, strict=strict)
    if isinstance(space, Dict | Tuple):
        return StructField(space, name, build)
    if isinstance(space, Text):
        return TextField(space, name)
    if isinstance(space, OneOf):
        return OneOfField(space, name, build)
    if isinstance(space, Sequence):
        return SequenceField(space, name, build, _known_length(space, name, max_length))
    if isinstance(space, Graph):
        return GraphField(space, name, build, _known_length(space, name, max_length))
    raise SpaceError(
        f"{name} is a {type(space).__name__}, which has no flat form: drop or convert it with "
        "gymnasium.wrappers.FilterObservation or TransformObservation"
    )


def _known_length(space: Space[Any], name: str, max_length: int | None) -> int:
    kind = type(space).__name__
    if max_length is None:
        raise SpaceError(f"{name} is a {kind} of unlimited length: pass max_length=N")
    if max_length < 1:
        raise SpaceError(f"{name} is a {kind}, max_length={max_length}: expected at least 1")
    return max_length
