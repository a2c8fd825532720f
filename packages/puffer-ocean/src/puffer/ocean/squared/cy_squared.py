"""The simulations of the tutorial's `Squared`, by the call that its sample makes."""

from __future__ import annotations

import numpy as np

from puffer.ocean.engine import Engine


class CySquared(Engine):
    """An `Engine` of the environment `squared` that takes its arguments as the sample gives them.

    Write `Engine("squared", ...)` in code of your own.
    """

    def __init__(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        terminals: np.ndarray,
        num_envs: int,
        size: int,
    ) -> None:
        super().__init__(
            "squared", observations, actions, rewards, terminals, num_envs=num_envs, size=size
        )
