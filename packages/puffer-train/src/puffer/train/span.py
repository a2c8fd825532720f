"""Names for stretches of compiled code in a profile, which cost nothing while nobody looks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.autograd import profiler

_NOTHING: AbstractContextManager[None] = nullcontext()


def span(name: str) -> AbstractContextManager[object]:
    """Return a block that torch's profiler shows as `name`.

    `record_function` takes 5 to 30 us, whether a profiler runs or not; this takes half of one, so
    that little of what a profile shows as Python's is the profile's own.
    """
    if not profiler._is_profiler_enabled:
        return _NOTHING
    recorded: AbstractContextManager[object] = torch._C._profiler._RecordFunctionFast(name)
    return recorded
