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


def _write_by_writer(actions: Any, out: np.ndarray, space: Any, **options: Any) -> None:
    spaces.action_writer(out, space, **options)(actions)


@pytest.fixture(params=[spaces.write_actions, _write_by_writer])
def write(request: pytest.FixtureRequest) -> Any:
    """Both ways to write actions, which must agree."""
    return request.param


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, np.int32])
def test_any_integer_dtype_is_an_action(write: Any, dtype: Any) -> None:
    out = np.zeros(3, np.int32)
    write(np.array([0, 1, 2], dtype), out, spaces.Discrete(3))
    assert out.tolist() == [0, 1, 2]
    many = np.arange(100, dtype=dtype)
    out = np.zeros(100, np.int32)
    write(many[::-1], out, spaces.Discrete(100))
    assert (out == many[::-1]).all()


def test_a_box_action_is_cast_and_written(write: Any) -> None:
    out = np.zeros((1, 2), np.float32)
    write([[0.5, -1.0]], out, BOX)
    assert out.tolist() == [[0.5, -1.0]]
    flags = np.zeros((1, 2), np.bool_)
    write([[True, False]], flags, spaces.Box(0, 1, (2,), np.bool_))
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
def test_wrong_actions_change_nothing(write: Any, actions: Any, space: Any, sentence: str) -> None:
    out = np.full(2, 7, np.int32)
    with pytest.raises(ActionError, match=sentence):
        write(actions, out, space)
    assert out.tolist() == [7, 7]


@pytest.mark.parametrize("dtype", [">i8", np.int8, np.int64])
def test_one_wrong_action_among_many_is_found(write: Any, dtype: Any) -> None:
    for wrong in (-1, 5):
        actions = np.zeros(100, dtype)
        actions[70] = wrong
        out = np.full(100, 7, np.int32)
        with pytest.raises(ActionError, match=f"action {wrong} of agent 70 of env 35"):
            write(actions, out, spaces.Discrete(5), agents_per_env=2)
        assert (out == 7).all()


def test_wrong_components_are_named(write: Any) -> None:
    out = np.zeros((2, 2), np.int32)
    space = spaces.MultiDiscrete([2, 3])
    with pytest.raises(
        ActionError, match=r"action 3 of agent 1 of env 1 .* nvec-1 of \[2 3\], component \[1\]"
    ):
        write([[0, 0], [0, 3]], out, space, agents_per_env=1)
    floats = np.zeros((1, 2), np.float32)
    for wrong in (2.0, np.nan, np.inf):
        with pytest.raises(
            ActionError,
            match=r"of agent 0 is outside .* expected the Box's bounds, component \[1\]",
        ):
            write([[0.0, wrong]], floats, BOX)
    with pytest.raises(ActionError, match="actions have dtype <U1, expected float32"):
        write([["a", "b"]], floats, BOX)
