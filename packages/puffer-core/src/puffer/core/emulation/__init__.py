"""Emulation: any Gymnasium or PettingZoo environment, flat and regular, with nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

from puffer.core.buffers import Buffers
from puffer.core.emulation.single import GymnasiumPufferEnv as GymnasiumPufferEnv
from puffer.core.emulation.vector import GymnasiumVectorPufferEnv as GymnasiumVectorPufferEnv
from puffer.core.env import PufferEnv
from puffer.core.errors import UsageError

if TYPE_CHECKING:
    from puffer.core.emulation.multi import PettingZooPufferEnv as PettingZooPufferEnv

    EmulatedEnv = PufferEnv | GymnasiumPufferEnv | PettingZooPufferEnv

__all__ = ["GymnasiumPufferEnv", "GymnasiumVectorPufferEnv", "PettingZooPufferEnv", "emulate"]


def __getattr__(name: str) -> Any:
    # Deferred, because it imports PettingZoo where that is installed.
    if name == "PettingZooPufferEnv":
        from puffer.core.emulation.multi import PettingZooPufferEnv

        return PettingZooPufferEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def emulate(env: Any, buf: Buffers | None = None) -> EmulatedEnv:
    """Return `env` as an environment with flat rows, wrapped if need be.

    Args:
        env: an instance: a `gymnasium.Env` or `gymnasium.vector.VectorEnv`, a PettingZoo
            environment, or one that is flat already, which comes back unchanged.
        buf: if given, the arrays that the environment shall write.

    Raises:
        UsageError: `env` is none of these.
    """
    if isinstance(env, PufferEnv | GymnasiumPufferEnv):
        emulated: Any = env
    elif isinstance(env, gymnasium.Env):
        return GymnasiumPufferEnv(env, buf=buf)
    elif isinstance(env, gymnasium.vector.VectorEnv):
        return GymnasiumVectorPufferEnv(env, buf)
    elif hasattr(env, "possible_agents") and not isinstance(env, type):
        from puffer.core.emulation.multi import PettingZooPufferEnv

        if not isinstance(env, PettingZooPufferEnv):
            return PettingZooPufferEnv(env, buf=buf)
        emulated = env
    else:
        raise UsageError(
            f"{env!r} is no environment: expected an instance of puffer.core.PufferEnv, "
            "gymnasium.Env or a PettingZoo environment (old Gym ones need "
            "puffer.core.wrappers.GymToGymnasium)"
        )
    if buf is not None:
        emulated.attach(buf)
    return emulated  # type: ignore[no-any-return]
