"""Squared for Python; its rules are in squared.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Squared(OceanEnv):
    """Walk from the middle of a square grid to a random tile."""

    extension = "puffer.ocean._native"
    native_name = "squared"
    keys: ClassVar[Mapping[str, Any]] = {"space": 0, "down": 1, "up": 2, "left": 3, "right": 4}

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 11,
        max_steps: int = 0,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` grids with sides of `size` tiles; `max_steps=0` means `3 * size`."""
        super().__init__(
            num_envs,
            {"size": size, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            buf=buf,
        )
