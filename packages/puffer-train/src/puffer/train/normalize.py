"""Running means and deviations: of observations, as part of a policy, and of returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.core.errors import UsageError

EPSILON = 1e-8


class RunningMoments(nn.Module):
    """Mean and variance of all that was observed, as buffers, so that checkpoints hold them.

    Batches are merged as in Chan, Golub and LeVeque 1979 (STAN-CS-79-773).
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def observe(self, batch: Tensor) -> None:
        """Add `batch` `(rows, *shape)`."""
        rows = len(batch)
        if not rows:
            return
        batch = batch.float()
        mean, variance = batch.mean(0), batch.var(0, correction=0)
        share = rows / (self.count + rows)
        step = mean - self.mean
        self.mean += step * share
        spread = step.square() * share * (1 - share)
        self.variance.mul_(1 - share).add_(variance * share + spread)
        self.count += rows

    @property
    def deviation(self) -> Tensor:
        """The standard deviation `shape`; 1 before anything was observed."""
        return (self.variance + EPSILON).sqrt()


class NormalizeObservations(nn.Module):
    """A policy whose observations have mean 0 and deviation 1 as far as was seen, within +-`clip`.

    What is seen changes only between two updates (the trainer calls `observe`), so that an update
    sees the numbers that actions were chosen by.

    Args:
        env: anything with a `single_observation_space` of numbers.
        policy: any policy; with `encode_observations` and `decode_actions` it can be wrapped on.
        clip: far outliers are cut off there.

    Raises:
        UsageError: structured observations, whose rows are bytes.
    """

    def __init__(self, env: Any, policy: Any, clip: float = 10.0) -> None:
        super().__init__()
        space = env.single_observation_space
        structured = env.emulated is not None and not env.emulated.observation.is_array
        if structured and space.dtype == np.uint8:
            raise UsageError(
                "policy.norm_observations: these observations are structured, rows of bytes: "
                "normalize their leaves in a policy of your own"
            )
        self.policy = policy
        self.clip = clip
        self.moments = RunningMoments(space.shape)

    @property
    def hidden_size(self) -> int:
        """The policy's."""
        size: int = self.policy.hidden_size
        return size

    def observe(self, observations: Tensor) -> None:
        """Add `observations` `(rows, *shape)` to what was seen."""
        self.moments.observe(observations)

    def normalize(self, observations: Tensor) -> Tensor:
        """Return `observations` float32, normalized."""
        moments = self.moments
        return ((observations - moments.mean) / moments.deviation).clamp(-self.clip, self.clip)

    def forward(self, observations: Tensor, *rest: Any) -> Any:
        """Return what the policy makes of the normalized observations."""
        return self.policy(self.normalize(observations), *rest)

    def encode_observations(self, observations: Tensor) -> Any:
        """Return the policy's encoding of the normalized observations."""
        return self.policy.encode_observations(self.normalize(observations))

    def decode_actions(self, *encoding: Any) -> Any:
        """Return the policy's actions and values."""
        return self.policy.decode_actions(*encoding)


class ReturnScaler(nn.Module):
    """The deviation of discounted returns, by which rewards are divided.

    As in Engstrom et al. 2020 (Implementation matters in deep policy gradients, arXiv 2005.12729)
    and Gymnasium's NormalizeReward: the sum of discounted rewards so far, reset where episodes
    end; rewards are not centred.
    """

    sums: Tensor

    def __init__(self, num_agents: int) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(num_agents))
        self.moments = RunningMoments()

    @torch.no_grad()
    def observe(self, rewards: Tensor, ends: Tensor, valid: Tensor, gamma: float) -> Tensor:
        """Add transitions `(T, N)` and return the deviation of the returns so far, a scalar."""
        returns = torch.empty_like(rewards)
        for t in range(len(rewards)):
            self.sums.mul_(gamma).add_(rewards[t]).mul_(valid[t])
            returns[t] = self.sums
            self.sums.mul_(~ends[t])
        self.moments.observe(returns[valid])
        return self.moments.deviation
