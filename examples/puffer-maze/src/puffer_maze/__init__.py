"""A maze that is new in every episode; `puffer-train --env maze` finds it by its entry point."""

from puffer.core import Buffers
from puffer.ocean import native


class Maze(native.OceanEnv):
    """Find the way through a maze that is new in every episode."""

    extension = "puffer_maze._native"
    native_name = "maze"

    def __init__(
        self,
        num_envs: int = 1,
        rooms: int = 3,
        max_steps: int = 50,
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 1,
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` mazes of `rooms * rooms` rooms."""
        super().__init__(
            num_envs,
            {"rooms": rooms, "max_steps": max_steps},
            render_mode=render_mode,
            report_interval=report_interval,
            num_threads=num_threads,
            buf=buf,
        )


family = native.family({"maze": "puffer_maze:Maze"})
