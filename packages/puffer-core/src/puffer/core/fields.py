"""How each kind of Gymnasium space lies in memory: one `Field` per node of the space's tree.

A field knows the NumPy type of its samples, writes a sample into memory that it was bound to, reads
it back, and explains what is wrong with a sample. Memory is always handed over as a *view* with a
first dimension of 1, so that scalars too are writable through it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

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

Writer = Callable[[Any], None]
_INTEGERS = frozenset((int, *np.sctypeDict.values())) - {
    kind for kind in np.sctypeDict.values() if not issubclass(kind, np.integer)
}
_COUNT = np.dtype(np.int64)


class Field:
    """The place of one space in memory.

    Attributes:
        name: how errors call the leaf, `observation['inventory'][2]` say.
        dtype: the NumPy type of one element: plain for arrays and scalars, else structured.
        shape: how many elements a sample has; () for anything but arrays.
        base: the dtype that all leaves below share, or None.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    base: np.dtype[Any] | None

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest value of each element of `base`, flat."""
        raise NotImplementedError

    def check(self, sample: Any) -> None:
        """Raise `SpaceError` with the name of the leaf if `sample` is not in the space."""
        raise NotImplementedError

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        """Return a function that writes a sample into `view`; strict: checks shapes and dtypes."""
        raise NotImplementedError

    def read(self, view: np.ndarray) -> Any:
        """Return a new sample, equal to the one that was written into `view`."""
        raise NotImplementedError


class ArrayField(Field):
    """A Box, MultiDiscrete or MultiBinary: an array of the space's own shape and dtype."""

    def __init__(self, space: Box | MultiDiscrete | MultiBinary, name: str) -> None:
        self.name = name
        self.shape = space.shape
        self.dtype = self.base = np.dtype(space.dtype).newbyteorder("=")
        if isinstance(space, Box):
            low, high = space.low, space.high
        elif isinstance(space, MultiDiscrete):
            low, high = space.start, space.start + (space.nvec - 1)
        else:
            low, high = np.zeros(self.shape), np.ones(self.shape)
        self.low = low.astype(self.dtype)
        self.high = high.astype(self.dtype)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.low.reshape(-1), self.high.reshape(-1)

    def check(self, sample: Any) -> None:
        array = self._convert(sample)
        inside = (array >= self.low) & (array <= self.high)  # False for NaN too
        if not inside.all():
            where = tuple(int(i) for i in np.argwhere(~inside)[0])
            raise SpaceError(
                f"{self.name}{list(where) if where else ''}: expected a value from "
                f"{self.low[where]} to {self.high[where]}, got {array[where]}"
            )

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        target, shape, dtype = view.reshape(self.shape), self.shape, self.dtype
        convert = self._convert

        def write_anything(sample: Any) -> None:
            target[...] = sample

        def write(sample: Any) -> None:
            # The common case is recognised by identity, which costs a fraction of a comparison.
            if type(sample) is np.ndarray and sample.dtype is dtype and sample.shape == shape:
                target[...] = sample
            else:
                target[...] = convert(sample)

        return write if strict else write_anything

    def read(self, view: np.ndarray) -> np.ndarray:
        return view.reshape(self.shape).copy()

    def _convert(self, sample: Any) -> np.ndarray:
        """Return `sample` with this field's shape and dtype, where nothing is lost by it."""
        typed = isinstance(sample, np.ndarray | np.generic)
        try:
            array = np.asarray(sample)
        except ValueError as error:
            raise SpaceError(
                f"{self.name}: expected an array of shape {self.shape}, got {sample!r}"
            ) from error
        if array.shape != self.shape:
            raise SpaceError(f"{self.name}: expected shape {self.shape}, got {array.shape}")
        if typed:
            fits = np.can_cast(array.dtype, self.dtype)
        else:  # Python's own numbers have no width: only a kind that cannot hold them is wrong
            kinds = "biuf"
            rank = {"b": 0, "i": 1, "u": 1, "f": 2}
            fits = array.dtype.kind in kinds and rank[array.dtype.kind] <= rank[self.dtype.kind]
        if not fits:
            raise SpaceError(f"{self.name}: expected dtype {self.dtype}, got {array.dtype}")
        try:
            return array.astype(self.dtype) if typed else np.array(sample, self.dtype)
        except OverflowError as error:
            raise SpaceError(
                f"{self.name}: expected values that fit {self.dtype}, got {sample!r}"
            ) from error


