"""Policies behind the interface of CleanRL's scripts: `get_value`, `get_action_and_value`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from puffer.train import actions as act


class Policy(nn.Module):
    """A feed-forward policy as CleanRL's scripts call it."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def get_value(self, x: Tensor) -> Tensor:
        """Return values `(batch, 1)`."""
        value: Tensor = self.policy(x)[1]
        return value

    def get_action_and_value(
        self, x: Tensor, action: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return actions, their log-probabilities, entropies and values.

        Actions are drawn unless given.
        """
        output, value = self.policy(x)
        return (*_choose(output, action), value)


class RecurrentPolicy(nn.Module):
    """A recurrent policy as CleanRL's scripts call it; the state is passed along."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def get_value(self, x: Tensor, state: Any = None) -> Tensor:
        """Return values `(batch, 1)`."""
        value: Tensor = self.policy(x, state)[1]
        return value

    def get_action_and_value(
        self, x: Tensor, state: Any = None, action: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Any]:
        """Return actions, their log-probabilities, entropies, values and the new state."""
        output, value, state = self.policy(x, state)
        return (*_choose(output, action), value, state)


def _choose(output: Any, action: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if action is None:
        action = act.sample(output)[0]
    log_prob, entropy = act.evaluate(output, action)
    return action, log_prob, entropy
