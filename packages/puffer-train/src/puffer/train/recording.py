"""Recording: work on fixed tensors that CUDA replays as a graph, and memory that it reads fast."""

from __future__ import annotations

import contextlib
import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch

Result = TypeVar("Result")
PINNED_BYTES = 2**17  # from here on arrays have pages of their own


class Recording(Generic[Result]):
    """A function whose CUDA kernels are recorded once and then launched together.

    Asking for a kernel takes Python and the driver longer than a GPU needs for small work. The
    function may only read and write tensors that stay where they are, must not look at what they
    hold, and returns the same tensors each time. Elsewhere than on CUDA, and in its first calls, it
    is called as it is; one that cannot be recorded stays so, with a warning.

    Args:
        function: the work.
        generator: that it draws from, on the device where the work is done.
        records: False never records.

    Attributes:
        enabled: False makes every call an ordinary one, to compare with.
    """

    enabled: ClassVar[bool] = True

    def __init__(
        self,
        function: Callable[[], Result],
        generator: torch.Generator,
        *,
        records: bool = True,
    ) -> None:
        self._function, self._generator = function, generator
        self._records = records and self.enabled and generator.device.type == "cuda"
        self._calls = 0
        self._graph: Any = None
        self._result: Any = None

    def __call__(self) -> Result:
        """Do the work."""
        if self._graph is not None:
            self._graph.replay()
            return self._result  # type: ignore[no-any-return]
        self._calls += 1
        if not self._records or self._calls == 1:  # libraries choose kernels, optimizers make state
            return self._function()
        return self._try() if self._calls == 2 else self._record()

    def _try(self) -> Result:
        """Do the work and find out whether it waits for the device: a failed recording does harm.

        Work that does is stopped where it waits, before it has changed anything: the policy, which
        it must be, comes first in all that is recorded.
        """
        before = torch.cuda.get_sync_debug_mode()
        try:
            _report_waits("error")
            return self._function()
        except RuntimeError as error:
            self._records = False
            reason = str(error).partition("\n")[0]
            warnings.warn(
                f"this policy cannot be recorded as a CUDA graph and will be slower ({reason}): "
                "its code looks at what tensors hold",
                stacklevel=3,
            )
        finally:
            _report_waits(before)
        return self._function()

    def _record(self) -> Result:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        gc.collect()  # an older graph that is collected meanwhile would spoil this one
        collects = gc.isenabled()
        gc.disable()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._result = self._function()
        finally:
            if collects:
                gc.enable()
        self._graph = graph
        return self()


class Feed:
    """A tensor that shows arrays of the host, which arrive one after the other.

    On a CPU it is the last array itself, elsewhere a copy of it that stays in its place.

    Args:
        like: an array of their shape and dtype.
        device: of the tensor.
    """

    def __init__(self, like: np.ndarray, device: torch.device) -> None:
        self._copies = device.type != "cpu"
        self.tensor = torch.from_numpy(like)
        if self._copies:
            self.tensor = torch.zeros_like(self.tensor, device=device)
        if device.type == "cuda":
            pin(like)

    def __call__(self, array: np.ndarray) -> None:
        """Show `array`, which must not change before the device's work is waited for."""
        source = torch.from_numpy(array)
        if self._copies:
            self.tensor.copy_(source, non_blocking=True)
        else:
            self.tensor = source


def pin(array: np.ndarray) -> None:
    """Let CUDA read an array's memory where it lies, for as long as that is allocated.

    Memory that is not numpy's own, such as that shared with processes, may go away unnoticed, and
    small arrays share their pages with others: both are left alone, and CUDA reads them all the
    same, by way of memory of its own.
    """
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if owner.nbytes < PINNED_BYTES or not owner.flags.owndata:
        return
    if torch.from_numpy(owner).is_pinned():
        return
    cuda = _runtime()
    address = owner.ctypes.data
    if int(cuda.cudaHostRegister(address, owner.nbytes, 0)) == 0:
        weakref.finalize(owner, _unpin, address)


def _report_waits(how: int | str) -> None:
    """Say what happens when code waits for the device."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype", UserWarning)
        torch.cuda.set_sync_debug_mode(how)


def _unpin(address: int) -> None:
    with contextlib.suppress(RuntimeError):  # CUDA may have ended before
        cuda = _runtime()
        cuda.cudaHostUnregister(address)


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
