"""What is learned does not depend on the vectors of the machine, to the last bit of the weights."""

from __future__ import annotations

import dataclasses

import pytest

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
