"""Vector environments under the interfaces of others: Gymnasium's and Stable-Baselines3's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gymnasium.vector import AutoresetMode

from puffer.core.errors import MissingPackageError
from puffer.vector.adapters.gymnasium import GymnasiumVecEnv
from puffer.vector.protocol import VectorEnv

if TYPE_CHECKING:
    from puffer.vector.adapters.sb3 import SB3VecEnv

__all__ = ["GymnasiumVecEnv", "to_gymnasium", "to_sb3"]


def to_gymnasium(
    vecenv: VectorEnv,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    flat: bool = False,
    copy: bool = True,
) -> GymnasiumVecEnv:
    """Return `vecenv` as a `gymnasium.vector.VectorEnv`.

    Args:
        vecenv: made by `puffer.vector.make` with `final_observations=True` (NEXT_STEP needs none),
            and without a `batch_size` below `num_envs`. It belongs to the result, which closes it.
        autoreset_mode: SAME_STEP, or NEXT_STEP, Gymnasium's default, for Gymnasium environments.
        flat: show the flat spaces of emulation, instead of the environments' own.
        copy: return new arrays; otherwise those of `vecenv`, which the next step overwrites.

    Raises:
        UsageError: `vecenv` was made in another way, or cannot follow the mode.
    """
    return GymnasiumVecEnv(vecenv, autoreset_mode=autoreset_mode, flat=flat, copy=copy)


def to_sb3(vecenv: VectorEnv, *, flat: bool = False) -> SB3VecEnv:
    """Return `vecenv` as a `stable_baselines3.common.vec_env.VecEnv`.

    Args:
        vecenv: made by `puffer.vector.make` with `final_observations=True`, and without a
            `batch_size` below `num_envs`. It belongs to the result, which closes it.
        flat: show the flat spaces of emulation, instead of the environments' own.

    Raises:
        UsageError: `vecenv` was made in another way.
        MissingPackageError: Stable-Baselines3 is not installed.
    """
    try:
        from puffer.vector.adapters.sb3 import SB3VecEnv
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "stable_baselines3":
            raise
        raise MissingPackageError(
            'to_sb3 needs Stable-Baselines3: pip install "puffer-vector[sb3]"'
        ) from error
    return SB3VecEnv(vecenv, flat=flat)
