"""Stochastic for Python; its rules are in stochastic.hpp and README.md."""

from __future__ import annotations

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Stochastic(OceanEnv):
    """Mix two actions in a given proportion, without any memory."""

    extension = "puffer.ocean._native"
    native_name = "stochastic"

    def __init__(
        self,
        num_envs: int = 1,
        p: float = 0.75,
        length: int = 100,
        max_steps: int = 0,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` episodes that want a share `p` of action 0 in `length` actions."""
        super().__init__(
            num_envs,
            {"p": p, "length": length, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
