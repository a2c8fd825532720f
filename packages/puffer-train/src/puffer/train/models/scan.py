"""Linear recurrences h_t = decay_t h_{t-1} + input_t over time, forwards and backwards."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def linear_scan(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return h_0 to h_{T-1} `(T, *shape)` of h_t = decay_t h_{t-1} + inputs_t.

    On CUDA one kernel walks through time and keeps h in registers; elsewhere each step is one fused
    operation. The results agree but for rounding. Differentiable in all arguments.

    Args:
        decay: `(T, *shape)` float32.
        inputs: `(T, *shape)` float32.
        initial: `(*shape)` float32, h_{-1}.
    """
    states: Tensor = _LinearScan.apply(decay, inputs, initial)  # type: ignore[no-untyped-call]
    return states


def walk(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """Return what `linear_scan` does."""
    if inputs.is_cuda and (kernel := _kernel()) is not None:
        return kernel(decay, inputs, initial)  # type: ignore[no-any-return]
    states, state = torch.empty_like(inputs), initial
    for t in range(len(inputs)):
        state = torch.addcmul(inputs[t], decay[t], state, out=states[t])
    return states


def walk_back(decay: Tensor, inputs: Tensor) -> Tensor:
    """Return g `(T, *shape)` of g_t = inputs_t + decay_{t+1} g_{t+1}, with g_T = 0."""
    if inputs.is_cuda and (kernel := _kernel()) is not None:
        return kernel(decay, inputs, None)  # type: ignore[no-any-return]
    sums = torch.empty_like(inputs)
    sums[-1] = inputs[-1]
    for t in range(len(inputs) - 2, -1, -1):
        torch.addcmul(inputs[t], decay[t + 1], sums[t + 1], out=sums[t])
    return sums


class _LinearScan(torch.autograd.Function):
    """The gradient of a scan is a scan backwards in time."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
        states = walk(decay, inputs, initial)
        ctx.save_for_backward(decay, states, initial)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, states, initial = ctx.saved_tensors
        total = walk_back(decay, grads[0])
        slope = torch.empty_like(total)
        torch.mul(total[0], initial, out=slope[0])
        torch.mul(total[1:], states[:-1], out=slope[1:])
        return slope, total, total[0] * decay[0]


@functools.cache
def _kernel() -> Any:
    """Return the scan as one CUDA kernel; None where there is no Triton, which torch brings."""
    try:
        from puffer.train.models import scan_kernel
    except ImportError:
        return None
    return scan_kernel.scan
