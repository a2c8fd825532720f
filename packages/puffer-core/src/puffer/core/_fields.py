"""How each kind of Gymnasium space lies in memory: one `Field` per node of the space's tree.

A field knows the NumPy type of its samples, gives the memory of a sample, reads a sample back, and
explains what is wrong with one. Rows are put together with `bytes.join`: for a Dict of many leaves
that costs a third of assigning them one by one to NumPy arrays.
"""

from __future__ import annotations

import copy
import operator
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from puffer.core.errors import SpaceError
from puffer.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

Memory = Any  # anything C-contiguous with the buffer protocol: bytes, an array
Bounds = tuple[np.ndarray, np.ndarray]
Build = Callable[[Space[Any], str], "Field"]
Writer = Callable[[Any], None]
_LARGE = 32768  # bytes from which on copying an array twice costs more than another call


class Field:
    """The place of one space in memory.

    Attributes:
        name: how errors call it, `observation['inventory'][2]` say.
        dtype: the NumPy type of one element: plain for arrays and scalars, else a structure.
        shape: how many elements a sample has; () for anything but arrays.
        bases: the dtypes of all leaves, those without elements included: they align the others.
        largest: the bytes of the largest array that lies at a fixed place below.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    bases: frozenset[np.dtype[Any]]
    largest: int = 0

    @property
    def base(self) -> np.dtype[Any] | None:
        """The dtype that all leaves share, or None."""
        return next(iter(self.bases)) if len(self.bases) == 1 else None

    @property
    def size(self) -> int:
        """The bytes of one sample."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    def bounds(self) -> Bounds:
        """Return the lowest and highest value of each element of `base`, flat."""
        raise NotImplementedError

    def check(self, sample: Any) -> None:
        """Raise `SpaceError`, with the name of the leaf, if `sample` is not in the space."""
        raise NotImplementedError

    def memory(self, sample: Any) -> Memory:
        """Return the memory of `sample`, `size` bytes, having checked its shapes and dtypes.

        An array that is not contiguous is left for `join` to copy.

        Raises:
            Exception: of any kind, if the sample is wrong; `check` tells what it is.
        """
        raise NotImplementedError

    def append(self, sample: Any, parts: list[Memory]) -> None:
        """Append the memory of `sample` to `parts`."""
        parts.append(self.memory(sample))

    def bind(self, view: np.ndarray) -> Writer:
        """Return the fastest function that writes a sample into `view`, again and again."""
        append, target = self.append, view.reshape(-1).view(np.uint8).data

        def write(sample: Any) -> None:
            parts: list[Memory] = []
            append(sample, parts)
            target[:] = join(parts)

        return write

    def write_batch(self, rows: np.ndarray, batch: Any) -> None:
        """Write as many samples as `rows` has, batched as Gymnasium batches them."""
        for i, sample in enumerate(batch):
            memory = np.frombuffer(join([self.memory(sample)]), np.uint8)
            rows[i : i + 1].view(np.uint8)[...] = memory

    def read(self, view: np.ndarray) -> Any:
        """Return a new sample, equal to the one whose memory `view` shows.

        Args:
            view: shape `(1, *shape)`, of `dtype`.
        """
        raise NotImplementedError

    def read_batch(self, rows: np.ndarray) -> Any:
        """Return as many samples as `rows` has, batched as Gymnasium batches them."""
        return tuple(self.read(rows[i : i + 1]) for i in range(len(rows)))


