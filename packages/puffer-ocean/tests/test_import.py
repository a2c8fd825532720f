"""Importing an environment brings along nothing that only names, pictures or windows need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import puffer.ocean
from puffer.ocean import _native

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


def test_the_stub_names_what_is_compiled() -> None:
    stub = ast.parse(Path(puffer.ocean.__file__).with_name("_native.pyi").read_text("utf-8"))
    (engine,) = (node for node in stub.body if isinstance(node, ast.ClassDef))
    named = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert named == public(_native) - {"Engine"}
    members = {node.name for node in engine.body if isinstance(node, ast.FunctionDef)}
    values = {node.target.id for node in engine.body if isinstance(node, ast.AnnAssign)}
    assert (members - {"__init__"}) | values == public(_native.Engine)


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}
