"""Recurrent cells between the encoder and the decoder of a policy: LSTM and MinGRU."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from puffer.core.pytorch import layer_init
from puffer.train.actions import ActionOutput
from puffer.train.models.scan import linear_scan

State = tuple[Tensor, ...]


class RecurrentWrapper(nn.Module):
    """A policy with a cell between its encoder and its decoder; subclasses say which cell.

    Args:
        env: as for the policy; kept for the signature that policies share.
        policy: has `hidden_size`, `encode_observations` and `decode_actions`. The encoding may be
            `hidden` or `(hidden, lookup)`; the decoder then takes as much.
        input_size: width of the policy's encoding; None takes `policy.hidden_size`.
        hidden_size: width of the cell, which the decoder must accept; None likewise.
    """

    def __init__(
        self,
        env: Any,
        policy: Any,
        input_size: int | None = None,
        hidden_size: int | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.input_size = input_size or policy.hidden_size
        self.hidden_size = hidden_size or policy.hidden_size

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> State:
        """Return the state before an episode: tensors of zeros `(layers, batch, hidden_size)`."""
        raise NotImplementedError

    def run(self, inputs: Tensor, state: State, starts: Tensor | None) -> tuple[Tensor, State]:
        """Return the cell's outputs `(time, batch, hidden_size)` and the state after them.

        Args:
            inputs: `(time, batch, input_size)` float32.
            state: before the first step.
            starts: `(time, batch)` bool, the state is zeroed before these steps; None: nowhere.
        """
        raise NotImplementedError

    def forward(
        self, observations: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[ActionOutput, Tensor, State]:
        """Return actions, values and the new state.

        Args:
            observations: `(batch, *shape)`, one step; or, with `starts`, `(time, batch, *shape)`,
                whose results are flat `(time * batch, ...)`.
            state: before the first step; None is the initial state.
            starts: `(time, batch)` bool; the state is zeroed before these observations.
        """
        steps = 1 if starts is None else observations.shape[0]
        flat = observations if starts is None else observations.flatten(0, 1)
        encoding = self.policy.encode_observations(flat)
        hidden, *lookup = encoding if isinstance(encoding, tuple) else (encoding,)
        hidden = hidden.view(steps, -1, self.input_size)
        if state is None:
            state = self.initial_state(hidden.shape[1], hidden.device)
        hidden, state = self.run(hidden, state, starts)
        actions, value = self.policy.decode_actions(hidden.flatten(0, 1), *lookup)
        return actions, value, state


class LSTMWrapper(RecurrentWrapper):
    """A policy with an LSTM (Hochreiter and Schmidhuber 1997); arguments of `RecurrentWrapper`."""

    def __init__(
        self,
        env: Any,
        policy: Any,
        input_size: int | None = None,
        hidden_size: int | None = None,
    ) -> None:
        super().__init__(env, policy, input_size, hidden_size)
        self.recurrent = nn.LSTM(self.input_size, self.hidden_size)
        for name, parameter in self.recurrent.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
            else:
                nn.init.orthogonal_(parameter)

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> State:
        """Return the hidden and the cell state: two tensors of zeros `(1, batch, hidden_size)`."""
        zeros = torch.zeros(1, batch, self.hidden_size, device=device)
        return zeros, zeros.clone()

    def run(self, inputs: Tensor, state: State, starts: Tensor | None) -> tuple[Tensor, State]:
        """Run over time in the longest pieces in which no episode of the batch starts."""
        # torch has no LSTM of bfloat16 whose gradients it knows on a CPU.
        with torch.autocast(inputs.device.type, enabled=False):
            inputs = inputs.float()
            if starts is None:
                last: tuple[Tensor, State] = self.recurrent(inputs, state)
                return last
            cuts = [0, *self._places(starts), len(starts)]
            outputs = []
            for first, end in itertools.pairwise(cuts):
                alive = (~starts[first]).to(inputs.dtype).view(1, -1, 1)
                state = tuple(s * alive for s in state)
                output, state = self.recurrent(inputs[first:end], state)
                outputs.append(output)
            return torch.cat(outputs), state

    @staticmethod
    def _places(starts: Tensor) -> Iterable[int]:
        """Return where to cut time: where episodes start; on GPUs, which a look stops, anywhere."""
        if starts.device.type == "cuda":
            return range(1, len(starts))
        places: list[int] = (starts[1:].any(1).nonzero().flatten() + 1).tolist()
        return places


class MinGRUWrapper(RecurrentWrapper):
    """A policy with `MinGRU`; arguments of `RecurrentWrapper`."""

    def __init__(
        self,
        env: Any,
        policy: Any,
        input_size: int | None = None,
        hidden_size: int | None = None,
    ) -> None:
        super().__init__(env, policy, input_size, hidden_size)
        same = self.input_size == self.hidden_size
        self.widen = nn.Identity() if same else nn.Linear(self.input_size, self.hidden_size)
        self.recurrent = MinGRU(self.hidden_size)

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> State:
        """Return one tensor of zeros `(1, batch, hidden_size)`."""
        return (torch.zeros(1, batch, self.hidden_size, device=device),)

    def run(self, inputs: Tensor, state: State, starts: Tensor | None) -> tuple[Tensor, State]:
        """Run over all of time at once."""
        output, last = self.recurrent(self.widen(inputs), state[0][0], starts)
        return output, (last.unsqueeze(0),)


class MinGRU(nn.Module):
    """A gated recurrent unit whose gates see the input only, and a highway around it.

        f = sigmoid(W_f x),  h_t = (1 - f) h_{t-1} + f W_u x
        p = sigmoid(W_p x),  y_t = (1 - p) x + p h_t

    Without the old state in the gates h is a linear recurrence, which runs over all of time at
    once (Feng et al. 2024, Were RNNs all we needed?, arXiv 2410.01201; highway of Srivastava et
    al. 2015, arXiv 1505.00387). Units begin with memories of 1 to `horizon` steps (Tallec and
    Ollivier 2018, arXiv 1804.11188).

    Args:
        size: width of input, state and output.
        horizon: the longest memory at the start, in steps.
    """

    def __init__(self, size: int, horizon: int = 64) -> None:
        super().__init__()
        self.candidate = layer_init(nn.Linear(size, size), std=1.0)
        self.gates = layer_init(nn.Linear(size, 2 * size), std=1.0)
        lengths = torch.linspace(1.0, float(horizon), size)
        with torch.no_grad():
            self.gates.bias[:size] = -lengths.log()  # type: ignore[operator]

    def forward(
        self, inputs: Tensor, state: Tensor, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs `(time, batch, size)` and the last state `(batch, size)`.

        Args:
            inputs: `(time, batch, size)`.
            state: `(batch, size)`, before the first step.
            starts: `(time, batch)` bool, the state is zeroed before these steps; None: nowhere.
        """
        gate, share = torch.sigmoid(self.gates(inputs).float()).chunk(2, -1)
        keep = 1 - gate
        if starts is not None:
            keep = keep * (~starts).unsqueeze(-1)
        states = linear_scan(keep, gate * self.candidate(inputs).float(), state)
        return torch.lerp(inputs.float(), states, share), states[-1]
