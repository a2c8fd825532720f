"""next_batch: which workers form the next batch. A pure function, without processes or clocks."""

from __future__ import annotations

from collections.abc import Sequence


def next_batch(
    arrivals: Sequence[int], workers_per_batch: int, *, aligned: bool
) -> tuple[int, ...] | None:
    """Return the workers of the next batch in ascending order, or None if too few are ready.

    Nobody starves: of all batches that could be formed, the one that waits longest comes first.

    Args:
        arrivals: for each worker 0 if it is not ready, else the count at which it became ready;
            lower ones wait longer.
        workers_per_batch: a batch has exactly that many.
        aligned: a batch must be one of the blocks of `workers_per_batch` neighbours into which all
            workers divide, so that its rows are one piece of memory; otherwise the first ready
            ones form it.
    """
    if workers_per_batch == len(arrivals):
        return None if 0 in arrivals else tuple(range(workers_per_batch))
    if not aligned:
        ready = sorted((tick, worker) for worker, tick in enumerate(arrivals) if tick)
        if len(ready) < workers_per_batch:
            return None
        return tuple(sorted(worker for _, worker in ready[:workers_per_batch]))
    complete = []
    for first in range(0, len(arrivals), workers_per_batch):
        block = arrivals[first : first + workers_per_batch]
        if min(block) > 0:
            complete.append((max(block), first))
    if not complete:
        return None
    first = min(complete)[1]
    return tuple(range(first, first + workers_per_batch))
