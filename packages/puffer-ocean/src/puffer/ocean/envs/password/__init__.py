"""Password for Python; its rules are in password.hpp and README.md."""

from __future__ import annotations

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Password(OceanEnv):
    """Guess a fixed password of bits, for one reward at its end."""

    extension = "puffer.ocean._native"
    native_name = "password"

    def __init__(
        self,
        num_envs: int = 1,
        password: str = "10110",
        max_steps: int = 0,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` locks; `max_steps=0` means the password's length."""
        super().__init__(
            num_envs,
            {"password": password, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
