"""Importing an environment brings along nothing that only names, pictures or windows need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("PIL", "importlib.metadata", "inspect", "pygame", "tomllib", "torch")
OURS = ("puffer.core.registry", "puffer.ocean.render", "puffer.ocean.window", "puffer.ocean.kit")


def test_making_an_environment_imports_little() -> None:
    code = (
        "import sys, numpy, gymnasium\n"
        "before = set(sys.modules)\n"
        "from puffer.ocean.engine import Engine\n"
        "from puffer.ocean.native import OceanEnv\n"
        f"print([name for name in {HEAVY + OURS} if name in sys.modules and name not in before])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
