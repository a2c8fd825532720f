"""Connect Four for Python; its rules are in connect4.hpp and README.md."""

from __future__ import annotations

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Connect4(OceanEnv):
    """Get four stones in a row before an opponent that looks ahead does."""

    extension = "puffer.ocean._native"
    native_name = "connect4"

    def __init__(
        self,
        num_envs: int = 1,
        look_ahead: int = 3,
        max_steps: int = 42,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` games whose opponent looks `look_ahead` moves ahead."""
        super().__init__(
            num_envs,
            {"look_ahead": look_ahead, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            buf=buf,
        )