class ScalarField(Field):
    """A Discrete: one integer of the space's dtype, the start included."""

    def __init__(self, space: Discrete, name: str) -> None:
        self.name = name
        self.dtype = self.base = np.dtype(space.dtype).newbyteorder("=")
        self.low = int(space.start)
        self.high = int(space.start) + int(space.n) - 1

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self.low], self.dtype), np.array([self.high], self.dtype)

    def check(self, sample: Any) -> None:
        value = self._convert(sample)
        if not self.low <= value <= self.high:
            raise SpaceError(
                f"{self.name}: expected an integer from {self.low} to {self.high}, got {value}"
            )

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        convert = self._convert

        def write_anything(sample: Any) -> None:
            view[0] = sample

        def write(sample: Any) -> None:
            view[0] = sample if type(sample) in _INTEGERS else convert(sample)

        return write if strict else write_anything

    def read(self, view: np.ndarray) -> int:
        return int(view[0])

    def _convert(self, sample: Any) -> int:
        try:
            return operator.index(sample)
        except TypeError as error:
            raise SpaceError(f"{self.name}: expected an integer, got {sample!r}") from error


class TextField(Field):
    """A Text: its length and its code points, zeros behind the last one."""

    base = np.dtype(np.int32)

    def __init__(self, space: Text, name: str) -> None:
        self.name = name
        self.space = space
        self.dtype = np.dtype(
            [("length", self.base), ("codes", self.base, (space.max_length,))], align=True
        )

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        highest = max(map(ord, self.space.character_set), default=0)
        low = np.array([self.space.min_length, *[0] * self.space.max_length])
        high = np.array([self.space.max_length, *[highest] * self.space.max_length])
        return low.astype(self.base), high.astype(self.base)

    def check(self, sample: Any) -> None:
        if not isinstance(sample, str):
            raise SpaceError(f"{self.name}: expected a str, got {sample!r}")
        shortest, longest = self.space.min_length, self.space.max_length
        if not shortest <= len(sample) <= longest:
            raise SpaceError(
                f"{self.name}: expected {shortest} to {longest} characters, got {len(sample)}"
            )
        alien = set(sample) - self.space.character_set
        if alien:
            raise SpaceError(
                f"{self.name}: expected characters of {self.space.characters!r}, "
                f"got {min(alien)!r}"
            )

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        length, codes = view["length"], view["codes"][0]

        def write(sample: Any) -> None:
            points = np.frombuffer(sample.encode("utf-32-le", "surrogatepass"), "<i4")
            length[0] = points.size
            codes[: points.size] = points
            codes[points.size :] = 0

        return write

    def read(self, view: np.ndarray) -> str:
        return "".join(map(chr, view["codes"][0, : view["length"][0]].tolist()))


