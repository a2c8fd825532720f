"""Collect: run the policy in the vector environment until every agent has a full segment."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError
from puffer.core.spaces import Box
from puffer.train import actions as act
from puffer.train.checkpoint import restore
from puffer.train.config import TrainConfig
from puffer.train.storage import Segments, State


class EpisodeTracker:
    """Sums rewards per agent and remembers the returns and lengths of finished episodes."""

    def __init__(self, num_agents: int) -> None:
        self._returns = np.zeros(num_agents, np.float64)
        self._lengths = np.zeros(num_agents, np.int64)
        self._finished: list[tuple[np.ndarray, np.ndarray]] = []

    def step(self, rows: slice, rewards: np.ndarray, ends: np.ndarray, valid: np.ndarray) -> None:
        """Add one transition of the agents `rows`."""
        returns, lengths = self._returns[rows], self._lengths[rows]
        returns += rewards
        lengths += valid
        if ends.any():
            self._finished.append((returns[ends], lengths[ends]))
            returns[ends] = 0
            lengths[ends] = 0

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


class Collector:
    """Holds what lives from one segment to the next: recurrent state and episode starts.

    Every batch of `vecenv` consists of the same agents each time (a block). A block whose segment
    is full is held, not stepped, until the next `collect`, which therefore begins on policy.
    """

    def __init__(
        self,
        vecenv: Any,
        policy: nn.Module,
        config: TrainConfig,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        if not getattr(vecenv, "fixed_batches", True):
            raise UsageError(
                "the trainer needs batches of the same workers each time, but zero_copy=False "
                "mixes them: use zero_copy=True"
            )
        self.vecenv, self.policy, self.config = vecenv, policy, config
        self.device, self.generator = device, generator
        n = vecenv.num_agents
        self.state = initial_state(policy, n, device)
        self.tracker = EpisodeTracker(n)
        self.infos: list[dict[str, Any]] = []
        self.seconds = {"env": 0.0, "forward": 0.0}
        self._column = np.zeros(n, np.int64)
        self._starts = torch.ones(n, dtype=torch.bool, device=device)
        self._acted = np.ones(n, np.bool_)  # the agent was alive when it acted
        self._warned = False
        space = vecenv.single_action_space
        self._bounds = (space.low, space.high) if isinstance(space, Box) else None

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
        missing = segments.num_agents
        while missing:
            began = time.perf_counter()
            received = vecenv.recv()
            self.seconds["env"] += time.perf_counter() - began
            observations, rewards, terminals, truncations, infos, agent_ids, masks = received
            rows = slice(int(agent_ids[0]), int(agent_ids[-1]) + 1)
            column = int(self._column[rows.start])
            began = time.perf_counter()
            self.infos.extend(infos)
            if column > 0:
                self._finish(segments, column - 1, rows, rewards, terminals, truncations, masks)
            tensor = torch.as_tensor(observations, device=self.device)
            if column == horizon:
                segments.bootstrap_values[rows] = self._forward(tensor, rows)[1]
                missing -= rows.stop - rows.start
                vecenv.hold()
                self.seconds["forward"] += time.perf_counter() - began
                continue
            action = self._act(segments, column, rows, tensor)
            self._acted[rows] = masks
            self._column[rows] += 1
            self.seconds["forward"] += time.perf_counter() - began
            began = time.perf_counter()
            vecenv.send(action)
            self.seconds["env"] += time.perf_counter() - began

    def _act(self, segments: Segments, t: int, rows: slice, observations: Tensor) -> np.ndarray:
        """Store observation t, choose and store its action, and return it for the environment."""
        segments.observations[t, rows] = observations
        segments.starts[t, rows] = self._starts[rows]
        if t == 0:
            for stored, before in zip(segments.state, self.state, strict=True):
                stored[:, rows] = before[:, rows]
        output, value, state = self._forward(observations, rows)
        for kept, after in zip(self.state, state, strict=True):
            kept[:, rows] = after
        action, log_prob = act.sample(output, self.generator)
        segments.actions[t, rows] = action.to(segments.actions.dtype)
        segments.log_probs[t, rows] = log_prob
        segments.values[t, rows] = value
        array: np.ndarray = action.cpu().numpy()
        return array if self._bounds is None else np.clip(array, *self._bounds)

    def _forward(self, observations: Tensor, rows: slice) -> tuple[Any, Tensor, State]:
        """Return the policy's output, the values `(batch,)` and the new recurrent state."""
        if not self.state:
            output, value = self.policy(observations)
            return output, value.flatten(), ()
        alive = (~self._starts[rows]).to(torch.float32).view(1, -1, 1)
        output, value, state = self.policy(
            observations, tuple(s[:, rows] * alive for s in self.state)
        )
        return output, value.flatten(), state

    def _finish(
        self,
        segments: Segments,
        t: int,
        rows: slice,
        rewards: np.ndarray,
        terminals: np.ndarray,
        truncations: np.ndarray,
        masks: np.ndarray,
    ) -> None:
        """Complete transition t with what the environment answered."""
        ends = terminals | truncations
        valid = self._acted[rows] & masks
        self.tracker.step(rows, rewards, ends & valid, valid)
        clip = self.config.reward_clip
        stored = np.clip(rewards, -clip, clip) if clip is not None else rewards
        cut = truncations & ~terminals
        if cut.any():
            stored = self._bootstrap(stored, np.flatnonzero(cut), rows)
        segments.rewards[t, rows] = torch.as_tensor(stored, device=self.device)
        starts = torch.as_tensor(ends, device=self.device)
        segments.ends[t, rows] = starts
        segments.valid[t, rows] = torch.as_tensor(valid, device=self.device)
        self._starts[rows] = starts

    def _bootstrap(self, rewards: np.ndarray, cut: np.ndarray, rows: slice) -> np.ndarray:
        """Return a copy of `rewards` with the discounted value of what truncation cut off."""
        final = self.vecenv.final_observations
        if final is None:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    "this environment gives no final observations: its truncated episodes are "
                    "treated as terminated",
                    stacklevel=2,
                )
            return rewards
        observations = torch.as_tensor(final[cut], device=self.device)
        if self.state:
            state = tuple(s[:, rows.start + cut] for s in self.state)
            value = self.policy(observations, state)[1]
        else:
            value = self.policy(observations)[1]
        rewards = rewards.copy()
        rewards[cut] += self.config.gamma * value.flatten().cpu().numpy()
        return rewards
