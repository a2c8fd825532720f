"""How one environment is made: call the creator, emulate what needs it, give it its rows."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from puffer.core import Buffers, PufferEnv
from puffer.core.errors import UsageError
from puffer.vector.autoreset import with_autoreset

Creator = Callable[..., Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """A creator and what to call it with."""

    creator: Creator
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def takes_buf(self) -> bool:
        """Whether the creator has a parameter named `buf`."""
        try:
            return "buf" in inspect.signature(self.creator).parameters
        except (TypeError, ValueError):  # some builtins have no signature
            return False

    def build(self, buf: Buffers | None = None) -> PufferEnv:
        """Return a new environment that writes into `buf`, or into arrays of its own."""
        if self.takes_buf:
            env = self.creator(*self.args, **self.kwargs, buf=buf)
        else:
            env = self.creator(*self.args, **self.kwargs)
        if not isinstance(env, PufferEnv):
            return with_autoreset(env, buf)
        if buf is not None and not self.takes_buf:
            env.attach(buf)
        return env


def build_envs(
    recipes: Sequence[Recipe], *, final_observations: bool, action_masks: bool
) -> tuple[list[PufferEnv], Buffers]:
    """Return one environment per recipe and the newly allocated buffers whose rows they share."""
    first = recipes[0].build()
    optional = {"final_observations": final_observations, "action_masks": action_masks}
    try:
        if len(recipes) == 1 and not any(optional.values()):
            return [first], buffers_of(first)
        check_optional(first, **optional)
        buffers = Buffers.allocate(fields_of(first, len(recipes), **optional))
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
    return build_more([first], recipes[1:], first, buffers), buffers


def build_more(
    envs: list[PufferEnv],
    recipes: Sequence[Recipe],
    like: PufferEnv,
    buffers: Buffers,
    first_env: int = 0,
) -> list[PufferEnv]:
    """Append one environment per recipe to `envs`, on the next rows; if one fails, close all.

    Args:
        envs: the environments on the first rows of `buffers`.
        recipes: the ones to build.
        like: each must have its spaces and number of agents.
        buffers: rows for all.
        first_env: the number of `envs[0]` in the whole vector, for messages.
    """
    try:
        for recipe in recipes:
            start = len(envs) * like.num_agents
            try:
                env = recipe.build(buffers.rows(start, start + like.num_agents))
            except Exception as error:
                error.add_note(f"while making env {first_env + len(envs)}")
                raise
            envs.append(env)
            check_alike(env, like, first_env + len(envs) - 1)
    except BaseException:
        for env in envs:
            env.close()
        raise
    return envs


def check_alike(env: PufferEnv, like: PufferEnv, index: int) -> None:
    """Refuse an environment whose rows differ from those of env 0."""
    for attribute in ("single_observation_space", "single_action_space", "num_agents"):
        given, expected = getattr(env, attribute), getattr(like, attribute)
        if given != expected:
            raise UsageError(
                f"env {index} has {attribute} {given}, env 0 has {expected}: "
                "all environments of one vector must agree"
            )


def check_optional(env: PufferEnv, **optional: bool) -> None:
    """Refuse optional buffers that `env` cannot fill."""
    for name, asked in optional.items():
        if asked and not getattr(env, f"can_fill_{name}"):
            raise UsageError(
                f"{name}=True: {type(env.driver_env).__name__} cannot fill them, leave it False"
            )


def fields_of(env: PufferEnv, num_envs: int, **optional: bool) -> Any:
    """Return name -> (shape, dtype) of the buffers for `num_envs` environments like `env`."""
    return Buffers.fields(
        env.single_observation_space,
        env.single_action_space,
        num_envs * env.num_agents,
        **optional,
    )


def buffers_of(env: PufferEnv) -> Buffers:
    """Return the arrays that `env` writes."""
    return Buffers(**{f.name: getattr(env, f.name) for f in dataclasses.fields(Buffers)})
