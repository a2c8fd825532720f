"""Optimizers schedules and precision by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.train import _native
from puffer.train.config import TrainConfig
from puffer.train.parallel import native_threads
from puffer.train.span import span

CACHED = 2**17  # numbers that compiled code takes; torch is as fast with larger matrices


class OrthogonalMomentum(torch.optim.Optimizer):
    """Steps along the orthogonalized momentum of matrices: Muon proper.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.

    torch's own works in bfloat16, which processors without such instructions emulate: with 128
    units on 118 observations its step took 20 ms, in float32 1.3, and in compiled code 0.7.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.native = _native.Muon(native_threads())
        self._arrays = _Arrays()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step, which is longer for tall matrices, by the root of height by width."""
        self.advance()

    @torch.no_grad()
    def advance(self) -> None:
        """Do as `step`, without the hooks and names that torch wraps around it, some 50 us."""
        for group in self.param_groups:
            small: list[tuple[Tensor, Tensor, Tensor]] = []
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p.grad)
                momentum = state["momentum_buffer"]
                if p.numel() <= CACHED:
                    small.append((p, p.grad, momentum))
                else:
                    self._step_by_torch(p, p.grad, momentum, group)
            if not small:
                continue
            if (arrays := self._arrays.of(*small)) is not None:
                with span("puffer::muon"):
                    weights, gradients, momenta = arrays
                    self.native.step(weights, gradients, momenta, group["lr"], group["momentum"])
                continue
            for p, gradient, momentum in small:
                self._step_by_torch(p, gradient, momentum, group)

    def _step_by_torch(
        self, p: Tensor, gradient: Tensor, momentum: Tensor, group: dict[str, Any]
    ) -> None:
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"])  # as Nesterov has it
        rate = group["lr"] * math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
        p.sub_(orthogonalize(ahead) * rate)


class _Arrays:
    """The numbers of tensors as compiled code takes them, made anew only when the tensors are."""

    def __init__(self) -> None:
        self._places: list[int] = []
        self._columns: list[list[np.ndarray]] | None = None

    def of(self, *rows: tuple[Tensor, ...]) -> list[list[np.ndarray]] | None:
        """Return the columns of `rows`; None unless all are contiguous float32 on the CPU."""
        places = [tensor.data_ptr() for row in rows for tensor in row]
        if places != self._places or not all(places):
            self._places, self._columns = places, None
            if all(_is_plain(tensor) for row in rows for tensor in row):
                columns = zip(*rows, strict=True)
                self._columns = [[t.detach().numpy() for t in column] for column in columns]
        return self._columns


def _is_plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and tensor.is_contiguous()


def orthogonalize(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Return nearly U V' of the matrix U S V', with singular values near 1.

    By rounds of x -> a x + b (x x') x + c (x x')^2 x, a Newton-Schulz iteration whose coefficients
    (Jordan's) lift small singular values fast instead of converging.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    if matrix.device.type != "cpu":
        x = x.bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """`OrthogonalMomentum` for weight matrices beside Adam for all others, as one optimizer.

    Biases and other shapes have nothing to orthogonalize. Weights are not decayed.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        params = list(params)
        super().__init__(params, {"lr": lr})
        matrices = [p for p in params if p.ndim == 2]
        others = [p for p in params if p.ndim != 2]
        self.parts: list[torch.optim.Optimizer] = []
        self._arrays = _Arrays()
        if matrices:
            self.parts.append(OrthogonalMomentum(matrices, lr, momentum))
        if others:
            self.parts.append(torch.optim.Adam(others, lr=lr, eps=1e-8, fused=True))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step with the learning rate of this optimizer's only group."""
        self.advance()

    def advance(self) -> None:
        """Do as `step`, without what torch wraps around it, as in `OrthogonalMomentum`."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            if isinstance(part, OrthogonalMomentum):
                part.advance()
            elif not self._step_natively(part):
                part.step()

    def _step_natively(self, adam: torch.optim.Optimizer) -> bool:
        """Take Adam's step in compiled code, which costs a fifth of what calling torch's does.

        False where it cannot, and for the first step, with which torch makes its state.
        """
        (group,) = adam.param_groups
        states = [(p, p.grad, adam.state[p]) for p in group["params"] if p.grad is not None]
        if not all(state for _, _, state in states):
            return False
        arrays = self._arrays.of(*[(p, g, s["exp_avg"], s["exp_avg_sq"]) for p, g, s in states])
        if arrays is None:  # on a GPU, which must not be asked how many steps there were
            return False
        counts = {float(state["step"]) for _, _, state in states}
        if len(counts) > 1:
            return False
        for _, _, state in states:
            state["step"] += 1
        weights, gradients, means, squares = arrays
        rate, (first, second) = group["lr"], group["betas"]
        with span("puffer::adam"):
            _native.adam_step(
                *(weights, gradients, means, squares),
                *(counts.pop() + 1, rate, first, second, group["eps"]),
            )
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the optimizers it consists of."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue from what `state_dict` returned, for the same parameters."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def make_optimizer(config: TrainConfig, policy: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer that `config.optimizer` names, over all parameters of `policy`."""
    rate, parameters = config.learning_rate, list(policy.parameters())
    optimizer: torch.optim.Optimizer
    if config.optimizer == "muon":
        optimizer = Muon(parameters, rate)
    elif config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(
            parameters, rate, eps=config.adam_eps, weight_decay=config.weight_decay, fused=True
        )
    else:
        optimizer = torch.optim.Adam(parameters, rate, eps=config.adam_eps, fused=True)
    let_record(optimizer, parameters[0].device)
    return optimizer


def let_record(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Let CUDA record the optimizer's steps: its learning rate has to be a number on `device`.

    Loading a state undoes it.
    """
    if device.type != "cuda":
        return
    for part in (optimizer, *getattr(optimizer, "parts", ())):
        for group in part.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32).to(device)
            if "capturable" in group:
                group["capturable"] = True


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Make `rate` the learning rate of the next steps."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


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
