"""Importing: what it must not bring along, and the foreign package of our name."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_core_imports_neither_torch_nor_pettingzoo() -> None:
    code = (
        "import sys, puffer.core, puffer.core.emulation, puffer.core.registry, "
        "puffer.core.layout, puffer.core.testing\n"
        "print([name for name in ('torch', 'pettingzoo') if name in sys.modules])"
    )
    assert run(code).stdout == "[]\n"


def test_importing_has_no_side_effect() -> None:
    code = (
        "import signal, threading, warnings, gymnasium\n"
        "before = signal.getsignal(signal.SIGINT), list(warnings.filters)\n"
        "import puffer.core.emulation, puffer.core.testing\n"
        "assert (signal.getsignal(signal.SIGINT), list(warnings.filters)) == before\n"
        "assert threading.active_count() == 1\n"
    )
    result = run(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_foreign_package_named_puffer_is_named_with_its_remedy() -> None:
    code = (
        "import sys, types, puffer\n"
        "foreign = types.ModuleType('puffer')\n"
        "foreign.__file__, foreign.__path__ = '/elsewhere/puffer/__init__.py', puffer.__path__\n"
        "sys.modules['puffer'] = foreign\n"
        "import puffer.core\n"
    )
    result = run(code)
    assert result.returncode == 1
    assert (
        "an unrelated package named 'puffer' is installed at /elsewhere/puffer/__init__.py and "
        "hides this one: run `pip uninstall puffer`"
    ) in result.stderr


def test_an_unknown_attribute_of_emulation_is_an_attribute_error() -> None:
    result = run("import puffer.core.emulation as e; e.Nothing")
    assert "module 'puffer.core.emulation' has no attribute 'Nothing'" in result.stderr
