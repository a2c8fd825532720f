"""The example that writes Squared in Python keeps the contract and the rules of the native one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium

from puffer.core.testing import check_env
from puffer.ocean import Squared

EXAMPLE = Path(__file__).parents[3] / "examples" / "pysquared"
pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not here")


@pytest.fixture
def pysquared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of the example."""
    monkeypatch.syspath_prepend(EXAMPLE)
    return __import__("pysquared")


def test_it_keeps_the_contracts(pysquared: Any) -> None:
    check_env(lambda buf=None: pysquared.PySquared(num_envs=8, size=5, buf=buf))
    check_gymnasium(pysquared.GymSquared(), skip_render_check=True)


def test_it_plays_by_the_rules_of_the_native_one(pysquared: Any) -> None:
    """Given the same targets, both do the same until their episodes end."""
    rng = np.random.default_rng(0)
    with Squared(64) as env:
        python, single = pysquared.PySquared(64), pysquared.GymSquared()
        for seed in range(5):
            observations, _ = env.reset(seed)
            python.reset(seed)
            python.observations[:] = observations
            python.target[:] = (observations == 2).argmax(axis=1)
            single.reset(seed=seed)
            single.target = int(python.target[0])
            alive = np.ones(64, bool)
            for _ in range(env.max_steps):
                actions = rng.integers(0, 5, 64)
                expected = env.step(actions)[:4]
                given = python.step(actions)[:4]
                for mine, theirs in zip(given[1:], expected[1:], strict=True):
                    np.testing.assert_array_equal(mine[alive], theirs[alive])
                if alive[0]:
                    assert single.step(actions[0])[1:4] == tuple(row[0] for row in expected[1:])
                alive &= ~(expected[2] | expected[3])
                np.testing.assert_array_equal(given[0][alive], expected[0][alive])
            assert not alive.any()
