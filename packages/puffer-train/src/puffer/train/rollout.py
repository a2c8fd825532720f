"""Collect: run the policy in the vector environment until every agent has a full segment."""

from __future__ import annotations

import dataclasses
import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.core.spaces import Box, FlatActionSpace
from puffer.train import actions as act
from puffer.train.checkpoint import restore
from puffer.train.config import TrainConfig
from puffer.train.optim import autocast
from puffer.train.perceptron import Perceptron
from puffer.train.storage import Segments, State

Index = slice | np.ndarray


class EpisodeTracker:
    """Sums rewards per agent and remembers the returns and lengths of finished episodes."""

    def __init__(self, num_agents: int) -> None:
        self._agents = np.arange(num_agents)
        self._returns = np.zeros(num_agents, np.float64)
        self._lengths = np.zeros(num_agents, np.int64)
        self._finished: list[tuple[np.ndarray, np.ndarray]] = []

    def step(self, rows: Index, rewards: np.ndarray, ends: np.ndarray, valid: np.ndarray) -> None:
        """Add one transition of the agents `rows`, of those that are `valid`."""
        lost = not valid.all()  # which is rare, and asking costs less than counting by flags
        self._returns[rows] += rewards * valid if lost else rewards
        self._lengths[rows] += valid if lost else 1
        if ends.any():
            agents = self._agents[rows][ends]
            whole = agents[valid[ends]] if lost else agents  # not those lost with their worker
            self._finished.append((self._returns[whole], self._lengths[whole]))
            self._returns[agents] = 0
            self._lengths[agents] = 0

    def state(self) -> dict[str, np.ndarray]:
        """Return the sums of the episodes under way; call `drain` first."""
        return {"returns": self._returns, "lengths": self._lengths}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned, for as many agents."""
        restore(self._returns, state["returns"], "the episodes' returns")
        restore(self._lengths, state["lengths"], "the episodes' lengths")

    def drain(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the returns and lengths of the episodes finished since the last call."""
        finished, self._finished = self._finished, []
        if not finished:
            return np.zeros(0), np.zeros(0)
        returns, lengths = zip(*finished, strict=True)
        return np.concatenate(returns), np.concatenate(lengths)


def initial_state(policy: Any, batch: int, device: torch.device) -> State:
    """Return the state of a recurrent policy before an episode; () of a feed-forward one.

    A recurrent policy is one with a method `initial_state(batch, device)`.
    """
    state: State = policy.initial_state(batch, device) if hasattr(policy, "initial_state") else ()
    return state


def forward(
    policy: nn.Module, observations: Tensor, state: State, starts: Tensor | None = None
) -> tuple[Any, Tensor, State]:
    """Return the policy's output, the values `(batch,)` and the state after one step.

    Args:
        policy: any policy.
        observations: `(batch, *shape)`.
        state: before the step; () of a feed-forward policy.
        starts: `(batch,)` bool, the state is zeroed there first; None: nowhere.
    """
    if not state:
        output, value = policy(observations)
        return output, value.flatten().float(), ()
    if starts is not None:
        alive = (~starts).view(1, -1, 1)
        state = tuple(s * alive for s in state)
    output, value, state = policy(observations, state)
    return output, value.flatten().float(), state


@dataclasses.dataclass(frozen=True, slots=True)
class _Places:
    """Where rows of a batch stand in the segments: `segments[t, agents]` is `batch[picked]`."""

    t: int | np.ndarray
    agents: Index
    picked: Index


class _Rows:
    """The agents of one batch, and how far the segment of each is filled."""

    def __init__(self, agents: np.ndarray, columns: np.ndarray) -> None:
        first, size = int(agents[0]), len(agents)
        self.agents = agents
        neighbours = size == 1 or bool((agents[1:] - agents[:-1] == 1).all())
        self.index: Index = slice(first, first + size) if neighbours else agents
        self.columns = columns[self.index]
        self.t = int(self.columns[0])
        self.alike = bool((self.columns == self.t).all())

    def between(
        self, low: int, high: int, *, back: int = 0, among: np.ndarray | None = None
    ) -> _Places | None:
        """Return the places, `back` columns earlier, of those with low <= column <= high, if any.

        Args:
            low: the first column.
            high: the last column.
            back: is subtracted from the columns.
            among: bool, the rows that come into question; None: all.
        """
        if self.alike and among is None:
            if not low <= self.t <= high:
                return None
            return _Places(self.t - back, self.index, slice(None))
        chosen = (self.columns >= low) & (self.columns <= high)
        picked = np.flatnonzero(chosen if among is None else chosen & among)
        if not len(picked):
            return None
        return _Places(self.columns[picked] - back, self.agents[picked], picked)


