"""Episode statistics: what every environment reports in `infos`, and how to average it.

An info has `episodes` (its weight), `episode_return`, `episode_length`, `score` (the number that
the environment's authors compare agents by) and `perf` (score mapped to 0..1, NaN if unknown).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

KEYS = ("episode_return", "episode_length", "score", "perf")


def episode_info(
    episode_return: float, episode_length: int, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the info of one finished episode; `extra` may bring its own `score` and `perf`."""
    return {
        "score": episode_return,
        "perf": math.nan,
        **(extra or {}),
        "episodes": 1,
        "episode_return": episode_return,
        "episode_length": episode_length,
    }


def mean_infos(infos: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means over episodes of every numeric key, and `episodes`, their number.

    Infos without `episodes` carry no statistics and are passed over. A key that some infos lack
    (or give as NaN) is averaged over those that have it.
    """
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    episodes = 0.0
    for info in infos:
        weight = float(info.get("episodes", 0))
        episodes += weight
        for key, value in info.items():
            if key in ("episodes", "agent_id") or not _is_number(value) or weight <= 0:
                continue
            sums[key] = sums.get(key, 0.0) + weight * float(value)
            weights[key] = weights.get(key, 0.0) + weight
    return {"episodes": episodes, **{key: sums[key] / weights[key] for key in sums}}


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | str | bytes):
        return False
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
