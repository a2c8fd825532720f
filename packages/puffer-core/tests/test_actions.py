"""Layouts of actions: flat spaces, columns, reading, refusing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence

from puffer.core.actions import ActionLayout
from puffer.core.errors import ActionError, SpaceError


@pytest.mark.parametrize(
    ("space", "flat"),
    [
        (spaces.Discrete(4, start=-1), spaces.Discrete(4)),
        (spaces.MultiDiscrete([2, 3], start=[1, 1]), spaces.MultiDiscrete([2, 3])),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), spaces.MultiDiscrete([2, 3, 4, 5])),
        (spaces.MultiBinary(3), spaces.MultiDiscrete([2, 2, 2])),
        (spaces.Box(-2, 2, (1, 2)), spaces.Box(-2, 2, (1, 2))),
        (spaces.Dict({"a": spaces.Discrete(3)}), spaces.MultiDiscrete([3])),
        (
            spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2), spaces.MultiDiscrete([5]))),
            spaces.MultiDiscrete([3, 2, 2, 5]),
        ),
        (
            spaces.Tuple((spaces.Box(0, 1, (2,), np.uint8), spaces.Box(0, 3, (), np.uint8))),
            spaces.Box(np.zeros(3, np.uint8), np.array([1, 1, 3], np.uint8), dtype=np.uint8),
        ),
        (spaces.Text(3, min_length=2, charset="abc"), spaces.MultiDiscrete([2, 3, 3, 3])),
        (
            spaces.OneOf((spaces.Discrete(3), spaces.MultiBinary(1))),
            spaces.MultiDiscrete([2, 3, 2]),
        ),
    ],
)
def test_flat_spaces(space: Any, flat: Any) -> None:
    assert ActionLayout.of(space).space == flat


@pytest.mark.parametrize(
    ("leaf", "dtype"),
    [
        (spaces.Box(-1, 1, (2,)), np.float32),
        (spaces.Box(-1, 1, (2,), np.float64), np.float64),
        (spaces.Box(-(2**24), 2**24, (2,), np.int32), np.float32),
        (spaces.Box(-(2**30), 2**30, (2,), np.int32), np.float64),
        (spaces.Box(0, 1, (2,), np.bool_), np.float32),
    ],
)
def test_a_mixture_is_a_float_box_that_holds_every_value(leaf: spaces.Box, dtype: Any) -> None:
    layout = ActionLayout.of(spaces.Dict({"move": spaces.Discrete(5), "push": leaf}))
    assert isinstance(layout.space, spaces.Box)
    assert layout.space.dtype == dtype
    assert layout.categories.tolist() == [5, 0, 0]
    assert [c.name for c in layout.columns] == [
        "action['move']",
        "action['push'][0]",
        "action['push'][1]",
    ]
    assert layout.space.low[0] == 0
    assert layout.space.high[0] == 4


def test_a_categorical_column_is_rounded_and_clipped() -> None:
    space = spaces.Dict({"move": spaces.Discrete(5, start=10), "push": spaces.Box(-1, 1, ())})
    layout = ActionLayout.of(space)
    for given, category in ((2.4, 12), (2.6, 13), (-3.0, 10), (99.0, 14), (np.inf, 14)):
        action = layout.unpack(np.array([given, 0.5], np.float32))
        assert action["move"] == category
        assert action["push"] == np.float32(0.5)
    with pytest.raises(ActionError, match=r"action\['move'\]: expected 0 to 4, got nan"):
        layout.unpack(np.array([np.nan, 0.5], np.float32))


def test_integer_columns_of_a_mixture_are_rounded_too() -> None:
    space = spaces.Tuple((spaces.Box(0, 1, (1,)), spaces.Box(-3, 3, (2,), np.int8)))
    layout = ActionLayout.of(space)
    first, second = layout.unpack(np.array([0.25, 1.6, 7.0], np.float32))
    assert first.tolist() == [0.25]
    assert second.tolist() == [2, 3]
    assert second.dtype == np.int8
    with pytest.raises(ActionError, match=r"action\[1\]\[0\]: expected -3 to 3, got nan"):
        layout.unpack(np.array([0.25, np.nan, 7.0], np.float32))


def test_starts_are_undone() -> None:
    assert ActionLayout.of(spaces.Discrete(3, start=5)).unpack(np.int32(2)) == 7
    space = spaces.Tuple((spaces.MultiDiscrete([2, 3], start=[1, 5]), spaces.Discrete(2, start=-1)))
    multi, single = ActionLayout.of(space).unpack(np.array([1, 2, 0], np.int32))
    assert multi.tolist() == [2, 7]
    assert single == -1
    lone = ActionLayout.of(spaces.MultiDiscrete([2, 3], start=[1, 5]))
    assert lone.unpack([0, 0]).tolist() == [1, 5]


def test_numbers_beyond_the_bounds_are_passed_on() -> None:
    assert ActionLayout.of(spaces.Box(-1, 1, (2,))).unpack([3, 0.5]).tolist() == [3.0, 0.5]


@pytest.mark.parametrize(
    "space",
    [spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([3, 3]), spaces.Tuple((spaces.MultiBinary(2),))],
)
def test_actions_do_not_alias_what_was_given(space: Any) -> None:
    layout = ActionLayout.of(space)
    row = layout.new_row()
    action = layout.unpack(row)
    row[...] = 1
    assert not np.any(np.asarray(action))


@pytest.mark.parametrize("given", [2, np.int8(2), np.array(2), True + 1])
def test_any_integer_is_a_discrete_action(given: Any) -> None:
    assert ActionLayout.of(spaces.Discrete(3)).unpack(given) == 2


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.Discrete(5000, start=2),
        spaces.MultiDiscrete([3, 2], start=[1, 0]),
        spaces.Box(-1, 1, (2,)),
        spaces.Box(-1, 1, ()),
        spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Discrete(3))),
    ],
)
def test_rows_of_actions_are_unpacked_as_each_is(space: Any) -> None:
    layout = ActionLayout.of(space)
    rows = np.stack([layout.space.sample() for _ in range(20)])
    unpacked = list(layout.unpack_rows(rows))
    expected = [layout.unpack(row) for row in rows]
    rows[...] = 0
    assert [type(action) for action in unpacked] == [type(action) for action in expected]
    assert all(map(data_equivalence, unpacked, expected))


PAIR = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.MultiDiscrete([2, 4])})


@pytest.mark.parametrize(
    ("space", "given", "sentence"),
    [
        (spaces.Discrete(3), 3, "action: expected 0 to 2, got 3"),
        (spaces.Discrete(3), -1, "action: expected 0 to 2, got -1"),
        (spaces.Discrete(3), 1.0, r"action: expected an integer, got 1\.0"),
        (PAIR, [0, 0, 4], r"action\['b'\]\[1\]: expected 0 to 3, got 4"),
        (PAIR, [-1, 0, 0], r"action\['a'\]: expected 0 to 2, got -1"),
        (PAIR, [0, 0], r"action has shape \(2,\), expected \(3,\)"),
        (PAIR, [0.0, 0.0, 0.0], "action has dtype float64, expected int64"),
        (spaces.Box(-1, 1, (2,)), [0.0], r"action has shape \(1,\), expected \(2,\)"),
        (spaces.Box(-1, 1, (2,)), ["a", "b"], "action has dtype <U1, expected float32"),
        (
            spaces.Tuple((spaces.Box(-1, 1, ()), spaces.Discrete(2))),
            ["a", "b"],
            "action has dtype <U1, expected float32",
        ),
    ],
)
def test_wrong_actions_are_refused_by_name(space: Any, given: Any, sentence: str) -> None:
    with pytest.raises(ActionError, match=sentence):
        ActionLayout.of(space).unpack(given)


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (spaces.Dict({}), r"action is Dict\(\), which holds no data: expected a leaf"),
        (
            spaces.Dict({"g": spaces.Graph(spaces.Discrete(2), None)}),
            r"action\['g'\] is a Graph, which has no flat form as an action: convert it with "
            r"gymnasium\.wrappers\.TransformAction",
        ),
        (
            spaces.Sequence(spaces.Discrete(2)),
            "action is a Sequence of unlimited length: pass max_length=N",
        ),
        (
            spaces.Tuple((spaces.Discrete(2), spaces.Box(-(2**60), 2**60, (1,), np.int64))),
            r"action\[1\]\[0\] is int64 from -\d+ to \d+, more than a float64 column of a mixed "
            "action can hold: narrow its bounds",
        ),
        (
            spaces.Discrete(2**31),
            "action has 2147483648 categories: expected at most 2147483647",
        ),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_name(space: Any, sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence):
        ActionLayout.of(space)
