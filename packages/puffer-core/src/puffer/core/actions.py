"""ActionLayout: any action space as one flat Discrete, MultiDiscrete or Box, and the way back."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from puffer.core._varying import stack, unstack
from puffer.core.errors import ActionError, SpaceError
from puffer.core.spaces import (
    Box,
    Dict,
    Discrete,
    FlatActionSpace,
    MultiBinary,
    MultiDiscrete,
    OneOf,
    Sequence,
    Space,
    Text,
    Tuple,
)

Values = list[Any]  # one Python number per column of a flat action
Reader = Callable[[Any], Any]
_MAX_CATEGORIES = 2**31 - 1  # action buffers are int32
_PREPARED = 1024  # actions of a lone Discrete that are made once


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One number of a flat action.

    Attributes:
        name: how errors call it, `action['move'][1]` say.
        categories: how many values a categorical column has, from 0; 0 for a continuous one.
        low: the lowest value.
        high: the highest value.
        dtype: the dtype of the leaf, int64 for categorical ones.
    """

    name: str
    categories: int
    low: float
    high: float
    dtype: np.dtype[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """One node of the action space's tree: flat values, also as a new array -> sample, and back."""

    read: Callable[[Values, np.ndarray], Any]
    write: Callable[[Any, Values], None]
    discrete: tuple[int, int] | None = None  # of a lone category: its column, and its start


class ActionLayout:
    """How the samples of one action space lie in a flat action.

    A lone Discrete, MultiDiscrete or Box stays what it is (from 0, one-dimensional if it is a
    MultiDiscrete). Discrete, MultiDiscrete, MultiBinary and Text leaves together are one
    MultiDiscrete, Box leaves one Box. A mixture is one float Box: a categorical column holds 0 to
    n-1 and is rounded and clipped.

    Attributes:
        original: the space that was laid out; it is never changed.
        space: the flat space.
        columns: what each number of a flat action stands for, in order.
        categories: int64, per column the number of its categories, 0 where it is continuous.
    """

    def __init__(
        self, original: Space[Any], *, max_length: int | None = None, name: str = "action"
    ) -> None:
        self.original = original
        self.columns: list[Column] = []
        self._part = _plan(original, name, self.columns, max_length)
        self.categories = np.array([c.categories for c in self.columns], np.int64)
        if not self.columns:
            raise SpaceError(f"{name} is {original!r}, which holds no data: expected a leaf")
        self.space = self._flat_space()
        self._shape, self._dtype = self.space.shape, self.space.dtype
        self._is_categorical = isinstance(self.space, MultiDiscrete)
        self._kinds = "iu" if self._is_categorical else "fiub"
        self._ranges = [range(c.categories) for c in self.columns]
        # Columns of integers that lie in an array of floats.
        self._rounded = [
            (i, int(c.low), int(c.high))
            for i, c in enumerate(self.columns)
            if isinstance(self.space, Box)
            and self.space.dtype.kind == "f"
            and (c.categories or c.dtype.kind != "f")
        ]
        self.unpack, self.unpack_rows = self._readers()

    @classmethod
    def of(
        cls, space: Space[Any], *, max_length: int | None = None, name: str = "action"
    ) -> ActionLayout:
        """Return the layout of `space`; the arguments are those of `Layout.of`.

        Raises:
            SpaceError: a leaf that cannot be laid out; the message names it.
        """
        return cls(space, max_length=max_length, name=name)

    unpack: Callable[[Any], Any]
    """Return the action of the original space that a flat one stands for, as new objects.

    Numbers beyond a Box's bounds are passed on as they are: the environment knows what to do.

    Raises:
        ActionError: a wrong shape or dtype, or a category that there is not.
    """

    unpack_rows: Callable[[np.ndarray], Iterable[Any]]
    """Return what `unpack` makes of each row, sooner, where all are known to be in the flat space.

    Whatever else is among them has no defined result.
    """

    def pack(self, sample: Any, row: np.ndarray) -> None:
        """Write `sample`, which belongs to the original space, into the flat `row`."""
        # What the sample leaves open (alternatives, absent items) lies as near to 0 as may be.
        values: Values = [min(max(0, c.low), c.high) for c in self.columns]
        self._part.write(sample, values)
        row.reshape(-1)[...] = values

    def new_row(self) -> np.ndarray:
        """Return a flat action of zeros."""
        return np.zeros(self.space.shape or (), self.space.dtype)

    def _flat_space(self) -> FlatActionSpace:
        if isinstance(self.original, Discrete):
            return Discrete(self.columns[0].categories)
        if isinstance(self.original, Box):
            dtype = np.dtype(self.original.dtype.type)
            return Box(self.original.low, self.original.high, dtype=dtype.type)
        if self.categories.all():
            return MultiDiscrete(self.categories)
        dtype = _common_number(self.columns)
        low = np.array([c.low for c in self.columns], dtype)
        return Box(low, np.array([c.high for c in self.columns], dtype), dtype=dtype.type)

    def _readers(self) -> tuple[Reader, Callable[[np.ndarray], Iterable[Any]]]:
        """Return `unpack` and `unpack_rows`."""
        if isinstance(self.original, Discrete):
            return _discrete_readers(self.original, self.columns[0])
        read: Reader = self._read_columns
        if isinstance(self.original, Box):
            read = _box_reader(self.original, self.columns)
            if self.original.shape:
                return read, np.ndarray.copy  # its rows are views of what nobody else has
        return read, functools.partial(map, read)

    def _read_columns(self, action: Any) -> Any:
        given = np.asarray(action)
        if given.shape != self._shape:
            raise ActionError(f"action has shape {given.shape}, expected {self._shape}")
        if given.dtype.kind not in self._kinds:
            raise ActionError(f"action has dtype {given.dtype}, expected {self._dtype}")
        row = given.astype(self._dtype)  # a copy, so that samples may be views of it
        values: Values = row.tolist()
        if self._is_categorical:
            if not all(map(operator.contains, self._ranges, values)):
                self._refuse(values)
        elif self._rounded:
            for i, low, high in self._rounded:
                if values[i] != values[i]:
                    self._refuse(values)
                values[i] = round(min(max(values[i], low), high))
            row[...] = values
        return self._part.read(values, row)

    def _refuse(self, values: Values) -> None:
        for column, value in zip(self.columns, values, strict=True):
            if not column.low <= value <= column.high:
                raise ActionError(
                    f"{column.name}: expected 0 to {column.categories - 1}, got {value}"
                    if column.categories
                    else f"{column.name}: expected {column.low} to {column.high}, got {value}"
                )


def _discrete_readers(
    space: Discrete, column: Column
) -> tuple[Reader, Callable[[np.ndarray], Iterable[Any]]]:
    n, start, index = int(space.n), int(space.start), operator.index
    # What the space itself samples: its `contains`, which many environments ask, is slow on ints.
    sampled = space.dtype.type
    prepared = [sampled(start + value) for value in range(min(n, _PREPARED))]

    def read(action: Any) -> np.integer[Any]:
        try:
            value = index(action)
        except TypeError as error:
            raise ActionError(f"{column.name}: expected an integer, got {action!r}") from error
        if 0 <= value < n:
            return prepared[value] if value < _PREPARED else sampled(start + value)
        raise ActionError(f"{column.name}: expected 0 to {n - 1}, got {value}")

    if n > _PREPARED:
        return read, functools.partial(map, read)
    return read, lambda rows: map(prepared.__getitem__, rows.tolist())


def _box_reader(space: Box, columns: list[Column]) -> Callable[[Any], np.ndarray]:
    shape, dtype = space.shape, np.dtype(space.dtype.type)
    name = columns[0].name.partition("[")[0]

    def read(action: Any) -> np.ndarray:
        given = np.asarray(action)
        if given.shape != shape:
            raise ActionError(f"{name} has shape {given.shape}, expected {shape}")
        if given.dtype.kind not in "fiub":
            raise ActionError(f"{name} has dtype {given.dtype}, expected {dtype}")
        return given.astype(dtype)

    return read


def _common_number(columns: list[Column]) -> np.dtype[Any]:
    """Return the dtype that holds every column exactly: the one of all leaves, or a float."""
    first = columns[0].dtype
    if all(not c.categories and c.dtype == first for c in columns):
        return first
    need = 32
    for column in columns:
        if column.dtype.kind == "f":
            bits = column.dtype.itemsize * 8
        else:
            largest = max(abs(int(column.low)), abs(int(column.high)))
            bits = 32 if largest <= 2**24 else 64 if largest <= 2**53 else 128
        if bits > 64:
            raise SpaceError(
                f"{column.name} is {column.dtype} from {column.low} to {column.high}, more than a "
                "float64 column of a mixed action can hold: narrow its bounds"
            )
        need = max(need, bits)
    return np.dtype(np.float32 if need == 32 else np.float64)


def _plan(space: Space[Any], name: str, columns: list[Column], max_length: int | None) -> _Part:
    """Append the columns of `space` and return how to read and write them."""
    if isinstance(space, Discrete):
        return _plan_discrete(space, name, columns)
    if isinstance(space, Box | MultiDiscrete | MultiBinary):
        return _plan_array(space, name, columns)
    if isinstance(space, Text):
        return _plan_text(space, name, columns)
    if isinstance(space, Dict | Tuple):
        return _plan_struct(space, name, columns, max_length)
    if isinstance(space, OneOf):
        return _plan_one_of(space, name, columns, max_length)
    if isinstance(space, Sequence):
        return _plan_sequence(space, name, columns, max_length)
    raise SpaceError(
        f"{name} is a {type(space).__name__}, which has no flat form as an action: convert it "
        "with gymnasium.wrappers.TransformAction"
    )


def _categorical(name: str, n: int) -> Column:
    if n > _MAX_CATEGORIES:
        raise SpaceError(f"{name} has {n} categories: expected at most {_MAX_CATEGORIES}")
    return Column(name, n, 0, n - 1, np.dtype(np.int64))


def _plan_discrete(space: Discrete, name: str, columns: list[Column]) -> _Part:
    i, start = len(columns), int(space.start)
    columns.append(_categorical(name, int(space.n)))

    def write(sample: Any, values: Values) -> None:
        values[i] = operator.index(sample) - start

    return _Part(lambda values, row: values[i] + start, write, discrete=(i, start))


def _plan_array(
    space: Box | MultiDiscrete | MultiBinary, name: str, columns: list[Column]
) -> _Part:
    shape, dtype, begin = space.shape, np.dtype(space.dtype.type), len(columns)
    start = np.asarray(getattr(space, "start", 0), dtype)
    shifted, one_dimensional = bool(np.any(start)), len(shape) == 1
    for where in np.ndindex(shape):
        leaf = f"{name}{list(where) if where else ''}"
        if isinstance(space, Box):
            columns.append(
                Column(leaf, 0, space.low[where].item(), space.high[where].item(), dtype)
            )
        else:
            n = space.nvec[where] if isinstance(space, MultiDiscrete) else 2
            columns.append(_categorical(leaf, int(n)))
    end = len(columns)

    def read(values: Values, row: np.ndarray) -> np.ndarray:
        array = row[begin:end]
        if array.dtype is not dtype:
            array = array.astype(dtype)
        if not one_dimensional:
            array = array.reshape(shape)
        return array + start if shifted else array

    def write(sample: Any, values: Values) -> None:
        array = np.asarray(sample, dtype)
        values[begin:end] = (array - start if shifted else array).reshape(-1).tolist()

    return _Part(read, write)


def _plan_text(space: Text, name: str, columns: list[Column]) -> _Part:
    begin, shortest, longest = len(columns), space.min_length, space.max_length
    characters = space.characters
    columns.append(_categorical(f"{name}.length", longest - shortest + 1))
    columns.extend(_categorical(f"{name}[{i}]", max(len(characters), 1)) for i in range(longest))

    def read(values: Values, row: np.ndarray) -> str:
        length = shortest + values[begin]
        return "".join(characters[v] for v in values[begin + 1 : begin + 1 + length])

    def write(sample: Any, values: Values) -> None:
        values[begin] = len(sample) - shortest
        for i, character in enumerate(sample, begin + 1):
            values[i] = characters.index(character)

    return _Part(read, write)


def _plan_struct(
    space: Dict | Tuple[Any], name: str, columns: list[Column], max_length: int | None
) -> _Part:
    is_dict = isinstance(space, Dict)
    members: Mapping[Any, Space[Any]] = (
        space.spaces if isinstance(space, Dict) else dict(enumerate(space.spaces))
    )
    parts = [
        (key, _plan(member, f"{name}[{key!r}]", columns, max_length))
        for key, member in members.items()
    ]
    plan = [(key, *(part.discrete or (-1, 0)), part.read) for key, part in parts]

    def read(values: Values, row: np.ndarray) -> Any:
        members = {}
        for key, column, start, read_member in plan:
            # A category, by far the most frequent, is read without a call.
            members[key] = values[column] + start if column >= 0 else read_member(values, row)
        return members if is_dict else tuple(members.values())

    def write(sample: Any, values: Values) -> None:
        for key, part in parts:
            part.write(sample[key], values)

    return _Part(read, write)


def _plan_one_of(
    space: OneOf[Any], name: str, columns: list[Column], max_length: int | None
) -> _Part:
    i = len(columns)
    columns.append(_categorical(f"{name}.index", len(space.spaces)))
    parts = [
        _plan(member, f"{name}[{k}]", columns, max_length) for k, member in enumerate(space.spaces)
    ]

    def read(values: Values, row: np.ndarray) -> tuple[int, Any]:
        return values[i], parts[values[i]].read(values, row)

    def write(sample: Any, values: Values) -> None:
        values[i] = int(sample[0])
        parts[values[i]].write(sample[1], values)

    return _Part(read, write)


def _plan_sequence(
    space: Sequence, name: str, columns: list[Column], max_length: int | None
) -> _Part:
    if max_length is None:
        raise SpaceError(f"{name} is a Sequence of unlimited length: pass max_length=N")
    i = len(columns)
    columns.append(_categorical(f"{name}.length", max_length + 1))
    parts = [
        _plan(space.feature_space, f"{name}[{k}]", columns, max_length) for k in range(max_length)
    ]

    def read(values: Values, row: np.ndarray) -> Any:
        items = [part.read(values, row) for part in parts[: values[i]]]
        return stack(space.feature_space, items) if space.stack else tuple(items)

    def write(sample: Any, values: Values) -> None:
        items = unstack(space, sample)
        values[i] = len(items)
        for part, item in zip(parts, items, strict=False):
            part.write(item, values)

    return _Part(read, write)
