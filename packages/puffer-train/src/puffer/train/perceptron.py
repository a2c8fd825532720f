"""The shipped feed-forward policy outside torch: its forward pass, loss and gradients in C++.

torch goes over memory once for each of some hundred operations of a minibatch, and asks Python
before each. `cpp/perceptron.cpp` reads a row once and computes in the cache, on all cores. It knows
`Default` alone, on flat observations; whatever else a policy does stays with torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import record_function

from puffer.train import _native
from puffer.train.config import TrainConfig
from puffer.train.models import Default
from puffer.train.normalize import NormalizeObservations
from puffer.train.parallel import native_threads
from puffer.train.storage import Segments

Parts = dict[str, Tensor]
_DTYPES = (
    *(torch.float32, torch.float16, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32),
)


class Perceptron:
    """Computes what a `Default` policy would, from the weights that it has at each call.

    Use `of`, which knows whether it may.
    """

    def __init__(self, policy: Default, normalizer: NormalizeObservations | None) -> None:
        heads: Any = policy.heads
        encoder: Any = policy.encoder
        layers: list[Any] = [encoder, *heads.layers, policy.value_head]
        self.numbers: int = 0 if heads.shape is None else heads.mean.out_features
        if self.numbers:
            layers.insert(-1, heads.mean)
        self.heads, self.normalizer = heads, normalizer
        self.sizes = [layer.out_features for layer in layers[1:]]
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
            scale=policy.scale,
            threads=native_threads(),
        )

    @classmethod
    def of(cls, policy: nn.Module, segments: Segments, config: TrainConfig) -> Perceptron | None:
        """Return what computes `policy` on these `segments`, or None where torch has to."""
        if not config.native or config.precision != "float32":
            return None
        normalizer = policy if isinstance(policy, NormalizeObservations) else None
        inner: Any = policy if normalizer is None else normalizer.policy
        return cls(inner, normalizer) if _is_plain(policy, inner, segments) else None

    def forward(self, observations: Tensor) -> tuple[Any, Tensor]:
        """Return the policy's output and the values `(batch,)`, without gradients."""
        with record_function("puffer::forward"):
            outputs = self.native.forward(
                self.weights, observations.contiguous().numpy(), *self._normalization()
            )
        *parts, values = torch.split(torch.from_numpy(outputs), self.sizes, -1)
        return self.heads.describe(list(parts)), values.flatten()

    def gradients(
        self,
        segments: Segments,
        raw: Tensor,
        scaled: Tensor,
        agents: Tensor,
        weights: Tensor | None,
        config: TrainConfig,
    ) -> Parts:
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
        with record_function("puffer::gradients"):
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
                _native.Coefficients(
                    config.clip_coef, config.vf_coef, config.ent_coef, config.vf_clip_coef
                ),
            )
        for parameter, gradient in zip(self.parameters, self.gradients_of, strict=True):
            parameter.grad = gradient
        return dict(zip(_native.PART_NAMES, torch.tensor(sums), strict=True))

    def clip_gradients(self, most: float) -> float:
        """Scale the gradients down to a norm of `most` in all, and return what it was."""
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


def _is_plain(policy: nn.Module, inner: Any, segments: Segments) -> bool:
    """Whether nobody changed what a `Default` does, and `segments` are of its usual kinds."""
    if type(policy) not in (Default, NormalizeObservations) or type(inner) is not Default:
        return False
    if inner.dtype is not None or inner.heads.categorical:
        return False
    layers = [inner.encoder, inner.value_head, *inner.heads.layers]
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
