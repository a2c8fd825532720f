"""What became of a worker that raised, died or hangs, as a WorkerError that names the cause."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from puffer.core.errors import WorkerError

STACK_SECONDS = 1.0  # how long a hung worker has to write its stack


@dataclasses.dataclass(frozen=True)
class RemoteError:
    """An exception on its way to the parent."""

    summary: str
    traceback: str
    pickled: bytes | None

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """Return what can be sent of `error`."""
        try:
            pickled = pickle.dumps(error)
        except Exception:  # whatever its __reduce__ raises: then the text must do
            pickled = None
        return cls(
            f"{type(error).__name__}: {error}".rstrip(": "),
            "".join(traceback.format_exception(error)),
            pickled,
        )

    def exception(self) -> BaseException | None:
        """Return the exception itself, if it survived the journey."""
        try:
            error = pickle.loads(self.pickled) if self.pickled else None
        except Exception:  # whatever its constructor raises
            return None
        return error if isinstance(error, BaseException) else None


@dataclasses.dataclass(frozen=True)
class Patient:
    """A worker as its parent sees it; makes the errors that tell what happened to it.

    Attributes:
        name: with the numbers of its environments.
        process: it.
        pipe: from it.
    """

    name: str
    process: BaseProcess
    pipe: Connection

    def raised(self, call: str) -> WorkerError:
        """Return the error of a worker that has sent its exception."""
        try:
            # Answers of groups that were done before may stand in front of it.
            while not isinstance(remote := pickle.loads(self.pipe.recv_bytes()), RemoteError):
                pass
        except (EOFError, OSError):  # it died while it wrote
            return self.died(call, has_stack=False)
        error = WorkerError(
            f"{self.name} raised {remote.summary} in {call}; its traceback:\n\n{remote.traceback}"
        )
        error.__cause__ = remote.exception()
        return error

    def died(self, call: str, *, has_stack: bool, start_method: str = "fork") -> WorkerError:
        """Return the error of a worker whose process has ended.

        Args:
            call: what it was at.
            has_stack: whether the pipe holds a stack, and not the beginning of an answer.
            start_method: by which it was started.
        """
        self.process.join()
        code = self.process.exitcode or 0
        killer = _signal_name(-code) if code < 0 else ""
        how = f"was killed by {killer}" if killer else f"exited with code {code}"
        hint = ""
        if killer == "SIGKILL":
            hint = (
                ": the system may have run out of memory" + _most_memory() + ", try fewer workers"
            )
        elif call == "start" and start_method != "fork":
            hint = (
                f": under start_method={start_method!r} a script must call make() below "
                '`if __name__ == "__main__":`'
            )
        stack = self._read_stack(0.0) if has_stack else ""
        return WorkerError(f"{self.name} {how} in {call}{hint}" + (f"\n\n{stack}" if stack else ""))

    def hangs(self, call: str, option: str, seconds: float) -> WorkerError:
        """Return the error of a worker that has been at `call` for longer than `option` allows."""
        stack = ""
        if hasattr(signal, "SIGUSR1"):
            os.kill(self.process.pid or 0, signal.SIGUSR1)
            stack = self._read_stack(STACK_SECONDS)
        return WorkerError(
            f"{self.name} has been in {call} for more than {option}={seconds} seconds: "
            f"it hangs, or needs a larger {option}" + (f"; its stack:\n\n{stack}" if stack else "")
        )

    def _read_stack(self, seconds: float) -> str:
        """Return what faulthandler wrote into the worker's pipe, waiting `seconds` for it."""
        data = b""
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll(0.05 if data else seconds):
                chunk = read_raw(self.pipe)
                if not chunk:
                    break
                data += chunk
        return data.decode("utf-8", "replace")


def read_raw(pipe: Connection) -> bytes:
    """Return some bytes of the pipe, which may hold a stack and not messages; empty at its end."""
    return os.read(pipe.fileno(), 1 << 16) if os.name == "posix" else pipe.recv_bytes()


def _most_memory() -> str:
    """Return how much the largest process had that ended so far; empty where nobody knows."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    megabytes = most / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes here
    return f" (a worker used up to {megabytes:.0f} MB)"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