class StructField(Field):
    """A Dict or Tuple: the fields of its members, by key or as f0, f1 and so on."""

    def __init__(self, space: Dict | Tuple, name: str, max_length: int | None) -> None:
        self.name = name
        self.is_dict = isinstance(space, Dict)
        members = list(space.spaces.items()) if self.is_dict else list(enumerate(space.spaces))
        self.keys = [key for key, _ in members]
        self.fields = [build(member, f"{name}[{key!r}]", max_length) for key, member in members]
        self.names = _field_names(self.keys) if self.is_dict else [f"f{i}" for i in self.keys]
        self.dtype = np.dtype(
            [(n, f.dtype, f.shape) for n, f in zip(self.names, self.fields, strict=True)],
            align=True,
        )
        self.base = common_dtype([f.base for f in self.fields if f.dtype.itemsize])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        bounds = [field.bounds() for field in self.fields if field.dtype.itemsize]
        lows, highs = zip(*bounds, strict=True)
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

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        writers = [
            (key, field.writer(view[name], strict))
            for key, name, field in zip(self.keys, self.names, self.fields, strict=True)
        ]
        count = len(writers)

        def write(sample: Any) -> None:
            if len(sample) != count:
                raise ValueError
            for key, write_member in writers:
                write_member(sample[key])

        return write

    def read(self, view: np.ndarray) -> Any:
        values = [f.read(view[n]) for n, f in zip(self.names, self.fields, strict=True)]
        return dict(zip(self.keys, values, strict=True)) if self.is_dict else tuple(values)


