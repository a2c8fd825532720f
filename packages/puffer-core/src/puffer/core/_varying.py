"""Fields of spaces whose samples vary in length or kind: Text, OneOf, Sequence and Graph.

Each has a fixed size all the same: a length, or the index of an alternative, then as much memory as
the largest sample takes, zeros behind a shorter one.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from puffer.core._fields import Bounds, Build, Field, join
from puffer.core.errors import SpaceError
from puffer.core.spaces import Graph, OneOf, Sequence, Space, Text

_COUNT = np.dtype(np.int64)
_CODE = _LINK = np.dtype(np.int32)
_pack_count = struct.Struct("q").pack


class TextField(Field):
    """A Text: its length and its code points."""

    bases = frozenset([_CODE])

    def __init__(self, space: Text, name: str) -> None:
        self.name = name
        self.space = space
        self.dtype = np.dtype(
            [("length", _CODE), ("codes", _CODE, (space.max_length,))], align=True
        )

    def bounds(self) -> Bounds:
        longest = self.space.max_length
        highest = max(map(ord, self.space.character_set), default=0)
        return (
            np.array([self.space.min_length, *[0] * longest], _CODE),
            np.array([longest, *[highest] * longest], _CODE),
        )

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
                f"{self.name}: expected characters of {self.space.characters!r}, got {min(alien)!r}"
            )

    def memory(self, sample: Any) -> bytes:
        codes = np.zeros(1 + self.space.max_length, _CODE)
        codes[0] = len(sample)
        codes[1 : 1 + len(sample)] = [ord(character) for character in sample]
        return codes.tobytes()

    def read(self, view: np.ndarray) -> str:
        return "".join(map(chr, view["codes"][0, : view["length"][0]].tolist()))


class OneOfField(Field):
    """A OneOf: the index of the alternative, and memory that all alternatives share."""

    def __init__(self, space: OneOf[Any], name: str, build: Build) -> None:
        self.name = name
        self.fields = [build(member, f"{name}[{i}]") for i, member in enumerate(space.spaces)]
        self.names = [f"f{i}" for i in range(len(self.fields))]
        formats = [np.dtype((field.dtype, field.shape)) for field in self.fields]
        alignment = max(field.dtype.alignment for field in self.fields)
        size = max(field.size for field in self.fields)
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
        self.bases = frozenset([_COUNT]).union(*(field.bases for field in self.fields))

    def bounds(self) -> Bounds:
        length = self.dtype.itemsize // _COUNT.itemsize - 1
        # Zeros lie behind an alternative that is shorter than the longest.
        padded = [
            [np.pad(bound, (0, length - bound.size)) for bound in field.bounds()]
            for field in self.fields
        ]
        lows, highs = zip(*padded, strict=True)
        return (
            np.append([0], np.min(lows, axis=0)).astype(_COUNT),
            np.append([len(self.fields) - 1], np.max(highs, axis=0)).astype(_COUNT),
        )

    def check(self, sample: Any) -> None:
        if not isinstance(sample, tuple) or len(sample) != 2:
            raise SpaceError(f"{self.name}: expected a tuple (index, value), got {sample!r}")
        index, value = sample
        if not isinstance(index, int | np.integer) or not 0 <= index < len(self.fields):
            raise SpaceError(
                f"{self.name}: expected an index from 0 to {len(self.fields) - 1}, got {index!r}"
            )
        self.fields[index].check(value)

    def memory(self, sample: Any) -> bytes:
        index, value = sample
        if index < 0:
            raise ValueError("a negative index")
        memory = join([_pack_count(index), self.fields[index].memory(value)])
        return memory.ljust(self.dtype.itemsize, b"\0")

    def read(self, view: np.ndarray) -> tuple[int, Any]:
        index = int(view["index"][0])
        return index, self.fields[index].read(view["value"][self.names[index]])


class SequenceField(Field):
    """A Sequence: its length and that many items."""

    def __init__(self, space: Sequence, name: str, build: Build, max_length: int) -> None:
        self.name = name
        self.space = space
        self.max_length = max_length
        self.item = build(space.feature_space, f"{name}[...]")
        self.dtype = np.dtype(
            [("length", _COUNT), ("items", self.item.dtype, (max_length, *self.item.shape))],
            align=True,
        )
        self.bases = self.item.bases | {_COUNT}

    def bounds(self) -> Bounds:
        low, high = _repeated_bounds(self.item, self.max_length)
        return np.append([0], low), np.append([self.max_length], high)

    def check(self, sample: Any) -> None:
        if not self.space.stack and not isinstance(sample, tuple | list):
            raise SpaceError(f"{self.name}: expected a tuple, got {sample!r}")
        items = unstack(self.space, sample)
        _check_length(self.name, items, self.max_length)
        for item in items:
            self.item.check(item)

    def memory(self, sample: Any) -> bytes:
        items = unstack(self.space, sample)
        memory = _pack_count(len(items)) + _repeated_memory(self.item, items, self.max_length)
        return memory.ljust(self.dtype.itemsize, b"\0")

    def read(self, view: np.ndarray) -> Any:
        items = _read_repeated(self.item, view["items"], int(view["length"][0]))
        return stack(self.space.feature_space, items) if self.space.stack else tuple(items)


class GraphField(Field):
    """A Graph: its nodes, and its edges with their links; -1 edges stand for none at all."""

    def __init__(self, space: Graph, name: str, build: Build, max_length: int) -> None:
        self.name = name
        self.space = space
        self.max_length = max_length
        self.node = build(space.node_space, f"{name}.nodes[...]")
        self.node_batch = batch_space(space.node_space, 1)
        parts: list[tuple[Any, ...]] = [
            ("num_nodes", _COUNT),
            ("num_edges", _COUNT),
            ("nodes", self.node.dtype, (max_length, *self.node.shape)),
        ]
        self.edge: Field | None = None
        if space.edge_space is not None:
            self.edge = build(space.edge_space, f"{name}.edges[...]")
            self.edge_batch = batch_space(space.edge_space, 1)
            parts += [
                ("edges", self.edge.dtype, (max_length, *self.edge.shape)),
                ("edge_links", _LINK, (max_length, 2)),
            ]
        self.dtype = np.dtype(parts, align=True)
        self.bases = self.node.bases | {_COUNT}
        if self.edge is not None:
            self.bases |= self.edge.bases | {_LINK}

    def bounds(self) -> Bounds:
        low, high = _repeated_bounds(self.node, self.max_length)
        return np.append([0, -1], low), np.append([self.max_length, -1], high)

    def check(self, sample: Any) -> None:
        if not isinstance(sample, GraphInstance) or sample.nodes is None:
            raise SpaceError(f"{self.name}: expected a GraphInstance with nodes, got {sample!r}")
        edges, links = sample.edges, sample.edge_links
        if (edges is None) is not (links is None) or (self.edge is None and edges is not None):
            wanted = "no edges" if self.edge is None else "edges together with edge_links"
            raise SpaceError(f"{self.name}: expected {wanted}, got {sample!r}")
        nodes = list(iterate(self.node_batch, sample.nodes))
        _check_length(f"{self.name}.nodes", nodes, self.max_length)
        for node in nodes:
            self.node.check(node)
        if self.edge is None or edges is None:
            return
        edges = list(iterate(self.edge_batch, edges))
        _check_length(f"{self.name}.edges", edges, self.max_length)
        for edge in edges:
            self.edge.check(edge)
        links = np.asarray(links)
        if links.shape != (len(edges), 2) or np.any((links < 0) | (links >= len(nodes))):
            raise SpaceError(
                f"{self.name}.edge_links: expected shape {(len(edges), 2)} with values from 0 to "
                f"{len(nodes) - 1}, got {links.tolist()}"
            )

    def memory(self, sample: Any) -> bytes:
        memory = np.zeros((), self.dtype)
        nodes = list(iterate(self.node_batch, sample.nodes))
        memory["num_nodes"], memory["num_edges"] = len(nodes), -1
        _fill(memory["nodes"], _repeated_memory(self.node, nodes, self.max_length))
        if sample.edges is not None:
            if self.edge is None:
                raise ValueError("edges in a graph without an edge space")
            edges = list(iterate(self.edge_batch, sample.edges))
            memory["num_edges"] = len(edges)
            _fill(memory["edges"], _repeated_memory(self.edge, edges, self.max_length))
            memory["edge_links"][: len(edges)] = sample.edge_links
        return memory.tobytes()

    def read(self, view: np.ndarray) -> GraphInstance:
        nodes = _read_repeated(self.node, view["nodes"], int(view["num_nodes"][0]))
        batch = stack(self.space.node_space, nodes)
        count = int(view["num_edges"][0])
        if count < 0 or self.edge is None or self.space.edge_space is None:
            return GraphInstance(batch, None, None)
        edges = stack(self.space.edge_space, _read_repeated(self.edge, view["edges"], count))
        return GraphInstance(batch, edges, view["edge_links"][0, :count].copy())


def stack(space: Space[Any], samples: list[Any]) -> Any:
    """Return `samples` of `space` as Gymnasium batches them."""
    empty: Any = create_empty_array(space, len(samples))
    return concatenate(space, samples, empty) if samples else empty


def unstack(space: Sequence, sample: Any) -> list[Any]:
    """Return the items of a sample of a Sequence."""
    return list(iterate(space.stacked_feature_space, sample) if space.stack else sample)


def _check_length(name: str, items: list[Any], max_length: int) -> None:
    if len(items) > max_length:
        raise SpaceError(
            f"{name}: expected at most max_length={max_length} items, got {len(items)}"
        )


def _repeated_bounds(field: Field, count: int) -> Bounds:
    """Return the bounds of `count` samples, any of which may be absent (zeros)."""
    low, high = field.bounds()
    return np.tile(np.minimum(low, 0), count), np.tile(np.maximum(high, 0), count)


def _repeated_memory(field: Field, samples: list[Any], most: int) -> bytes:
    if len(samples) > most:
        raise ValueError("too many items")
    return join([field.memory(sample) for sample in samples])


def _read_repeated(field: Field, view: np.ndarray, count: int) -> list[Any]:
    return [field.read(view[0, i : i + 1]) for i in range(count)]


def _fill(target: np.ndarray, memory: bytes) -> None:
    target.reshape(-1).view(np.uint8)[: len(memory)] = np.frombuffer(memory, np.uint8)
