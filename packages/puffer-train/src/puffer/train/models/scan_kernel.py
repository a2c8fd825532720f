"""The kernel of `linear_scan` on CUDA: each thread walks through time for one column.

Imported where there is a GPU only, for it needs Triton.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 128  # of one program


@triton.jit(do_not_specialize=["steps", "columns"])  # type: ignore[untyped-decorator]
def _scan(  # type: ignore[no-untyped-def]
    decay, inputs, initial, states, steps, columns, back: tl.constexpr, block: tl.constexpr
):
    """Write `states`: forwards from `initial`, or backwards from the last of `inputs`."""
    column = tl.program_id(0) * block + tl.arange(0, block)
    inside = column < columns
    place = column.to(tl.int64)
    if back:
        place += (steps - 1).to(tl.int64) * columns
        state = tl.load(inputs + place, mask=inside)
        tl.store(states + place, state, mask=inside)
        for _ in range(1, steps):
            factor = tl.load(decay + place, mask=inside)
            place -= columns
            state = factor * state + tl.load(inputs + place, mask=inside)
            tl.store(states + place, state, mask=inside)
    else:
        state = tl.load(initial + column, mask=inside)
        for _ in range(steps):
            factor = tl.load(decay + place, mask=inside)
            state = factor * state + tl.load(inputs + place, mask=inside)
            tl.store(states + place, state, mask=inside)
            place += columns


def scan(decay: Tensor, inputs: Tensor, initial: Tensor | None) -> Tensor:
    """Return what `walk` does, or without `initial` what `walk_back` does."""
    decay, inputs = decay.contiguous(), inputs.contiguous()
    first = inputs if initial is None else initial.contiguous()
    states, columns = torch.empty_like(inputs), inputs[0].numel()
    _scan[(triton.cdiv(columns, COLUMNS),)](
        decay, inputs, first, states, len(inputs), columns, back=initial is None, block=COLUMNS
    )
    return states
