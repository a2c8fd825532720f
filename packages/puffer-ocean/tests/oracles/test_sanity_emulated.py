"""The sanity environments in Python: their rules recounted, through emulation and without."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from puffer.core import registry
from puffer.core.errors import UsageError
from puffer.ocean import Multiagent, Performance, PerformanceEmpiric, Spaces
from puffer.ocean.sanity import family
from puffer.ocean.sanity.multiagent import MultiagentGame
from puffer.ocean.sanity.spaces import SpacesGame

CLASSES = (Multiagent, Performance, PerformanceEmpiric, Spaces)


@pytest.mark.parametrize("name", family.ids)
def test_the_registry_knows_it(name: str) -> None:
    spec = registry.find(name)
    parameters = inspect.signature(spec.creator).parameters
    assert {o.name: o.default for o in spec.options} == {
        key: p.default for key, p in parameters.items() if key not in ("render_mode", "buf")
    }
    assert "max_steps" in parameters
    assert all(option.help for option in spec.options)
    assert spec.help.endswith(".")
    assert set(spec.settings) == {"vec", "train"}
    env = pickle.loads(pickle.dumps(spec.creator))(max_steps=2)
    env.reset(seed=0)
    env.close()


def test_spaces_rewards_the_sign_of_each_sum() -> None:
    env = Spaces(max_steps=5)
    assert env.single_observation_space.dtype == np.uint8  # mixed leaves: bytes
    rng = np.random.default_rng(0)
    answers, wanted = [], []
    row, _ = env.reset(seed=3)
    for step in range(200):
        shown = row.view(env.obs_dtype)[0]
        truth = {key: int(shown[key].astype(float).sum() > 0) for key in ("image", "flat")}
        action = rng.integers(0, 2, 2)
        given = env.emulated.action.unpack(action)
        row, reward, terminal, truncated, info = env.step(action)
        right = [given[key] == truth[key] for key in ("image", "flat")]
        assert reward == sum(right) / 2
        assert not terminal
        assert truncated == (step % 5 == 4)
        answers.append(reward)
        wanted.append(list(truth.values()))
        if truncated:
            assert info["perf"] == info["score"] == pytest.approx(np.mean(answers[-5:]))
            row, _ = env.reset()
    # Neither half can be answered without looking: both answers are about as frequent.
    assert (np.abs(np.mean(wanted, axis=0) - 0.5) < 0.2).all()
    env.close()


def test_spaces_is_a_regular_gymnasium_environment() -> None:
    check_env(SpacesGame(8, None), skip_render_check=True)


def test_multiagent_rewards_each_agent_for_its_own_number() -> None:
    game = MultiagentGame(4, None)
    for _ in range(2):
        observations, _ = game.reset(seed=0)
        assert observations == {"zero": [0], "one": [1]}
        for step, (zero, one) in enumerate([(0, 1), (1, 0), (0, 0), (1, 1)]):
            _, rewards, terminals, truncations, infos = game.step({"zero": zero, "one": one})
            assert rewards == {"zero": zero == 0, "one": one == 1}
            assert not any(terminals.values())
            assert set(truncations.values()) == {step == 3}
        assert [infos[agent]["perf"] for agent in ("zero", "one")] == [0.5, 0.5]
        assert game.agents == []


def test_multiagent_fills_a_row_per_agent() -> None:
    env = Multiagent()
    observations, _ = env.reset(seed=0)
    assert (env.num_agents, {a: row.tolist() for a, row in observations.items()}) == (
        2,
        {"zero": [0.0], "one": [1.0]},
    )
    env.close()


@pytest.mark.parametrize(
    ("env_class", "mean", "std"), [(Performance, 0.001, 0.0), (PerformanceEmpiric, 1000.0, 100.0)]
)
def test_performance_measures_its_own_share(env_class: Any, mean: float, std: float) -> None:
    env = env_class(mean, std, bandwidth=7, max_steps=20)
    assert env.single_observation_space.shape == (7,)
    first, _ = env.reset(seed=1)
    first = first.copy()
    for _ in range(20):
        row, reward, terminal, truncated, info = env.step(0)
        assert env.single_observation_space.contains(row)
        assert 0 < info["perf"] <= 1
        assert (reward, terminal) == (0, False)
    assert truncated
    if env_class is Performance:  # sleeping takes at least as long as was asked
        assert info["seconds"] >= 20 * mean
    np.testing.assert_array_equal(env.reset(seed=1)[0], first)
    env.close()


@pytest.mark.parametrize(
    ("env_class", "options", "sentence"),
    [
        (Spaces, {"max_steps": 0}, "max_steps=0: expected at least 1"),
        (Multiagent, {"max_steps": -1}, "max_steps=-1: expected at least 1"),
        (Performance, {"delay_mean": -1.0}, "a step's work of -1.0 give or take 0.0"),
        (PerformanceEmpiric, {"bandwidth": 0}, "bandwidth=0, max_steps=100: expected at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    env_class: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        env_class(**options)


@pytest.mark.parametrize("env_class", CLASSES)
@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_it_draws_what_happens(env_class: Any, mode: str) -> None:
    env = env_class(render_mode=mode)
    env.reset(seed=0)
    pictures = [env.render()]
    for _ in range(2):
        action = env.single_action_space.sample()
        env.step({"zero": 1, "one": 1} if env_class is Multiagent else action)
        pictures.append(env.render())
    env.close()
    if mode == "ansi":
        assert pictures[0] != pictures[-1]
    else:
        assert pictures[0].dtype == np.uint8
        assert not np.array_equal(pictures[0], pictures[-1])


def test_the_games_are_what_their_libraries_expect() -> None:
    assert issubclass(SpacesGame, gymnasium.Env)
    assert MultiagentGame(1, None).possible_agents == ["zero", "one"]
