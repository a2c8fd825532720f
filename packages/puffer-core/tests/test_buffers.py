"""Buffers: shapes, dtypes, views."""

from __future__ import annotations

import numpy as np
import pytest

from puffer.core import Buffers, PufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Discrete, MultiDiscrete

OBSERVATION = Box(0, 255, (3, 2), np.uint8)


def test_fields_are_in_order_and_typed() -> None:
    fields = Buffers.fields(OBSERVATION, MultiDiscrete([2, 3]), 4)
    assert list(fields.items()) == [
        ("observations", ((4, 3, 2), np.dtype(np.uint8))),
        ("actions", ((4, 2), np.dtype(np.int32))),
        ("rewards", ((4,), np.dtype(np.float32))),
        ("terminals", ((4,), np.dtype(np.bool_))),
        ("truncations", ((4,), np.dtype(np.bool_))),
        ("masks", ((4,), np.dtype(np.bool_))),
    ]


def test_optional_fields_are_allocated_when_asked_for() -> None:
    fields = Buffers.fields(
        OBSERVATION, MultiDiscrete([2, 3]), 4, final_observations=True, action_masks=True
    )
    buf = Buffers.allocate(fields)
    assert buf.final_observations is not None
    assert buf.final_observations.shape == (4, 3, 2)
    assert buf.action_masks is not None
    assert buf.action_masks.shape == (4, 5)
    assert buf.action_masks.all()
    assert buf.masks.all()
    assert not buf.observations.any()


def test_rows_are_views() -> None:
    buf = Buffers.allocate(Buffers.fields(OBSERVATION, Discrete(2), 4))
    part = buf.rows(1, 3)
    part.rewards[:] = 5.0
    assert buf.rewards.tolist() == [0.0, 5.0, 5.0, 0.0]
    assert part.final_observations is None
    assert list(part.arrays()) == list(buf.arrays())


class Env(PufferEnv):
    def __init__(self, buf: Buffers | None = None) -> None:
        self.single_observation_space = OBSERVATION
        self.single_action_space = Discrete(2)
        self.num_agents = 2
        super().__init__(buf)


def test_an_env_takes_fitting_buffers_only() -> None:
    buf = Buffers.allocate(Buffers.fields(OBSERVATION, Discrete(2), 2))
    assert Env(buf).rewards is buf.rewards
    buf.rewards = np.zeros(2)
    with pytest.raises(
        UsageError, match=r"Env: buffer rewards is float64\(2,\), expected float32\(2,\)"
    ):
        Env().attach(buf)


@pytest.mark.parametrize("optional", ["final_observations", "action_masks"])
def test_an_env_refuses_what_it_cannot_fill(optional: str) -> None:
    fields = Buffers.fields(OBSERVATION, Discrete(2), 2, **{optional: True})
    with pytest.raises(UsageError, match=f"Env cannot fill {optional}: do not ask for them"):
        Env(Buffers.allocate(fields))
