"""What vectorization costs: our backends beside those of others, on the same environments.

    python benchmarks/bench_vector.py [CASE ...] [--turns 9] [--seconds 0.25]

Within a case everything runs in turns, in one process, so that all see the same machine. A figure
is the median over the turns, with minimum and maximum; the first turn warms up and does not count.
`main` is the CPU time of the main process, in cores. Env steps are those that step: where Gymnasium
resets in a step of its own, that one does not count. Without CASE all are run. What needs a package
that is not installed (ale-py with opencv, nle, envpool, stable-baselines3, puffer-ocean) is left
out, with one line that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import puffer.vector
from puffer.core import PufferEnv
from puffer.core.spaces import Box, Discrete

PACKAGES = ("numpy", "gymnasium", "puffer-vector", "puffer-ocean")
PACKAGES += ("stable-baselines3", "ale-py", "envpool", "nle")


# --- environments -----------------------------------------------------------------------------


class Synthetic(gymnasium.Env[Any, Any]):
    """Burns as much CPU time as it is told; the reward of a step is what it used, in seconds.

    Args:
        delay: of a step on average, in seconds.
        exponential: whether delays are exponentially distributed, else they are all the same.
        slow_resets: whether one step in a hundred ends the episode, with a reset of 50 delays.
        size: of an observation, in bytes.
        seed: of the delays.
    """

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(
        self,
        delay: float = 0.0,
        exponential: bool = False,
        slow_resets: bool = False,
        size: int = 16,
        seed: int = 0,
    ) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, (size,), np.uint8)
        self._observation = np.zeros(size, np.uint8)
        self._delay, self._exponential, self._slow = delay, exponential, slow_resets
        self._rng = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Burn 50 delays if resets are slow."""
        self._owed = burn(50 * self._delay if self._slow else 0.0)
        return self._observation, {}

    def step(self, action: Any) -> Any:
        """Burn one delay."""
        terminal = self._slow and self._rng.random() < 0.01
        used = burn(self._delay * (self._rng.exponential() if self._exponential else 1.0))
        reward, self._owed = used + self._owed, 0.0
        return self._observation, reward, terminal, False, {}


def burn(seconds: float) -> float:
    """Use that much CPU time: what others take from this process does not count. Return it."""
    if not seconds:
        return 0.0
    begin = now = time.thread_time()
    while now < begin + seconds:
        now = time.thread_time()
    return now - begin


class Empty(PufferEnv):
    """One agent to whom nothing happens."""

    def __init__(self, buf: Any = None) -> None:
        self.single_observation_space = Box(-1, 1, (4,), np.float32)
        self.single_action_space = Discrete(2)
        self.num_agents = 1
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> Any:
        """Do nothing."""
        return self.observations, []

    def step(self, actions: Any) -> Any:
        """Do nothing."""
        return self.observations, self.rewards, self.terminals, self.truncations, []


class EmptyGymnasium(gymnasium.Env[Any, Any]):
    """The same with Gymnasium's interface."""

    observation_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self._observation = np.zeros(4, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Do nothing."""
        return self._observation, {}

    def step(self, action: Any) -> Any:
        """Do nothing."""
        return self._observation, 0.0, False, False, {}


def cartpole() -> Any:
    """Return Gymnasium's CartPole, without the wrappers that only check."""
    return gymnasium.make("CartPole-v1", disable_env_checker=True)


def atari() -> Any:
    """Return Breakout in 84 x 84 gray pixels, each observation four frames."""
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Breakout-v5", frameskip=1, disable_env_checker=True)
    env = gymnasium.wrappers.AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84)
    return gymnasium.wrappers.FrameStackObservation(env, 4)


def nethack() -> Any:
    """Return NetHack with the score as reward."""
    import nle  # noqa: F401 - registers it

    return gymnasium.make("NetHackScore-v0", disable_env_checker=True)


# --- what is compared -------------------------------------------------------------------------


@dataclasses.dataclass
class Entry:
    """One line of a table.

    Attributes:
        advance: makes one vector step and returns the rewards.
        steps: environment steps in one vector step.
        close: ends it.
        share: makes some steps and returns which share of them were no resets.
    """

    advance: Callable[[], Any]
    steps: int
    close: Callable[[], None]
    share: Callable[[], float] = lambda: 1.0