class Collector:
    """Holds what lives from one segment to the next: recurrent state and episode starts.

    A batch whose agents have all filled their segment is held, not stepped, until the next
    `collect`, which therefore begins on policy. Where batches mix agents (first-ready ones), some
    may have to go on for the others' sake; those steps are taken and not learned from.
    """

    def __init__(
        self,
        vecenv: Any,
        policy: nn.Module,
        config: TrainConfig,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.vecenv, self.policy, self.config = vecenv, policy, config
        self.device, self.generator = device, generator
        n = vecenv.num_agents
        self.state = initial_state(policy, n, device)
        self.tracker = EpisodeTracker(n)
        self.infos: list[dict[str, Any]] = []
        self.seconds = {"env": 0.0, "forward": 0.0}
        self._column = np.zeros(n, np.int64)  # the next transition's place in the segment
        self._sent = np.zeros(n, np.bool_)  # an action was sent, its outcome not yet received
        self.native: Perceptron | None = None  # computes what the policy would, if it can
        self._held = np.zeros(n, np.bool_)
        self._starts = torch.ones(n, dtype=torch.bool, device=device)
        self._acted = np.ones(n, np.bool_)  # the agent was alive when it acted
        self._warned = False
        self.stop = False  # another thread ends `collect` by it, before all segments are full

    def begin_anew(self) -> None:
        """Begin new episodes, after `collect` was stopped in the middle of some."""
        self.stop = False
        self.tracker = EpisodeTracker(len(self._sent))
        self._starts.fill_(True)
        self._acted[:] = True
        self._sent[:] = False
        self.vecenv.async_reset()

    def state_dict(self) -> dict[str, Any]:
        """Return all that lives from one `collect` to the next; see `puffer.train.checkpoint`."""
        return {
            "state": self.state,
            "starts": self._starts,
            "acted": self._acted,
            "episodes": self.tracker.state(),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any], *, episodes_go_on: bool) -> None:
        """Continue from what `state_dict` returned.

        Args:
            state: of as many agents and the same policy.
            episodes_go_on: the environments continue, too; else all episodes begin anew.
        """
        self.seconds = state["seconds"]
        if not episodes_go_on:
            return
        for own, saved in zip(self.state, state["state"], strict=True):
            restore(own, saved, "the recurrent state")
        restore(self._starts, state["starts"], "the episodes' starts")
        restore(self._acted, state["acted"], "the agents' masks")
        self.tracker.set_state(state["episodes"])

    @torch.no_grad()
    def collect(self, segments: Segments) -> None:
        """Fill `segments` with the next `horizon` transitions of every agent."""
        vecenv, horizon = self.vecenv, segments.horizon
        self._column[:] = 0
        self._held[:] = False
        segments.cut_values.zero_()
        segments.ratios.fill_(1.0)
        while not self._held.all() and not self.stop:
            began = time.perf_counter()
            observations, *outcome, infos, agents, masks = vecenv.recv()
            received = time.perf_counter()
            self.seconds["env"] += received - began
            self.infos.extend(infos)
            rows = _Rows(agents, self._column)
            self._finish(segments, rows, masks, *outcome)
            tensor = torch.as_tensor(observations, device=self.device)
            starts, state = self._starts[rows.index], tuple(s[:, rows.index] for s in self.state)
            output, values, after = self._forward(tensor, state, starts)
            full = rows.between(horizon, horizon)
            if full is not None:
                segments.bootstrap_values[full.agents] = values[full.picked]
            if rows.columns.min() >= horizon:
                self._held[rows.index] = True
                vecenv.hold()
                self.seconds["forward"] += time.perf_counter() - received
                continue
            actions = self._act(segments, rows, tensor, output, values)
            for kept, new in zip(self.state, after, strict=True):
                kept[:, rows.index] = new
            self._acted[rows.index] = masks
            self._sent[rows.index] = True
            self._held[rows.index] = False
            self._column[rows.index] += 1
            chosen = time.perf_counter()
            self.seconds["forward"] += chosen - received
            vecenv.send(actions)
            self.seconds["env"] += time.perf_counter() - chosen

    def _forward(
        self, observations: Tensor, state: State, starts: Tensor | None = None
    ) -> tuple[Any, Tensor, State]:
        """Return what `forward` does, by the fastest means."""
        if self.native is not None:
            return self.native.forward(observations, state, starts)
        with autocast(self.config, self.device):
            return forward(self.policy, observations, state, starts)

    def _act(
        self, segments: Segments, rows: _Rows, observations: Tensor, output: Any, values: Tensor
    ) -> np.ndarray:
        """Choose actions, store them with what they rest on, and return them for `send`."""
        masks = self._action_masks(segments)
        action, log_prob = act.sample(output, self.generator, masks)
        at = rows.between(0, segments.horizon - 1)
        assert at is not None  # else the batch is held
        t, agents, picked = at.t, at.agents, at.picked
        segments.observations[t, agents] = observations[picked]
        segments.starts[t, agents] = self._starts[rows.index][picked]
        segments.actions[t, agents] = action[picked].to(segments.actions.dtype)
        segments.log_probs[t, agents] = log_prob[picked]
        segments.values[t, agents] = values[picked]
        if masks is not None and segments.action_masks is not None:
            segments.action_masks[t, agents] = masks[picked]
        first = rows.between(0, 0)
        if first is not None:
            for stored, before in zip(segments.state, self.state, strict=True):
                stored[:, first.agents] = before[:, first.agents]
        return to_environment(action, self.vecenv.single_action_space)

    def _action_masks(self, segments: Segments) -> Tensor | None:
        """Return which actions the agents of the batch may take now; None: all."""
        if self.vecenv.action_masks is None:
            return None
        masks = torch.as_tensor(self.vecenv.action_masks, device=self.device)
        if segments.action_masks is None:
            shape = (segments.horizon, segments.num_agents, masks.shape[-1])
            segments.action_masks = torch.ones(shape, dtype=torch.bool, device=self.device)
        return masks

    def _finish(
        self,
        segments: Segments,
        rows: _Rows,
        masks: np.ndarray,
        rewards: np.ndarray,
        terminals: np.ndarray,
        truncations: np.ndarray,
    ) -> None:
        """Complete the transitions whose outcome has arrived."""
        sent = self._sent[rows.index]
        among = None if sent.all() else sent  # others are held rows that come again
        ends, acted = terminals | truncations, self._acted[rows.index]
        valid = acted & masks & sent
        self.tracker.step(rows.index, rewards, ends, valid)
        at = rows.between(1, segments.horizon, back=1, among=among)
        if at is not None:

            def store(where: Tensor, array: np.ndarray) -> None:
                where[at.t, at.agents] = torch.as_tensor(array[at.picked], device=self.device)

            store(segments.rewards, rewards)
            store(segments.ends, ends)
            store(segments.valid, valid)
            cut = truncations & ~terminals & valid
            if cut.any():
                self._bootstrap(segments, rows, cut)
        starts = ends | ~acted  # an agent that comes back begins afresh
        if among is None:
            self._starts[rows.index] = torch.as_tensor(starts, device=self.device)
        elif sent.any():
            self._starts[rows.agents[sent]] = torch.as_tensor(starts[sent], device=self.device)
        self._sent[rows.index] = False

    def _bootstrap(self, segments: Segments, rows: _Rows, cut: np.ndarray) -> None:
        """Store the value of the last observation of the episodes that a truncation `cut` off."""
        final = self._final_observations()
        if final is None:
            return
        at = rows.between(1, segments.horizon, back=1, among=cut)
        if at is None:
            return
        observations = torch.as_tensor(final[at.picked], device=self.device)
        state = tuple(s[:, at.agents] for s in self.state)
        values = self._forward(observations, state)[1]
        segments.cut_values[at.t, at.agents] = values

    def _final_observations(self) -> np.ndarray | None:
        """Return those of the batch; None, with one warning, where the environment gives none."""
        final: np.ndarray | None = self.vecenv.final_observations
        if final is None and not self._warned:
            self._warned = True
            warnings.warn(
                "this environment gives no final observations: its truncated episodes are "
                "treated as terminated",
                stacklevel=4,
            )
        return final


def to_environment(action: Tensor, space: FlatActionSpace) -> np.ndarray:
    """Return sampled actions as the environment takes them: within a Box, whole in one of ints."""
    array: np.ndarray = action.cpu().numpy()
    if not isinstance(space, Box):
        return array
    if space.dtype.kind != "f":
        array = np.rint(array)
    clipped: np.ndarray = np.clip(array, space.low, space.high)
    return clipped
