"""What our bindings cost: each family's environment as bound here beside itself without us.

    python benchmarks/bench_envs.py [FAMILY ...] [--turns 9] [--seconds 0.4]

The first table has one environment in Serial beside a bare loop over the third party's own object,
which begins episodes as they end, in steps per second of CPU time, which a busy machine changes
less. The second, in seconds of the clock, has eight environments in Serial beside two workers,
and ALE's vector environment beside itself. Within a pair the two run in turns; a ratio is the
median over the turns, with minimum and maximum; the first turn warms up and does not count.
Families whose packages are not installed are left out, with one line that says so.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np

import puffer.vector
from puffer.core import PufferEnv, registry
from puffer.core.errors import MissingPackageError, UnknownEnvError
from puffer.core.wrappers import to_gymnasium_space

# Family -> the environment that stands for it.
REPRESENTATIVES = {
    "classic-control": "Acrobot-v1",
    "toy-text": "Taxi-v4",
    "box2d": "LunarLander-v3",
    "mujoco": "HalfCheetah-v5",
    "atari": "breakout",
    "minigrid": "MiniGrid-DoorKey-5x5-v0",
    "butterfly": "knights_archers_zombies",
    "magent": "battle",
    "procgen": "bigfish",
    "nethack": "NetHackScore-v0",
    "minihack": "MiniHack-Room-5x5-v0",
    "crafter": "CrafterReward-v1",
    "nmmo": "nmmo",
}
# Family -> how two workers run it. A reset of Crafter takes as long as a hundred steps.
PARALLEL: dict[str, dict[str, Any]] = {
    "atari": {},
    "crafter": {"batch_size": 2, "group_envs": 1, "zero_copy": False},
    "nethack": {},
}
ACTIONS = 512  # drawn before the clock runs

Advance = Callable[[], int]  # does one step, returns how many environments' that is


def raw(family: str, name: str, bound: Any) -> Advance:
    """Return what steps the third party's environment, without us, once."""
    if family == "atari":  # the bound one without its preprocessing would do another work
        from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

        bound.close()
        game = gymnasium.make("BreakoutNoFrameskip-v4", disable_env_checker=True)
        return single(FrameStackObservation(AtariPreprocessing(game), 4))
    if family in ("nethack", "minihack"):  # ours changes the engine's object
        bound.close()
        keys = ("glyphs", "blstats", "message")
        options = {"observation_keys": keys, "fix_moon_phase": True, "disable_env_checker": True}
        return single(SameGames(gymnasium.make(name, **options)))
    if family == "magent":
        bound.close()
        own = importlib.import_module("magent2.environments.battle_v4")
        return parallel(own.parallel_env(max_cycles=1000))
    if isinstance(bound, PufferEnv):
        return native(bound)
    env = bound.env
    while type(env).__module__.startswith("puffer."):
        env = getattr(env, "env", None) or env.engine
    return parallel(env) if hasattr(env, "possible_agents") else single(env)


class SameGames(gymnasium.Wrapper[Any, Any, Any, Any]):
    """NLE, with the games that ours begins: a deep dungeon costs twice what a small one does."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.step = env.step  # type: ignore[method-assign]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin the next game."""
        if seed is not None:
            self._seeds = np.random.default_rng(seed)
        core, disp = (int(n) for n in self._seeds.integers(2**31, size=2))
        self.unwrapped.seed(core=core, disp=disp, reseed=False)
        return self.env.reset()