def actions_for(space: Any, rows: int) -> Callable[[], Any]:
    """Return a function that gives random actions drawn before."""
    single = gymnasium.vector.utils.batch_space(space, rows)
    single.seed(0)
    drawn = [single.sample() for _ in range(97)]
    turn = iter(range(sys.maxsize))
    return lambda: drawn[next(turn) % 97]


def ours(env: Any, backend: str, num_envs: int, **options: Any) -> Entry:
    """Return an entry for a vector environment of ours; `batch_size` makes it asynchronous."""
    workers = {"overwork": True} if backend == "multiprocessing" else {}
    vecenv = puffer.vector.make(env, backend=backend, num_envs=num_envs, **{**workers, **options})
    choose = actions_for(vecenv.single_action_space, vecenv.num_envs)
    if "batch_size" not in options:
        vecenv.reset(seed=0)
        return Entry(lambda: vecenv.step(choose())[1], vecenv.num_envs, vecenv.close)
    vecenv.async_reset(0)

    def advance() -> Any:
        rewards = vecenv.recv()[1]
        vecenv.send(choose())
        return rewards

    return Entry(advance, vecenv.num_envs, vecenv.close)


def gymnasium_vector(creators: list[Any], kind: Any, **options: Any) -> Entry:
    """Return an entry for a vector environment of Gymnasium."""
    vecenv = kind(creators, **options)
    vecenv.reset(seed=0)
    choose = actions_for(vecenv.single_action_space, len(creators))

    def share() -> float:
        ends = [np.logical_or(*vecenv.step(choose())[2:4]) for _ in range(200)]
        return 1 - float(np.mean(ends))

    resets_alone = options.get("autoreset_mode") != "SameStep"
    own = {"share": share} if resets_alone else {}
    return Entry(lambda: vecenv.step(choose())[1], len(creators), vecenv.close, **own)


def sb3_vector(creators: list[Any], name: str) -> Entry:
    """Return an entry for a vector environment of Stable-Baselines3."""
    from stable_baselines3.common import vec_env

    options = {"start_method": "fork"} if name == "SubprocVecEnv" else {}
    vecenv = getattr(vec_env, name)(creators, **options)
    vecenv.reset()
    choose = actions_for(vecenv.action_space, len(creators))
    return Entry(lambda: vecenv.step(choose())[1], len(creators), vecenv.close)


def bare_loop(creators: list[Any]) -> Entry:
    """Return an entry for a loop that does nothing but step and reset: what none can undercut."""
    envs = [creator() for creator in creators]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    choose = actions_for(envs[0].action_space, len(envs))

    def advance() -> Any:
        rewards = []
        for env, action in zip(envs, choose(), strict=True):
            _, reward, terminal, truncation, _ = env.step(action)
            rewards.append(reward)
            if terminal or truncation:
                env.reset()
        return rewards

    def close() -> None:
        for env in envs:
            env.close()

    return Entry(advance, len(envs), close)


def others(creators: list[Any]) -> dict[str, Callable[[], Entry]]:
    """Return the vector environments of Gymnasium and, where installed, Stable-Baselines3."""
    entries: dict[str, Callable[[], Entry]] = {
        "a bare loop, for comparison": lambda: bare_loop(creators),
        "Gymnasium Sync": lambda: gymnasium_vector(creators, SyncVectorEnv),
        "  autoreset in the same step": lambda: gymnasium_vector(
            creators, SyncVectorEnv, autoreset_mode="SameStep"
        ),
        "Gymnasium Async": lambda: gymnasium_vector(creators, AsyncVectorEnv),
    }
    if installed("stable_baselines3"):
        entries["SB3 Dummy"] = lambda: sb3_vector(creators, "DummyVecEnv")
        entries["SB3 Subproc"] = lambda: sb3_vector(creators, "SubprocVecEnv")
    return entries


