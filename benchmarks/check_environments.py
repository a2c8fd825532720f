"""Which environments of others pass their own library's conformance test once they are emulated.

    python benchmarks/check_environments.py gymnasium     every id that Gymnasium registers
    python benchmarks/check_environments.py pettingzoo    Butterfly, Classic and mpe2

Prints one line per environment: passed, failed with the error, or excluded with the reason that it
does not construct. Gymnasium's are given to its `check_env`; PettingZoo's to its
`parallel_api_test` and to 500 steps that two instances of the same seed must play alike. The
environments' own packages are not dependencies of Puffer: install what you want checked.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import io
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv, PettingZooPufferEnv
from puffer.core.errors import SpaceError

STEPS = 500
Result = tuple[str, str]  # passed, failed or excluded; and why


def one_line(error: BaseException) -> str:
    """Return the error's class and the beginning of its message."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:150]


def judge(make: Callable[[], Any], check: Callable[[Callable[[], Any]], str]) -> Result:
    """Return what became of an environment: whether it constructs, and whether `check` passes."""
    try:
        make().close()
    except Exception as error:
        return "excluded", one_line(error)
    try:
        return "passed", check(make)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return "failed", one_line(error)


def check_gymnasium(make: Callable[[], Any]) -> str:
    """Run Gymnasium's check on the emulated environment."""
    env = GymnasiumPufferEnv(make())
    check_env(env, skip_render_check=True)
    env.close()
    return f"{env.env.observation_space} -> {env.observation_space}".replace("\n", " ")[:100]


def gymnasium_environments() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give every registered id with a function that makes it."""
    for name in list(gymnasium.registry):
        yield name, lambda name=name: gymnasium.make(name, disable_env_checker=True)


def emulated(make: Callable[[], Any]) -> PettingZooPufferEnv:
    """Return the environment emulated, padded if its agents differ."""
    try:
        return PettingZooPufferEnv(make())
    except SpaceError:
        return PettingZooPufferEnv(make(), pad=True)


def check_pettingzoo(make: Callable[[], Any]) -> str:
    """Run PettingZoo's test and ours."""
    from pettingzoo.test import parallel_api_test

    env = emulated(make)
    with contextlib.redirect_stdout(io.StringIO()):
        parallel_api_test(env, num_cycles=200)
    env.close()
    episodes = play_twice(make)
    padded = (
        "padded, "
        if env.obs_dtype.names is None and len(set(map(id, env.layouts.values()))) > 1
        else ""
    )
    return f"{env.num_agents} agents, {padded}{episodes} episodes in {STEPS} steps"


def play_twice(make: Callable[[], Any]) -> int:
    """Play two instances with one seed and the same actions; return how many episodes began."""
    envs = [emulated(make) for _ in range(2)]
    masks = envs[0].can_fill_action_masks
    buffers = []
    for env in envs:
        fields = Buffers.fields(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            action_masks=masks,
        )
        buffers.append(Buffers.allocate(fields))
        env.attach(buffers[-1])
    rng = np.random.default_rng(0)
    episodes = 0
    for step in range(STEPS):
        if not envs[0].agents:
            episodes += 1
            for env in envs:
                env.reset(seed=episodes)
        else:
            actions = {a: choose(envs[0], buffers[0], a, rng) for a in envs[0].agents}
            for env in envs:
                env.step(actions)
        for name, array in buffers[0].arrays().items():
            other = buffers[1].arrays()[name]
            if array is not None and other is not None and array.tobytes() != other.tobytes():
                raise AssertionError(f"{name} differ at step {step}")
    for env in envs:
        env.close()
    return episodes


def choose(env: PettingZooPufferEnv, buf: Buffers, agent: Any, rng: np.random.Generator) -> Any:
    """Return a random action that the mask allows."""
    space = env.single_action_space
    if isinstance(space, gymnasium.spaces.Discrete) and buf.action_masks is not None:
        return int(rng.choice(np.flatnonzero(buf.action_masks[env.possible_agents.index(agent)])))
    if isinstance(space, gymnasium.spaces.Box):
        return rng.uniform(space.low, space.high).astype(space.dtype)
    return rng.integers(0, space.nvec)


def pettingzoo_environments() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Give every versioned environment of Butterfly, Classic and mpe2."""
    for package in ("pettingzoo.butterfly", "pettingzoo.classic", "mpe2"):
        try:
            found = importlib.import_module(package)
        except ImportError:
            continue
        for module in pkgutil.iter_modules(found.__path__):
            if module.name.rpartition("_v")[2].isdigit():
                yield f"{package}.{module.name}", make_pettingzoo(package, module.name)


def make_pettingzoo(package: str, name: str) -> Callable[[], Any]:
    """Return a function that makes the environment, in the parallel form where there is one."""

    def make() -> Any:
        module = importlib.import_module(f"{package}.{name}")
        creator = getattr(module, "parallel_env", None) or module.env
        return creator(render_mode="rgb_array") if "pong" in name else creator()

    return make


def main() -> None:
    """Check, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=("gymnasium", "pettingzoo"))
    parser.add_argument("--only", default="", help="names that contain this")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    environments, check = {
        "gymnasium": (gymnasium_environments, check_gymnasium),
        "pettingzoo": (pettingzoo_environments, check_pettingzoo),
    }[args.library]
    count: collections.Counter[str] = collections.Counter()
    for name, make in environments():
        if args.only in name:
            result, why = judge(make, check)
            count[result] += 1
            print(f"{result:9}{name:45}{why}", flush=True)
    print(", ".join(f"{number} {result}" for result, number in sorted(count.items())))
    sys.exit(1 if count["failed"] else 0)


if __name__ == "__main__":
    main()
