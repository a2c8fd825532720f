"""What families change in what an agent sees: one-hot states, missions, small images, precision."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from puffer.core.errors import MissingPackageError, UsageError
from puffer.envs import box2d, butterfly, minigrid, mujoco, toy_text


@pytest.mark.parametrize(
    ("family", "module", "extra"),
    [
        (box2d, "Box2D", "box2d"),
        (mujoco, "mujoco", "mujoco"),
        (minigrid, "minigrid", "minigrid"),
        (butterfly, "pettingzoo.butterfly", "butterfly"),
    ],
)
def test_a_missing_package_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, family: object, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError) as caught:
        family.env_creator()()  # type: ignore[attr-defined]
    assert str(caught.value).endswith(f'pip install "puffer-envs[{extra}]"')


def test_a_state_is_a_one_hot_vector_or_a_number() -> None:
    vector = toy_text.make("FrozenLake-v1")
    number = toy_text.make("FrozenLake-v1", one_hot=False)
    assert vector.single_observation_space.shape == (16,)
    for action in (None, 1, 2, 1, 2, 2):
        if action is None:
            shown, state = vector.reset(seed=2)[0], number.reset(seed=2)[0]
        else:
            shown, state = vector.step(action)[0], number.step(action)[0]
        assert shown.sum() == 1
        assert shown.argmax() == state.item()


def test_several_states_stand_behind_one_another() -> None:
    env = toy_text.make("Blackjack-v1")
    row, _ = env.reset(seed=1)
    assert env.single_observation_space.shape == (32 + 11 + 2,)
    assert [row[:32].sum(), row[32:43].sum(), row[43:].sum()] == [1, 1, 1]


def test_what_gymnasium_never_ends_is_truncated() -> None:
    env = toy_text.make("CliffWalking-v1")
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(200)]
    assert ends == [(False, False)] * 199 + [(False, True)]


def test_missions_become_numbers_of_words() -> None:
    row = minigrid.tokenize("Pick up the red ball, then frobnicate")
    words = ["pick", "up", "the", "red", "ball", ",", "then"]
    assert row[:7].tolist() == [minigrid.VOCABULARY[word] for word in words]
    assert row[7:].tolist() == [1] + [0] * (minigrid.MISSION_LENGTH - 8)
    assert minigrid.tokenize("go " * 100).tolist() == [minigrid.VOCABULARY["go"]] * 48
    assert max(minigrid.VOCABULARY.values()) < 64


def test_a_wrong_mission_option() -> None:
    with pytest.raises(UsageError, match="mission='words': expected 'tokens' or 'drop'"):
        minigrid.make("MiniGrid-DoorKey-5x5-v0", mission="words")


NAMES = "import gymnasium, minigrid; print(*gymnasium.registry)"


def test_the_names_are_those_of_minigrid() -> None:
    pytest.importorskip("minigrid", reason="the extra minigrid is not installed")
    # In a process of its own: here MiniHack may have registered some more.
    told = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=True)
    theirs = {name for name in told.stdout.split() if name.startswith(("MiniGrid-", "BabyAI-"))}
    # The pictures from which these are made are not in the package.
    broken = {name for name in theirs if name.startswith("MiniGrid-WFC-")}
    assert set(minigrid.HELP) == theirs - broken


def test_the_mission_is_shown_or_dropped() -> None:
    pytest.importorskip("minigrid", reason="the extra minigrid is not installed")
    assert minigrid.make("MiniGrid-DoorKey-5x5-v0").obs_dtype.names is None
    env = minigrid.make("BabyAI-GoTo-v0")
    row, _ = env.reset(seed=1)
    told = row.view(env.obs_dtype)["mission"].ravel()
    assert told.tolist() == minigrid.tokenize(env.env.unwrapped.mission).tolist()
    assert told.any()
    dropped = minigrid.make("BabyAI-GoTo-v0", mission="drop")
    np.testing.assert_array_equal(
        dropped.reset(seed=1)[0], row.view(env.obs_dtype)["image"].reshape(7, 7, 3)
    )


def test_minigrids_limit_truncates() -> None:
    pytest.importorskip("minigrid", reason="the extra minigrid is not installed")
    env = minigrid.make("MiniGrid-DoorKey-5x5-v0", max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False)] * 2 + [(False, True)]


def test_large_images_are_scaled_unless_they_are_wanted() -> None:
    pytest.importorskip("pygame", reason="the extra butterfly is not installed")
    small = butterfly.make("cooperative_pong")
    large = butterfly.make("cooperative_pong", small=False)
    shown, whole = small.reset(seed=1)[0], large.reset(seed=1)[0]
    agent = small.possible_agents[0]
    assert shown[agent].shape == (1, 84, 84)
    assert whole[agent].shape == (280, 480, 3)
    grey = whole[agent] @ np.array([0.299, 0.587, 0.114])
    assert abs(float(shown[agent].mean()) - float(grey.mean())) < 2
    rows, columns = np.arange(84) * 280 // 84 + 1, np.arange(84) * 480 // 84 + 2
    assert np.corrcoef(shown[agent][0].ravel(), grey[np.ix_(rows, columns)].ravel())[0, 1] > 0.8


def test_robots_are_seen_in_single_precision() -> None:
    pytest.importorskip("mujoco", reason="the extra mujoco is not installed")
    env = mujoco.make("HalfCheetah-v5")
    assert env.single_observation_space.dtype == np.float32
    row, _ = env.reset(seed=0)
    assert row.dtype == np.float32
    assert row.any()
