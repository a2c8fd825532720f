"""Binds the environments of a compiled extension: from C++ simulations to a `PufferEnv`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from puffer.core.buffers import Buffers
from puffer.core.env import Infos, PufferEnv, StepResult
from puffer.core.errors import UsageError
from puffer.ocean.extension import (
    RENDER_MODES,
    OptionValue,
    action_space,
    count,
    count_threads,
    load,
    observation_space,
    seed_or_entropy,
    values_for,
)

# Imported where they are used: who makes an env without pictures waits for none of it.
if TYPE_CHECKING:
    from pathlib import Path

    from puffer.core.registry import EnvFamily, EnvSpec, Option
    from puffer.ocean.render import Picture, Renderer

_COMMON_OPTIONS = {
    "num_envs": "simulations in this env",
    "report_interval": "steps between two infos of means; 0: one per episode",
    "num_threads": "threads that share the simulations; 0: as many as pay",
    "observation_dtype": "float32, or float16 for half the memory",
}


class _Described:
    """What the native code says of an environment: readable on the class and its instances."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get__(self, env: OceanEnv | None, env_class: type[OceanEnv]) -> bool:
        if not hasattr(env_class, "native_name"):
            return False  # a base class
        description = load(env_class.extension).describe(env_class.native_name)
        return bool(description[self._key])


