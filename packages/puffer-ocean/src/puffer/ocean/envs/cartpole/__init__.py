"""CartPole for Python; its rules are in cartpole.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Cartpole(OceanEnv):
    """Balance a pole on a cart, by the rules of Gymnasium's CartPole-v1."""

    extension = "puffer.ocean._native"
    native_name = "cartpole"
    keys: ClassVar[Mapping[str, Any]] = {"left": 0, "right": 1}

    def __init__(
        self,
        num_envs: int = 1,
        max_steps: int = 200,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        observation_dtype: str = "float32",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` carts whose episodes are truncated after `max_steps` steps."""
        super().__init__(
            num_envs,
            {"max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            observation_dtype=observation_dtype,
            buf=buf,
        )
