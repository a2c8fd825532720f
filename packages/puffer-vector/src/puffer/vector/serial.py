"""Serial: all environments in this process, one after another. It defines the semantics."""

from __future__ import annotations

import numpy.typing as npt

from puffer.vector.inprocess import InProcess


class Serial(InProcess):
    """All environments in this process, one after another.

    Args:
        recipes: one per environment.
        copy: return new arrays each time, which the caller may keep.
        final_observations: whether to allocate `final_observations`, for the environments to fill;
            None: if they can.
        action_masks: whether to allocate `action_masks`, for the environments to fill;
            None: if they can.

    Raises:
        UsageError: environments that differ in spaces or agents, or cannot fill what is asked.
    """

    def send(self, actions: npt.ArrayLike) -> None:
        """Step every environment; `recv` gives what came of it."""
        if self._phase != "send":
            self._refuse("send")
        self._write_actions(actions)
        self._phase = "reset"  # stays so if an environment raises
        self._infos = self._group.step()
        self._phase = "recv"
