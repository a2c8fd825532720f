# What cpp/module.cpp defines.
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

PART_NAMES: list[str]

class Coefficients:
    def __init__(
        self, clip: float, value: float, entropy: float, value_clip: float | None
    ) -> None: ...

def adam_step(
    weights: Sequence[Array],
    gradients: Sequence[Array],
    means: Sequence[Array],
    squares: Sequence[Array],
    count: float,
    rate: float,
    mean_decay: float,
    square_decay: float,
    epsilon: float,
) -> None: ...
def clip_norm(arrays: Sequence[Array], most: float) -> float: ...

class Threads:
    size: int
    def __init__(self, size: int) -> None: ...

class Muon:
    def __init__(self, threads: Threads) -> None: ...
    def step(
        self,
        weights: Sequence[Array],
        gradients: Sequence[Array],
        momenta: Sequence[Array],
        rate: float,
        decay: float,
    ) -> None: ...

class Perceptron:
    level: str
    def __init__(
        self,
        inputs: int,
        hidden: int,
        categories: Sequence[int],
        numbers: int,
        memory: bool,
        scale: float,
        threads: Threads,
    ) -> None: ...
    def forward(
        self,
        weights: Sequence[Array],
        observations: Array,
        mean: Array | None,
        deviation: Array | None,
        clip: float,
        state: Array | None,
        starts: Array | None,
    ) -> tuple[Array, Array]: ...
    def gradients(
        self,
        weights: Sequence[Array],
        gradients: Sequence[Array],
        observations: Array,
        mean: Array | None,
        deviation: Array | None,
        clip: float,
        agents: Array,
        actions: Array | None,
        numbers: Array | None,
        masks: Array | None,
        log_probs: Array,
        values: Array,
        ratios: Array | None,
        advantages: Array,
        scaled: Array,
        weights_of_rows: Array | None,
        state: Array | None,
        starts: Array | None,
        coefficients: Coefficients,
    ) -> list[float]: ...
