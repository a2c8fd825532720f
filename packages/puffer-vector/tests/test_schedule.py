"""next_batch, without processes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puffer.vector.schedule import HELD, next_batch


@pytest.mark.parametrize(
    ("arrivals", "size", "aligned", "expected"),
    [
        # one worker
        ([0], 1, True, None),
        ([7], 1, True, (0,)),
        ([7], 1, False, (0,)),
        # all workers
        ([1, 2, 0], 3, True, None),
        ([3, 1, 2], 3, True, (0, 1, 2)),
        ([3, 1, 2], 3, False, (0, 1, 2)),
        # aligned blocks: the one that is complete for longest
        ([0, 1, 2, 0], 2, True, None),
        ([5, 1, 3, 4], 2, True, (2, 3)),
        ([2, 1, 3, 4], 2, True, (0, 1)),
        ([2, 1, 3], 1, True, (1,)),
        # whoever is ready first, in the order of the rows
        ([0, 4, 0, 2], 3, False, None),
        ([0, 4, 0, 2], 2, False, (1, 3)),
        ([1, 4, 3, 2], 3, False, (0, 2, 3)),
    ],
)
def test_examples(arrivals, size, aligned, expected):
    assert next_batch(arrivals, size, aligned=aligned) == expected


@pytest.mark.parametrize(
    ("arrivals", "size", "aligned", "turn", "expected"),
    [
        # in the order of their turns, whoever is ready first
        ([2, 1, 3], 1, True, 0, (0,)),
        ([2, 1, 3], 1, True, 2, (2,)),
        ([0, 1, 3], 1, True, 0, None),
        ([0, 0, 1, 2], 2, True, 0, None),
        ([0, 0, 1, 2], 2, True, 2, (2, 3)),
        ([4, 1, 2, 3], 2, False, 3, (0, 3)),
        ([4, 1, 2, 0], 2, False, 3, None),
        # those that are held miss their turn
        ([HELD, 1, 3], 1, True, 0, (1,)),
        ([HELD, HELD, 1, 2], 2, True, 0, (2, 3)),
        ([HELD, 1, HELD, 2], 2, False, 0, (1, 3)),
        ([HELD, 1, HELD, 2], 3, False, 0, None),
        ([HELD, HELD], 1, True, 0, None),
        # and are not ready either
        ([HELD, 5], 2, True, None, None),
        ([HELD, 5], 1, False, None, (1,)),
        ([HELD, 5, 4, 4], 2, True, None, (2, 3)),
    ],
)
def test_turns_and_holds(arrivals, size, aligned, turn, expected):
    assert next_batch(arrivals, size, aligned=aligned, turn=turn) == expected


@given(
    st.integers(1, 4), st.integers(1, 4), st.booleans(), st.lists(st.integers(0, 99), max_size=60)
)
def test_batches_are_whole_and_nobody_starves(blocks, size, aligned, speeds):
    """Workers become ready in any order; each is served before anyone else twice over."""
    workers = blocks * size
    rng = random.Random(0)
    arrivals, waited, tick = [0] * workers, [0] * workers, 0
    for speed in speeds:
        tick += 1
        idle = [w for w in range(workers) if not arrivals[w]]
        if idle:
            arrivals[idle[speed % len(idle)]] = tick
        chosen = next_batch(arrivals, size, aligned=aligned)
        if chosen is None:
            if aligned:
                assert not any(all(arrivals[b : b + size]) for b in range(0, workers, size))
            else:
                assert sum(map(bool, arrivals)) < size
            continue
        assert len(chosen) == size
        assert list(chosen) == sorted(chosen)
        assert all(arrivals[w] for w in chosen)
        if aligned:
            assert chosen == tuple(range(chosen[0], chosen[0] + size))
            assert chosen[0] % size == 0
        ready = [w for w in range(workers) if arrivals[w]]
        if not aligned:
            assert max(arrivals[w] for w in chosen) <= min(
                (arrivals[w] for w in ready if w not in chosen), default=tick
            )
        for w in ready:
            waited[w] = 0 if w in chosen else waited[w] + 1
        for w in chosen:
            arrivals[w] = 0
        if rng.random() < 0.1:
            for w in range(workers):
                arrivals[w] = arrivals[w] or tick
    assert max(waited) <= 2 * workers
