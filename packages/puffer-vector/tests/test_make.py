"""make: which environments are built, with which arguments, and what it refuses."""

from __future__ import annotations

import functools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from vector_scripted import CountingEnv, PlainEnv

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Discrete


def refusal(*args, **kwargs):
    with pytest.raises(UsageError) as caught:
        puffer.vector.make(*args, **kwargs)
    return str(caught.value)


class Recording(CountingEnv):
    """Remembers its arguments."""

    def __init__(self, *args, buf=None, **kwargs):
        self.given = (args, kwargs)
        super().__init__(2, buf=buf)


def given(vecenv):
    return [env.given for env in vecenv._group.envs]


def test_shared_arguments():
    with puffer.vector.make(Recording, [1, "a"], {"k": 2}, num_envs=2) as vecenv:
        assert given(vecenv) == [((1, "a"), {"k": 2})] * 2


def test_arguments_of_each():
    creators = [Recording, functools.partial(Recording, extra=0)]
    with puffer.vector.make(creators, [[1], [2]], [{"k": 1}, {"k": 2}], num_envs=2) as vecenv:
        assert given(vecenv) == [((1,), {"k": 1}), ((2,), {"extra": 0, "k": 2})]


@pytest.mark.parametrize("backend", [puffer.vector.Native, "native", "NATIVE", "Native"])
def test_a_backend_is_a_class_or_its_name(backend):
    with puffer.vector.make(CountingEnv, backend=backend) as vecenv:
        assert type(vecenv) is puffer.vector.Native


def test_serial_is_the_default():
    with puffer.vector.make(CountingEnv) as vecenv:
        assert type(vecenv) is puffer.vector.Serial


@pytest.mark.parametrize("num_envs", [0, -1, 2.0, True, "2"])
def test_wrong_num_envs(num_envs):
    assert refusal(CountingEnv, num_envs=num_envs) == (
        f"num_envs={num_envs!r}: expected an integer >= 1"
    )


def test_wrong_backends():
    assert refusal(CountingEnv, backend="ray") == (
        'backend="ray" is not part of this version: use "multiprocessing"'
    )
    with pytest.raises(AttributeError) as caught:
        _ = puffer.vector.Ray
    assert str(caught.value) == (
        "puffer.vector.Ray is not part of this version: use puffer.vector.Multiprocessing"
    )
    with pytest.raises(AttributeError, match=r"'puffer\.vector' has no attribute 'Serail'$"):
        _ = puffer.vector.Serail
    assert refusal(CountingEnv, backend="seral") == (
        "unknown backend 'seral': did you mean serial?"
    )
    assert refusal(CountingEnv, backend=3).startswith("backend=3: expected a backend class or one")


def test_an_unknown_option_lists_the_valid_ones():
    assert refusal(CountingEnv, backend="serial", num_worker=2) == (
        "unknown option 'num_worker' of backend Serial: it has copy, final_observations, "
        "action_masks"
    )


class Many(CountingEnv):
    """Holds as many simulations as it is told, like a native environment."""

    def __init__(self, num_envs=1, buf=None):
        super().__init__(num_envs, buf=buf)


@pytest.mark.parametrize(
    ("options", "copies", "kwargs", "number"),
    [
        ({}, 4, None, 4),
        ({}, 4, {"num_envs": 3}, 12),
        ({"backend": "multiprocessing", "num_workers": 2, "overwork": True}, 2, {"num_envs": 3}, 6),
    ],
)
def test_copies_of_what_holds_many_are_warned_of_once(options, copies, kwargs, number):
    with (
        pytest.warns(UserWarning, match="copies") as caught,
        puffer.vector.make(Many, env_kwargs=kwargs, num_envs=4, **options),
    ):
        pass
    assert [str(w.message) for w in caught] == [
        f"{copies} copies of Many in one process: one that holds all simulations, by "
        f"env_kwargs={{'num_envs': {number}}}, is faster"
    ]
    assert caught[0].filename == __file__


def test_one_copy_in_each_process_is_no_reason_to_warn():
    with puffer.vector.make(Many, backend="multiprocessing", num_envs=2):
        pass


def test_native_runs_one_env():
    message = refusal(CountingEnv, backend="native", num_envs=4)
    assert message.startswith("num_envs=4 with backend Native: it runs one environment")
    assert "env_kwargs={'num_envs': 4}" in message


