"""PerformanceEmpiric: as Performance, but its steps keep a core busy. See README.md."""

from __future__ import annotations

from typing import ClassVar

from puffer.core.buffers import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.ocean.sanity.performance import PerformanceGame


class CountingGame(PerformanceGame):
    """Counts instead of sleeping."""

    def work(self, amount: float) -> None:
        """Count to `amount`: nobody else can have the core."""
        count = 0
        while count < amount:
            count += 1


class PerformanceEmpiric(GymnasiumPufferEnv):
    """Count for a while in each step, and report how much time was lost beside it."""

    HELP: ClassVar[dict[str, str]] = {
        "count_mean": "how far a step counts",
        "count_std": "the deviation of it",
        "bandwidth": "numbers in an observation",
        "max_steps": "steps until an episode is truncated",
    }

    def __init__(
        self,
        count_mean: float = 10_000.0,
        count_std: float = 0.0,
        bandwidth: int = 1,
        max_steps: int = 100,
        *,
        render_mode: str | None = None,
        buf: Buffers | None = None,
    ) -> None:
        """Build one whose steps count to `count_mean`, give or take `count_std`."""
        game = CountingGame(count_mean, count_std, bandwidth, max_steps, render_mode)
        super().__init__(game, buf=buf)
