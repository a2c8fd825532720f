"""Weights & Biases: `--track` sends the numbers of a run there, or keeps them for `wandb sync`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from puffer.core.errors import MissingPackageError
from puffer.train.log import flatten


def import_wandb() -> Any:
    """Return the module.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise MissingPackageError(
            '--track needs wandb: pip install "puffer-train[wandb]"'
        ) from error


class WandbLogger:
    """Logs to Weights & Biases; offline where no account is configured.

    Args:
        run_dir: names the run, and receives its files.
        settings: the run's settings, as tables.
        project: the project at Weights & Biases.
        group: of runs that belong together, or "".
        inform: called with a sentence where the run stays offline.
    """

    def __init__(
        self,
        run_dir: Path,
        settings: Mapping[str, Any],
        project: str,
        group: str,
        inform: Callable[[str], None],
    ) -> None:
        wandb = import_wandb()
        mode = os.environ.get("WANDB_MODE")
        if mode is None and not wandb.login(prompt=False, verify=False):
            mode = "offline"
            inform("no account of Weights & Biases is configured: `wandb sync` can send this later")
        self._run = wandb.init(
            project=project,
            group=group or None,
            id=run_dir.name,
            name=run_dir.name,
            resume="allow",
            dir=str(run_dir),
            config=dict(settings),
            mode=mode,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Send every finite number under its name, such as `losses/entropy`."""
        self._run.log(flatten(metrics), step=step)

    def close(self) -> None:
        """Send what is pending."""
        self._run.finish()