def installed(*modules: str) -> bool:
    """Return whether all are installed; if not, say what is left out."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        print(f"(left out: {', '.join(missing)} not installed)")
    return not missing


# --- cases ------------------------------------------------------------------------------------

MP = "multiprocessing"
Entries = dict[str, Callable[[], Entry]]


def case_empty() -> Entries:
    """An environment that costs nothing: microseconds of a vector step."""
    entries: Entries = {
        "Native": lambda: ours(Empty, "native", 1),
        "Serial, 1 env": lambda: ours(Empty, "serial", 1),
    }
    for n in (1, 2):
        entries[f"Multiprocessing, {n} worker(s)"] = lambda n=n: ours(Empty, MP, n)
        entries[f"  emulated, {n} worker(s)"] = lambda n=n: ours(EmptyGymnasium, MP, n)
        entries[f"Gymnasium Async, {n} worker(s)"] = lambda n=n: gymnasium_vector(
            [EmptyGymnasium] * n, AsyncVectorEnv, copy=False
        )
    entries["Multiprocessing, 2 workers, batches of 1"] = lambda: ours(Empty, MP, 2, batch_size=1)
    entries["  gathered"] = lambda: ours(Empty, MP, 2, batch_size=1, zero_copy=False)
    return entries


def case_cartpole() -> Entries:
    """CartPole-v1, 64 copies."""
    return {
        "Serial": lambda: ours(cartpole, "serial", 64),
        "Multiprocessing, 1 worker": lambda: ours(cartpole, MP, 64, num_workers=1),
        "Multiprocessing, 2 workers": lambda: ours(cartpole, MP, 64, num_workers=2),
        "  half batches": lambda: ours(cartpole, MP, 64, num_workers=2, batch_size=32),
        **others([cartpole] * 64),
    }


def native_case(name: str) -> Entries:
    """Return the entries of a native environment with 4,096 simulations."""
    if not installed("puffer.ocean"):
        return {}
    env = getattr(__import__("puffer.ocean", fromlist=[name]), name)

    def make(backend: str, envs: int, threads: int = 1, **options: Any) -> Entry:
        kwargs = {"num_envs": 4096 // envs, "num_threads": threads}
        return ours(env, backend, envs, env_kwargs=kwargs, **options)

    return {
        "Native, 1 thread": lambda: make("native", 1),
        "Native, 2 threads": lambda: make("native", 1, 2),
        "Multiprocessing, 2 workers": lambda: make(MP, 2),
        "Multiprocessing, 2 workers, half batches": lambda: make(MP, 2, batch_size=1),
    }


def case_breakout() -> Entries:
    """Ocean's Breakout, 4,096 simulations."""
    return native_case("Breakout")


def case_oceancartpole() -> Entries:
    """Ocean's CartPole, 4,096 simulations."""
    return native_case("Cartpole")


def eight(env: Any) -> Entries:
    """Return the entries for eight copies of an expensive environment."""
    return {
        "Serial": lambda: ours(env, "serial", 8),
        "Multiprocessing, 2 workers": lambda: ours(env, MP, 8, num_workers=2),
        "  async": lambda: ours(env, MP, 8, num_workers=2, batch_size=2, group_envs=2),
        "  async, gathered": lambda: ours(
            env, MP, 8, num_workers=2, batch_size=4, group_envs=2, zero_copy=False
        ),
        **others([env] * 8),
    }


def case_atari() -> Entries:
    """Breakout of the Arcade Learning Environment, 84 x 84 gray, stack of 4, 8 copies."""
    if not installed("ale_py", "cv2"):
        return {}

    def ale() -> Entry:
        from ale_py.vector_env import AtariVectorEnv

        vecenv = AtariVectorEnv(game="breakout", num_envs=8, num_threads=2)
        vecenv.reset(seed=0)
        choose = actions_for(vecenv.single_action_space, 8)
        return Entry(lambda: vecenv.step(choose())[1], 8, vecenv.close)

    def pool(batch_size: int) -> Entry:
        import envpool

        vecenv = envpool.make(
            "Breakout-v5", env_type="gymnasium", num_envs=8, batch_size=batch_size, num_threads=2
        )
        choose = actions_for(vecenv.action_space, batch_size)
        if batch_size == 8:
            vecenv.reset()
            return Entry(lambda: vecenv.step(choose())[1], 8, vecenv.close)
        vecenv.async_reset()

        def advance() -> Any:
            _, rewards, *_, info = vecenv.recv()
            vecenv.send(choose(), info["env_id"])
            return rewards

        return Entry(advance, batch_size, vecenv.close)

    entries = eight(atari)
    entries["ALE's vector environment, 2 threads"] = ale
    if installed("envpool"):
        entries["EnvPool, 2 threads"] = lambda: pool(8)
        entries["EnvPool, 2 threads, async"] = lambda: pool(4)
    return entries


