"""train.compile changes nothing but rounding, and a failing compiler stops nobody."""

from __future__ import annotations

import pytest
import torch

from puffer.train import Config, TrainConfig, Trainer
from puffer.train.models import Default


def train_two_updates(vecenv, *, compiled):
    torch.manual_seed(0)
    policy = Default(vecenv.driver_env, 16)
    # With coefficients that change from one update to the next: a compiler must not keep them.
    train = TrainConfig(
        horizon=8,
        minibatch_size=128,
        device="cpu",
        vf_clip_coef=0.2,
        total_steps=1024,
        clip_schedule="linear",
        ent_schedule="linear",
        native=False,
        compile=compiled,
    )
    trainer = Trainer(Config("test/match", train), vecenv, policy)
    for _ in range(3):
        losses = trainer.train_update()["losses"]
    return torch.cat([p.detach().flatten() for p in policy.parameters()]), losses


# Of the compiler's own making.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.timeout(600)
def test_with_and_without_compile(make_match):
    weights, losses = train_two_updates(make_match(), compiled=False)
    compiled, same_losses = train_two_updates(make_match(), compiled=True)
    torch.testing.assert_close(compiled, weights, atol=1e-5, rtol=1e-5)
    assert same_losses == pytest.approx(losses, rel=1e-3, abs=1e-5)


def test_training_goes_on_where_nothing_can_be_compiled(make_match, monkeypatch):
    def broken(*_, **__):
        def call(*_):
            raise torch._dynamo.exc.TorchDynamoException("no compiler")

        return call

    weights, _ = train_two_updates(make_match(), compiled=False)
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match=r"^torch.compile failed, going on without it"):
        same, _ = train_two_updates(make_match(), compiled=True)
    torch.testing.assert_close(same, weights, atol=1e-6, rtol=1e-5)
