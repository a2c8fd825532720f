"""Continuous for Python; its rules are in continuous.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Continuous(OceanEnv):
    """Push a puck to a target with two continuous forces."""

    extension = "puffer.ocean._native"
    native_name = "continuous"
    keys: ClassVar[Mapping[str, Any]] = {
        "left": (-1, 0),
        "right": (1, 0),
        "up": (0, -1),
        "down": (0, 1),
        "": (0, 0),
    }

    def __init__(
        self,
        num_envs: int = 1,
        radius: float = 0.15,
        max_steps: int = 100,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` tables; `radius` is the target's, in half sides."""
        super().__init__(
            num_envs,
            {"radius": radius, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
