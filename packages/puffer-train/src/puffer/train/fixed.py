"""Collect where batches come round unchanged: work of a fixed shape, which a GPU can replay."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from puffer.core.errors import UsageError
from puffer.train import actions as act
from puffer.train.recording import Feed, Recording
from puffer.train.rollout import Collector, to_environment
from puffer.train.storage import Segments, State


class FixedCollector(Collector):
    """Does what `Collector` does, for vector environments with `fixed_batches`, with less waiting.

    On CUDA, what the policy does for a batch is recorded once. Rewards and flags stay on the host
    until the segments are complete, and so do the last observations of truncated episodes: their
    values are asked for together. While the device works on one batch the host notes what came with
    it; with backend `Alternating` it steps the environments of others.
    """

    _columns: _Columns | None = None

    @torch.no_grad()
    def collect(self, segments: Segments) -> None:
        """Fill `segments` with the next `horizon` transitions of every agent."""
        vecenv, clock = self.vecenv, time.perf_counter
        if self._columns is None:
            self._columns = _Columns(segments, self.device)
            self._batches: dict[int, _Batch] = {}
            self._cut_off: list[_CutOff] = []
        for batch in self._batches.values():
            batch.begin(segments)
        segments.cut_values.zero_()
        segments.ratios.fill_(1.0)
        fresh = self._starts.cpu().numpy()  # where the next observation begins an episode
        held = 0
        while held < segments.num_agents and not self.stop:
            began = clock()
            observations, rewards, terminals, truncations, infos, agents, masks = vecenv.recv()
            received = clock()
            self.seconds["env"] += received - began
            self.infos.extend(infos)
            batch = self._batch(segments, agents, observations)
            batch.see(observations, vecenv.action_masks)
            rows, t = batch.rows, batch.t
            acted = self._acted[rows]
            note = _Note(rewards, terminals, truncations, masks, acted) if t else None
            if note is not None:
                fresh[rows] = note.starts
                if note.cut is not None and note.cut.any():
                    self._keep_last(batch, note.cut)
            batch.forget(fresh[rows])
            if t < segments.horizon:
                if not t:
                    for stored, before in zip(segments.state, self.state, strict=True):
                        stored[:, rows] = before[:, rows]
                batch.act()
                batch.fetch()
            else:
                segments.bootstrap_values[rows] = batch.value()
            if note is not None:
                self._columns.write(t - 1, rows, note)
                self.tracker.step(rows, note.rewards, note.ends, note.valid)
            if t == segments.horizon:
                vecenv.hold()
                held += len(agents)
                self.seconds["forward"] += clock() - received
                continue
            self._columns.starts[t, rows] = fresh[rows]
            self._acted[rows] = masks
            actions = to_environment(batch.chosen(), vecenv.single_action_space)
            batch.t += 1
            chosen = clock()
            self.seconds["forward"] += chosen - received
            vecenv.send(actions)
            self.seconds["env"] += clock() - chosen
        began = clock()
        self._columns.upload(segments)
        self._bootstrap_cut_off(segments)
        self._starts.copy_(torch.from_numpy(fresh))  # waits for the device
        self.seconds["forward"] += clock() - began

    def _batch(self, segments: Segments, agents: np.ndarray, observations: np.ndarray) -> _Batch:
        """Return the batch of these agents, which is made when they come for the first time."""
        first = int(agents[0])
        if first not in self._batches:
            if len(agents) > 1 and not (np.diff(agents) == 1).all():
                raise UsageError(
                    "a vector environment with fixed_batches gave agents that are no neighbours: "
                    "set its fixed_batches to False"
                )
            masks = self._action_masks(segments)
            batch = _Batch(self, segments, agents, observations, masks is not None)
            batch.act = self._recording(self._decide, batch)
            batch.value = self._recording(self._evaluate, batch)
            self._batches[first] = batch
        return self._batches[first]

    def _recording(self, function: Any, *args: Any) -> Recording[Any]:
        work = functools.partial(function, *args)
        return Recording(work, self.generator, records=self.config.cuda_graphs)

    def _decide(self, batch: _Batch) -> None:
        """Choose a batch's actions and store them with what they rest on, in column `batch.column`.

        It is recorded: all of it are operations on tensors that stay where they are.
        """
        observations = batch.observations.tensor
        output, values, after = self._forward(observations, self._state_of(batch), batch.starts)
        masks = None if batch.masks is None else batch.masks.tensor
        action, log_prob = act.sample(output, self.generator, masks)
        batch.actions.copy_(action)
        chosen = (observations, batch.actions, log_prob, values, masks)
        for stored, new in zip(batch.stored, chosen, strict=True):
            if stored is not None and new is not None:
                stored.index_copy_(0, batch.column, new.unsqueeze(0))
        for kept, new in zip(self.state, after, strict=True):
            kept[:, batch.rows] = new
        batch.column += 1

    def _evaluate(self, batch: _Batch) -> Tensor:
        """Return the values of a batch's observations. It is recorded, too."""
        return self._forward(batch.observations.tensor, self._state_of(batch), batch.starts)[1]

    def _state_of(self, batch: _Batch) -> State:
        return tuple(s[:, batch.rows] for s in self.state)

    def _keep_last(self, batch: _Batch, cut: np.ndarray) -> None:
        """Keep what is needed for the values of the episodes that a truncation `cut` off."""
        final = self._final_observations()
        if final is None:
            return
        where = np.flatnonzero(cut)
        agents = batch.rows.start + where
        # Indexing copies, as it must: all of these are written anew in the next step.
        state = tuple(s[:, torch.as_tensor(agents, device=self.device)] for s in self.state)
        self._cut_off.append((np.full(len(where), batch.t - 1), agents, final[where], state))

    def _bootstrap_cut_off(self, segments: Segments) -> None:
        """Store the values of the last observations of truncated episodes."""
        if not self._cut_off:
            return
        columns, agents, observations, states = zip(*self._cut_off, strict=True)
        self._cut_off.clear()

        def on_device(arrays: tuple[np.ndarray, ...]) -> Tensor:
            return torch.as_tensor(np.concatenate(arrays), device=self.device)

        state = tuple(torch.cat(parts, 1) for parts in zip(*states, strict=True))
        values = self._forward(on_device(observations), state)[1]
        segments.cut_values[on_device(columns), on_device(agents)] = values


