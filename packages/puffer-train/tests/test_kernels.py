"""What is learned depends on no way of stepping simulations, to the last bit of the weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from puffer.core.errors import UsageError
from puffer.core.registry import find
from puffer.train import Trainer
from puffer.train.config import resolve
from puffer.train.launch import make_policy, make_vecenv


@pytest.mark.parametrize("name", ["puffer_cartpole", "puffer_breakout"])
def test_a_block_teaches_what_the_scalar_form_teaches(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {}
    for kernel in ("scalar", "auto"):
        monkeypatch.delenv("PUFFER_OCEAN_KERNEL", raising=False)
        if kernel != "auto":
            monkeypatch.setenv("PUFFER_OCEAN_KERNEL", kernel)
        spec = find(name)
        config, _ = resolve(spec)
        steps = {"horizon": 32, "minibatch_size": 512, "total_steps": 2 * 32 * 61}
        train = dataclasses.replace(config.train, seed=3, device="cpu", **steps)
        config = dataclasses.replace(config, train=train, env={**config.env, "num_envs": 61})
        with make_vecenv(spec, config) as vecenv:
            kernels = {vecenv.driver_env.kernel}
            policy = make_policy(spec, config.policy, vecenv.driver_env, 3)
            Trainer(config, vecenv, policy).train()
        weights = {key: tensor.numpy() for key, tensor in policy.state_dict().items()}
        runs[kernel] = (kernels, weights)
    assert runs["scalar"][0] == {"scalar"}
    assert runs["auto"][0] != {"scalar"}
    for key, tensor in runs["scalar"][1].items():
        assert tensor.tobytes() == runs["auto"][1][key].tobytes(), key


def test_simulations_that_take_turns_are_the_same_ones() -> None:
    """Each sees what it sees without turns, if it is acted for alike."""
    spec = find("puffer_breakout")
    config, _ = resolve(spec)
    shown = []
    for turns in (1, 3):
        vec = dataclasses.replace(config.vec, turns=turns)
        with make_vecenv(
            spec, dataclasses.replace(config, vec=vec, env={**config.env, "num_envs": 12})
        ) as vecenv:
            assert vecenv.num_agents == 12
            assert vecenv.agents_per_batch == 12 // turns
            vecenv.async_reset(5)
            rows = np.zeros((20, 12, 118), np.float32)
            for t in range(20):
                for _ in range(turns):
                    observations, *_, ids, _ = vecenv.recv()
                    rows[t, ids] = observations
                    vecenv.send((ids + t) % 3)
            shown.append(rows)
    assert shown[0].any()
    np.testing.assert_array_equal(*shown)
    vec = dataclasses.replace(config.vec, turns=5)
    with pytest.raises(UsageError, match=r"^vec.turns=5 with 1024 simulations: expected a divisor"):
        make_vecenv(spec, dataclasses.replace(config, vec=vec))
