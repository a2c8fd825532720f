"""Classic control: found by name, faithful to Gymnasium, and clear about what is wrong."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from puffer.core import Buffers, registry
from puffer.core.errors import MissingPackageError, UnknownEnvError, UsageError
from puffer.envs import classic_control

NAMES = tuple(name for name in classic_control.HELP if name != classic_control.STATELESS)


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_finds_it_by_id_and_by_gymnasiums_name(name: str) -> None:
    spec = registry.find(name)
    assert spec.name == f"classic-control/{name}"
    assert registry.find(spec.name).name == spec.name
    assert spec.help
    assert spec.settings["vec"]["num_envs"] >= 1
    env = spec.creator(**{option.name: option.default for option in spec.options})
    assert env.spec.id == name
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_it_does_what_gymnasiums_own_does(name: str) -> None:
    raw = gymnasium.make(name)
    env = classic_control.env_creator(name)()
    assert env.single_observation_space == raw.observation_space
    raw.action_space.seed(1)
    seed: int | None = 7
    for _ in range(3):
        observation, _ = raw.reset(seed=seed)
        given, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(given, observation)
        seed = None
        ended = False
        while not ended:
            action = raw.action_space.sample()
            observation, *expected, _ = raw.step(action)
            given, *result, _ = env.step(action)
            np.testing.assert_array_equal(given, observation)
            assert result == expected
            ended = expected[1] or expected[2]
    raw.close()
    env.close()


def test_it_writes_the_row_that_it_is_given() -> None:
    space = gymnasium.spec("Pendulum-v1").make()
    fields = Buffers.fields(space.observation_space, space.action_space, 2)
    buffers = Buffers.allocate(fields)
    env = classic_control.env_creator("Pendulum-v1")(buf=buffers.rows(1, 2))
    env.reset(seed=0)
    assert np.abs(buffers.observations[1]).sum() > 0
    assert not buffers.observations[0].any()


def test_max_episode_steps_truncates() -> None:
    env = classic_control.env_creator("Pendulum-v1")(max_episode_steps=3)
    env.reset(seed=0)
    truncations = [env.step(np.zeros(1, np.float32))[3] for _ in range(3)]
    assert truncations == [False, False, True]


def test_its_default_limit_is_gymnasiums() -> None:
    limits = {name: registry.find(name).options[0].default for name in NAMES}
    assert limits == {
        "CartPole-v1": 500,
        "Acrobot-v1": 500,
        "Pendulum-v1": 200,
        "MountainCar-v0": 200,
        "MountainCarContinuous-v0": 999,
    }


def test_without_velocities_it_is_the_same_cartpole() -> None:
    whole = classic_control.make("CartPole-v1")
    hidden = classic_control.make("StatelessCartPole-v1")
    assert hidden.single_observation_space.shape == (2,)
    np.testing.assert_array_equal(hidden.reset(seed=3)[0], whole.reset(seed=3)[0][[0, 2]])
    for action in (0, 1, 1, 0):
        observation, *outcome, _ = hidden.step(action)
        expected, *same, _ = whole.step(action)
        np.testing.assert_array_equal(observation, expected[[0, 2]])
        assert outcome == same


def test_a_creator_can_be_sent_to_another_process() -> None:
    creator = pickle.loads(pickle.dumps(classic_control.env_creator("classic-control/Acrobot-v1")))
    with creator() as env:
        assert env.reset(seed=0)[0].shape == (6,)


def test_it_draws() -> None:
    pytest.importorskip("pygame", reason="the extra classic-control is not installed")
    with classic_control.env_creator()(render_mode="rgb_array") as env:
        env.reset(seed=0)
        frame = env.render()
    assert frame.shape == (400, 600, 3)
    assert frame.std() > 0


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UnknownEnvError) as caught:
        classic_control.env_creator("CartPole-v2")
    assert (
        str(caught.value)
        == "unknown environment 'CartPole-v2': did you mean CartPole-v1 or StatelessCartPole-v1?"
    )


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"max_episode_steps": 0}, "max_episode_steps=0: expected an integer >= 1"),
        ({"render_mode": "ansi"}, "render_mode='ansi': CartPole-v1 draws as human or rgb_array"),
    ],
)
def test_wrong_options(kwargs: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        classic_control.env_creator()(**kwargs)
    assert str(caught.value) == sentence


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere windows need no such variable")
def test_a_window_without_a_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match="there is no display for the window of CartPole-v1: set"):
        classic_control.make("CartPole-v1", render_mode="human")


def test_drawing_without_pygame_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(MissingPackageError) as caught:
        classic_control.env_creator()(render_mode="rgb_array")
    sentence = str(caught.value)
    assert sentence.startswith("drawing CartPole-v1 needs the package pygame")
    assert sentence.endswith('pip install "puffer-envs[classic-control]"')
