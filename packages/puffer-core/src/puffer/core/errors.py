"""Every error that Puffer raises on purpose; each says what was given, expected, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 24  # names that a sentence can hold


class PufferError(Exception):
    """The root of all deliberate errors."""


class UsageError(PufferError, ValueError):
    """A call that cannot be served: wrong argument, wrong order, wrong combination."""


class SpaceError(UsageError):
    """A space that cannot be made flat, or a sample that does not belong to its space."""


class ActionError(UsageError):
    """An action outside the action space; no environment has been stepped."""


class ResetNeeded(UsageError):
    """`step`, `send` or `recv` before the call that must come first."""


class ClosedError(UsageError):
    """Any call after `close`."""


class UnknownEnvError(UsageError):
    """A name that no installed package provides."""


class MissingPackageError(PufferError, ImportError):
    """A known name whose package is not installed."""


class ConformanceError(PufferError, AssertionError):
    """An environment that breaks the contract of PufferEnv, found by `check_env`."""


class WorkerError(PufferError, RuntimeError):
    """A worker process raised, died or hung; the vector environment is closed."""


def near(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return "did you mean a or b?" with the names of `known` nearest to `name`, or the first."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"there is {', '.join(names[:_LISTED])}{more}" if names else "there is none"
