#!/usr/bin/env python3
"""The door to this workspace: `python3 tools/dev.py train|test|lint|build|bench`.

It is written so that Python 3.6 gets as far as the sentence that says what is needed; what the
commands do is in commands.py, how the workspace is set up in workspace.py.
"""

import shutil
import sys

OLDEST_MINOR = 11


def too_old(version: "tuple[int, ...]") -> "str | None":
    """Return what to do about an interpreter of this `version`, or None if it is new enough."""
    if tuple(version) >= (3, OLDEST_MINOR):
        return None
    names = [f"python3.{minor}" for minor in range(OLDEST_MINOR, OLDEST_MINOR + 9)]
    newer = [name for name in names if shutil.which(name)]
    remedy = (
        f"{newer[0]} is installed, so run `{newer[0]} tools/dev.py ...`"
        if newer
        else "install it and run this with it (Debian, Ubuntu: sudo apt install python3.11-full "
        "python3.11-dev; Fedora: sudo dnf install python3.11-devel; macOS: brew install "
        "python@3.11; others: https://www.python.org/downloads)"
    )
    given = ".".join(str(part) for part in version)
    return f"Python 3.{OLDEST_MINOR} or newer is needed, this is {given}: {remedy}"


if __name__ == "__main__":
    complaint = too_old(sys.version_info[:3])
    if complaint:
        sys.exit(complaint)
    from commands import main

    sys.exit(main(sys.argv[1:]))
