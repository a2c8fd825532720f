"""Ahead: the next segments are collected while the caller learns from the last."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from puffer.train.config import TrainConfig
from puffer.train.parallel import one_thread
from puffer.train.perceptron import Perceptron
from puffer.train.rollout import Collector
from puffer.train.storage import Segments

PATIENCE_SECONDS = 2.0  # how long an interrupt waits for the environments' step under way


class Ahead:
    """Another thread that collects, with a copy of the policy, while the caller learns.

    It works within `meanwhile` and at no other time: between two updates the environments are at
    rest, may be closed, and nobody has to end anything.

    Args:
        collector: before its first segments; receives the copy, and a generator of its own.
        segments: those that the caller learns from.
        config: of the trainer.
        seed: of the actions.
    """

    def __init__(
        self, collector: Collector, segments: Segments, config: TrainConfig, seed: int
    ) -> None:
        self.pending = False  # there are segments that `take` has not given yet
        self.waited = 0.0  # seconds that the caller could not learn in
        self._collector, self._policy = collector, collector.policy
        self._own, self._segments = copy.deepcopy(segments), segments
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        device = collector.device
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        collector.policy = copy.deepcopy(self._policy)
        collector.generator = torch.Generator(device)
        collector.generator.manual_seed(seed)
        with one_thread():  # the others are the learner's
            collector.native = Perceptron.of(collector.policy, self._own, config)

    def take(self) -> None:
        """Fill the caller's segments with the next ones, waiting for them if none are pending.

        Raises:
            Exception: what the environments raised in the meantime.
        """
        if not self.pending:
            with self.meanwhile():
                pass
        self.pending = False
        error, self._error = self._error, None
        if error is not None:
            raise error
        _exchange(self._segments, self._own)

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Collect the next segments, with the policy as it is now, until the end of the block.

        Whatever is raised in the block, or while waiting at its end, stops the collecting; what the
        environments raise is for `take`.
        """
        self._wait()  # for one that was stopped
        self._error = None
        self._copy_policy()
        if self._collector.stop:
            self._collector.begin_anew()
        # A daemon, for an environment that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._collect, name="puffer-collect", daemon=True)
        try:
            self._thread.start()
            yield
            began = time.perf_counter()
            self._wait()
            self.waited += time.perf_counter() - began
        except BaseException:
            self._collector.stop = True
            self._wait(PATIENCE_SECONDS)
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return what lives from one update to the next, but for the segments."""
        return {"generator": self._collector.generator.get_state(), "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._collector.generator.set_state(state["generator"])
        self.waited = state["waited"]

    def _collect(self) -> None:
        torch.set_num_threads(1)
        try:
            with torch.cuda.stream(self._stream):
                self._collector.collect(self._own)
            if self._stream is not None:
                self._stream.synchronize()
        except BaseException as error:
            self._error = error
        self.pending = not self._collector.stop

    def _wait(self, seconds: float = float("inf")) -> None:
        """Wait for the thread, at most for so many seconds; signals are attended to."""
        until = time.monotonic() + seconds
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < until:
            self._thread.join(0.1)

    @torch.no_grad()
    def _copy_policy(self) -> None:
        for own, learned in zip(
            _tensors(self._collector.policy), _tensors(self._policy), strict=True
        ):
            own.copy_(learned)
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))


def _tensors(policy: nn.Module) -> list[Tensor]:
    return [*policy.parameters(), *policy.buffers()]


def _exchange(one: Segments, other: Segments) -> None:
    """Let each have the tensors of the other; masks are made on the first collection."""
    for field in dataclasses.fields(Segments):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        setattr(one, field.name, theirs)
        setattr(other, field.name, mine)
    if one.action_masks is not None and other.action_masks is None:
        other.action_masks = torch.ones_like(one.action_masks)