def test_lists_of_the_wrong_length_or_kind():
    make_two = functools.partial(refusal, num_envs=2)
    assert make_two([CountingEnv]) == (
        "env_creator_or_creators has 1 entries, expected num_envs=2 of them"
    )
    assert make_two(3) == (
        "env_creator_or_creators=3: expected a callable, or a list with one per env"
    )
    assert make_two([CountingEnv, 7]).startswith("env creator 1 is 7: expected a class or function")
    assert make_two(CountingEnv, [[1]]) == "env_args has 1 entries, expected num_envs=2 of them"
    assert make_two(CountingEnv, "ab") == (
        "env_args='ab': expected a list, or a list with one list per env"
    )
    assert make_two(CountingEnv, None, [{}]) == (
        "env_kwargs has 1 entries, expected num_envs=2 of them"
    )
    assert make_two(CountingEnv, None, [1, 2]) == (
        "env_kwargs=[1, 2]: expected a dict, or a list with one dict per env"
    )


class Wide(PufferEnv):
    """Has other spaces than CountingEnv."""

    def __init__(self, buf=None):
        self.single_observation_space = Box(0, 1, (9,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents = 2
        self.closed = 0
        super().__init__(buf)


def test_envs_must_agree_in_agents_and_spaces():
    class OtherActions(PlainEnv):
        def __init__(self):
            super().__init__()
            self.single_action_space = Discrete(3)

    assert refusal([PlainEnv, OtherActions], num_envs=2) == (
        "env 1 has single_action_space Discrete(3), env 0 has Discrete(5): "
        "all environments of one vector must agree"
    )
    with pytest.raises(UsageError, match="buffer observations is") as caught:
        puffer.vector.make([CountingEnv, Wide], num_envs=2)
    assert caught.value.__notes__ == ["while making env 1"]


def test_envs_are_closed_if_a_later_one_cannot_be_made():
    made = []

    def creator(fail):
        if fail:
            raise RuntimeError("no more")
        made.append(PlainEnv())
        return made[-1]

    with pytest.raises(RuntimeError, match="no more") as caught:
        puffer.vector.make(creator, env_kwargs=[{"fail": i == 2} for i in range(3)], num_envs=3)
    assert caught.value.__notes__ == ["while making env 2"]
    assert [env.closed for env in made] == [1, 1]


def test_close_closes_each_env_once():
    made = []

    def creator():
        made.append(PlainEnv())
        return made[-1]

    vecenv = puffer.vector.make(creator, num_envs=3)
    vecenv.close()
    vecenv.close()
    assert [env.closed for env in made] == [1, 1, 1]


def test_an_env_that_raises_is_named_and_the_vector_wants_a_reset():
    class Failing(PlainEnv):
        def step(self, actions):
            if actions[0] == 3:
                raise ValueError("three")
            return super().step(actions)

    with puffer.vector.make([PlainEnv, Failing], num_envs=2) as vecenv:
        vecenv.reset(seed=0)
        with pytest.raises(ValueError, match="three") as caught:
            vecenv.step([3, 3, 3, 3])
        assert caught.value.__notes__ == [
            "raised by env 1 in step(actions=[3 3]), number 1 since reset(seed=2)"
        ]
        with pytest.raises(UsageError, match=r"before reset\(\)"):
            vecenv.step([0, 0, 0, 0])
        vecenv.reset(seed=0)
        vecenv.step([0, 0, 0, 0])


def test_a_creator_that_returns_one_environment_twice():
    env = PlainEnv()
    cartpole = gymnasium.make("CartPole-v1")
    for creator in (lambda: env, lambda: gymnasium.Wrapper(cartpole)):
        with pytest.raises(UsageError) as caught:
            puffer.vector.make(creator, num_envs=3)
        assert str(caught.value) == (
            "env 1 is the same object as env 0: a creator must return a new environment at every "
            "call"
        )


def test_import_pulls_in_neither_torch_nor_environments():
    code = (
        "import sys, puffer.vector\n"
        "heavy = {'torch', 'puffer.ocean', 'puffer.envs', 'pettingzoo', 'ray',"
        "'stable_baselines3'}\n"
        "raise SystemExit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
