"""Bandit for Python; its rules are in bandit.hpp and README.md."""

from __future__ import annotations

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Bandit(OceanEnv):
    """Find out which of several one-armed bandits pays."""

    extension = "puffer.ocean._native"
    native_name = "bandit"

    def __init__(
        self,
        num_envs: int = 1,
        arms: int = 4,
        best: int = 2,
        noise: float = 1.0,
        max_steps: int = 16,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` rows of `arms` arms, of which `best` pays, give or take `noise`."""
        super().__init__(
            num_envs,
            {"arms": arms, "best": best, "noise": noise, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
