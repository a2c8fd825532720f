"""Native environments, and the headers to write your own."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puffer.ocean.envs.breakout import Breakout as Breakout
    from puffer.ocean.envs.cartpole import Cartpole as Cartpole
    from puffer.ocean.envs.connect4 import Connect4 as Connect4
    from puffer.ocean.envs.pong import Pong as Pong
    from puffer.ocean.envs.squared import Squared as Squared

_ENVS = {
    "Breakout": "breakout",
    "Cartpole": "cartpole",
    "Connect4": "connect4",
    "Pong": "pong",
    "Squared": "squared",
}


def get_include() -> str:
    """Return the folder to hand to a C++ compiler with -I."""
    return str(Path(__file__).parent / "include")


def get_cmake_dir() -> str:
    """Return the folder of PufferOceanConfig.cmake, for -DPufferOcean_DIR."""
    return str(Path(__file__).parent / "cmake")


def __getattr__(name: str) -> Any:
    if name in _ENVS:
        return getattr(importlib.import_module(f"puffer.ocean.envs.{_ENVS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ENVS])
