"""Breakout for Python; its rules are in breakout.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Breakout(OceanEnv):
    """Knock down a wall of bricks, twice, with a ball and a paddle."""

    extension = "puffer.ocean._native"
    native_name = "breakout"
    keys: ClassVar[Mapping[str, Any]] = {"left": 1, "right": 2, "": 0}

    def __init__(
        self,
        num_envs: int = 1,
        frame_skip: int = 4,
        max_steps: int = 10_000,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` games in which a step is `frame_skip` ticks of 1/60 s."""
        super().__init__(
            num_envs,
            {"frame_skip": frame_skip, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