class ArrayField(Field):
    """A Box, MultiDiscrete or MultiBinary: an array of the space's own shape and dtype."""

    def __init__(
        self, space: Box | MultiDiscrete | MultiBinary, name: str, *, strict: bool = True
    ) -> None:
        self.name = name
        self.shape = space.shape
        self.dtype = np.dtype(space.dtype.type)
        self.bases = frozenset([self.dtype])
        self.strict = strict
        self.largest = self.size
        if isinstance(space, Box):
            low, high = space.low, space.high
        elif isinstance(space, MultiDiscrete):
            low, high = space.start, space.start + (space.nvec - 1)
        else:
            low, high = np.zeros(self.shape), np.ones(self.shape)
        self.low = low.astype(self.dtype)
        self.high = high.astype(self.dtype)

    def bounds(self) -> Bounds:
        return self.low.reshape(-1), self.high.reshape(-1)

    def check(self, sample: Any) -> None:
        array = self.convert(sample)
        inside = (array >= self.low) & (array <= self.high)  # False for NaN too
        if not inside.all():
            where = tuple(int(i) for i in np.argwhere(~inside)[0])
            raise SpaceError(
                f"{self.name}{list(where) if where else ''}: expected a value from "
                f"{self.low[where]} to {self.high[where]}, got {array[where]}"
            )

    def memory(self, sample: Any) -> np.ndarray:
        # Identity recognises the common case at a fraction of a comparison's price.
        if type(sample) is ndarray and sample.dtype is self.dtype and sample.shape == self.shape:
            return sample
        return self.convert(sample)

    def bind(self, view: np.ndarray) -> Writer:
        convert, dtype, shape = self.convert, self.dtype, self.shape
        target = view.reshape(shape)

        def write(sample: Any) -> None:
            if type(sample) is ndarray and sample.dtype is dtype and sample.shape == shape:
                target[...] = sample
            else:
                target[...] = convert(sample)

        if len(shape) != 1:
            return write
        row: Any = target.data

        def write_row(sample: Any) -> None:
            if type(sample) is ndarray:
                try:
                    row[:] = sample  # compares shapes and formats itself, which is sooner
                    return
                except (TypeError, ValueError):
                    pass
            write(sample)

        return write_row

    def convert(self, sample: Any) -> np.ndarray:
        """Return `sample` as an array of this field's shape and dtype.

        Raises:
            SpaceError: something would be lost by that.
        """
        if not self.strict:
            return np.broadcast_to(np.asarray(sample).astype(self.dtype), self.shape)
        try:
            array = np.asarray(sample)
        except ValueError as error:
            raise SpaceError(
                f"{self.name}: expected an array of shape {self.shape}, got {sample!r}"
            ) from error
        if array.shape != self.shape:
            raise SpaceError(f"{self.name}: expected shape {self.shape}, got {array.shape}")
        if isinstance(sample, np.ndarray | np.generic):
            fits = np.can_cast(array.dtype, self.dtype)
        else:  # Python's own numbers have no width: only a kind that cannot hold them is wrong
            rank = {"b": 0, "i": 1, "u": 1, "f": 2}
            fits = rank.get(array.dtype.kind, 3) <= rank[self.dtype.kind]
        if not fits:
            raise SpaceError(f"{self.name}: expected dtype {self.dtype}, got {array.dtype}")
        if array.size and self.dtype.kind in "iu" and array.dtype != self.dtype:
            limits = np.iinfo(self.dtype)
            if int(array.min()) < limits.min or int(array.max()) > limits.max:
                raise SpaceError(
                    f"{self.name}: expected values that fit {self.dtype}, got {sample!r}"
                )
        return array.astype(self.dtype)

    def write_batch(self, rows: np.ndarray, batch: Any) -> None:
        _write_array(self.name, rows, batch)

    def read(self, view: np.ndarray) -> np.ndarray:
        return view.reshape(self.shape).copy()

    def read_batch(self, rows: np.ndarray) -> np.ndarray:
        return rows


class ScalarField(Field):
    """A Discrete: one integer of the space's dtype, the start included."""

    def __init__(self, space: Discrete, name: str, *, strict: bool = True) -> None:
        self.name = name
        self.dtype = np.dtype(space.dtype.type)
        self.bases = frozenset([self.dtype])
        self.low = int(space.start)
        self.high = int(space.start) + int(space.n) - 1
        pack = struct.Struct(self.dtype.char).pack  # refuses what is no integer, or too large
        self._pack: Callable[[Any], bytes] = pack if strict else lambda sample: pack(int(sample))

    def bounds(self) -> Bounds:
        return np.array([self.low], self.dtype), np.array([self.high], self.dtype)

    def check(self, sample: Any) -> None:
        try:
            value = operator.index(sample)
        except TypeError as error:
            raise SpaceError(f"{self.name}: expected an integer, got {sample!r}") from error
        if not self.low <= value <= self.high:
            raise SpaceError(
                f"{self.name}: expected an integer from {self.low} to {self.high}, got {value}"
            )

    def memory(self, sample: Any) -> bytes:
        return self._pack(sample)

    def append(self, sample: Any, parts: list[Memory]) -> None:
        parts.append(self._pack(sample))

    def write_batch(self, rows: np.ndarray, batch: Any) -> None:
        _write_array(self.name, rows, batch)

    def read(self, view: np.ndarray) -> int:
        return int(view[0])

    def read_batch(self, rows: np.ndarray) -> np.ndarray:
        return rows


