"""Flat spaces: what buffers need to know about them, and how actions are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from puffer.core import spaces
from puffer.core.errors import ActionError, SpaceError

BOX = spaces.Box(-1, 1, (2,), np.float32)


def test_every_kind_of_space_has_a_name() -> None:
    kinds = "Box Dict Discrete Graph MultiBinary MultiDiscrete OneOf Sequence Space Text Tuple"
    assert all(isinstance(getattr(spaces, kind), type) for kind in kinds.split())


def test_an_observation_space_must_be_a_box() -> None:
    assert spaces.check_observation_space(BOX, "Env") is BOX
    with pytest.raises(
        SpaceError,
        match=r"Env\.single_observation_space is Discrete\(3\), expected a Box: "
        r"wrap the environment with puffer\.core\.emulation",
    ):
        spaces.check_observation_space(spaces.Discrete(3), "Env")


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (spaces.Dict({}), "expected Discrete, MultiDiscrete or Box"),
        (spaces.Discrete(3, start=1), "expected a space that starts at 0"),
        (spaces.MultiDiscrete([3], start=[1]), "expected a space that starts at 0"),
        (spaces.MultiDiscrete([[3, 4]]), r"has nvec of shape \(1, 2\), expected one dimension"),
    ],
)
def test_an_action_space_must_be_flat(space: Any, sentence: str) -> None:
    with pytest.raises(SpaceError, match=sentence):
        spaces.check_action_space(space, "Env")


@pytest.mark.parametrize(
    ("space", "shape", "dtype", "logits"),
    [
        (spaces.Discrete(4), (), np.int32, 4),
        (spaces.MultiDiscrete([2, 3]), (2,), np.int32, 5),
        (spaces.Box(-1, 1, (2, 2), np.float64), (2, 2), np.float64, 0),
    ],
)
def test_action_rows(space: Any, shape: tuple[int, ...], dtype: Any, logits: int) -> None:
    assert spaces.check_action_space(space, "Env") is space
    assert spaces.action_layout(space) == (shape, np.dtype(dtype))
    assert spaces.num_action_logits(space) == logits


def test_joint_spaces_hold_stacked_samples() -> None:
    assert spaces.joint_space(spaces.Discrete(3), 2) == spaces.MultiDiscrete([3, 3])
    joint = spaces.joint_space(spaces.MultiDiscrete([2, 5]), 3)
    assert isinstance(joint, spaces.MultiDiscrete)
    assert joint.nvec.tolist() == [[2, 5]] * 3
    box = spaces.joint_space(BOX, 3)
    assert isinstance(box, spaces.Box)
    assert (box.shape, box.dtype) == ((3, 2), np.float32)
    with pytest.raises(SpaceError, match="is not flat: expected Discrete, MultiDiscrete or Box"):
        spaces.joint_space(spaces.Dict({}), 2)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.int32])
def test_any_integer_dtype_is_an_action(dtype: Any) -> None:
    out = np.zeros(3, np.int32)
    spaces.write_actions(np.array([0, 1, 2], dtype), out, spaces.Discrete(3))
    assert out.tolist() == [0, 1, 2]


def test_a_box_action_is_cast_and_written() -> None:
    out = np.zeros((1, 2), np.float32)
    spaces.write_actions([[0.5, -1.0]], out, BOX)
    assert out.tolist() == [[0.5, -1.0]]
    flags = np.zeros((1, 2), np.bool_)
    spaces.write_actions([[True, False]], flags, spaces.Box(0, 1, (2,), np.bool_))
    assert flags.tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("actions", "space", "sentence"),
    [
        ([1], spaces.Discrete(3), r"actions have shape \(1,\), expected \(2,\)"),
        ([0.0, 1.0], spaces.Discrete(3), "dtype float64, expected integers such as int32"),
        ([0, 3], spaces.Discrete(3), "action 3 of agent 1 is outside .*: expected 0 to 2"),
        ([-1, 0], spaces.Discrete(3), "action -1 of agent 0 is outside .*: expected 0 to 2"),
    ],
)
def test_wrong_actions_change_nothing(actions: Any, space: Any, sentence: str) -> None:
    out = np.full(2, 7, np.int32)
    with pytest.raises(ActionError, match=sentence):
        spaces.write_actions(actions, out, space)
    assert out.tolist() == [7, 7]


def test_wrong_components_are_named() -> None:
    out = np.zeros((2, 2), np.int32)
    space = spaces.MultiDiscrete([2, 3])
    with pytest.raises(
        ActionError, match=r"action 3 of agent 1 of env 1 .* nvec-1 of \[2 3\], component \[1\]"
    ):
        spaces.write_actions([[0, 0], [0, 3]], out, space, agents_per_env=1)
    floats = np.zeros((1, 2), np.float32)
    for wrong in (2.0, np.nan, np.inf):
        with pytest.raises(
            ActionError,
            match=r"of agent 0 is outside .* expected the Box's bounds, component \[1\]",
        ):
            spaces.write_actions([[0.0, wrong]], floats, BOX)
    with pytest.raises(ActionError, match="actions have dtype <U1, expected float32"):
        spaces.write_actions([["a", "b"]], floats, BOX)
