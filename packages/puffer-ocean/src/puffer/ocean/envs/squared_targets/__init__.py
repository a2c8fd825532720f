"""SquaredTargets for Python; its rules are in squared_targets.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class SquaredTargets(OceanEnv):
    """Visit all targets on the edge of a grid, moving in eight directions."""

    extension = "puffer.ocean._native"
    native_name = "squared_targets"
    keys: ClassVar[Mapping[str, Any]] = dict(zip("qwedcxza", range(8), strict=True))

    def __init__(
        self,
        num_envs: int = 1,
        distance: int = 3,
        targets: int = 4,
        max_steps: int = 0,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` grids; `max_steps=0` means `(targets + 1) * distance`."""
        super().__init__(
            num_envs,
            {"distance": distance, "targets": targets, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            buf=buf,
        )
