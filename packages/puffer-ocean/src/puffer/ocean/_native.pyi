# What sdk/module.cpp defines; each extension of `puffer_add_envs` has the same, see extension.py.
from collections.abc import Mapping
from typing import Any

import numpy as np

from puffer.ocean.extension import OptionValue

Array = np.ndarray[Any, np.dtype[Any]]
Step = tuple[Array, Array, Array, Array, list[dict[str, Any]]]

__puffer_protocol__: int

def names() -> list[str]: ...
def describe(name: str) -> dict[str, Any]: ...

class Engine:
    spec: dict[str, Any]
    num_threads: int
    kernel: str
    def __init__(
        self,
        name: str,
        num_envs: int,
        num_threads: int,
        report_interval: int,
        options: Mapping[str, OptionValue],
        kernel: str = "auto",
    ) -> None: ...
    def bind(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        terminals: Array,
        truncations: Array,
        masks: Array,
        final_observations: Array | None,
        action_masks: Array | None,
        action_space: Any,
    ) -> None: ...
    def reset(self, seed: int) -> None: ...
    def step(self, actions: Any) -> Step: ...
    def step_async(self, actions: Any) -> None: ...
    def wait(self) -> Step: ...
    def drain(self) -> list[dict[str, Any]]: ...
    def vary(self, option: str, values: Array) -> None: ...
    def state(self) -> bytes: ...
    def set_state(self, state: bytes) -> None: ...
    def draw(self, simulation: int) -> dict[str, Any]: ...
    def close(self) -> None: ...
