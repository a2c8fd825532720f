"""Native environments, and the headers to write your own."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puffer.ocean.engine import Engine as Engine
    from puffer.ocean.envs.bandit import Bandit as Bandit
    from puffer.ocean.envs.breakout import Breakout as Breakout
    from puffer.ocean.envs.cartpole import Cartpole as Cartpole
    from puffer.ocean.envs.connect4 import Connect4 as Connect4
    from puffer.ocean.envs.continuous import Continuous as Continuous
    from puffer.ocean.envs.memory import Memory as Memory
    from puffer.ocean.envs.password import Password as Password
    from puffer.ocean.envs.pong import Pong as Pong
    from puffer.ocean.envs.snake import Snake as Snake
    from puffer.ocean.envs.squared import Squared as Squared
    from puffer.ocean.envs.squared_targets import SquaredTargets as SquaredTargets
    from puffer.ocean.envs.stochastic import Stochastic as Stochastic
    from puffer.ocean.sanity.multiagent import Multiagent as Multiagent
    from puffer.ocean.sanity.performance import Performance as Performance
    from puffer.ocean.sanity.performance_empiric import PerformanceEmpiric as PerformanceEmpiric
    from puffer.ocean.sanity.spaces import Spaces as Spaces

# Public name -> the module that has it, imported when the name is used.
_LAZY = {
    "Bandit": "envs.bandit",
    "Breakout": "envs.breakout",
    "Cartpole": "envs.cartpole",
    "Connect4": "envs.connect4",
    "Continuous": "envs.continuous",
    "Engine": "engine",
    "Memory": "envs.memory",
    "Multiagent": "sanity.multiagent",
    "Password": "envs.password",
    "Performance": "sanity.performance",
    "PerformanceEmpiric": "sanity.performance_empiric",
    "Pong": "envs.pong",
    "Snake": "envs.snake",
    "Spaces": "sanity.spaces",
    "Squared": "envs.squared",
    "SquaredTargets": "envs.squared_targets",
    "Stochastic": "envs.stochastic",
}


def get_include() -> str:
    """Return the folder to hand to a C++ compiler with -I."""
    return os.path.join(os.path.dirname(__file__), "include")


def get_cmake_dir() -> str:
    """Return the folder of PufferOceanConfig.cmake, for -DPufferOcean_DIR."""
    return os.path.join(os.path.dirname(__file__), "cmake")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"puffer.ocean.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
