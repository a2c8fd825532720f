"""Import a third party's package, or say which extra brings it."""

from __future__ import annotations

import importlib
from types import ModuleType

from puffer.core.errors import MissingPackageError


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Return the imported `module`.

    Args:
        module: what to import.
        extra: the extra of puffer-envs that brings it.
        purpose: what it is needed for, to begin the error's sentence.

    Raises:
        MissingPackageError: it cannot be imported; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} needs the package {module}, which does not import ({error}): "
            f'pip install "puffer-envs[{extra}]"'
        ) from error
