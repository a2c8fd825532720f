"""Properties of layouts over generated spaces: nothing is lost, flat samples are in flat spaces.

Each property sees `EXAMPLES` spaces; for a longer run

    PUFFER_EXAMPLES=50000 python3 tools/dev.py test packages/puffer-core/tests/test_properties.py
"""

from __future__ import annotations

import importlib.util
import os
import unittest.mock
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import GraphInstance
from gymnasium.vector.utils import concatenate, create_empty_array
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puffer.core import _fields
from puffer.core.actions import ActionLayout
from puffer.core.errors import SpaceError
from puffer.core.layout import Layout

EXAMPLES = int(os.environ.get("PUFFER_EXAMPLES", "1000"))
MAX_LENGTH = 3
DEPTH = 4
DTYPES = (
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.float16, np.float32, np.float64,
)  # fmt: skip

long_run = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 1000,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(shapes | st.just((2, 0)))
    if dtype.kind == "f":
        low, high = draw(
            st.sampled_from([(-np.inf, np.inf), (-1, 1), (0, np.inf), (-np.inf, -2), (3, 5)])
        )
    elif dtype.kind == "b":
        low, high = draw(st.sampled_from([(0, 1), (1, 1), (0, 0)]))
    else:
        info = np.iinfo(dtype)
        low = draw(st.integers(max(int(info.min), -(2**40)), min(int(info.max), 2**40)))
        high = draw(st.integers(low, min(int(info.max), 2**40)))
    return spaces.Box(low, high, shape, dtype.type)


@st.composite
def discretes(draw: st.DrawFn) -> spaces.Discrete:
    return spaces.Discrete(draw(st.integers(1, 300)), start=draw(st.integers(-1000, 1000)))


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    shape = draw(st.sampled_from([(1,), (3,), (2, 2), (1, 2, 2)]))
    size = int(np.prod(shape))
    nvec = draw(st.lists(st.integers(1, 50), min_size=size, max_size=size))
    start = draw(st.lists(st.integers(-5, 5), min_size=size, max_size=size))
    dtype = draw(st.sampled_from([np.int64, np.int16]))
    return spaces.MultiDiscrete(
        np.array(nvec).reshape(shape), dtype=dtype, start=np.array(start).reshape(shape)
    )


@st.composite
def texts(draw: st.DrawFn) -> spaces.Text:
    shortest = draw(st.integers(0, 3))
    charset = draw(st.sampled_from(["ab", "0123456789", "äß\u4e2d\U0001f421", "x"]))
    return spaces.Text(shortest + draw(st.integers(0, 3)), min_length=shortest, charset=charset)


multi_binaries = (st.integers(1, 4) | st.just([2, 3])).map(spaces.MultiBinary)
arrays = st.one_of(boxes(), discretes(), multi_discretes(), multi_binaries)
action_leaves = st.one_of(arrays, texts())
graphs = st.builds(
    spaces.Graph,
    boxes() | discretes(),
    st.none() | boxes() | discretes(),
)
leaves = st.one_of(arrays, texts(), graphs)
keys = st.text("ab c-é'", max_size=3) | st.integers(-2, 2)


