"""Optimizers schedules and precision by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from puffer.train.config import TrainConfig


class Muon(torch.optim.Optimizer):
    """torch's Muon for weight matrices beside Adam for all other parameters, as one optimizer.

    Muon orthogonalizes the momentum of a matrix (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/); biases and other shapes have nothing to
    orthogonalize. Weights are not decayed.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        params = list(params)
        super().__init__(params, {"lr": lr})
        matrices = [p for p in params if p.ndim == 2]
        others = [p for p in params if p.ndim != 2]
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(
                torch.optim.Muon(matrices, lr=lr, momentum=momentum, weight_decay=0.0)
            )
        if others:
            self.parts.append(torch.optim.Adam(others, lr=lr, eps=1e-8))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step with the learning rate of this optimizer's only group."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            part.step(closure)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the optimizers it consists of."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue from what `state_dict` returned, for the same parameters."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def make_optimizer(config: TrainConfig, policy: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer that `config.optimizer` names, over all parameters of `policy`."""
    rate, parameters = config.learning_rate, policy.parameters()
    if config.optimizer == "muon":
        return Muon(parameters, rate)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, rate, eps=config.adam_eps, weight_decay=config.weight_decay, fused=True
        )
    return torch.optim.Adam(parameters, rate, eps=config.adam_eps, fused=True)


def anneal(config: TrainConfig, progress: float) -> TrainConfig:
    """Return the settings in force after the share `progress` (0..1) of all steps."""
    progress = min(max(progress, 0.0), 1.0)
    left = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
    }
    # The settings demand positive numbers; the last update of a run has next to none left.
    return dataclasses.replace(
        config,
        learning_rate=max(config.learning_rate * left[config.lr_schedule], 1e-12),
        clip_coef=max(config.clip_coef * left[config.clip_schedule], 1e-12),
        ent_coef=config.ent_coef * left[config.ent_schedule],
        prio_beta=config.prio_beta + (1 - config.prio_beta) * progress,
    )


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a policy runs: matrix products in `config.precision`."""
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
