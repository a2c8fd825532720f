"""Sanity environments in plain Python, which reach the trainer through emulation on purpose.

The native ones of the suite stand beside the games in `puffer.ocean.envs`.
"""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import tomllib

from puffer.core.registry import EnvFamily, EnvSpec, Option

_CLASSES = {
    "puffer_multiagent": "Multiagent",
    "puffer_performance": "Performance",
    "puffer_performance_empiric": "PerformanceEmpiric",
    "puffer_spaces": "Spaces",
}


def _load(name: str) -> EnvSpec:
    """Return what `name` stands for; a class lists the help of its options as `HELP`."""
    folder = name.removeprefix("puffer_")
    module = f"{__name__}.{folder}"
    env_class = getattr(importlib.import_module(module), _CLASSES[name])
    defaults = inspect.signature(env_class).parameters
    settings = importlib.resources.files(module) / f"{folder}.toml"
    baseline = importlib.resources.files(module) / f"{folder}.safetensors"
    return EnvSpec(
        name=name,
        creator=env_class,
        options=tuple(
            Option(key, defaults[key].default, env_class.HELP[key]) for key in env_class.HELP
        ),
        settings=tomllib.loads(settings.read_text("utf-8")),
        baseline=str(baseline) if baseline.is_file() else None,
        help=(inspect.getdoc(env_class) or "").partition("\n")[0],
    )


family = EnvFamily(ids=tuple(_CLASSES), load=_load)
