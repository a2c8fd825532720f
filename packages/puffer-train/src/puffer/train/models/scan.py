"""Linear recurrences h_t = decay_t h_{t-1} + input_t over time, forwards and backwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def linear_scan(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return h_0 to h_{T-1} `(T, *shape)` of h_t = decay_t h_{t-1} + inputs_t.

    On a CPU time is walked through, with one fused operation a step; elsewhere it is halved
    again and again (Hillis and Steele 1986), in log2(T) operations over all steps. The results
    agree but for rounding. Differentiable in all arguments.

    Args:
        decay: `(T, *shape)`.
        inputs: `(T, *shape)`.
        initial: `(*shape)`, h_{-1}.
    """
    states: Tensor = _LinearScan.apply(decay, inputs, initial)  # type: ignore[no-untyped-call]
    return states


def walk(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return what `linear_scan` does, step by step."""
    states, state = torch.empty_like(inputs), initial
    for t in range(len(inputs)):
        state = torch.addcmul(inputs[t], decay[t], state, out=states[t])
    return states


def halve(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return what `linear_scan` does, by doubling the reach of each sum until it is T."""
    states = torch.cat([torch.addcmul(inputs[:1], decay[:1], initial), inputs[1:]])
    reach = 1
    while reach < len(states):
        states = torch.cat(
            [states[:reach], torch.addcmul(states[reach:], decay[reach:], states[:-reach])]
        )
        decay = torch.cat([decay[:reach], decay[reach:] * decay[:-reach]])
        reach *= 2
    return states


class _LinearScan(torch.autograd.Function):
    """The gradient of a scan is a scan backwards in time."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        scan = walk if inputs.device.type == "cpu" else halve
        states = scan(decay, inputs, initial)
        ctx.save_for_backward(decay, states, initial)
        ctx.scan = scan
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, states, initial = ctx.saved_tensors
        # What h_t contributes to later states comes through decay_{t+1}.
        later = torch.cat([decay[1:], torch.zeros_like(decay[:1])]).flip(0)
        total = ctx.scan(later, grads[0].flip(0), torch.zeros_like(initial)).flip(0)
        earlier = torch.cat([initial.unsqueeze(0), states[:-1]])
        return total * earlier, total, total[0] * decay[0]
