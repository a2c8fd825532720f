"""Environments and policies of the user's own, by `package.module:attribute`."""

from __future__ import annotations

import json
import sys

import pytest

from puffer.core.errors import UsageError
from puffer.train import cli
from puffer.train.user_code import find_env

MINE = '''
import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from puffer.core import PufferEnv


class Walk(gymnasium.Env):
    """One point per step to the right."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self, length=5, scale=0.1, name="walk", loud=False, callback=None):
        self.length, self.scale = length, scale

    def reset(self, seed=None, options=None):
        self.tick = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.tick += 1
        return np.zeros(1, np.float32), float(action), self.tick == self.length, False, {}


def make_env(**options):
    return Walk()


class Pair:
    """Two agents side by side."""

    possible_agents = ["a", "b"]
    metadata = {"name": "pair"}
    render_mode = None

    def observation_space(self, agent):
        return Box(-1, 1, (1,), np.float32)

    def action_space(self, agent):
        return Discrete(2)

    def _all(self, value):
        return {agent: value for agent in self.possible_agents}

    def reset(self, seed=None, options=None):
        self.agents, self.tick = list(self.possible_agents), 0
        return self._all(np.zeros(1, np.float32)), self._all({})

    def step(self, actions):
        self.tick += 1
        if self.tick == 4:
            self.agents = []
        ended = self._all(self.tick == 4)
        zeros, rewards = self._all(np.zeros(1, np.float32)), self._all(1.0)
        return zeros, rewards, ended, self._all(False), self._all({})

    def close(self):
        pass


class Native(PufferEnv):
    """Many walks at once."""

    def __init__(self, num_envs=4, buf=None):
        self.single_observation_space = Box(-1, 1, (1,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents, self.tick = num_envs, 0
        super().__init__(buf)

    def reset(self, seed=None):
        self.tick = 0
        return self.observations, []

    def step(self, actions):
        self.tick += 1
        self.rewards[:] = actions
        self.terminals[:] = self.tick % 3 == 0
        return self.observations, self.rewards, self.terminals, self.truncations, []


class Net(torch.nn.Module):
    def __init__(self, env):
        super().__init__()
        self.linear = torch.nn.Linear(1, 2)
        self.value = torch.nn.Linear(1, 1)

    def forward(self, observations):
        return self.linear(observations), self.value(observations)
'''


@pytest.fixture(autouse=True)
def _mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_games").mkdir()
    (tmp_path / "my_games" / "walk.py").write_text(MINE)
    path = list(sys.path)
    yield
    for name in [n for n in sys.modules if n.startswith("my_games")]:
        del sys.modules[name]
    assert sys.path == path


RUN = [
    "--train.total-steps",
    "200",
    "--train.horizon",
    "8",
    "--train.device",
    "cpu",
    "--ui",
    "json",
]


@pytest.mark.parametrize(
    ("name", "vec", "episode"),
    [
        ("Walk", ["--vec", "serial", "--vec.num-envs", "2", "--env.length", "7"], 7),
        ("Walk", ["--vec", "multiprocessing", "--vec.num-envs", "2", "--vec.batch_size=1"], 5),
        ("make_env", ["--vec", "serial"], 5),
        ("Pair", ["--vec", "serial"], 4),
        ("Native", ["--vec", "native", "--env.num_envs", "3"], 3),
    ],
)
def test_train_then_evaluate(name, vec, episode, capsys):
    argv = ["--env", f"my_games.walk:{name}", *vec]
    assert cli.main([*argv, *RUN, "--policy", "my_games.walk:Net"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["length_mean"] == episode
    latest = ["--mode", "eval", "--eval-model-path", "latest", "--episodes", "6", "--ui", "json"]
    assert cli.main([*argv, *latest]) == 0  # the checkpoint knows the policy and the options
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["length_mean"] == episode
    assert summary["episodes"] >= 6


def test_resume_knows_the_environment(capsys):
    argv = ["--env", "my_games.walk:Native", "--vec", "native"]
    assert cli.main([*argv, *RUN]) == 0
    assert cli.main(["--resume", "--train.total-steps", "300", "--ui", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["steps"] >= 300
    assert "its episodes begin anew" in err


def test_parameters_with_plain_defaults_are_options(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    spec = find_env("my_games.walk:Walk")
    assert [(o.name, o.default) for o in spec.options] == [
        ("length", 5), ("scale", 0.1), ("name", "walk"), ("loud", False)
    ]  # fmt: skip
    assert spec.help == "One point per step to the right."
    monkeypatch.undo()


def test_a_module_that_does_not_import(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        sentence = r"--env broken:x: broken does not import \(ZeroDivisionError: division by zero\)"
        with pytest.raises(UsageError, match=sentence):
            find_env("broken:x")
