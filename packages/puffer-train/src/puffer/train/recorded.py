"""RecordedSteps: gradient steps as CUDA replays them, or as torch.compile fuses them."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from puffer.train import ppo
from puffer.train.config import TrainConfig
from puffer.train.recording import Recording
from puffer.train.storage import Segments


class RecordedSteps(ppo.Steps):
    """Whole gradient steps, recorded once for each shape that minibatches have.

    Coefficients that change in training are numbers on the device, and so is the optimizer's
    learning rate, see `let_record`. With `target_kl`, which looks at every step, none is recorded.

    Args:
        policy: learns.
        optimizer: of its parameters.
        generator: the trainer's, on the device of both.
        records: let CUDA record them.
        compiled: fuse the loss's operations with torch.compile.
    """

    def __init__(
        self,
        policy: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        *,
        records: bool = True,
        compiled: bool = False,
    ) -> None:
        super().__init__(policy, optimizer)
        self._generator, self._records = generator, records
        self._in_force = {
            name: torch.zeros((), device=generator.device) for name in ("clip_coef", "ent_coef")
        }
        self._recorded: dict[tuple[int, bool, bool], _Minibatch] = {}
        self._copied: Tensor | None = None  # the advantages that `_advantages` holds
        if compiled:
            self.minibatch_loss = _compiled(self.minibatch_loss)

    def begin(self, segments: Segments, config: TrainConfig) -> None:
        """Begin an update; `segments` are the same each time."""
        sums = self.sums  # stay where they are
        super().begin(segments, config)
        self.sums = sums
        for total in sums.values():
            total.zero_()
        for name, value in self._in_force.items():
            value.fill_(getattr(config, name))
        changing: dict[str, Any] = dict(self._in_force)
        self.config = dataclasses.replace(config, **changing)
        self._copied = None

    def take(self, advantages: Tensor, agents: Tensor, importance: Tensor | None) -> bool:
        """Take a step on the segments of `agents`; return False where `target_kl` forbids it."""
        if self.config.target_kl is not None:
            return super().take(advantages, agents, importance)
        if self._copied is not advantages:
            if not self._recorded:
                self._advantages = torch.empty_like(advantages)
            self._advantages.copy_(advantages)
            self._copied = advantages
        key = len(agents), importance is not None, self.all_valid
        if key not in self._recorded:
            self._recorded[key] = _Minibatch(self, agents, importance)
        self._recorded[key](agents, importance)
        self.count += 1
        return True

    def whole_step(self, agents: Tensor, importance: Tensor | None) -> None:
        """Do all of a step; it is recorded."""
        parts = self._gradients(self._advantages, agents, importance)
        self._step(parts)
        for key, value in parts.items():
            if key not in self.sums:
                self.sums[key] = torch.zeros_like(value)
            self.sums[key] += value

    def record(self, agents: Tensor, importance: Tensor | None) -> Recording[None]:
        """Return what does `whole_step` with what these two tensors hold then."""
        step = functools.partial(self.whole_step, agents, importance)
        return Recording(step, self._generator, records=self._records)


class _Minibatch:
    """The tensors through which minibatches of one shape go."""

    def __init__(self, steps: RecordedSteps, agents: Tensor, importance: Tensor | None) -> None:
        self.agents = torch.empty_like(agents)
        self.importance = None if importance is None else torch.empty_like(importance)
        self.step = steps.record(self.agents, self.importance)

    def __call__(self, agents: Tensor, importance: Tensor | None) -> None:
        self.agents.copy_(agents)
        if self.importance is not None and importance is not None:
            self.importance.copy_(importance)
        self.step()


def _compiled(function: Any) -> Any:
    """Return `function` compiled; where there is no compiler, itself, with one warning.

    What was compiled is kept in torch's cache from one run to the next.
    """
    compiled: Any = torch.compile(function, dynamic=False)
    usable = True

    def call(*args: Any) -> Any:
        nonlocal usable
        if usable:
            try:
                return compiled(*args)
            except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
                usable = False
                reason = str(error).strip().partition("\n")[0]
                warnings.warn(f"torch.compile failed, going on without it ({reason})", stacklevel=2)
        return function(*args)

    return call
