"""PufferEnv: the native environment contract. Write in place, hold many agents, reset yourself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from puffer.core.buffers import Buffers
from puffer.core.errors import UsageError
from puffer.core.spaces import (
    Box,
    FlatActionSpace,
    check_action_space,
    check_observation_space,
    joint_space,
)

if TYPE_CHECKING:
    from puffer.core.layout import Emulated

Infos = list[dict[str, Any]]
StepResult = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Infos]


class PufferEnv:
    """Base of environments that write many agents' data into buffers which they are given.

    A subclass sets `single_observation_space`, `single_action_space` and `num_agents`, then calls
    `super().__init__(buf)`. Its `reset` and `step` write into `self.observations`, `self.rewards`,
    `self.terminals`, `self.truncations` and `self.masks` in place and return those same arrays,
    which the next call overwrites. The step that ends an episode returns that step's reward and
    flags with the first observation of the next episode; if `self.final_observations` is not None,
    it receives the last observation of the one that ended.

    Subclasses whose native code keeps pointers to the arrays accept `buf` in their constructor, or
    override `attach`.
    """

    can_fill_final_observations: ClassVar[bool] = False
    can_fill_action_masks: ClassVar[bool] = False
    can_save_state: ClassVar[bool] = False  # `state` and `set_state` work
    validates_actions: ClassVar[bool] = False  # `step` itself refuses actions outside the space
    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    single_observation_space: Box
    single_action_space: FlatActionSpace
    num_agents: int
    render_mode: str | None = None
    emulated: Emulated | None = None  # set on emulated environments only

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    truncations: np.ndarray
    masks: np.ndarray
    final_observations: np.ndarray | None
    action_masks: np.ndarray | None

    def __init__(self, buf: Buffers | None = None) -> None:
        name = type(self).__name__
        for attribute in ("single_observation_space", "single_action_space", "num_agents"):
            if not hasattr(self, attribute):
                raise UsageError(f"{name} must set self.{attribute} before super().__init__(buf)")
        check_observation_space(self.single_observation_space, name)
        check_action_space(self.single_action_space, name)
        if not isinstance(self.num_agents, int | np.integer) or self.num_agents < 1:
            raise UsageError(f"{name}.num_agents={self.num_agents!r}: expected an integer >= 1")
        self.observation_space = joint_space(self.single_observation_space, self.num_agents)
        self.action_space = joint_space(self.single_action_space, self.num_agents)
        fields = Buffers.fields(
            self.single_observation_space, self.single_action_space, self.num_agents
        )
        self.attach(buf or Buffers.allocate(fields))

    @property
    def num_simulations(self) -> int:
        """How many seeds this env uses: simulation k of a reset with seed s has seed s + k."""
        return self.num_agents

    @property
    def driver_env(self) -> Self:
        """The env itself, as vector environments have it."""
        return self

    def attach(self, buf: Buffers) -> None:
        """Make the arrays of `buf` the ones that this env writes; call `reset` afterwards."""
        buf.check(self, type(self).__name__)
        for name, array in buf.arrays().items():
            setattr(self, name, array)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin new episodes everywhere and return `(observations, infos)`.

        `seed=None` takes fresh entropy.
        """
        raise NotImplementedError(f"{type(self).__name__} must define reset(seed)")

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Advance every agent and return `(observations, rewards, terminals, truncations, infos)`.

        `infos` is a list of dicts, empty on most steps.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(actions)")

    def state(self) -> bytes:
        """Return all that decides what comes next: the simulations and their random streams.

        Raises:
            UsageError: this environment cannot (`can_save_state` is False).
        """
        raise UsageError(f"{type(self).__name__} cannot save its state: begin with reset(seed)")

    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned, of an env with the same options and size.

        `observations`, `masks` and `action_masks` are written as they were; rewards and flags are
        cleared. The same actions give the same results, bit by bit, as they gave after `state()`.

        Raises:
            UsageError: this environment cannot, or `state` was made by another one.
        """
        raise UsageError(f"{type(self).__name__} cannot restore a state: begin with reset(seed)")

    def render(self) -> Any:
        """Return what `render_mode` promises; None if the env draws nothing."""
        return None

    def close(self) -> None:
        """Release everything; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
