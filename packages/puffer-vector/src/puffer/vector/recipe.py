"""How one environment is made: call the creator, emulate what needs it, give it its rows."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from puffer.core import Buffers, PufferEnv
from puffer.core.buffers import Fields
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, FlatActionSpace
from puffer.vector.autoreset import with_autoreset

Creator = Callable[..., Any]


@dataclasses.dataclass(frozen=True, slots=True)
class EnvShape:
    """What all environments of one vector have in common."""

    single_observation_space: Box
    single_action_space: FlatActionSpace
    num_agents: int
    emulated: bool

    @classmethod
    def of(cls, env: PufferEnv) -> EnvShape:
        """Return what every other environment must have in common with `env`."""
        return cls(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            env.emulated is not None,
        )

    def fields(self, num_envs: int, **optional: bool) -> Fields:
        """Return name -> (shape, dtype) of the buffers for `num_envs` environments."""
        return Buffers.fields(
            self.single_observation_space,
            self.single_action_space,
            num_envs * self.num_agents,
            **optional,
        )

    def check(self, env: PufferEnv, index: int) -> None:
        """Refuse `env`, number `index`, if it differs."""
        for name in ("single_observation_space", "single_action_space", "num_agents"):
            given, expected = getattr(env, name), getattr(self, name)
            if given != expected:
                raise UsageError(
                    f"env {index} has {name} {given}, env 0 has {expected}: "
                    "all environments of one vector must agree"
                )


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """A creator and what to call it with."""

    creator: Creator
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def takes_buf(self) -> bool:
        """Whether the creator has a parameter named `buf`."""
        return "buf" in self.parameters

    @property
    def parameters(self) -> Collection[str]:
        """The names of the creator's parameters."""
        try:
            return inspect.signature(self.creator).parameters
        except (TypeError, ValueError):  # some builtins have no signature
            return ()

    def build(self, buf: Buffers | None = None, *, emulated: bool = False) -> PufferEnv:
        """Return a new environment that writes into `buf`, or into arrays of its own.

        Args:
            buf: its rows.
            emulated: the creator is known to return an environment that is emulated; it cannot
                fill all of `buf` by itself, so that it is attached later.
        """
        given = {"buf": buf} if self.takes_buf and not emulated else {}
        env = self.creator(*self.args, **self.kwargs, **given)
        if not isinstance(env, PufferEnv):
            env, given = with_autoreset(env), {}
        if buf is not None and not given:
            try:
                env.attach(buf)
            except BaseException:
                env.close()
                raise
        return env


def build_envs(
    recipes: Sequence[Recipe], *, final_observations: bool | None, action_masks: bool | None
) -> tuple[list[PufferEnv], Buffers]:
    """Return one environment per recipe and the newly allocated buffers whose rows they share."""
    first = recipes[0].build()
    try:
        optional = resolve_optional(
            first, final_observations=final_observations, action_masks=action_masks
        )
        if len(recipes) == 1 and not any(optional.values()):
            return [first], buffers_of(first)
        shape = EnvShape.of(first)
        buffers = Buffers.allocate(shape.fields(len(recipes), **optional))
        rows = buffers.rows(0, first.num_agents)
        # An env that takes `buf` but has the plain `attach` may hold pointers into its own arrays.
        if recipes[0].takes_buf and type(first).attach is PufferEnv.attach:
            first.close()
            first = recipes[0].build(rows)
        else:
            first.attach(rows)
    except BaseException:
        first.close()
        raise
    return build_more([first], recipes[1:], shape, buffers), buffers


def build_more(
    envs: list[PufferEnv],
    recipes: Sequence[Recipe],
    shape: EnvShape,
    buffers: Buffers,
    first_env: int = 0,
) -> list[PufferEnv]:
    """Append one environment per recipe to `envs`, on the next rows; if one fails, close all.

    Args:
        envs: the environments on the first rows of `buffers`.
        recipes: the ones to build.
        shape: each must have it.
        buffers: rows for all.
        first_env: the number of `envs[0]` in the whole vector, for messages.
    """
    try:
        for recipe in recipes:
            start = len(envs) * shape.num_agents
            try:
                rows = buffers.rows(start, start + shape.num_agents)
                env = recipe.build(rows, emulated=shape.emulated)
            except Exception as error:
                error.add_note(f"while making env {first_env + len(envs)}")
                raise
            envs.append(env)
            shape.check(env, first_env + len(envs) - 1)
        _check_distinct(envs, first_env)
    except BaseException:
        for env in envs:
            env.close()
        raise
    return envs


def own_env(env: Any) -> Any:
    """Return the environment as its creator made it, without emulation."""
    return env if env.emulated is None else env.driver_env.env


def _check_distinct(envs: Sequence[PufferEnv], first_env: int) -> None:
    """Refuse environments two of which are the same object, also below their wrappers."""
    numbers: dict[int, int] = {}
    for number, env in enumerate(envs, first_env):
        own = own_env(env)
        first = numbers.setdefault(id(getattr(own, "unwrapped", own)), number)
        if first != number:
            raise UsageError(
                f"env {number} is the same object as env {first}: a creator must return a new "
                "environment at every call"
            )


def resolve_optional(env: PufferEnv, **asked: bool | None) -> dict[str, bool]:
    """Return which optional buffers to allocate: None means those that `env` can fill.

    Raises:
        UsageError: True for one that it cannot.
    """
    able = {name: bool(getattr(env, f"can_fill_{name}")) for name in asked}
    for name, wanted in asked.items():
        if wanted and not able[name]:
            raise UsageError(
                f"{name}=True: {type(env.driver_env).__name__} cannot fill them, leave it False"
            )
    return {name: able[name] if wanted is None else wanted for name, wanted in asked.items()}


def warn_of_copies(recipe: Recipe, env: PufferEnv, copies: int, *, stacklevel: int) -> None:
    """Warn of several copies in one process of an environment that can hold many simulations."""
    if copies == 1 or env.emulated is not None or "num_envs" not in recipe.parameters:
        return
    number = copies * int(recipe.kwargs.get("num_envs", env.num_simulations))
    warnings.warn(
        f"{copies} copies of {type(env).__name__} in one process: one that holds all simulations, "
        f"by env_kwargs={{'num_envs': {number}}}, is faster",
        stacklevel=stacklevel,
    )


def buffers_of(env: PufferEnv) -> Buffers:
    """Return the arrays that `env` writes."""
    return Buffers(**{f.name: getattr(env, f.name) for f in dataclasses.fields(Buffers)})
