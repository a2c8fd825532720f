"""The tutorial's way through the library: vectorize Breakout, count steps, wrap a policy."""

from __future__ import annotations

import pytest
import torch

import puffer.vector
from puffer.ocean import Breakout
from puffer.train.cleanrl import Policy, RecurrentPolicy
from puffer.train.models import Default, LSTMWrapper
from puffer.vector import Multiprocessing, Native, Serial

pytestmark = pytest.mark.filterwarnings("ignore:.*copies of Breakout in one process")

HALF = {"backend": Multiprocessing, "num_envs": 4, "num_workers": 2, "overwork": True}


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"backend": Native, "env_kwargs": {"num_envs": 1024}}, 1024),
        ({"backend": Serial, "num_envs": 4}, 4),
        (HALF, 4),
        ({**HALF, "batch_size": 2}, 2),
    ],
)
def test_every_way_to_run_breakout(options, rows):
    with puffer.vector.make(Breakout, **options) as vecenv:
        observations, infos = vecenv.reset(seed=0)
        assert (vecenv.num_envs, observations.shape, infos) == (rows, (rows, 118), [])
        for _ in range(5):
            _, rewards, terminals, truncations, _ = vecenv.step(vecenv.action_space.sample())
        assert rewards.shape == terminals.shape == truncations.shape == (rows,)


@pytest.mark.parametrize("batch_size", [2, 1])
def test_steps_times_num_envs_is_what_the_environments_took(batch_size):
    """The tutorial prints steps * num_envs / seconds, for reset/step and for send/recv."""
    length, calls = 10, 400
    with puffer.vector.make(
        Breakout,
        num_envs=2,
        backend=Multiprocessing,
        batch_size=batch_size,
        overwork=True,
        env_kwargs={"max_steps": length, "report_interval": 0},
    ) as vecenv:
        vecenv.async_reset(seed=0)
        vecenv.recv()
        taken = 0
        for _ in range(calls):
            vecenv.send(vecenv.action_space.sample())
            taken += sum(info["episode_length"] for info in vecenv.recv()[4])
        printed = calls * vecenv.num_envs
    # Episodes under way, and a batch that nobody received yet, are not in `taken`.
    assert printed - 4 * length <= taken <= printed + 2


def test_a_policy_raw_and_in_every_wrapper():
    with puffer.vector.make(Breakout, backend=Native) as vecenv:
        observations = torch.as_tensor(vecenv.reset(seed=0)[0])
        policy = Default(vecenv.driver_env)
        logits, value = policy(observations)
        assert (logits.shape, value.shape) == ((1, 3), (1, 1))
        recurrent = LSTMWrapper(vecenv.driver_env, policy)
        logits, value, state = recurrent(observations, recurrent.initial_state(1))
        assert (logits.shape, value.shape, len(state)) == ((1, 3), (1, 1), 2)
        for wrapped in (Policy(policy), RecurrentPolicy(recurrent)):
            actions = wrapped.get_action_and_value(observations)[0].numpy()
            assert len(vecenv.step(actions)) == 5
