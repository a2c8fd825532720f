"""Episode statistics."""

from __future__ import annotations

import math

import numpy as np

from puffer.core.stats import episode_info, mean_infos


def test_an_episode_info_has_the_common_keys() -> None:
    info = episode_info(3.0, 7)
    assert math.isnan(info.pop("perf"))
    assert info == {"score": 3.0, "episodes": 1, "episode_return": 3.0, "episode_length": 7}


def test_an_environment_brings_its_own_score_but_not_its_own_count() -> None:
    info = episode_info(3.0, 7, {"score": 10, "perf": 0.5, "episode_length": 99, "won": True})
    assert info["score"] == 10
    assert info["perf"] == 0.5
    assert info["episode_length"] == 7
    assert info["won"] is True


def test_means_are_weighted_by_episodes() -> None:
    infos = [
        {"episodes": 1, "episode_return": 1.0, "agent_id": 5},
        {"episodes": 3, "episode_return": 5.0, "extra": np.float32(2.0)},
        {"other": 4.0},
    ]
    assert mean_infos(infos) == {"episodes": 4.0, "episode_return": 4.0, "extra": 2.0}


def test_what_is_no_finite_number_is_passed_over() -> None:
    infos = [
        {"episodes": 1, "perf": math.nan, "name": "a", "flag": True, "list": [1]},
        {"episodes": 1, "perf": 0.5},
        {"episodes": 0, "perf": 9.0},
    ]
    assert mean_infos(infos) == {"episodes": 2.0, "perf": 0.5}
    assert mean_infos([]) == {"episodes": 0.0}
