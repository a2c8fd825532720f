"""The shipped policies outside torch: their forward pass, loss and gradients in C++.

torch goes over memory once for each of some hundred operations of a minibatch, and asks Python
before each. `cpp/perceptron.cpp` reads a row once and computes in the cache, on all cores. It knows
`Default`, on flat observations, alone or with a `MinGRU`; whatever else a policy does stays with
torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.train import _native
from puffer.train.config import TrainConfig
from puffer.train.models import Default
from puffer.train.models.recurrent import MinGRU, MinGRUWrapper
from puffer.train.normalize import NormalizeObservations
from puffer.train.parallel import native_threads
from puffer.train.span import span
from puffer.train.storage import Segments, State

_DTYPES = (
    *(torch.float32, torch.float16, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32),
)


class Perceptron:
    """Computes what a `Default` policy would, from the weights that it has at each call.

    Use `of`, which knows whether it may.

    Args:
        policy: without what it is wrapped in.
        normalizer: of its observations.
        cell: remembers, between its hidden layer and its heads.
    """

    def __init__(
        self, policy: Default, normalizer: NormalizeObservations | None, cell: MinGRU | None
    ) -> None:
        heads: Any = policy.heads
        encoder: Any = policy.encoder
        gates: Any = [] if cell is None else [cell.candidate, cell.gates]
        layers: list[Any] = [encoder, *gates, *heads.layers, policy.value_head]
        self.numbers: int = 0 if heads.shape is None else heads.mean.out_features
        if self.numbers:
            layers.insert(-1, heads.mean)
        self.heads, self.normalizer, self.memory = heads, normalizer, cell is not None
        self.sizes = [layer.out_features for layer in layers[1 + len(gates) :]]
        self.parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
        if self.numbers:
            self.parameters.append(heads.log_std)
        self.weights = [_array(p) for p in self.parameters]
        self.gradients_of = [torch.zeros_like(p) for p in self.parameters]
        self.gradient_arrays = [_array(g) for g in self.gradients_of]
        self.native = _native.Perceptron(
            inputs=encoder.in_features,
            hidden=encoder.out_features,
            categories=[layer.out_features for layer in heads.layers],
            numbers=self.numbers,
            memory=self.memory,
            scale=policy.scale,
            threads=native_threads(),
        )

    @classmethod
    def of(cls, policy: nn.Module, segments: Segments, config: TrainConfig) -> Perceptron | None:
        """Return what computes `policy` on these `segments`, or None where torch has to."""
        if not config.native or config.precision != "float32":
            return None
        wrapper: Any = policy if type(policy) is MinGRUWrapper else None
        rest: Any = policy if wrapper is None else wrapper.policy
        normalizer = rest if type(rest) is NormalizeObservations else None
        inner: Any = rest if normalizer is None else normalizer.policy
        cell = None if wrapper is None else wrapper.recurrent
        if not _is_plain(policy, inner, wrapper, segments):
            return None
        return cls(inner, normalizer, cell)

    def forward(
        self, observations: Tensor, state: State, starts: Tensor | None
    ) -> tuple[Any, Tensor, State]:
        """Return the policy's output, the values `(batch,)` and the state, without gradients.

        Args as of `puffer.train.rollout.forward`.
        """
        with span("puffer::forward"):
            outputs, after = self.native.forward(
                self.weights,
                observations.contiguous().numpy(),
                *self._normalization(),
                state[0].contiguous().numpy() if self.memory else None,
                starts.contiguous().numpy() if self.memory and starts is not None else None,
            )
        *parts, values = torch.from_numpy(outputs).split_with_sizes(self.sizes, -1)
        state = (torch.from_numpy(after).unsqueeze(0),) if self.memory else ()
        return self.heads.describe(list(parts)), values.flatten(), state

    def gradients(
        self,
        segments: Segments,
        raw: Tensor,
        scaled: Tensor,
        agents: Tensor,
        weights: Tensor | None,
        config: TrainConfig,
    ) -> dict[str, float]:
        """Give the parameters the gradients of the minibatch `agents`; return its loss's parts.

        The result does not depend on the number of cores.

        Args:
            segments: their `ratios` are written if V-trace is on.
            raw: `(horizon, len(agents))`, advantages.
            scaled: of the same shape, what the policy learns from.
            agents: `(n,)` int64.
            weights: `(horizon, n)`, adding up to 1; None: all transitions count alike.
            config: the coefficients of the loss.
        """
        numbers = bool(self.numbers)
        masks = segments.action_masks
        with span("puffer::gradients"):
            sums = self.native.gradients(
                self.weights,
                self.gradient_arrays,
                segments.observations.numpy(),
                *self._normalization(),
                agents.numpy(),
                None if numbers else segments.actions.numpy(),
                segments.actions.numpy() if numbers else None,
                None if masks is None else masks.numpy(),
                segments.log_probs.numpy(),
                segments.values.numpy(),
                segments.ratios.numpy() if config.uses_vtrace else None,
                raw.contiguous().numpy(),
                scaled.contiguous().numpy(),
                None if weights is None else weights.contiguous().numpy(),
                segments.state[0].numpy() if self.memory else None,
                segments.starts.numpy() if self.memory else None,
                _native.Coefficients(
                    config.clip_coef, config.vf_coef, config.ent_coef, config.vf_clip_coef
                ),
            )
        for parameter, gradient in zip(self.parameters, self.gradients_of, strict=True):
            parameter.grad = gradient
        return dict(zip(_native.PART_NAMES, sums, strict=True))

    def clip_gradients(self, most: float) -> float:
        """Scale the gradients down to a norm of `most` in all, and return what it was."""
        with span("puffer::clip"):
            return _native.clip_norm(self.gradient_arrays, most)

    def _normalization(self) -> tuple[np.ndarray | None, np.ndarray | None, float]:
        if self.normalizer is None:
            return None, None, 0.0
        moments = self.normalizer.moments
        return moments.mean.numpy(), moments.deviation.numpy(), self.normalizer.clip


def _array(tensor: Tensor) -> np.ndarray:
    """Return the numbers of a tensor, not a copy of them."""
    array: np.ndarray = tensor.detach().numpy()
    return array


def _is_plain(policy: nn.Module, inner: Any, wrapper: Any, segments: Segments) -> bool:
    """Whether nobody changed what a `Default` does, and `segments` are of its usual kinds.

    Args:
        policy: all of it.
        inner: the `Default` in it, if it is one.
        wrapper: what has the cell in which it is wrapped, if it is.
        segments: that are learned from.
    """
    shipped = (Default, NormalizeObservations, MinGRUWrapper)
    if type(policy) not in shipped or type(inner) is not Default:
        return False
    if inner.dtype is not None or inner.heads.categorical:
        return False
    layers = [inner.encoder, inner.value_head, *inner.heads.layers]
    if wrapper is not None:
        cell = wrapper.recurrent
        if type(wrapper.widen) is not nn.Identity or type(cell) is not MinGRU:
            return False
        if wrapper.hidden_size != inner.hidden_size:
            return False
        layers += [cell.candidate, cell.gates]
    if any(type(layer) is not nn.Linear or layer.bias is None for layer in layers):
        return False
    numbers = inner.heads.shape is not None
    return (
        not any(_is_changed(module) for module in policy.modules())
        and all(_is_trained(p) for p in policy.parameters())
        and segments.observations.dtype in _DTYPES
        and segments.actions.dtype == (torch.float32 if numbers else torch.int32)
    )


def _is_changed(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        "forward" in vars(module)
        or module._compiled_call_impl is not None
        or any(getattr(module, name) for name in hooks)
    )


def _is_trained(p: nn.Parameter) -> bool:
    return (
        p.requires_grad
        and p.is_contiguous()
        and not p._backward_hooks
        and (p.device.type, p.dtype) == ("cpu", torch.float32)
    )
