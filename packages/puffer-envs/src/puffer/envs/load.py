"""Import a third party's package in silence, or say how to install it."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

from puffer.core.errors import MissingPackageError


def require(
    module: str,
    extra: str,
    purpose: str,
    *,
    below: tuple[int, int] | None = None,
    remedy: str | None = None,
) -> ModuleType:
    """Return the imported `module`, whatever it prints or warns of while it is imported.

    Args:
        module: what to import.
        extra: the extra of puffer-envs that brings it.
        purpose: what it is needed for, to begin the error's sentence.
        below: the first Python for which the extra brings nothing; None: there is none.
        remedy: the command that installs it; None: pip, with the extra.

    Raises:
        MissingPackageError: it cannot be imported; says what to install.
    """
    if module in sys.modules and sys.modules[module] is not None:
        return sys.modules[module]
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        remedy = remedy or f'pip install "puffer-envs[{extra}]"'
        if below is not None and sys.version_info >= below:
            remedy = f"it is made for Python 3.{below[1] - 1} and older, use one of these"
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs the package {package}, which does not import ({error}): {remedy}"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what Python code prints and warns of meanwhile."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    drain = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(drain),
        contextlib.redirect_stderr(drain),
    ):
        warnings.simplefilter("ignore")
        yield
