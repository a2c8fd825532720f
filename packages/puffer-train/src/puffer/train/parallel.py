"""Threads that work on parts of a minibatch at the same time, each with the whole network.

Cutting a minibatch costs one meeting of the threads a gradient step; cutting every operation, as
torch's own threads do, costs one an operation, which small networks never earn back. How many
parts there are depends on the work alone and sums are taken in order, so that a gradient does not
depend on the number of cores.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import puffer.vector
from puffer.core.spaces import Box
from puffer.train import _native
from puffer.train.storage import torch_dtype

PART_FLOPS = 1.2e8  # forward: a millisecond or two of one core, ten with the gradients
MOST_PARTS = 8
Item = TypeVar("Item")
Result = TypeVar("Result")


_alone: ContextVar[bool] = ContextVar("alone", default=False)


def native_threads() -> _native.Threads:
    """Return the threads of compiled code, which there are as many of as usable cores.

    They do one job at a time.
    """
    return _threads(1 if _alone.get() else puffer.vector.usable_cores())


@functools.cache
def _threads(size: int) -> _native.Threads:
    return _native.Threads(size)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Give what is made of compiled code within no threads but the one that calls it."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


class Crew:
    """Threads for the parts of a minibatch.

    Args:
        parts: into how many a minibatch is cut.
        threads: how many work on them; one is the caller alone.
    """

    def __init__(self, parts: int = 1, threads: int = 1) -> None:
        self.parts = parts
        threads = min(threads, parts)
        # torch's own threads would come on top of these.
        self._pool = (
            ThreadPoolExecutor(threads, "puffer-train", torch.set_num_threads, (1,))
            if threads > 1
            else None
        )

    @classmethod
    def of(cls, policy: nn.Module, space: Box, minibatch_size: int, device: torch.device) -> Crew:
        """Return threads as `policy`, which is on `device`, deserves with observations of `space`.

        One part is for small work, for devices that are parallel themselves, and for networks in
        which the order of rows matters (dropout, buffers that they change) or that are compiled.
        """
        if device.type != "cpu" or not _divisible(policy):
            return cls()
        twin = replicate(policy)
        for module in twin.modules():
            kept = module._buffers.items()
            module._buffers = {name: None if b is None else b.clone() for name, b in kept}
        before = [(buffer, buffer._version) for buffer in twin.buffers()]
        work = count_flops(twin, space) * minibatch_size
        if any(
            old is not new or new._version != version
            for (old, version), new in zip(before, twin.buffers(), strict=True)
        ):
            return cls()  # each replica would change its own, or all the same one at once
        parts = int(min(max(work / PART_FLOPS, 1), MOST_PARTS))
        return cls(parts, puffer.vector.usable_cores())

    def map(self, do: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return `do` of each of the items, in their order."""
        if self._pool is None or len(items) == 1:
            return [do(item) for item in items]
        return list(self._pool.map(do, items))


def count_flops(policy: nn.Module, space: Box) -> int:
    """Return the operations of one row of observations of `space` on its way through `policy`."""
    row = torch.zeros((1, *space.shape), dtype=torch_dtype(space.dtype))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        policy(row)
    flops: int = counter.get_total_flops()
    return flops


def replicate(module: nn.Module) -> nn.Module:
    """Return a module with the same parameters and buffers that may run in another thread.

    What its `forward` assigns to itself is its own.
    """
    twins: dict[nn.Module, nn.Module] = {}

    def twin_of(module: nn.Module) -> nn.Module:
        if module not in twins:
            twins[module] = twin = module.__new__(type(module))
            twin.__dict__ = dict(module.__dict__)
            for members in ("_parameters", "_buffers"):
                twin.__dict__[members] = dict(module.__dict__[members])
            children = module.__dict__["_modules"].items()
            twin.__dict__["_modules"] = {
                name: None if child is None else twin_of(child) for name, child in children
            }
        return twins[module]

    return twin_of(module)


def _divisible(policy: nn.Module) -> bool:
    dropout, statistics = nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase
    ordered = (dropout, statistics, torch.jit.ScriptModule)
    return not any(
        isinstance(m, ordered)
        or m._compiled_call_impl is not None
        or type(m).__name__ == "OptimizedModule"  # by name: importing the compiler takes seconds
        for m in policy.modules()
    )
