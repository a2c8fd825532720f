"""Pong for Python; its rules are in pong.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Pong(OceanEnv):
    """Return the ball past a scripted opponent, to 21 points."""

    extension = "puffer.ocean._native"
    native_name = "pong"
    keys: ClassVar[Mapping[str, Any]] = {"up": 1, "down": 2, "": 0}

    def __init__(
        self,
        num_envs: int = 1,
        frame_skip: int = 1,
        max_score: int = 21,
        opponent_speed: int = 8,
        reward_hit: float = 0.1,
        max_steps: int = 10_000,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` games to `max_score`, in which a step is `frame_skip` ticks."""
        super().__init__(
            num_envs,
            {
                "frame_skip": frame_skip,
                "max_score": max_score,
                "opponent_speed": opponent_speed,
                "reward_hit": reward_hit,
                "max_steps": max_steps,
            },
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