class StructField(Field):
    """A Dict or Tuple: the fields of its members, by key or as f0, f1 and so on."""

    def __init__(self, space: Dict | Tuple[Any], name: str, build: Build) -> None:
        self.name = name
        self.is_dict = isinstance(space, Dict)
        members: dict[Any, Space[Any]] = (
            space.spaces if isinstance(space, Dict) else dict(enumerate(space.spaces))
        )
        self.keys = list(members)
        self.fields = [build(member, f"{name}[{key!r}]") for key, member in members.items()]
        self.names = field_names(self.keys) if self.is_dict else [f"f{i}" for i in self.keys]
        self.dtype = np.dtype(
            [(n, f.dtype, f.shape) for n, f in zip(self.names, self.fields, strict=True)],
            align=True,
        )
        self.bases = frozenset().union(*(field.bases for field in self.fields))
        self.largest = max((field.largest for field in self.fields), default=0)
        fields: Mapping[str, Any] = self.dtype.fields or {}
        self._count = len(self.keys)
        self._offsets = [*(fields[name][1] for name in self.names), self.dtype.itemsize]
        self._plan = [
            (
                key,
                field.dtype if isinstance(field, ArrayField) else None,
                field.shape,
                field.append,
                b"\0" * (end - offset - field.size),
            )
            for key, field, offset, end in zip(
                self.keys, self.fields, self._offsets, self._offsets[1:], strict=False
            )
        ]

    def bounds(self) -> Bounds:
        nothing = np.zeros(0, np.bool_)  # the one dtype that changes no other
        lows, highs = zip(
            (nothing, nothing), *(field.bounds() for field in self.fields), strict=True
        )
        return np.concatenate(lows), np.concatenate(highs)

    def check(self, sample: Any) -> None:
        if self.is_dict:
            if not isinstance(sample, Mapping):
                raise SpaceError(f"{self.name}: expected a dict, got {sample!r}")
            if sample.keys() != set(self.keys):
                raise SpaceError(
                    f"{self.name}: expected the keys {self.keys}, got {list(sample.keys())}"
                )
        elif not isinstance(sample, tuple | list) or len(sample) != len(self.keys):
            raise SpaceError(
                f"{self.name}: expected a tuple of {len(self.keys)} members, got {sample!r}"
            )
        for key, field in zip(self.keys, self.fields, strict=True):
            field.check(sample[key])

    def memory(self, sample: Any) -> bytes:
        parts: list[Memory] = []
        self.append(sample, parts)
        return join(parts)

    def append(self, sample: Any, parts: list[Memory]) -> None:
        if len(sample) != self._count:
            raise ValueError("wrong number of members")
        append = parts.append
        for key, dtype, shape, append_member, padding in self._plan:
            member = sample[key]
            # Arrays, by far the most frequent, are taken without a call.
            if type(member) is ndarray and member.dtype is dtype and member.shape == shape:
                append(member)
            else:
                append_member(member, parts)
            if padding:
                append(padding)

    def bind(self, view: np.ndarray) -> Writer:
        if self.largest < _LARGE:
            return super().bind(view)
        view.view(np.uint8)[...] = 0  # what lies between the fields is never written again
        writers: list[Writer] = []
        begin = 0
        for i, (key, name, field) in enumerate(
            zip(self.keys, self.names, self.fields, strict=True)
        ):
            if field.largest >= _LARGE:
                writers += self._bind_run(view, begin, i)
                writers.append(_bind_member(key, field.bind(view[name])))
                begin = i + 1
        writers += self._bind_run(view, begin, self._count)

        def write(sample: Any) -> None:
            if len(sample) != self._count:
                raise ValueError("wrong number of members")
            for write_part in writers:
                write_part(sample)

        return write

    def _bind_run(self, view: np.ndarray, begin: int, end: int) -> list[Writer]:
        """Return what writes the members `begin` to `end`, which lie side by side, in one go."""
        if begin == end:
            return []
        run = copy.copy(self)
        run._plan = self._plan[begin:end]
        memory = view.view(np.uint8)[self._offsets[begin] : self._offsets[end]]
        return [Field.bind(run, memory)]

    def write_batch(self, rows: np.ndarray, batch: Any) -> None:
        for key, name, field in zip(self.keys, self.names, self.fields, strict=True):
            field.write_batch(rows[name], batch[key])

    def read(self, view: np.ndarray) -> Any:
        return self._assemble(
            [f.read(view[n]) for n, f in zip(self.names, self.fields, strict=True)]
        )

    def read_batch(self, rows: np.ndarray) -> Any:
        return self._assemble(
            [f.read_batch(rows[n]) for n, f in zip(self.names, self.fields, strict=True)]
        )

    def _assemble(self, values: list[Any]) -> Any:
        return dict(zip(self.keys, values, strict=True)) if self.is_dict else tuple(values)


def join(parts: list[Memory]) -> bytes:
    """Return one piece of memory made of `parts`."""
    try:
        return b"".join(parts)
    except TypeError:  # an array that is not contiguous
        return b"".join([p.tobytes() if isinstance(p, np.ndarray) else p for p in parts])


def _bind_member(key: Any, write: Writer) -> Writer:
    def write_member(sample: Any) -> None:
        write(sample[key])

    return write_member


def _write_array(name: str, rows: np.ndarray, batch: Any) -> None:
    if np.shape(batch) != rows.shape:
        raise SpaceError(f"{name}: expected shape {rows.shape}, got {np.shape(batch)}")
    rows[...] = batch


def field_names(keys: list[Any]) -> list[str]:
    """Return distinct, non-empty names for the keys of a Dict."""
    names: list[str] = []
    for key in keys:
        name = str(key) or "_"
        while name in names:
            name += "_"
        names.append(name)
    return names
