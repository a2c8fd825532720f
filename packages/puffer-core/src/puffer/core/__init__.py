"""Flat, regular reinforcement-learning environments: the layer that the rest trusts."""

import sys as _sys

_foreign = getattr(_sys.modules.get("puffer"), "__file__", None)
if _foreign is not None:
    raise ImportError(
        f"an unrelated package named 'puffer' is installed at {_foreign} and hides this one: "
        "run `pip uninstall puffer`"
    )

from puffer.core.buffers import Buffers as Buffers  # noqa: E402
from puffer.core.env import PufferEnv as PufferEnv  # noqa: E402