def case_nethack() -> Entries:
    """NetHack, 8 copies."""
    if not installed("nle"):
        return {}
    entries = eight(nethack)
    with contextlib.suppress(ImportError):
        from puffer.vector.adapters import to_gymnasium

        def adapted(env: Any) -> Entry:
            vecenv = to_gymnasium(
                puffer.vector.make(
                    env, backend=MP, num_envs=8, num_workers=2, final_observations=True
                )
            )
            vecenv.reset(seed=0)
            choose = actions_for(vecenv.single_action_space, 8)
            return Entry(lambda: vecenv.step(choose())[1], 8, vecenv.close)

        entries["Multiprocessing through to_gymnasium"] = lambda: adapted(nethack)
        with contextlib.suppress(ImportError):
            from puffer.envs.nethack import env_creator

            own = env_creator("NetHackScore-v0")
            entries["  puffer-envs' NetHack: 3 of 14 arrays"] = lambda: adapted(own)
    return entries


def synthetic(num_envs: int, **kwargs: Any) -> list[Any]:
    """Return creators of as many synthetic environments, each with its own delays."""
    return [lambda seed=seed: Synthetic(**kwargs, seed=seed) for seed in range(num_envs)]


def uneven(**kwargs: Any) -> Entries:
    """Return the entries of 16 environments with uneven delays, on two workers."""
    envs = synthetic(16, **kwargs)
    pool = {"num_workers": 2, "zero_copy": False}
    return {
        "Multiprocessing, all": lambda: ours(envs, MP, 16, num_workers=2),
        "  async, batches of 4": lambda: ours(envs, MP, 16, batch_size=4, group_envs=1, **pool),
        "  async, in order": lambda: ours(
            envs, MP, 16, batch_size=4, group_envs=1, sync_traj=True, **pool
        ),
        "Gymnasium Async": lambda: gymnasium_vector(envs, AsyncVectorEnv),
    }


def case_exponential() -> Entries:
    """Delays of 1 ms, exponentially distributed."""
    return uneven(delay=1e-3, exponential=True)


def case_exponential100() -> Entries:
    """Delays of 100 us, exponentially distributed."""
    return uneven(delay=1e-4, exponential=True)


def case_resets() -> Entries:
    """Delays of 100 us, one in a hundred followed by a reset of 5 ms."""
    return uneven(delay=1e-4, slow_resets=True)


def even(delay: float) -> Entries:
    """Return the entries of 8 environments with the same delay."""
    envs = synthetic(8, delay=delay)
    return {
        "Serial": lambda: ours(envs, "serial", 8),
        "Multiprocessing, 1 worker": lambda: ours(envs, MP, 8, num_workers=1),
        "Multiprocessing, 2 workers": lambda: ours(envs, MP, 8, num_workers=2),
        "  half batches": lambda: ours(envs, MP, 8, num_workers=2, batch_size=4),
        "  async": lambda: ours(
            envs, MP, 8, num_workers=2, batch_size=4, group_envs=2, zero_copy=False
        ),
        "Gymnasium Async": lambda: gymnasium_vector(envs, AsyncVectorEnv),
    }


def case_delay10us() -> Entries:
    """Delays of 10 us."""
    return even(1e-5)


def case_delay100us() -> Entries:
    """Delays of 100 us."""
    return even(1e-4)


def case_delay1ms() -> Entries:
    """Delays of 1 ms."""
    return even(1e-3)