class OneOfField(Field):
    """A OneOf: the index of the alternative, and memory that all alternatives share."""

    def __init__(self, space: OneOf, name: str, max_length: int | None) -> None:
        self.name = name
        self.fields = [
            build(member, f"{name}[{i}]", max_length) for i, member in enumerate(space.spaces)
        ]
        self.names = [f"f{i}" for i in range(len(self.fields))]
        formats = [np.dtype((field.dtype, field.shape)) for field in self.fields]
        alignment = max(f.base.alignment for f in formats)
        size = max(f.itemsize for f in formats)
        union = np.dtype(
            {
                "names": self.names,
                "formats": formats,
                "offsets": [0] * len(formats),
                "itemsize": -(-size // alignment) * alignment,
            },
            align=True,
        )
        self.dtype = np.dtype([("index", _COUNT), ("value", union)], align=True)
        self.base = common_dtype([_COUNT, *(field.base for field in self.fields)])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        size = self.dtype["value"].itemsize // _COUNT.itemsize
        lows, highs = zip(*(field.bounds() for field in self.fields), strict=True)
        # Zeros stand behind a short alternative.
        low = np.min([np.pad(a, (0, size - a.size)) for a in lows], axis=0)
        high = np.max([np.pad(a, (0, size - a.size)) for a in highs], axis=0)
        return np.append([0], low), np.append([len(self.fields) - 1], high)

    def check(self, sample: Any) -> None:
        if not isinstance(sample, tuple) or len(sample) != 2:
            raise SpaceError(f"{self.name}: expected a tuple (index, value), got {sample!r}")
        index, value = sample
        if not isinstance(index, int | np.integer) or not 0 <= index < len(self.fields):
            raise SpaceError(
                f"{self.name}: expected an index from 0 to {len(self.fields) - 1}, got {index!r}"
            )
        self.fields[index].check(value)

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        index, memory = view["index"], view["value"].view(np.uint8)
        writers = [
            field.writer(view["value"][name], strict)
            for name, field in zip(self.names, self.fields, strict=True)
        ]

        def write(sample: Any) -> None:
            which, value = sample
            memory[...] = 0
            index[0] = which
            writers[which](value)

        return write

    def read(self, view: np.ndarray) -> tuple[int, Any]:
        index = int(view["index"][0])
        return index, self.fields[index].read(view["value"][self.names[index]])


class SequenceField(Field):
    """A Sequence: its length and that many items, zeros behind the last one."""

    def __init__(self, space: Sequence, name: str, max_length: int) -> None:
        self.name = name
        self.space = space
        self.max_length = max_length
        self.item = build(space.feature_space, f"{name}[...]", max_length)
        self.dtype = np.dtype(
            [("length", _COUNT), ("items", self.item.dtype, (max_length, *self.item.shape))],
            align=True,
        )
        self.base = common_dtype([_COUNT, self.item.base])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = repeated_bounds(self.item, self.max_length)
        return np.append([0], low), np.append([self.max_length], high)

    def check(self, sample: Any) -> None:
        if not self.space.stack and not isinstance(sample, tuple | list):
            raise SpaceError(f"{self.name}: expected a tuple, got {sample!r}")
        items = unstack(self.space, sample)
        if len(items) > self.max_length:
            raise SpaceError(
                f"{self.name}: expected at most max_length={self.max_length} items, "
                f"got {len(items)}"
            )
        for item in items:
            self.item.check(item)

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        length, write_items = view["length"], repeated_writer(self.item, view["items"], strict)
        space = self.space

        def write(sample: Any) -> None:
            items = unstack(space, sample)
            write_items(items)
            length[0] = len(items)

        return write

    def read(self, view: np.ndarray) -> Any:
        items = read_repeated(self.item, view["items"], int(view["length"][0]))
        return stack(self.space.feature_space, items) if self.space.stack else tuple(items)



class GraphField(Field):
    """A Graph: its nodes, and its edges with their links; -1 edges stand for none at all."""

    def __init__(self, space: Graph, name: str, max_length: int) -> None:
        self.name = name
        self.space = space
        self.max_length = max_length
        self.node = build(space.node_space, f"{name}.nodes[...]", max_length)
        parts: list[tuple[Any, ...]] = [
            ("num_nodes", _COUNT),
            ("num_edges", _COUNT),
            ("nodes", self.node.dtype, (max_length, *self.node.shape)),
        ]
        bases = [_COUNT, self.node.base]
        self.edge: Field | None = None
        if space.edge_space is not None:
            self.edge = build(space.edge_space, f"{name}.edges[...]", max_length)
            parts += [
                ("edges", self.edge.dtype, (max_length, *self.edge.shape)),
                ("edge_links", np.int32, (max_length, 2)),
            ]
            bases += [self.edge.base, np.dtype(np.int32)]
        self.dtype = np.dtype(parts, align=True)
        self.base = common_dtype(bases)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = repeated_bounds(self.node, self.max_length)
        return np.append([0, -1], low), np.append([self.max_length] * 2, high)

    def check(self, sample: Any) -> None:
        if not isinstance(sample, GraphInstance) or sample.nodes is None:
            raise SpaceError(f"{self.name}: expected a GraphInstance with nodes, got {sample!r}")
        if (sample.edges is None) is not (sample.edge_links is None) or (
            self.edge is None and sample.edges is not None
        ):
            raise SpaceError(
                f"{self.name}: expected "
                + ("no edges" if self.edge is None else "edges together with edge_links")
                + f", got {sample!r}"
            )
        nodes, edges = self._parts(sample)
        for what, field, items in (("nodes", self.node, nodes), ("edges", self.edge, edges)):
            if len(items) > self.max_length:
                raise SpaceError(
                    f"{self.name}.{what}: expected at most max_length={self.max_length} items, "
                    f"got {len(items)}"
                )
            for item in items:
                field.check(item)
        links = sample.edge_links
        if links is not None and (
            links.shape != (len(edges), 2) or np.any((links < 0) | (links >= len(nodes)))
        ):
            raise SpaceError(
                f"{self.name}.edge_links: expected shape {(len(edges), 2)} with values from 0 to "
                f"{len(nodes) - 1}, got {links!r}"
            )

    def writer(self, view: np.ndarray, strict: bool) -> Writer:
        num_nodes, num_edges = view["num_nodes"], view["num_edges"]
        write_nodes = repeated_writer(self.node, view["nodes"], strict)
        write_edges = repeated_writer(self.edge, view["edges"], strict) if self.edge else None
        links = view["edge_links"][0] if self.edge else None
        split = self._parts

        def write(sample: Any) -> None:
            nodes, edges = split(sample)
            write_nodes(nodes)
            num_nodes[0] = len(nodes)
            num_edges[0] = -1 if sample.edges is None else len(edges)
            if write_edges is not None and links is not None:
                write_edges(edges)
                links[: len(edges)] = 0 if sample.edges is None else sample.edge_links
                links[len(edges) :] = 0
            elif sample.edges is not None:
                raise ValueError

        return write

    def read(self, view: np.ndarray) -> GraphInstance:
        nodes = read_repeated(self.node, view["nodes"], int(view["num_nodes"][0]))
        count = int(view["num_edges"][0])
        nodes = stack(self.space.node_space, nodes)
        if count < 0 or self.edge is None:
            return GraphInstance(nodes, None, None)
        edges = stack(self.space.edge_space, read_repeated(self.edge, view["edges"], count))
        return GraphInstance(nodes, edges, view["edge_links"][0, :count].copy())

    def _parts(self, sample: Any) -> tuple[list[Any], list[Any]]:
        nodes = list(iterate(self.space.batch_node_space, sample.nodes))
        if sample.edges is None:
            return nodes, []
        return nodes, list(iterate(self.space.batch_edge_space, sample.edges))


def build(space: Space[Any], name: str, max_length: int | None) -> Field:
    """Return the field of `space`.

    Raises:
        SpaceError: a space that cannot be laid out; the message names the leaf.
    """
    if isinstance(space, Box | MultiDiscrete | MultiBinary):
        return ArrayField(space, name)
    if isinstance(space, Discrete):
        return ScalarField(space, name)
    if isinstance(space, Text):
        return TextField(space, name)
    if isinstance(space, Dict | Tuple):
        return StructField(space, name, max_length)
    if isinstance(space, OneOf):
        return OneOfField(space, name, max_length)
    if isinstance(space, Sequence | Graph):
        kind = type(space).__name__
        if max_length is None:
            raise SpaceError(f"{name} is a {kind} of unlimited length: pass max_length=N")
        if max_length < 1:
            raise SpaceError(f"{name} is a {kind} with max_length={max_length}: expected >= 1")
        if isinstance(space, Sequence):
            return SequenceField(space, name, max_length)
        return GraphField(space, name, max_length)
    raise SpaceError(
        f"{name} is a {type(space).__name__}, which has no flat form: drop or convert it with "
        "gymnasium.wrappers.FilterObservation or TransformObservation"
    )


def common_dtype(bases: list[np.dtype[Any] | None]) -> np.dtype[Any] | None:
    """Return the one dtype that all of `bases` are, else None."""
    first = bases[0] if bases else None
    return first if all(base == first for base in bases) else None


def repeated_bounds(field: Field, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of `count` samples of `field`, any of which may be absent (zeros)."""
    low, high = field.bounds()
    return np.tile(np.minimum(low, 0), count), np.tile(np.maximum(high, 0), count)


def repeated_writer(
    field: Field, view: np.ndarray, strict: bool
) -> Callable[[list[Any]], None]:
    """Return a function that writes a list of samples into `view`, and zeros behind them."""
    memory = view.view(np.uint8)
    writers = [field.writer(view[0, i : i + 1], strict) for i in range(view.shape[1])]

    def write(samples: list[Any]) -> None:
        if len(samples) > len(writers):
            raise ValueError
        memory[...] = 0
        for write_one, sample in zip(writers, samples, strict=False):
            write_one(sample)

    return write


def read_repeated(field: Field, view: np.ndarray, count: int) -> list[Any]:
    """Return the first `count` samples that lie in `view`."""
    return [field.read(view[0, i : i + 1]) for i in range(count)]


def stack(space: Space[Any], samples: list[Any]) -> Any:
    """Return `samples` of `space` as Gymnasium batches them."""
    return concatenate(space, samples, create_empty_array(space, len(samples)))


def unstack(space: Sequence, sample: Any) -> list[Any]:
    """Return the items of a sample of a Sequence."""
    return list(iterate(space.stacked_feature_space, sample) if space.stack else sample)


def _field_names(keys: list[Any]) -> list[str]:
    """Return distinct, non-empty names for the keys of a Dict."""
    names: list[str] = []
    for key in keys:
        name = str(key) or "_"
        while name in names:
            name += "_"
        names.append(name)
    return names
