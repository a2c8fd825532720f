"""Memory for Python; its rules are in memory.hpp and README.md."""

from __future__ import annotations

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Memory(OceanEnv):
    """Watch a sequence of bits, wait, and repeat it from memory."""

    extension = "puffer.ocean._native"
    native_name = "memory"

    def __init__(
        self,
        num_envs: int = 1,
        length: int = 2,
        delay: int = 1,
        max_steps: int = 0,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` sequences; `max_steps=0` means `2 * length + delay`."""
        super().__init__(
            num_envs,
            {"length": length, "delay": delay, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
