"""Run as a script: saves again and again in children that are killed, and loads what is left.

Without torch, so that many rounds take seconds.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from puffer.train.runs import MODEL, TENSORS, Checkpoints, read_checkpoint


def save_for_ever(checkpoints: Checkpoints, first: int) -> None:
    for steps in range(first, first + 1_000_000):
        files = {MODEL: os.urandom(200_000), TENSORS: os.urandom(400_000)}
        checkpoints.write(steps, files, {"tree": None}, score=steps % 7)


def main(folder: str, rounds: int) -> None:
    checkpoints = Checkpoints(Path(folder), keep=2)
    random.seed(0)
    began = time.perf_counter()
    checkpoints.write(0, {MODEL: os.urandom(200_000), TENSORS: os.urandom(400_000)}, {}, score=0.0)
    duration = time.perf_counter() - began
    steps = moved = before = 0
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            save_for_ever(checkpoints, steps + 1)
        time.sleep(random.uniform(0, 3 * duration))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        latest = checkpoints.pointed("latest")
        assert latest is not None
        moved += int(latest.name) > before
        assert int(latest.name) >= before
        before = int(latest.name)
        for path in {latest, checkpoints.pointed("best"), *checkpoints.all()}:
            assert read_checkpoint(path)[0]["steps"] == int(path.name)
        steps = max(int(path.name) for path in checkpoints.all())
    assert "torch" not in sys.modules
    sys.stdout.write(f"{rounds} kills, {moved} in which latest had moved, {steps} steps\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
