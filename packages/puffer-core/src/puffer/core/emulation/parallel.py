"""The base class of our PettingZoo environments: PettingZoo's own where it is installed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    ParallelEnv = object
else:
    try:
        from pettingzoo import ParallelEnv
    except ImportError:
        ParallelEnv = object

__all__ = ["ParallelEnv"]
