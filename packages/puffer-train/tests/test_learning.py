"""The sanity suite is learned, each environment with the settings that it ships."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[3] / "benchmarks" / "bench_learn.py"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="the benchmarks are not in this folder")


@pytest.fixture(scope="module")
def bench():
    """Return benchmarks/bench_learn.py, which knows the bars and how to reach them."""
    spec = importlib.util.spec_from_file_location("bench_learn", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "name",
    [
        "puffer_bandit",
        "puffer_memory",
        "puffer_multiagent",
        "puffer_password",
        "puffer_spaces",
        "puffer_squared_targets",
        "puffer_stochastic",
        "puffer_continuous",
    ],
)
def test_the_sanity_suite_is_learned(bench, name):
    score, _ = bench.learn(name, seed=0)
    assert score >= bench.BARS[name]


def test_every_bar_is_tested(bench):
    names = test_the_sanity_suite_is_learned.pytestmark[0].args[1]
    assert sorted(names) == sorted(bench.BARS)
