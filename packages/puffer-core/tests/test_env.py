"""PufferEnv: the base class of native environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from puffer.core import PufferEnv
from puffer.core.errors import SpaceError, UsageError
from puffer.core.spaces import Box, Discrete, MultiDiscrete


class Env(PufferEnv):
    def __init__(self, **attributes: Any) -> None:
        self.single_observation_space = Box(0, 1, (3,), np.float32)
        self.single_action_space = Discrete(4)
        self.num_agents = 2
        for name, value in attributes.items():
            if value is None:
                delattr(self, name)
            else:
                setattr(self, name, value)
        super().__init__()


def test_it_makes_joint_spaces_and_buffers() -> None:
    env = Env()
    assert env.observation_space.shape == (2, 3)
    assert env.action_space == MultiDiscrete([4, 4])
    assert env.actions.dtype == np.int32
    assert env.final_observations is None
    assert env.driver_env is env
    assert env.num_simulations == 2
    assert env.emulated is None
    assert env.render() is None


@pytest.mark.parametrize(
    "attribute", ["single_observation_space", "single_action_space", "num_agents"]
)
def test_a_missing_attribute_is_named(attribute: str) -> None:
    with pytest.raises(
        UsageError, match=rf"Env must set self\.{attribute} before super\(\)\.__init__\(buf\)"
    ):
        Env(**{attribute: None})


@pytest.mark.parametrize("wrong", [0, -1, 1.5])
def test_num_agents_is_a_positive_integer(wrong: Any) -> None:
    with pytest.raises(UsageError, match=rf"Env\.num_agents={wrong}: expected an integer >= 1"):
        Env(num_agents=wrong)


def test_spaces_are_checked() -> None:
    with pytest.raises(SpaceError, match=r"Env\.single_observation_space is Discrete\(2\)"):
        Env(single_observation_space=Discrete(2))
    with pytest.raises(SpaceError, match=r"Env\.single_action_space is Discrete\(2, start=1\)"):
        Env(single_action_space=Discrete(2, start=1))


def test_reset_and_step_must_be_defined() -> None:
    with pytest.raises(NotImplementedError, match=r"Env must define reset\(seed\)"):
        Env().reset()
    with pytest.raises(NotImplementedError, match=r"Env must define step\(actions\)"):
        Env().step([0, 0])


def test_an_env_that_cannot_save_its_state_says_so() -> None:
    with pytest.raises(UsageError, match=r"Env cannot save its state: begin with reset\(seed\)"):
        Env().state()
    with pytest.raises(UsageError, match=r"Env cannot restore a state: begin with reset\(seed\)"):
        Env().set_state(b"")


def test_with_closes() -> None:
    closed = []

    class Closing(Env):
        def close(self) -> None:
            closed.append(True)

    with Closing() as env:
        assert isinstance(env, Closing)
    assert closed == [True]