def nest(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.lists(children, max_size=3)
    return st.one_of(
        st.dictionaries(keys, children, max_size=3).map(lambda d: spaces.Dict(list(d.items()))),
        members.map(spaces.Tuple),
        st.lists(children, min_size=1, max_size=3).map(spaces.OneOf),
        children.map(spaces.Sequence),
    )


def stacked(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        nest(children),
        st.one_of(
            arrays,
            st.dictionaries(st.text("abc", min_size=1), arrays, min_size=1, max_size=2).map(
                spaces.Dict
            ),
        ).map(lambda space: spaces.Sequence(space, stack=True)),
    )


def to_depth(leaf: st.SearchStrategy[Any], depth: int) -> st.SearchStrategy[Any]:
    """Return spaces whose leaves lie at most `depth` deep."""
    strategy = leaf
    for _ in range(depth - 1):
        strategy = leaf | stacked(strategy)
    return strategy


observation_spaces = to_depth(leaves, DEPTH)
action_spaces = to_depth(action_leaves, DEPTH)


def sample(space: spaces.Space[Any], rng: np.random.Generator) -> Any:
    """Return a sample whose sequences and graphs have at most MAX_LENGTH items."""
    if isinstance(space, spaces.Dict):
        return {key: sample(member, rng) for key, member in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(sample(member, rng) for member in space.spaces)
    if isinstance(space, spaces.OneOf):
        index = int(rng.integers(len(space.spaces)))
        return index, sample(space.spaces[index], rng)
    if isinstance(space, spaces.Sequence):
        items = [sample(space.feature_space, rng) for _ in range(rng.integers(MAX_LENGTH + 1))]
        return batch(space.feature_space, items) if space.stack else tuple(items)
    if isinstance(space, spaces.Graph):
        nodes = [sample(space.node_space, rng) for _ in range(rng.integers(1, MAX_LENGTH + 1))]
        if space.edge_space is None or rng.integers(3) == 0:
            return GraphInstance(batch(space.node_space, nodes), None, None)
        edges = [sample(space.edge_space, rng) for _ in range(rng.integers(MAX_LENGTH + 1))]
        links = rng.integers(0, len(nodes), (len(edges), 2), dtype=np.int32)
        return GraphInstance(batch(space.node_space, nodes), batch(space.edge_space, edges), links)
    space.seed(int(rng.integers(2**31)))
    leaf = space.sample()
    return np.asarray(leaf) if isinstance(space, spaces.Box) else leaf


def batch(space: spaces.Space[Any], items: list[Any]) -> Any:
    empty = create_empty_array(space, len(items))
    return concatenate(space, items, empty) if items else empty


def same(a: Any, b: Any) -> bool:
    """Compare samples: structure, shapes, dtypes and values."""
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and np.array_equal(a, b)
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def holds_data(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        return any(map(holds_data, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return any(map(holds_data, space.spaces))
    return not (isinstance(space, spaces.Box) and 0 in space.shape)


def agrees_with_torch(layout: Layout, rows: np.ndarray) -> None:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    from puffer.core.pytorch import nativize_dtype, nativize_tensor

    found = nativize_tensor(torch.from_numpy(rows), nativize_dtype(layout))
    expected = rows if layout.is_array else rows.view(layout.dtype)[..., 0]
    compare_tensors(found, expected)


def compare_tensors(tensors: Any, expected: np.ndarray) -> None:
    if expected.dtype.names is None:
        assert tensors.shape == expected.shape
        assert tensors.numpy().tobytes() == np.ascontiguousarray(expected).tobytes()
        return
    assert list(tensors) == list(expected.dtype.names)
    for name in expected.dtype.names:
        compare_tensors(tensors[name], expected[name])


def bind_large(layout: Layout, row: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Bind `row` as if every array were a large one."""
    with unittest.mock.patch.object(_fields, "_LARGE", 1):
        return layout.bind(row)


@long_run
@given(space=observation_spaces, seed=st.integers(0, 2**31 - 1))
def test_observations_survive_packing(space: spaces.Space[Any], seed: int) -> None:
    if not holds_data(space):
        with pytest.raises(SpaceError, match="which holds no data"):
            Layout.of(space, max_length=MAX_LENGTH)
        return
    layout = Layout.of(space, max_length=MAX_LENGTH)
    rng = np.random.default_rng(seed)
    rows = np.stack([layout.new_row()] * 4)
    rows.view(np.uint8)[...] = 0x5A if rows.dtype != np.bool_ else 1
    big = rows.copy()
    make = layout.row_maker()
    originals = [sample(space, rng) for _ in range(4)]
    for i, original in enumerate(originals):
        row = rows[i, ...]
        layout.pack(original, row)
        assert row in layout.space
        unpacked = layout.unpack(row)
        assert same(unpacked, original)
        assert make(original).tobytes() == row.tobytes()
        assert bind_large(layout, big[i, ...])(original).tobytes() == row.tobytes()
        layout.check(unpacked)
    assert same(layout.unpack_batch(rows), batch(space, originals))
    agrees_with_torch(layout, rows.reshape(2, 2, *rows.shape[1:]))


# Gymnasium itself iterates a stacked Sequence of scalar Boxes as NumPy scalars, and warns of them.
@pytest.mark.filterwarnings("ignore:.*Casting input x to numpy array")
@long_run
@given(space=action_spaces, seed=st.integers(0, 2**31 - 1))
def test_actions_survive_packing(space: spaces.Space[Any], seed: int) -> None:
    refusal = ""
    try:
        layout = ActionLayout.of(space, max_length=MAX_LENGTH)
    except SpaceError as error:
        refusal = str(error)
    if refusal:
        assert "narrow its bounds" in refusal or "which holds no data" in refusal
        return
    rng = np.random.default_rng(seed)
    layout.space.seed(seed)
    assert len(layout.columns) == layout.categories.size
    for _ in range(4):
        original = sample(space, rng)
        row = layout.new_row()
        layout.pack(original, row)
        assert row in layout.space
        assert same(layout.unpack(row), original)
        action = layout.unpack(layout.space.sample())
        assert action in space
        layout.pack(action, row)
        assert same(layout.unpack(row), action)