class OceanEnv(PufferEnv):
    """Many simulations of one native environment, stepped by one call.

    A subclass names its `extension` and `native_name`, and gives its constructor the environment's
    options with their defaults. Every array is written in place by native code: copy what has to
    outlive the next step, and write nothing into `observations`, which may be kept incrementally.

    Attributes:
        extension: the module that `puffer_add_envs` made.
        native_name: the environment's name in it.
        keys: what a person plays with: pygame's name of a key -> action; that of `""` is taken when
            no key is down, and without it the game waits for one.
    """

    extension: ClassVar[str]
    native_name: ClassVar[str]
    keys: ClassVar[Mapping[str, Any]] = {}
    can_fill_final_observations = True
    can_fill_action_masks = _Described("masks")
    can_save_state = _Described("saves")
    validates_actions = True
    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES)}

    def __init__(
        self,
        num_envs: int,
        options: Mapping[str, OptionValue],
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int | str = 0,
        kernel: str = "auto",
        observation_dtype: str = "auto",
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` simulations with the environment's own `options`.

        Args:
            num_envs: simulations.
            options: name -> value of the environment's own options.
            render_mode: `rgb_array`, `human`, `ansi` or None.
            report_interval: steps between two infos, which give means over the episodes finished
                in between; 0 gives one info per finished episode, with its `agent_id`.
            num_threads: that share the simulations; 0 or `auto` measures in the first steps what
                pays. Results do not depend on it.
            kernel: `scalar`, an instruction set such as `x86-64-v3`, or `auto` for the best.
            observation_dtype: `float16` for observations that the environment computes in float32,
                rounded to the nearest, ties to even; `auto` leaves them as they are.
            buf: the arrays to write; None allocates them.

        Raises:
            UsageError: a value that the environment refuses.
        """
        extension = load(self.extension)
        name = type(self).__name__
        if render_mode is not None and not extension.describe(self.native_name)["draws"]:
            raise UsageError(f"render_mode={render_mode!r}: {name} draws nothing, use None")
        self._renderer = None if render_mode is None else _open_renderer(render_mode, name)
        self.render_mode = render_mode
        num_envs = count("num_envs", num_envs)
        self._engine = extension.Engine(
            self.native_name,
            num_envs,
            count_threads(num_threads),
            count("report_interval", report_interval),
            dict(options),
            kernel,
            observation_dtype,
        )
        spec = self._engine.spec
        self.single_observation_space = observation_space(spec)
        self.single_action_space = action_space(spec)
        self.num_agents = num_envs * spec["num_agents"]
        self.max_steps: int = spec["max_steps"]
        # An option may change the speed, so that the class cannot know it.
        self.metadata = {**self.metadata, "render_fps": spec["steps_per_second"]}  # type: ignore[misc]
        self._num_envs = num_envs
        super().__init__(buf)

    @property
    def num_simulations(self) -> int:
        """How many seeds this env uses: simulation k of a reset with seed s has seed s + k."""
        return self._num_envs

    def attach(self, buf: Buffers) -> None:
        """Make the arrays of `buf` the ones that this env writes; call `reset` afterwards.

        Raises:
            UsageError: an array of wrong shape or dtype, or not writeable contiguous memory.
        """
        super().attach(buf)
        self._engine.bind(**buf.arrays(), action_space=self.single_action_space)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin new episodes everywhere and return `(observations, infos)`.

        Raises:
            UsageError: a seed that is no integer from 0 to 2**63 - 1.
        """
        self._engine.reset(seed_or_entropy(seed))
        return self.observations, []

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Advance every simulation; see `PufferEnv.step`.

        Raises:
            ActionError: an action outside the space; no simulation has been stepped.
        """
        return self._engine.step(actions)  # type: ignore[no-any-return]

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Begin `step(actions)` in the background; `wait` must follow before any other call.

        With two envs that take turns, one is stepped while actions are chosen for the other. What
        the arrays of this env hold is undefined until `wait` returns.

        Raises:
            ActionError: an action outside the space; nothing has begun.
        """
        self._engine.step_async(actions)

    def wait(self) -> StepResult:
        """Return what `step` returns, when the step that `step_async` began has ended."""
        return self._engine.wait()  # type: ignore[no-any-return]

    def statistics(self) -> Infos:
        """Return the infos of episodes that no info has reported so far; nothing else changes."""
        return self._engine.drain()  # type: ignore[no-any-return]

    def vary(self, **options: npt.ArrayLike) -> None:
        """Give each simulation its own value of options, from its next episode on.

        Several options are set one after the other. Saved states hold what was set; only spaces
        and the number of agents have to stay the same.

        Args:
            options: name -> one value, or an array of one for each simulation.

        Raises:
            UsageError: values that the environment refuses, or that would change a space; nothing
                of that option has been set.
        """
        for option, values in options.items():
            self._engine.vary(option, values_for(option, values, self._num_envs))

    @property
    def num_threads(self) -> int:
        """Threads that share the simulations in the next step."""
        return self._engine.num_threads  # type: ignore[no-any-return]

    @property
    def kernel(self) -> str:
        """The compiled form in use: `scalar`, or the instruction set of a block."""
        return self._engine.kernel  # type: ignore[no-any-return]

    def state(self) -> bytes:
        """Return all that decides what comes next; see `PufferEnv.state`.

        Raises:
            ResetNeeded: no episode has begun.
            UsageError: the environment is neither trivially copyable nor has `save` and `load`.
        """
        return self._engine.state()  # type: ignore[no-any-return]

    def set_state(self, state: bytes) -> None:
        """Continue from what `state()` returned; see `PufferEnv.set_state`.

        The number of threads may differ. Bytes that are damaged, or of another environment, other
        options or another number of simulations, are refused and leave everything as it is.

        Raises:
            UsageError: the bytes are refused.
        """
        self._engine.set_state(bytes(state))

    def render(self, simulation: int = 0) -> Any:
        """Return what `render_mode` promises of one simulation: an array, a text, or None.

        `rgb_array` gives a new (height, width, 3) uint8 array, `ansi` a string, `human` shows a
        window and waits until the frame is due.
        """
        renderer = self._renderer or _open_renderer(None, type(self).__name__)
        return renderer.show(self.picture(simulation), self.metadata["render_fps"])

    def picture(self, simulation: int = 0) -> Picture:
        """Return the shapes of one simulation, whatever the render mode."""
        from puffer.ocean.render import Picture

        return Picture(**self._engine.draw(simulation))

    def close(self) -> None:
        """Release everything; calling it again does nothing, any other call is an error."""
        self._engine.close()
        if self._renderer is not None:
            self._renderer.close()


def _open_renderer(mode: str | None, owner: str) -> Renderer:
    from puffer.ocean.render import open_renderer

    return open_renderer(mode, owner)


def family(classes: Mapping[str, str], *, aliases: Mapping[str, str] | None = None) -> EnvFamily:
    """Return the registry's family of native environments.

    An id's options are those of its C++ `config_fields`; its training settings are read from the
    TOML file of its `native_name` beside the module of its class, and `.safetensors` there is its
    baseline, where there is one.

    Args:
        classes: id -> `module:Class` of a subclass of `OceanEnv`, imported when it is asked for.
        aliases: short name -> id.
    """
    from puffer.core.registry import EnvFamily

    return EnvFamily(
        ids=tuple(classes),
        load=lambda name: env_spec(name, classes[name]),
        aliases=dict(aliases or {}),
    )


def env_spec(name: str, target: str) -> EnvSpec:
    """Return what `name` stands for, read from the `OceanEnv` at `target`, a `module:Class`."""
    from puffer.core.registry import EnvSpec, Option

    module, _, attribute = target.partition(":")
    env_class: type[OceanEnv] = getattr(importlib.import_module(module), attribute)
    description = load(env_class.extension).describe(env_class.native_name)
    return EnvSpec(
        name=name,
        creator=env_class,
        options=(
            *_common_options(env_class, "num_envs"),
            *(Option(*option) for option in description["options"]),
            *_common_options(env_class, "report_interval", "num_threads", "observation_dtype"),
        ),
        settings=_read_settings(module, f"{env_class.native_name}.toml"),
        baseline=_find_baseline(module, f"{env_class.native_name}.safetensors"),
        help=(env_class.__doc__ or "").strip().partition("\n")[0],
    )


def _common_options(env_class: type[OceanEnv], *names: str) -> list[Option]:
    """Return those of the options that all environments have which this one's constructor takes."""
    import inspect

    from puffer.core.registry import Option

    parameters = inspect.signature(env_class).parameters
    return [
        Option(name, parameters[name].default, _COMMON_OPTIONS[name])
        for name in names
        if name in parameters
    ]


def _read_settings(package: str, filename: str) -> dict[str, Any]:
    import tomllib  # who makes an env needs none of it

    path = _beside(package, filename)
    return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}


def _find_baseline(package: str, filename: str) -> str | None:
    path = _beside(package, filename)
    return str(path) if path.is_file() else None


def _beside(package: str, filename: str) -> Path:
    """Return the path of a file in the folder of a package's module."""
    from pathlib import Path

    return Path(str(sys.modules[package].__file__)).parent / filename