_CutOff = tuple[np.ndarray, np.ndarray, np.ndarray, State]  # columns, agents, observations, state


class _Note:
    """What came of a batch's last actions."""

    def __init__(
        self,
        rewards: np.ndarray,
        terminals: np.ndarray,
        truncations: np.ndarray,
        masks: np.ndarray,
        acted: np.ndarray,
    ) -> None:
        self.rewards = rewards
        self.ends = terminals | truncations
        self.valid = acted & masks
        self.starts = self.ends | ~acted  # an agent that comes back begins afresh
        self.cut = truncations & ~terminals & self.valid if truncations.any() else None


class _Columns:
    """What is noted on the host, `(horizon, agents)`, in memory that the device reads fast."""

    def __init__(self, segments: Segments, device: torch.device) -> None:
        self._tensors = {
            name: torch.zeros_like(
                getattr(segments, name), device="cpu", pin_memory=device.type == "cuda"
            )
            for name in ("rewards", "ends", "valid", "starts")
        }
        self.rewards, self.ends, self.valid, self.starts = (
            tensor.numpy() for tensor in self._tensors.values()
        )

    def write(self, t: int, rows: slice, note: _Note) -> None:
        """Write what came of the actions of column `t`."""
        self.rewards[t, rows], self.ends[t, rows] = note.rewards, note.ends
        self.valid[t, rows] = note.valid

    def upload(self, segments: Segments) -> None:
        """Begin to copy everything into `segments`."""
        for name, tensor in self._tensors.items():
            getattr(segments, name).copy_(tensor, non_blocking=True)


class _Batch:
    """The agents of one batch, how far their segments are filled, and what they go through.

    Attributes:
        stored: its part of each column of the segments in which a decision is noted.
        act: chooses actions for what was last seen.
        value: returns the values of what was last seen.
    """

    act: Recording[None]
    value: Recording[Tensor]

    def __init__(
        self,
        collector: Collector,
        segments: Segments,
        agents: np.ndarray,
        observations: np.ndarray,
        masked: bool,
    ) -> None:
        device, first = collector.device, int(agents[0])
        self.rows = slice(first, first + len(agents))
        self.t = 0
        self.column = torch.zeros(1, dtype=torch.int64, device=device)
        self.observations = Feed(observations, device)
        self.masks = Feed(collector.vecenv.action_masks, device) if masked else None
        # A policy without memory does not ask where episodes begin.
        recurrent = len(collector.state) > 0
        self._starts = Feed(np.ones(len(agents), np.bool_), device) if recurrent else None
        self.actions = torch.zeros_like(segments.actions[0, self.rows])
        self.host_actions = torch.zeros_like(
            self.actions, device="cpu", pin_memory=device.type == "cuda"
        )
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self.begin(segments)

    @property
    def starts(self) -> Tensor | None:
        """Where episodes begin, for a policy with memory."""
        return None if self._starts is None else self._starts.tensor

    def begin(self, segments: Segments) -> None:
        """Begin new segments."""
        self.t = 0
        self.column.zero_()
        columns = (segments.observations, segments.actions, segments.log_probs, segments.values)
        self.stored = [
            None if column is None else column[:, self.rows]
            for column in (*columns, segments.action_masks)
        ]

    def see(self, observations: np.ndarray, masks: np.ndarray | None) -> None:
        """Begin to copy what has arrived to the device."""
        self.observations(observations)
        if self.masks is not None and masks is not None:
            self.masks(masks)

    def forget(self, fresh: np.ndarray) -> None:
        """Tell a policy with memory which agents begin an episode."""
        if self._starts is not None:
            self._starts(fresh)

    def fetch(self) -> None:
        """Begin to copy the actions to the host."""
        self.host_actions.copy_(self.actions, non_blocking=True)

    def chosen(self) -> Tensor:
        """Return the actions, on the host, when they have arrived there."""
        if self._stream is not None:
            self._stream.synchronize()
        return self.host_actions
