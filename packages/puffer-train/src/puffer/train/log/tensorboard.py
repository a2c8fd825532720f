"""TensorBoard: the numbers of a run as event files, written by tensorboardX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from puffer.train.log import flatten


class TensorBoardLogger:
    """Writes event files into a folder.

    Args:
        folder: made if absent.
        first_step: a resumed run's; TensorBoard then hides what an earlier start wrote after it.
    """

    def __init__(self, folder: str | Path, first_step: int = 0) -> None:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        purge = first_step + 1 if first_step else None
        self._writer = SummaryWriter(str(folder), purge_step=purge, write_to_disk=True)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Write every finite number under its name, such as `losses/entropy`."""
        for name, value in flatten(metrics).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()
