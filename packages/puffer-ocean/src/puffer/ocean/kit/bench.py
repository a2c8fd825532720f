"""Measures the steps per second of an environment, through Python's `env.step(actions)`.

Random actions (int64, as policies give them, unless told otherwise) are drawn beforehand;
everything else that a user pays for is inside the clock. Repeats go round all cases, so that a busy
moment hits each of them alike; the first round is a burn-in. Steps are agent steps.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from puffer.core.errors import UsageError
from puffer.core.registry import EnvSpec
from puffer.core.spaces import Box

# The levels of the x86-64 psABI by a feature that each one brought.
LEVELS = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}

VARIABLE = "PUFFER_OCEAN_KERNEL"  # the engine reads it

BATCHES = 16  # of actions, drawn beforehand; few enough to stay in the cache, like a policy's


class Case:
    """One environment with a number of copies and threads."""

    def __init__(
        self,
        spec: EnvSpec,
        copies: int,
        threads: int = 1,
        options: Mapping[str, Any] | None = None,
        *,
        dtype: str = "int64",
        kernel: str = "auto",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if "num_threads" not in {option.name for option in spec.options}:
            raise UsageError(f"{spec.name} is not native: only native environments are measured")
        self.name, self.copies, self.threads = spec.name, copies, threads
        with forced(kernel):
            self.env = spec.creator(
                **{**(options or {}), "num_envs": copies, "num_threads": threads}
            )
        self.env.reset(seed=0)
        self.actions = draw_actions(self.env, dtype)
        self.rates: list[float] = []
        self.clock = clock

    def measure(self, seconds: float) -> None:
        """Add one measurement of at least `seconds`."""
        step, clock, calls = self.env.step, self.clock, 0
        start = clock()
        while (elapsed := clock() - start) < seconds:
            for actions in self.actions:
                step(actions)
            calls += BATCHES
        self.rates.append(calls * self.env.num_agents / elapsed)

    def summary(self) -> dict[str, Any]:
        """Return median, minimum and maximum of all measurements but the first."""
        rates = self.rates[1:]
        return {
            "environment": self.name,
            "copies": self.copies,
            "threads": self.env.num_threads,
            "kernel": self.env.kernel,
            "median": statistics.median(rates),
            "minimum": min(rates),
            "maximum": max(rates),
        }


@contextlib.contextmanager
def forced(kernel: str) -> Iterator[None]:
    """Have environments made with this kernel, where they have it; `auto` leaves the choice."""
    before = os.environ.get(VARIABLE)
    if kernel != "auto":
        os.environ[VARIABLE] = kernel
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def draw_actions(env: Any, dtype: str = "int64") -> list[np.ndarray]:
    """Return `BATCHES` steps' random actions: of `dtype` or, for a Box, of its own."""
    space, rng = env.single_action_space, np.random.default_rng(0)
    shape = (BATCHES, env.num_agents, *space.shape)
    if isinstance(space, Box):
        return list(rng.uniform(space.low, space.high, shape).astype(space.dtype))
    return list(
        rng.integers(0, getattr(space, "nvec", getattr(space, "n", 0)), shape).astype(dtype)
    )


def measure(cases: Sequence[Case], repeats: int, seconds: float) -> list[dict[str, Any]]:
    """Measure all cases in turn, `repeats` times after a burn-in, and return their summaries."""
    for _ in range(repeats + 1):
        for case in cases:
            case.measure(seconds)
    return [case.summary() for case in cases]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": models[0] if models else platform.processor(),
        "instruction sets": " ".join(level for level, flag in LEVELS.items() if flag in flags),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "puffer-ocean": version("puffer-ocean"),
    }


def table(
    spec: EnvSpec,
    options: Mapping[str, Any],
    *,
    copies: Sequence[int],
    threads: Sequence[int],
    repeats: int,
    seconds: float,
) -> Iterator[str]:
    """Measure every size with every number of threads and yield the lines of a table."""
    if repeats < 1 or seconds <= 0:
        raise UsageError(f"{repeats} repeats of {seconds} s: expected at least 1, of more than 0 s")
    cases = [Case(spec, c, t, options) for c in copies for t in threads if t <= c]
    yield "  ".join(f"{key}: {value}" for key, value in machine().items())
    yield f"{spec.name}: {repeats} repeats of {seconds} s; million agent steps/s"
    yield f"{'copies':>8}{'threads':>9}{'median':>10}{'minimum':>10}{'maximum':>10}"
    for row in measure(cases, repeats, seconds):
        rates = "".join(f"{row[key] / 1e6:>10.2f}" for key in ("median", "minimum", "maximum"))
        yield f"{row['copies']:>8}{row['threads']:>9}{rates}"