def single(env: Any) -> Advance:
    """Return what steps a Gymnasium environment, or one of the old interface."""
    space = gymnasium.vector.utils.batch_space(to_gymnasium_space(env.action_space), 1)
    space.seed(1)
    actions = [space.sample()[0] for _ in range(ACTIONS // 8)]  # those that ours is given
    env.reset(seed=1) if isinstance(env, gymnasium.Env) else env.reset()
    count = 0

    def advance() -> int:
        nonlocal count
        result = env.step(actions[count % len(actions)])
        count += 1
        if result[2] or (len(result) == 5 and result[3]):
            env.reset()
        return 1

    return advance


def parallel(env: Any) -> Advance:
    """Return what steps a PettingZoo environment."""
    agents = env.possible_agents
    for agent in agents:
        env.action_space(agent).seed(1)
    rows = [{a: env.action_space(a).sample() for a in agents} for _ in range(ACTIONS // 8)]
    env.reset(seed=1)
    count = 0

    def advance() -> int:
        nonlocal count
        row = rows[count % len(rows)]
        env.step({agent: row[agent] for agent in env.agents})
        count += 1
        if not env.agents:
            env.reset()
        return 1

    return advance


def native(bound: Any) -> Advance:
    """Return what steps Procgen's own vector environment."""
    from procgen import ProcgenGym3Env

    bound.close()
    env = ProcgenGym3Env(num=1, env_name="bigfish", distribution_mode="hard")
    actions = np.random.default_rng(1).integers(0, 15, (ACTIONS, 1)).astype(np.int32)
    count = 0

    def advance() -> int:
        nonlocal count
        env.act(actions[count % ACTIONS])
        env.observe()
        count += 1
        return 1

    return advance


def vector(creator: Any, num_envs: int, **options: Any) -> tuple[Advance, Callable[[], None]]:
    """Return what steps a vector of ours, and what closes it."""
    vecenv = puffer.vector.make(creator, num_envs=num_envs, **options)
    vecenv.action_space.seed(1)
    actions = [vecenv.action_space.sample() for _ in range(ACTIONS // 8)]
    vecenv.reset(seed=1)
    stepped, count = options.get("batch_size", num_envs), 0

    def advance() -> int:
        nonlocal count
        vecenv.step(actions[count % len(actions)])
        count += 1
        return stepped

    return advance, vecenv.close


def speed(advance: Advance, seconds: float, clock: Callable[[], float]) -> float:
    """Return steps per second."""
    done, began = 0, clock()
    while (now := clock() - began) < seconds:
        done += advance()
    return done / now


def compare(
    ours: Advance,
    theirs: Advance,
    turns: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """Return the speeds of both, and the ratio, as a row of a table."""
    pairs = []
    for turn in range(turns + 1):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        found = {id(advance): speed(advance, seconds, clock) for advance in order}
        pairs.append((found[id(ours)], found[id(theirs)]))
    pairs = pairs[1:]
    ratios = sorted(a / b for a, b in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    middle = statistics.median(ratios)
    return f"{mine:>10,.0f} {other:>10,.0f}   {middle:5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def find(family: str) -> Any:
    """Return the creator of the family's representative, or None, having said why."""
    try:
        creator = registry.find(f"{family}/{REPRESENTATIVES[family]}").creator
        creator().close()
    except (MissingPackageError, UnknownEnvError) as error:
        print(f"{family:<16} left out: {error}")
        return None
    return creator


def ale() -> tuple[Advance, Advance]:
    """Return what steps ALE's vector environment of eight games, bound and bare."""
    from ale_py.vector_env import AtariVectorEnv

    spec = registry.find("atari/breakout")
    options = {"ale_envs": 8, "ale_threads": 2}
    bound = spec.creator(**options)
    bare = AtariVectorEnv("breakout", 8, num_threads=2, autoreset_mode="SameStep")
    for env in (bound, bare):
        env.reset(seed=1)
    actions = np.random.default_rng(1).integers(0, 4, (ACTIONS, 8))
    count = 0

    def advance(env: Any, dtype: Any) -> int:
        nonlocal count
        count += 1
        env.step(actions[count % ACTIONS].astype(dtype))
        return 8

    return lambda: advance(bound, np.int32), lambda: advance(bare, np.int64)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", metavar="FAMILY", default=list(REPRESENTATIVES))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "gymnasium"))
    print(f"Python {platform.python_version()}, {packages}, {os.cpu_count()} cores")
    found = {family: creator for family in args.families if (creator := find(family)) is not None}
    print(f"\n{'steps/s, one environment':<28}{'bound':>10} {'raw':>10}   ratio")
    for family, creator in found.items():
        ours, close = vector(creator, 1)
        bound = creator()  # which some need for as long as what is in it runs
        theirs = raw(family, REPRESENTATIVES[family], bound)
        row = compare(ours, theirs, args.turns, args.seconds, time.process_time)
        print(f"{REPRESENTATIVES[family]:<28}{row}")
        close()
    print(f"\n{'steps/s, eight':<28}{'2 workers':>10} {'Serial':>10}   ratio")
    for family, options in PARALLEL.items():
        if family not in found:
            continue
        options = {"backend": "multiprocessing", "num_workers": 2, **options}
        workers, close = vector(found[family], 8, **options)
        serial, close_serial = vector(found[family], 8)
        print(f"{REPRESENTATIVES[family]:<28}{compare(workers, serial, args.turns, args.seconds)}")
        close()
        close_serial()
    if "atari" in found:
        print(f"\n{'steps/s, eight in ALE':<28}{'bound':>10} {'alone':>10}   ratio")
        print(f"{'breakout':<28}{compare(*ale(), args.turns, args.seconds)}")


if __name__ == "__main__":
    main()
