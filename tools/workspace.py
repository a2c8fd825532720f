"""Set up the workspace in `.venv/`: build tools, the five packages, the tools that check them.

`ensure` is cheap when nothing changed: a stamp in `.venv/` says what the installation was made
from. A set-up that was killed is taken up where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOG = VENV / "set-up.log"
STAMP = VENV / "set-up.json"

# Package -> the extras that its tests use.
PACKAGES = {
    "core": "pettingzoo",
    "vector": "sb3",
    "ocean": "render",
    "envs": "classic-control",
    "train": "video",
}
NATIVE = ("ocean", "train")  # compiled
PIP = ("-m", "pip", "--no-input", "--disable-pip-version-check")
# Without --no-compile half of the time would go into byte code of torch that nobody imports.
INSTALL = (*PIP, "install", "--no-compile", "--no-warn-script-location", "--progress-bar", "off")

# What a failed step says -> what to do about it; the last one fits all.
REMEDIES = (
    (
        ("No space left",),
        "the disk is full: make room (.venv takes 1.1 GB, with GPU libraries several more)",
    ),
    (
        ("NewConnectionError", "ConnectTimeout", "ReadTimeout", "Temporary failure in name"),
        "the package index could not be reached: check the connection, then run this again",
    ),
    (
        ("No matching distribution", "ResolutionImpossible"),
        "no fitting version was found: is this machine offline, or its Python or system unusual?",
    ),
    (("CMake Error", "ninja: build stopped"), "a package does not compile: see the log"),
    (("",), "run this again; if it fails in the same way, delete .venv first"),
)

Stamp = dict[str, str]
Command = list[str | Path]
Step = tuple[str, Command]


class SetUpError(Exception):
    """The workspace cannot be set up; the message says why and what to do."""


def ensure() -> None:
    """Make `.venv/` ready for every command; returns at once if nothing changed.

    Raises:
        SetUpError: something is missing on this machine, or a step failed.
    """
    if read_stamp() == wanted_stamp():
        return
    with _lock() as lock:
        have, wanted = read_stamp(), wanted_stamp()
        if have == wanted:  # somebody else did it while this process waited
            return
        if missing := machine.missing():
            raise SetUpError("\n".join(missing))
        changed = {key for key in wanted if have.get(key) != wanted[key]}
        stale = [name for name in NATIVE if f"native {name}" in changed]
        native_only = len(stale) == len(changed)
        steps = _native_steps(stale) if native_only else _all_steps(have)
        if VENV.exists():
            _write_stamp({**have, **dict.fromkeys(changed, "")} if native_only else {})
        started = time.monotonic()
        for number, (label, command) in enumerate(steps, start=1):
            run_step(f"[{number}/{len(steps)}] {label}", command, lock)
        _write_stamp(wanted_stamp())
        say(f"The workspace is ready after {time.monotonic() - started:.0f} s.")


def say(line: str, end: str = "\n") -> None:
    """Print progress on standard error: standard output belongs to the command."""
    print(line, end=end, file=sys.stderr, flush=True)


# --- the stamp -----------------------------------------------------------------------------------


def wanted_stamp() -> Stamp:
    """Return what an installation made now would be made from."""
    packages = ROOT / "packages"
    return {
        "root": str(ROOT),  # editable installations and scripts hold absolute paths
        "python": ".".join(map(str, _venv_version())),
        "packages": digest([ROOT / "pyproject.toml", ROOT / "constraints.txt", Path(__file__)])
        + digest(packages.glob("*/pyproject.toml")),
        **{f"native {name}": digest(native_sources(name)) for name in NATIVE},
    }


def native_sources(name: str) -> Iterator[Path]:
    """Yield the files from which a native package is compiled."""
    package = ROOT / "packages" / f"puffer-{name}"
    yield package / "CMakeLists.txt"
    for path in (*(package / "src").rglob("*"), *(package / "cpp").rglob("*")):
        if path.suffix in (".cpp", ".hpp", ".cmake") or path.name == "CMakeLists.txt":
            yield path


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the names and contents of those of `paths` that exist."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.name} {content}\n".encode())
    return whole.hexdigest()[:16]


def read_stamp() -> Stamp:
    """Return the stamp of the last set-up that ended well; empty if there is none."""
    try:
        stamp = json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(stamp: Stamp) -> None:
    half = STAMP.with_suffix(".new")
    half.write_text(json.dumps(stamp, indent=1), "utf-8")
    half.replace(STAMP)


# --- the steps -----------------------------------------------------------------------------------


def _all_steps(have: Stamp) -> list[Step]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    install: Command = [PYTHON, *INSTALL, "--constraint", ROOT / "constraints.txt"]
    editable = [word for name in PACKAGES for word in ("--editable", _source(name))]
    steps: list[Step] = [
        ("build tools", [*install, *groups["build"]]),
        (
            "PyTorch, the five packages, and what tests them",
            [*install, "--no-build-isolation", *editable, *groups["test"], *groups["lint"]],
        ),
    ]
    if have.get("root", str(ROOT)) != str(ROOT) or not _venv_works():
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        return [("virtual environment", [sys.executable, "-m", "venv", VENV]), *steps]
    _forget_half_installed()
    return steps


def _native_steps(names: Iterable[str]) -> list[Step]:
    again: Command = [PYTHON, *INSTALL, "--no-deps", "--no-build-isolation", "--editable"]
    return [(f"compiling puffer-{name}", [*again, _source(name)]) for name in names]


def _source(package: str) -> str:
    extras = PACKAGES[package]
    return f"packages/puffer-{package}" + (f"[{extras}]" if extras else "")


def _venv_works() -> bool:
    """Whether `.venv/` has an interpreter that is new enough, and pip."""
    if _venv_version() < (3, 11):
        return False
    return subprocess.run([PYTHON, *PIP, "-V"], capture_output=True, check=False).returncode == 0


def _venv_version() -> tuple[int, ...]:
    """Return the version of the interpreter in `.venv/`; empty if there is none that runs."""
    code = "import sys; print(*sys.version_info[:3])"
    try:
        done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(int(part) for part in done.stdout.split())


def _forget_half_installed() -> None:
    """Let pip repeat what was killed: it writes RECORD last, but trusts what lacks it."""
    for info in VENV.glob("**/site-packages/*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(info)


# --- running a step ------------------------------------------------------------------------------


def run_step(label: str, command: Command, lock: int | None = None) -> None:
    """Run `command` with its output in LOG, and show on standard error how it gets on.

    Raises:
        SetUpError: it failed; the message has the end of its output and a remedy.
    """
    live = sys.stderr.isatty()
    started = time.monotonic()
    say(f"{label} ...", end="" if live else "\n")
    with LOG.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=() if lock is None else (lock,),
        )
        try:
            while _still_runs(process):
                if live:
                    _show(f"{label} ... {time.monotonic() - started:.0f} s  {_last_line()}")
        except KeyboardInterrupt:
            process.wait()
            raise SetUpError("\nstopped: the same command takes it up again") from None
    if live:
        _show(f"{label} ... {time.monotonic() - started:.0f} s")
        say("")
    if process.returncode:
        raise SetUpError(failure(label, LOG.read_text("utf-8", "replace")))


def failure(label: str, output: str) -> str:
    """Return what to print about a step that ended with this `output`."""
    end = "\n".join(f"    {line}" for line in output.splitlines()[-20:])
    remedy = next(what for signs, what in REMEDIES if any(sign in output for sign in signs))
    return f"{label} failed:\n{end}\n{remedy} (the whole output: {LOG})"


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return True
    return False


def _show(line: str) -> None:
    width = shutil.get_terminal_size().columns - 1
    say(f"\r\x1b[K{line[:width]}", end="")


def _last_line() -> str:
    lines = LOG.read_text("utf-8", "replace").splitlines()
    return lines[-1].strip() if lines else ""


@contextlib.contextmanager
def _lock() -> Iterator[int | None]:
    """Hold the workspace until the block ends, and the steps it started, even if it is killed."""
    try:
        import fcntl
    except ImportError:  # Windows: two set-ups at once are the user's to avoid
        yield None
        return
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work here: waiting for it.")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)
