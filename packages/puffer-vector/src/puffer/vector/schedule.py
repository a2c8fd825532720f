"""next_batch: which groups form the next batch. A pure function, without processes or clocks."""

from __future__ import annotations

from collections.abc import Sequence

# What `arrivals` says of a group that is not ready; see next_batch.
AT_WORK, HELD = 0, -1


def next_batch(
    arrivals: Sequence[int], groups_per_batch: int, *, aligned: bool, turn: int | None = None
) -> tuple[int, ...] | None:
    """Return the groups of the next batch in ascending order, or None if it is not complete.

    Nobody starves: of all batches that could be formed, the one that waits longest comes first.

    Args:
        arrivals: for each group AT_WORK, HELD, or the count (from 1 on) at which it became ready;
            lower ones wait longer.
        groups_per_batch: a batch has exactly that many.
        aligned: a batch must be one of the blocks of `groups_per_batch` neighbours into which all
            groups divide, so that its rows are one piece of memory; otherwise any groups form it.
        turn: the group whose turn it is. Batches then come round in the order of their groups,
            whoever is ready first; groups that are held miss their turn.
    """
    total = len(arrivals)
    if groups_per_batch == total:
        return None if min(arrivals) <= 0 else tuple(range(total))
    if aligned:
        return _next_block(arrivals, groups_per_batch, turn)
    if turn is None:
        ready = sorted((tick, group) for group, tick in enumerate(arrivals) if tick > 0)
        chosen = [group for _, group in ready[:groups_per_batch]]
    else:
        order = (*range(turn, total), *range(turn))
        next_ones = [g for g in order if arrivals[g] != HELD][:groups_per_batch]
        chosen = [group for group in next_ones if arrivals[group] > 0]
    return tuple(sorted(chosen)) if len(chosen) == groups_per_batch else None


def _next_block(arrivals: Sequence[int], size: int, turn: int | None) -> tuple[int, ...] | None:
    total = len(arrivals)
    blocks = [tuple(range(first, first + size)) for first in range(0, total, size)]
    if turn is None:
        complete = [
            (max(ticks), block)
            for block in blocks
            if min(ticks := [arrivals[group] for group in block]) > 0
        ]
        return min(complete)[1] if complete else None
    first = turn // size
    for block in (*blocks[first:], *blocks[:first]):
        if all(arrivals[group] != HELD for group in block):
            return block if all(arrivals[group] > 0 for group in block) else None
    return None
