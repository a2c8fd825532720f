"""Parts of a minibatch on several threads give the gradient of the whole."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from puffer.core.spaces import Box
from puffer.train.parallel import MOST_PARTS, Crew, count_flops, replicate

SPACE = Box(-1, 1, (10,))


class Remembers(nn.Module):
    """Keeps its hidden layer on itself, as many people's networks do."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(10, 4)
        self.same = self.first
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        self.hidden = self.first(x) * self.scale
        return self.hidden


def test_a_replica_shares_weights_and_nothing_else():
    net = Remembers()
    twin = replicate(net)
    assert twin.same is twin.first is not net.first
    assert [*map(id, twin.parameters())] == [*map(id, net.parameters())]
    assert twin.scale is net.scale
    twin(torch.ones(3, 10))
    assert not hasattr(net, "hidden")
    twin.first.extra = nn.Linear(1, 1)
    assert len(list(net.parameters())) == 2
    assert len(list(nn.LSTM(3, 3).parameters())) == len(list(replicate(nn.LSTM(3, 3)).parameters()))


def test_results_come_in_order_from_several_threads():
    crew, both = Crew(parts=4, threads=2), threading.Barrier(2, timeout=30)

    def do(item):
        if item < 2:
            both.wait()  # passes only if two run at once
        return item, threading.current_thread(), torch.get_num_threads()

    items, threads, inside = zip(*crew.map(do, range(4)), strict=True)
    assert items == (0, 1, 2, 3)
    assert threading.current_thread() not in threads
    assert set(inside) == {1}


def test_an_error_in_a_part_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        Crew(parts=2, threads=2).map(lambda n: 1 // n, [1, 0])


@pytest.mark.parametrize(
    ("net", "minibatch", "parts"),
    [
        (nn.Linear(10, 4), 64, 1),
        (nn.Linear(10, 100_000), 128, 2),
        (nn.Linear(10, 100_000), 2**20, MOST_PARTS),
        (nn.Sequential(nn.Linear(10, 100_000), nn.Dropout()), 2**20, 1),
        (nn.Sequential(nn.Linear(10, 100_000), nn.BatchNorm1d(100_000)), 2**20, 1),
    ],
)
def test_parts_by_work(net, minibatch, parts):
    assert Crew.of(net.eval(), SPACE, minibatch, torch.device("cpu")).parts == parts


@pytest.mark.parametrize("in_place", [True, False])
def test_networks_that_change_their_buffers_are_left_whole(in_place):
    class Counts(nn.Linear):
        def __init__(self):
            super().__init__(10, 100_000)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            if in_place:
                self.calls += 1
            else:
                self.calls = self.calls + 1
            return super().forward(x)

    net = Counts()
    assert Crew.of(net, SPACE, 2**20, torch.device("cpu")).parts == 1
    assert float(net.calls) == 0


# Of the compiler's own making.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_compiled_networks_and_devices_are_left_whole():
    net = nn.Linear(10, 100_000)
    assert Crew.of(net, SPACE, 2**20, torch.device("meta")).parts == 1
    assert Crew.of(torch.compile(net), SPACE, 2**20, torch.device("cpu")).parts == 1
    net.compile()
    assert Crew.of(net, SPACE, 2**20, torch.device("cpu")).parts == 1


def test_flops_are_two_per_weight():
    assert count_flops(nn.Linear(10, 7), SPACE) == 2 * 10 * 7


FAULTS = """
import resource, sys
import torch
from puffer.train.allocator import keep_freed_memory

agreed = "keep" in sys.argv and keep_freed_memory()
for count in range(60):
    if count == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2_000_000 + 100_000 * (count % 10))
print(agreed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_freed_memory_is_kept():
    def run(*words):
        command = [sys.executable, "-c", FAULTS, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    _, without = run()
    agreed, faults = run("keep")
    assert agreed == "True"
    assert int(faults) < 200 < int(without)
