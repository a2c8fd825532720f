"""Binds the environments of a compiled extension: from C++ simulations to a `PufferEnv`."""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import secrets
import tomllib
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import numpy.typing as npt

from puffer.core.buffers import Buffers
from puffer.core.env import Infos, PufferEnv, StepResult
from puffer.core.errors import MissingPackageError, PufferError, UsageError
from puffer.core.registry import EnvFamily, EnvSpec, Option
from puffer.core.spaces import Box, Discrete, FlatActionSpace, MultiDiscrete
from puffer.ocean import render
from puffer.ocean.render import Picture

PROTOCOL = 2  # the `PUFFER_OCEAN_PROTOCOL` of the extensions that this file can drive

OptionValue = bool | int | float | str

_COMMON_OPTIONS = (
    Option("num_envs", 1, "simulations in this env"),
    Option("report_interval", 128, "steps between two infos of means; 0: one per episode"),
    Option("num_threads", 1, "threads that share the simulations"),
)


class Extension(Protocol):
    """What `puffer_add_envs` of the CMake package compiles."""

    __puffer_protocol__: int

    def names(self) -> list[str]:
        """Return the environments of this extension."""

    def describe(self, name: str) -> dict[str, Any]:
        """Return `options` (name, default, help), `stats`, `draws`, `masks` and `saves`."""

    Engine: Any


@functools.cache
def load(module: str) -> Extension:
    """Return the compiled extension of that name.

    Raises:
        MissingPackageError: it was not built for this Python.
        PufferError: it was built with other headers than this puffer-ocean's.
    """
    try:
        extension = importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"the compiled extension {module} does not load ({error}): "
            "reinstall its distribution, which needs a C++20 compiler"
        ) from error
    built = getattr(extension, "__puffer_protocol__", None)
    if built != PROTOCOL:
        raise PufferError(
            f"{module} was built for protocol {built} and this puffer-ocean speaks {PROTOCOL}: "
            "reinstall the older one of the two"
        )
    return cast(Extension, extension)


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
    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(render.MODES)}

    def __init__(
        self,
        num_envs: int,
        options: Mapping[str, OptionValue],
        *,
        render_mode: str | None = None,
        report_interval: int = 128,
        num_threads: int = 1,
        buf: Buffers | None = None,
    ) -> None:
        """Build `num_envs` simulations with the environment's own `options`.

        Args:
            num_envs: simulations.
            options: name -> value of the environment's own options.
            render_mode: `rgb_array`, `human`, `ansi` or None.
            report_interval: steps between two infos, which give means over the episodes finished
                in between; 0 gives one info per finished episode, with its `agent_id`.
            num_threads: more than 1 pays from some ten thousand simulations on.
            buf: the arrays to write; None allocates them.

        Raises:
            UsageError: a value that the environment refuses.
        """
        extension = load(self.extension)
        name = type(self).__name__
        if render_mode is not None and not extension.describe(self.native_name)["draws"]:
            raise UsageError(f"render_mode={render_mode!r}: {name} draws nothing, use None")
        self._renderer = render.open_renderer(render_mode, name)
        self.render_mode = render_mode
        self._engine = extension.Engine(
            self.native_name, num_envs, num_threads, report_interval, dict(options)
        )
        spec = self._engine.spec
        self.single_observation_space = _observation_space(spec)
        self.single_action_space = _action_space(spec)
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
        if seed is None:
            seed = secrets.randbits(62)
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
            raise UsageError(f"seed={seed!r}: expected an integer from 0 to 2**63 - 1, or None")
        self._engine.reset(int(seed))
        return self.observations, []

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Advance every simulation; see `PufferEnv.step`.

        Raises:
            ActionError: an action outside the space; no simulation has been stepped.
        """
        infos = self._engine.step(actions)
        return self.observations, self.rewards, self.terminals, self.truncations, infos

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
        return self._renderer.show(self.picture(simulation), self.metadata["render_fps"])

    def picture(self, simulation: int = 0) -> Picture:
        """Return the shapes of one simulation, whatever the render mode."""
        return Picture(**self._engine.draw(simulation))

    def close(self) -> None:
        """Release everything; calling it again does nothing, any other call is an error."""
        self._engine.close()
        self._renderer.close()


def family(classes: Mapping[str, str], *, aliases: Mapping[str, str] | None = None) -> EnvFamily:
    """Return the registry's family of native environments.

    An id's options are those of its C++ `config_fields`; its training settings are read from the
    TOML file of its `native_name` beside the module of its class, and `.safetensors` there is its
    baseline, where there is one.

    Args:
        classes: id -> `module:Class` of a subclass of `OceanEnv`, imported when it is asked for.
        aliases: short name -> id.
    """
    return EnvFamily(
        ids=tuple(classes),
        load=lambda name: env_spec(name, classes[name]),
        aliases=dict(aliases or {}),
    )


def env_spec(name: str, target: str) -> EnvSpec:
    """Return what `name` stands for, read from the `OceanEnv` at `target`, a `module:Class`."""
    module, _, attribute = target.partition(":")
    env_class: type[OceanEnv] = getattr(importlib.import_module(module), attribute)
    description = load(env_class.extension).describe(env_class.native_name)
    return EnvSpec(
        name=name,
        creator=env_class,
        options=_COMMON_OPTIONS[:1]
        + tuple(Option(*option) for option in description["options"])
        + _COMMON_OPTIONS[1:],
        settings=_read_settings(module, f"{env_class.native_name}.toml"),
        baseline=_find_baseline(module, f"{env_class.native_name}.safetensors"),
        help=(env_class.__doc__ or "").strip().partition("\n")[0],
    )


def _read_settings(package: str, filename: str) -> dict[str, Any]:
    file = importlib.resources.files(package) / filename
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


def _find_baseline(package: str, filename: str) -> str | None:
    file = importlib.resources.files(package) / filename
    return str(file) if file.is_file() else None


def _observation_space(spec: Mapping[str, Any]) -> Box:
    shape, dtype = tuple(spec["observation_shape"]), np.dtype(spec["observation_dtype"])
    low, high = (_bound(spec[name], shape, dtype) for name in ("low", "high"))
    return Box(low, high, dtype=dtype.type)


def _bound(bound: list[float], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    values = np.asarray(bound, dtype)
    return np.full(shape, values[0], dtype) if len(values) == 1 else values.reshape(shape)


def _action_space(spec: Mapping[str, Any]) -> FlatActionSpace:
    nvec = spec["nvec"]
    if not nvec:
        low, high, shape = spec["action_low"], spec["action_high"], (spec["action_size"],)
        return Box(low, high, shape, np.float32)
    return Discrete(nvec[0]) if len(nvec) == 1 else MultiDiscrete(nvec)
