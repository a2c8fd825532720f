"""Split: into how many workers, groups and batches the environments of one vector divide."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable

import numpy as np

from puffer.core.errors import UsageError
from puffer.vector.cores import usable_cores


@dataclasses.dataclass(frozen=True)
class Split:
    """Numbers that fit together.

    Attributes:
        num_envs: all environments.
        num_workers: processes; each has as many environments, neighbours.
        group_envs: environments that are stepped and published together, neighbours too.
        batch_size: environments whose rows one `recv` returns.
    """

    num_envs: int
    num_workers: int
    group_envs: int
    batch_size: int

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return self.num_envs // self.group_envs

    @property
    def groups_per_batch(self) -> int:
        """How many groups form a batch."""
        return self.batch_size // self.group_envs

    @classmethod
    def of(
        cls,
        num_envs: int,
        num_workers: int | None,
        batch_size: int | None,
        group_envs: int | None,
        *,
        zero_copy: bool,
    ) -> Split:
        """Return the split that was asked for; None is the default.

        Raises:
            UsageError: numbers that do not fit together, with the nearest that do.
        """
        asked = {"num_workers": num_workers, "batch_size": batch_size, "group_envs": group_envs}
        for name, value in asked.items():
            is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value is not None and not (is_integer and value >= 1):
                raise UsageError(f"{name}={value!r}: expected an integer >= 1, or None")
        num_workers = num_envs if num_workers is None else int(num_workers)
        batch_size = num_envs if batch_size is None else int(batch_size)
        for name, value in (("num_workers", num_workers), ("batch_size", batch_size)):
            if value > num_envs:
                raise UsageError(
                    f"{name}={value} is more than num_envs={num_envs}: use {num_envs} or fewer"
                )
        if num_envs % num_workers:
            raise UsageError(
                f"num_envs={num_envs} is not a multiple of num_workers={num_workers}: "
                f"use {_near_multiples(num_envs, num_workers)}"
            )
        per_worker = num_envs // num_workers
        whose = f"each group, group_envs={group_envs}"
        if group_envs is None:
            group_envs, whose = per_worker, "each worker"
        elif per_worker % group_envs:
            raise UsageError(
                f"group_envs={group_envs} does not divide the {per_worker} envs of each worker: "
                f"use {_or(n for n in range(1, per_worker + 1) if per_worker % n == 0)}"
            )
        if batch_size % group_envs:
            raise UsageError(
                f"batch_size={batch_size} is not a multiple of the {group_envs} envs of {whose}: "
                f"use {_near_multiples(batch_size, group_envs)}"
            )
        if zero_copy and num_envs % batch_size:
            sizes = range(group_envs, num_envs + 1, group_envs)
            raise UsageError(
                f"num_envs={num_envs} is not a multiple of batch_size={batch_size}: use "
                f"batch_size={_or(n for n in sizes if num_envs % n == 0)}, or zero_copy=False"
            )
        return cls(num_envs, num_workers, int(group_envs), batch_size)

    def warn_of_overwork(self, stacklevel: int) -> None:
        """Warn if there are more workers than cores to run them, naming the faster number."""
        cores = usable_cores()
        if self.num_workers > cores:
            faster = max(n for n in range(1, cores + 1) if self.num_envs % n == 0)
            warnings.warn(
                f"num_workers={self.num_workers} is more than the {cores} usable cores: "
                f"num_workers={faster} is faster (overwork=True silences this)",
                stacklevel=stacklevel,
            )


def _near_multiples(value: int, of: int) -> str:
    below = value // of * of
    return f"{below} or {below + of}" if below else f"{of}"


def _or(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, numbers))
