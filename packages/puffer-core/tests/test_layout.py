"""Layouts of observations: dtypes, bounds, strictness, and errors that name the leaf."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import GraphInstance

from puffer.core.errors import SpaceError
from puffer.core.layout import Layout


@pytest.mark.parametrize(
    ("space", "flat", "dtype"),
    [
        (
            spaces.Box(0, 255, (4, 4, 3), np.uint8),
            spaces.Box(0, 255, (4, 4, 3), np.uint8),
            np.dtype(np.uint8),
        ),
        (spaces.Box(-1, 2, (), np.float64), spaces.Box(-1, 2, (), np.float64), np.dtype("f8")),
        (spaces.Box(0, 1, (2,), ">f4"), spaces.Box(0, 1, (2,), np.float32), np.dtype("=f4")),
        (spaces.Discrete(5, start=-2), spaces.Box(-2, 2, (1,), np.int64), np.dtype(np.int64)),
        (
            spaces.MultiDiscrete([[2, 3]], start=[[1, 1]]),
            spaces.Box(np.array([[1, 1]]), np.array([[2, 3]]), dtype=np.int64),
            np.dtype(np.int64),
        ),
        (spaces.MultiBinary((2, 2)), spaces.Box(0, 1, (2, 2), np.int8), np.dtype(np.int8)),
    ],
)
def test_a_lone_leaf_keeps_its_form(space: Any, flat: spaces.Box, dtype: Any) -> None:
    layout = Layout.of(space)
    assert layout.space == flat
    assert layout.dtype == dtype
    row = layout.new_row()
    layout.pack(space.sample(), row)
    assert np.array_equal(row.view(layout.dtype), row)


def test_leaves_of_one_dtype_make_a_flat_box_with_their_bounds() -> None:
    space = spaces.Tuple((spaces.Discrete(3), spaces.Dict({"a": spaces.Discrete(5, start=-2)})))
    layout = Layout.of(space)
    assert layout.space == spaces.Box(np.array([0, -2]), np.array([2, 2]), dtype=np.int64)
    assert layout.dtype.names == ("f0", "f1")
    assert layout.dtype["f1"].names == ("a",)


def test_mixed_leaves_make_bytes_of_an_aligned_structure() -> None:
    space = spaces.Dict({"image": spaces.Box(0, 255, (3,), np.uint8), "x": spaces.Box(0, 1, (2,))})
    layout = Layout.of(space)
    assert layout.space == spaces.Box(0, 255, (12,), np.uint8)
    assert layout.dtype == np.dtype([("image", "u1", (3,)), ("x", "f4", (2,))], align=True)
    row = layout.row_maker()({"image": np.array([1, 2, 3], np.uint8), "x": np.ones(2, np.float32)})
    assert row.view(layout.dtype)["x"].tolist() == [[1.0, 1.0]]
    assert row.flags.writeable


def test_an_empty_member_does_not_disturb_the_others() -> None:
    space = spaces.Dict({"none": spaces.Dict({}), "x": spaces.Box(0, 1, (2,))})
    layout = Layout.of(space)
    assert layout.space == spaces.Box(0, 1, (2,), np.float32)
    assert layout.unpack(layout.new_row())["none"] == {}


def test_a_leaf_without_elements_aligns_the_others() -> None:
    space = spaces.Tuple((spaces.Box(0, 1, (), np.bool_), spaces.Box(0, 1, (2, 0), np.int16)))
    layout = Layout.of(space)
    assert layout.space == spaces.Box(0, 255, (2,), np.uint8)
    sample = np.array(True), np.zeros((2, 0), np.int16)
    assert layout.unpack(layout.row_maker()(sample))[0] == np.True_


def test_text_is_its_length_and_code_points() -> None:
    layout = Layout.of(spaces.Text(4, charset="abé"))
    assert layout.space.dtype == np.int32
    assert layout.space.high.tolist() == [4, 233, 233, 233, 233]
    row = layout.row_maker()("éa")
    assert row.tolist() == [2, 233, 97, 0, 0]
    assert layout.unpack(row) == "éa"


def test_one_of_is_an_index_and_a_union() -> None:
    space = spaces.OneOf((spaces.Box(5, 6, (2,), np.int64), spaces.Discrete(9, start=3)))
    layout = Layout.of(space)
    # The second word is 5..6 or 3..11, the third 5..6 or absent.
    assert layout.space == spaces.Box(np.array([0, 3, 0]), np.array([1, 11, 6]), dtype=np.int64)
    row = layout.new_row()
    row[...] = 77
    layout.pack((1, 4), row)
    assert row.tolist() == [1, 4, 0]
    assert layout.unpack(row) == (1, 4)
    nothing = Layout.of(
        spaces.OneOf((spaces.Box(1, 1, (0,), np.int64), spaces.Discrete(1, start=1)))
    )
    assert nothing.space == spaces.Box(0, 1, (2,), np.int64)
    union = Layout.of(spaces.OneOf((spaces.Discrete(2), spaces.Box(0, 1, (5,)))))
    assert union.dtype["value"].itemsize == 24


def test_sequence_is_a_length_and_items() -> None:
    layout = Layout.of(spaces.Sequence(spaces.Discrete(3, start=2)), max_length=3)
    assert layout.space == spaces.Box(0, np.array([3, 4, 4, 4]), dtype=np.int64)
    row = layout.row_maker()((4, 2))
    assert row.tolist() == [2, 4, 2, 0]
    assert layout.unpack(row) == (4, 2)


def test_graph_tells_no_edges_from_none() -> None:
    layout = Layout.of(spaces.Graph(spaces.Discrete(3), spaces.Discrete(2)), max_length=2)
    nodes = np.array([2, 1])
    for edges, links in (
        (None, None),
        (np.array([], np.int64), np.zeros((0, 2), np.int32)),
        (np.array([1]), np.array([[1, 0]], np.int32)),
    ):
        graph = layout.unpack(layout.row_maker()(GraphInstance(nodes, edges, links)))
        assert graph.nodes.tolist() == [2, 1]
        assert (graph.edges is None) is (edges is None)
        if edges is not None:
            assert graph.edges.tolist() == edges.tolist()
            assert graph.edge_links.tolist() == links.tolist()


def test_keys_become_distinct_names() -> None:
    leaf = spaces.Discrete(2)
    layout = Layout.of(spaces.Dict([(1, leaf), ("1", leaf), ("", leaf), ("_", leaf)]))
    assert layout.dtype.names == ("1", "1_", "_", "__")
    sample = {1: 0, "1": 1, "": 0, "_": 1}
    assert layout.unpack(layout.row_maker()(sample)) == sample


def test_keys_are_taken_in_the_order_of_the_space() -> None:
    space = spaces.Dict({"b": spaces.Discrete(9), "a": spaces.Discrete(9)})
    assert Layout.of(space).row_maker()({"b": 1, "a": 2}).tolist() == [2, 1]


def test_the_flat_space_does_not_share_the_generator_of_the_original() -> None:
    space = spaces.Box(0, 1, (3,))
    space.seed(1)
    before = space.np_random.bit_generator.state
    Layout.of(space).space.sample()
    assert space.np_random.bit_generator.state == before


@pytest.mark.parametrize("order", ["F", "strided"])
def test_arrays_need_not_be_contiguous(order: str) -> None:
    space = spaces.Dict({"x": spaces.Box(0, 255, (3, 4), np.uint8), "n": spaces.Discrete(3)})
    layout = Layout.of(space)
    wanted = np.arange(12, dtype=np.uint8).reshape(3, 4)
    given = np.asfortranarray(wanted) if order == "F" else np.repeat(wanted, 2, axis=1)[:, ::2]
    assert not given.flags.c_contiguous
    row = layout.new_row()
    for packed in (
        layout.row_maker()({"x": given, "n": 1}),
        layout.bind(row)({"x": given, "n": 1}),
    ):
        assert np.array_equal(layout.unpack(packed)["x"], wanted)


def test_large_arrays_are_written_in_place_too() -> None:
    inner = spaces.Dict(
        {"n": spaces.Discrete(9), "image": spaces.Box(0, 255, (200, 200), np.uint8)}
    )
    space = spaces.Dict(
        {"a": spaces.Box(0, 1, (3,)), "b": inner, "c": spaces.Box(0, 9, (), np.uint8)}
    )
    layout = Layout.of(space)
    row = layout.new_row()
    row[...] = 255
    write = layout.bind(row)
    sample = space.sample()
    assert write(sample).tobytes() == layout.row_maker()(sample).tobytes()
    sample["b"]["image"] = sample["b"]["image"].T
    assert write(sample).tobytes() == layout.row_maker()(sample).tobytes()
    sample["b"]["image"] = np.zeros((200, 199), np.uint8)
    with pytest.raises(SpaceError, match=r"observation\['b'\]\['image'\]: expected shape"):
        write(sample)
    with pytest.raises(SpaceError, match=r"observation\['b'\]: expected the keys"):
        write({**sample, "b": {}})


def test_rows_do_not_alias_the_sample() -> None:
    space = spaces.Box(0, 1, (3,))
    sample = np.zeros(3, np.float32)
    row = Layout.of(space).row_maker()(sample)
    sample[0] = 1.0
    assert row[0] == 0.0


DEEP = spaces.Dict(
    {
        "n": spaces.Discrete(4, start=1),
        "inventory": spaces.Tuple(
            (spaces.Discrete(2), spaces.MultiBinary(3), spaces.Box(0, 1, (4,)))
        ),
        "u8": spaces.Box(0, 255, (2,), np.uint8),
        "text": spaces.Text(3, charset="ab"),
        "either": spaces.OneOf((spaces.Discrete(2), spaces.Discrete(3))),
        "many": spaces.Sequence(spaces.Discrete(3)),
        "graph": spaces.Graph(spaces.Discrete(2), spaces.Discrete(2)),
        "tree": spaces.Graph(spaces.Discrete(2), None),
        "stack": spaces.Sequence(spaces.Discrete(3), stack=True),
    }
)
NODES = np.zeros(2, np.int64)
EDGES, LINKS = np.zeros(1, np.int64), np.zeros((1, 2), np.int32)


def fitting() -> dict[str, Any]:
    return {
        "n": 2,
        "inventory": (1, np.ones(3, np.int8), np.full(4, 0.5, np.float32)),
        "u8": np.zeros(2, np.uint8),
        "text": "ab",
        "either": (1, 2),
        "many": (0, 2),
        "graph": GraphInstance(NODES, EDGES, LINKS),
        "tree": GraphInstance(NODES, None, None),
        "stack": np.array([1, 2]),
    }


def with_inventory(*, binary: Any = None, box: Any = None) -> tuple[Any, ...]:
    _, own_binary, own_box = fitting()["inventory"]
    return 0, own_binary if binary is None else binary, own_box if box is None else box


# What is wrong in shape or dtype is found at every step, by the fast path too.
FOUND_ALWAYS = [
    ("n", 1.5, r"observation\['n'\]: expected an integer, got 1\.5"),
    ("n", np.zeros(2, int), r"observation\['n'\]: expected an integer, got array"),
    (
        "inventory",
        with_inventory(box=np.zeros(5, np.float32)),
        r"observation\['inventory'\]\[2\]: expected shape \(4,\), got \(5,\)",
    ),
    (
        "inventory",
        with_inventory(box=np.zeros(4)),
        r"observation\['inventory'\]\[2\]: expected dtype float32, got float64",
    ),
    ("inventory", (0, 1), r"observation\['inventory'\]: expected a tuple of 3 members, got"),
    ("inventory", 3, r"observation\['inventory'\]: expected a tuple of 3 members, got 3"),
    ("u8", [1, 2, 3], r"observation\['u8'\]: expected shape \(2,\), got \(3,\)"),
    ("u8", [1, 256], r"observation\['u8'\]: expected values that fit uint8, got \[1, 256\]"),
    ("u8", [1, -1], r"observation\['u8'\]: expected values that fit uint8, got \[1, -1\]"),
    ("u8", [1, 0.5], r"observation\['u8'\]: expected dtype uint8, got float64"),
    ("u8", [[1], [1, 2]], r"observation\['u8'\]: expected an array of shape \(2,\), got"),
    ("u8", "no", r"observation\['u8'\]: expected shape \(2,\), got \(\)"),
    ("text", 3, r"observation\['text'\]: expected a str, got 3"),
    ("text", "abab", r"observation\['text'\]: expected 1 to 3 characters, got 4"),
    ("either", 1, r"observation\['either'\]: expected a tuple \(index, value\), got 1"),
    ("either", (-1, 0), r"observation\['either'\]: expected an index from 0 to 1, got -1"),
    ("either", (2, 0), r"observation\['either'\]: expected an index from 0 to 1, got 2"),
    (
        "many",
        (0, 0, 0, 0, 0),
        r"observation\['many'\]: expected at most max_length=4 items, got 5",
    ),
    ("many", 7, r"observation\['many'\]: expected a tuple, got 7"),
    (
        "stack",
        np.zeros(5, int),
        r"observation\['stack'\]: expected at most max_length=4 items, got 5",
    ),
    ("graph", 7, r"observation\['graph'\]: expected a GraphInstance with nodes, got 7"),
    (
        "graph",
        GraphInstance(np.zeros(5, int), None, None),
        r"observation\['graph'\]\.nodes: expected at most max_length=4 items, got 5",
    ),
    (
        "graph",
        GraphInstance(NODES, np.zeros(5, int), np.zeros((5, 2), np.int32)),
        r"observation\['graph'\]\.edges: expected at most max_length=4 items, got 5",
    ),
    (
        "graph",
        GraphInstance(NODES, EDGES, np.zeros((2, 2), np.int32)),
        r"observation\['graph'\]\.edge_links: expected shape \(1, 2\) with values from 0 to 1",
    ),
    (
        "graph",
        GraphInstance(NODES, EDGES, None),
        r"observation\['graph'\]: expected edges together with edge_links, got",
    ),
    (
        "tree",
        GraphInstance(NODES, EDGES, LINKS),
        r"observation\['tree'\]: expected no edges, got",
    ),
]
# What is wrong in value is found by the full check.
FOUND_BY_CHECK = [
    ("n", 5, r"observation\['n'\]: expected an integer from 1 to 4, got 5"),
    (
        "inventory",
        with_inventory(binary=np.array([0, 2, 0], np.int8)),
        r"observation\['inventory'\]\[1\]\[1\]: expected a value from 0 to 1, got 2",
    ),
    (
        "inventory",
        with_inventory(box=np.array([0, 0, np.nan, 0], np.float32)),
        r"observation\['inventory'\]\[2\]\[2\]: expected a value from 0\.0 to 1\.0, got nan",
    ),
    ("text", "ax", r"observation\['text'\]: expected characters of 'ab', got 'x'"),
    ("either", (0, 2), r"observation\['either'\]\[0\]: expected an integer from 0 to 1, got 2"),
    (
        "many",
        (0, 3),
        r"observation\['many'\]\[\.\.\.\]: expected an integer from 0 to 2, got 3",
    ),
    (
        "graph",
        GraphInstance(np.array([0, 2]), EDGES, LINKS),
        r"observation\['graph'\]\.nodes\[\.\.\.\]: expected an integer from 0 to 1, got 2",
    ),
]


@pytest.fixture(scope="module")
def deep() -> Layout:
    return Layout.of(DEEP, max_length=4)


def test_the_deep_sample_fits(deep: Layout) -> None:
    deep.check(fitting())
    assert deep.unpack(deep.row_maker()(fitting()))["text"] == "ab"


@pytest.mark.parametrize(("key", "value", "sentence"), [*FOUND_ALWAYS, *FOUND_BY_CHECK])
def test_the_check_names_the_leaf(deep: Layout, key: str, value: Any, sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence):
        deep.check({**fitting(), key: value})
    with pytest.raises(SpaceError, match=sentence):
        deep.pack({**fitting(), key: value}, deep.new_row())


@pytest.mark.parametrize(("key", "value", "sentence"), FOUND_ALWAYS)
def test_the_fast_path_names_the_leaf(deep: Layout, key: str, value: Any, sentence: str) -> None:
    for write in (deep.row_maker(), deep.bind(deep.new_row())):
        with pytest.raises(SpaceError, match=sentence):
            write({**fitting(), key: value})


def test_wrong_keys_are_named(deep: Layout) -> None:
    missing = fitting()
    del missing["n"]
    sentence = r"observation: expected the keys \['either', .*\], got \['inventory', "
    for wrong in (missing, {**missing, "m": 1}, {**fitting(), "m": 1}):
        with pytest.raises(SpaceError, match=r"observation: expected the keys \['either', "):
            deep.row_maker()(wrong)
    with pytest.raises(SpaceError, match=sentence):
        deep.check(missing)
    with pytest.raises(SpaceError, match="observation: expected a dict, got 3"):
        deep.row_maker()(3)


@pytest.mark.parametrize(
    ("space", "sample", "sentence"),
    [
        (spaces.Tuple((spaces.Discrete(2),)), (1, 1), "wrong number of members"),
        (spaces.Dict({"a": spaces.Box(0, 1, (40_000,))}), {}, "wrong number of members"),
        (spaces.OneOf((spaces.Discrete(2),)), (-1, 0), "a negative index"),
        (spaces.Sequence(spaces.Discrete(2)), (1, 1, 1), "too many items"),
        (
            spaces.Graph(spaces.Discrete(2), None),
            GraphInstance(np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 2), np.int64)),
            "edges in a graph without an edge space",
        ),
    ],
)
def test_the_fast_path_stops_before_it_writes(space: Any, sample: Any, sentence: str) -> None:
    layout = Layout.of(space, max_length=2)
    row = np.full_like(layout.new_row(), 7)
    layout._explain = lambda sample: None  # type: ignore[method-assign] - names the leaf
    with pytest.raises(ValueError, match=sentence):
        layout.bind(row)(sample)
    if layout.dtype.itemsize < 100:  # a large struct clears what lies between its fields
        assert (row == 7).all()


def test_an_error_that_is_not_the_samples_comes_through(deep: Layout) -> None:
    class Broken(dict[str, Any]):
        def __len__(self) -> int:
            raise RuntimeError("not the sample's shape")

    with pytest.raises(RuntimeError, match="not the sample's shape"):
        deep.row_maker()(Broken(fitting()))


@pytest.mark.parametrize(
    ("given", "box"),
    [
        ([1, 2], spaces.Box(0, 9, (2,), np.float32)),
        ((True, False), spaces.Box(0, 1, (2,), np.int8)),
        (np.float32(0.5), spaces.Box(0, 1, (), np.float64)),
        (0.5, spaces.Box(0, 1, (), np.float32)),
        (np.array([1, 2], np.uint8), spaces.Box(0, 9, (2,), np.int64)),
        (np.array([1, 2], ">f4"), spaces.Box(0, 9, (2,), np.float32)),
    ],
)
def test_what_loses_nothing_is_taken(given: Any, box: spaces.Box) -> None:
    layout = Layout.of(box)
    row = layout.new_row()
    layout.pack(given, row)
    assert row.tolist() == np.asarray(given).tolist()
    assert layout.row_maker()(given).tolist() == row.tolist()


def test_without_strictness_numpy_casts_and_broadcasts() -> None:
    space = spaces.Dict({"x": spaces.Box(0, 255, (2,), np.uint8), "n": spaces.Discrete(3)})
    layout = Layout.of(space, strict=False)
    row = layout.row_maker()({"x": np.array([1.7]), "n": 1.2})
    assert layout.unpack(row)["x"].tolist() == [1, 1]
    assert layout.unpack(row)["n"] == 1
    lone = Layout.of(spaces.Box(0, 1, (2,)), strict=False)
    assert lone.row_maker()(np.zeros(2)).dtype == np.float32


class Strange(spaces.Space[Any]):
    pass


@pytest.mark.parametrize(
    ("space", "max_length", "sentence"),
    [
        (
            spaces.Dict({"a": spaces.Tuple((Strange(),))}),
            None,
            r"observation\['a'\]\[0\] is a Strange, which has no flat form: drop or convert it "
            r"with gymnasium\.wrappers\.FilterObservation or TransformObservation",
        ),
        (
            spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}),
            None,
            r"observation\['a'\] is a Sequence of unlimited length: pass max_length=N",
        ),
        (
            spaces.Graph(spaces.Discrete(2), None),
            None,
            "observation is a Graph of unlimited length: pass max_length=N",
        ),
        (
            spaces.Graph(spaces.Discrete(2), None),
            0,
            "observation is a Graph, max_length=0: expected at least 1",
        ),
        (
            spaces.Dict({}),
            None,
            r"observation is Dict\(\), which holds no data: expected a leaf",
        ),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_name(
    space: Any, max_length: int | None, sentence: str
) -> None:
    with pytest.raises(SpaceError, match=sentence):
        Layout.of(space, max_length=max_length)


def test_batches_are_written_as_gymnasium_batches_them() -> None:
    space = spaces.Dict(
        {
            "image": spaces.Box(0, 255, (2, 2), np.uint8),
            "pair": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2))),
            "text": spaces.Text(3),
        }
    )
    layout = Layout.of(space)
    samples = [space.sample() for _ in range(3)]
    batch = {
        "image": np.stack([s["image"] for s in samples]),
        "pair": (
            np.array([s["pair"][0] for s in samples]),
            np.stack([s["pair"][1] for s in samples]),
        ),
        "text": tuple(s["text"] for s in samples),
    }
    rows = np.zeros((3, *layout.space.shape), layout.space.dtype)
    layout.pack_batch(batch, rows)
    for row, sample in zip(rows, samples, strict=True):
        assert row.tobytes() == layout.row_maker()(sample).tobytes()
    found = layout.unpack_batch(rows)
    np.testing.assert_array_equal(found["image"], batch["image"])
    np.testing.assert_array_equal(found["pair"][0], batch["pair"][0])
    assert found["text"] == batch["text"]
    assert np.shares_memory(found["image"], rows)  # arrays are views
    assert np.shares_memory(found["pair"][1], rows)
    batch["image"] = batch["image"][:2]
    with pytest.raises(
        SpaceError, match=r"observation\['image'\]: expected shape \(3, 2, 2\), got \(2, 2, 2\)"
    ):
        layout.pack_batch(batch, rows)


def test_bytes_are_no_array_of_bytes() -> None:
    layout = Layout.of(spaces.Box(0, 255, (3,), np.uint8))
    row = layout.new_row()
    write = layout.bind(row)
    write(np.array([1, 2, 3], np.uint8))
    with pytest.raises(SpaceError, match="observation: expected"):
        write(b"abc")
    assert row.tolist() == [1, 2, 3]
