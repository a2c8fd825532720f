"""torch.compile changes nothing but rounding: each seam alone, and all of them in the loop."""

from __future__ import annotations

import pytest
import torch

from puffer.train import Config, TrainConfig, Trainer, ppo
from puffer.train.models import Default


def train_two_updates(vecenv, *, compiled, monkeypatch):
    torch.manual_seed(0)
    policy = Default(vecenv.driver_env, 16)
    if compiled:
        policy.compile(fullgraph=True)  # what collection and update call
        for name in ("compute_advantages", "ppo_loss"):
            seam = torch.compile(getattr(ppo, name), fullgraph=True)
            monkeypatch.setattr(ppo, name, seam)
    train = TrainConfig(horizon=8, minibatch_size=128, device="cpu", vf_clip_coef=0.2)
    trainer = Trainer(Config("test/match", train), vecenv, policy)
    for _ in range(2):
        trainer.train_update()
    weights = torch.cat([p.detach().flatten() for p in policy.parameters()])
    return trainer.segments, weights


# Of the compiler's own making.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.timeout(600)
def test_with_and_without_compile(make_match, monkeypatch):
    segments, weights = train_two_updates(make_match(), compiled=False, monkeypatch=monkeypatch)
    again, compiled = train_two_updates(make_match(), compiled=True, monkeypatch=monkeypatch)
    for name in ("values", "log_probs", "bootstrap_values", "rewards"):
        torch.testing.assert_close(
            getattr(again, name), getattr(segments, name), atol=1e-5, rtol=1e-5
        )
    torch.testing.assert_close(compiled, weights, atol=1e-5, rtol=1e-5)
