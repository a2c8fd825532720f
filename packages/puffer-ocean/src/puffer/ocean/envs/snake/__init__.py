"""Snake for Python; its rules are in snake.hpp and README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from puffer.core.buffers import Buffers
from puffer.ocean.native import OceanEnv


class Snake(OceanEnv):
    """Eat, grow and outlive the other snakes of a large arena."""

    extension = "puffer.ocean._native"
    native_name = "snake"
    keys: ClassVar[Mapping[str, Any]] = {"up": 0, "down": 1, "left": 2, "right": 3}

    def __init__(
        self,
        num_envs: int = 1,
        width: int = 640,
        height: int = 360,
        num_snakes: int = 256,
        food: int = 4096,
        max_length: int = 256,
        vision: int = 5,
        leave_corpse: bool = True,
        reward_food: float = 0.1,
        reward_corpse: float = 0.1,
        reward_death: float = -1.0,
        max_steps: int = 1000,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 0,
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` arenas, each with the same number of snakes, one agent a snake."""
        super().__init__(
            num_envs,
            {
                "width": width,
                "height": height,
                "num_snakes": num_snakes,
                "food": food,
                "max_length": max_length,
                "vision": vision,
                "leave_corpse": leave_corpse,
                "reward_food": reward_food,
                "reward_corpse": reward_corpse,
                "reward_death": reward_death,
                "max_steps": max_steps,
            },
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            buf=buf,
        )