def case_observations() -> Entries:
    """Observations of 4 bytes to 1 MB, 2 copies; and what copying them costs alone."""
    entries: Entries = {}
    for size in (4, 1 << 10, 1 << 20):
        source, target = np.ones((2, size), np.uint8), np.zeros((2, size), np.uint8)

        def copy(source: Any = source, target: Any = target) -> Any:
            for row in range(2):  # as environments write them
                np.copyto(target[row], source[row])
            return 0.0

        envs = synthetic(2, size=size)
        entries |= {
            f"{size} B: two copies": lambda copy=copy: Entry(copy, 2, lambda: None),
            f"{size} B, Serial": lambda envs=envs: ours(envs, "serial", 2),
            f"{size} B, 1 worker": lambda envs=envs: ours(envs, MP, 2, num_workers=1),
            f"{size} B, 2 workers": lambda envs=envs: ours(envs, MP, 2),
            f"{size} B, Gymnasium Async": lambda envs=envs: gymnasium_vector(envs, AsyncVectorEnv),
        }
    return entries


CASES: dict[str, Callable[[], Entries]] = {
    name.removeprefix("case_"): function
    for name, function in list(globals().items())
    if name.startswith("case_")
}
UNEVEN = ("exponential", "exponential100", "resets", "delay1ms", "delay100us", "delay10us")


# --- measuring --------------------------------------------------------------------------------


@dataclasses.dataclass
class Turn:
    """What one turn of one entry measured."""

    step_us: float
    steps_per_second: float
    main_cores: float
    efficiency: float


def measure(entry: Entry, seconds: float, uneven: bool) -> Turn:
    """Run `entry` for about `seconds`; add up what an uneven environment burned."""
    count, burned = 0, 0.0
    cpu, began = time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        for _ in range(4):
            rewards = entry.advance()
            if uneven:
                burned += float(np.sum(rewards))
        count += 4
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Turn(wall / count * 1e6, count * entry.steps / wall, cpu / wall, burned / wall / 2)


def run_case(name: str, turns: int, seconds: float) -> None:
    """Measure all entries of a case in turns and print its table."""
    print(f"\n{name}: {CASES[name].__doc__}")
    entries = {}
    for label, make in CASES[name]().items():
        try:
            entries[label] = make()
        except (ImportError, OSError) as error:
            print(f"(left out: {label.strip()}: {error})")
    measured: dict[str, list[Turn]] = {label: [] for label in entries}
    for turn in range(-1, turns):  # the first turn warms up
        for label, entry in entries.items():
            result = measure(entry, seconds, name in UNEVEN)
            if turn >= 0:
                measured[label].append(result)
    shares = {label: entry.share() for label, entry in entries.items()}
    for entry in entries.values():
        entry.close()
    if name in UNEVEN:
        print("efficiency = CPU seconds that the environments used / (2 cores x seconds)")
    head = f"{'':<44}{'us/step':>10}{'min':>9}{'max':>9}{'env steps/s':>13}{'main':>6}"
    print(head + (f"{'efficiency':>12}" if name in UNEVEN else ""))
    for label, results in measured.items():
        times = [result.step_us for result in results]
        row = f"{label:<44}{statistics.median(times):10.1f}{min(times):9.1f}{max(times):9.1f}"
        steps = shares[label] * statistics.median(r.steps_per_second for r in results)
        row += f"{steps:13,.0f}"
        row += f"{statistics.median(r.main_cores for r in results):6.2f}"
        if name in UNEVEN:
            row += f"{statistics.median(r.efficiency for r in results):12.2f}"
        print(row, flush=True)


def describe_machine() -> str:
    """Return the machine and the versions."""
    found = []
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return (
        f"{platform.processor() or platform.machine()}, {puffer.vector.usable_cores()} usable "
        f"cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, "
        + ", ".join(found)
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--turns", type=int, default=9, help="measurements of each entry")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of a measurement")
    arguments = parser.parse_args()
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"unknown case {name!r}: there is {', '.join(CASES)}")
    warnings.filterwarnings("ignore")  # of the environments
    print(describe_machine())
    for name in arguments.cases or CASES:
        run_case(name, arguments.turns, arguments.seconds)


if __name__ == "__main__":
    main()
