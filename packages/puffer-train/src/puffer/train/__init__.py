"""Train, evaluate and tune agents: `Trainer(config, vecenv, policy, logger)`, or `puffer-train`."""

import importlib as _importlib
from typing import TYPE_CHECKING

from puffer.train.config import Config as Config
from puffer.train.config import TrainConfig as TrainConfig

if TYPE_CHECKING:
    from puffer.train.evaluation import evaluate as evaluate
    from puffer.train.trainer import Trainer as Trainer

# What needs torch, which takes seconds to import, loads when it is asked for.
_LAZY = {"Trainer": "puffer.train.trainer", "evaluate": "puffer.train.evaluation"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(_importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
