"""Throw wrong calls at Ocean's environments for as long as you like: typed errors, never an abort.

Each round makes an env with random options, good and bad ones, and calls it at random: actions of
any dtype, shape and value, arrays that cannot be written, states that were damaged, calls in the
wrong order and from two threads. What is raised must be an error of Puffer's, and after it an env
must still play. A crash ends the process, whose last line names the seed that repeats it.
"""

from __future__ import annotations

import argparse
import collections
import threading
import time
from typing import Any

import numpy as np

from puffer.core.buffers import Buffers
from puffer.core.errors import PufferError
from puffer.core.registry import EnvSpec
from puffer.core.spaces import Box
from puffer.ocean.envs import family

WORDS: tuple[Any, ...] = (0, 1, -1, 2**31, 2**40, -(2**63), 2**70, 0.5, float("nan"), 1e300, None)
WORDS += ("", "auto", "x" * 1000, True, [], [1, 2], b"\0", object(), np.float32(3), np.zeros(2))


class Fuzzer:
    """One round's env and the random numbers that decide what happens to it."""

    def __init__(self, spec: EnvSpec, seed: int) -> None:
        self.spec, self.rng = spec, np.random.default_rng(seed)
        self.errors: collections.Counter[str] = collections.Counter()

    def chance(self, share: float) -> bool:
        """Return True in `share` of all calls."""
        return bool(self.rng.random() < share)

    def word(self) -> Any:
        """Return any value."""
        return WORDS[int(self.rng.integers(len(WORDS)))]

    def expect(self, call: Any, *args: Any, **options: Any) -> Any:
        """Call; count what is raised, let through only what is not Puffer's or Python's."""
        try:
            return call(*args, **options)
        except (PufferError, TypeError, OverflowError) as error:
            self.errors[type(error).__name__] += 1
            return None

    def make(self) -> Any:
        """Return an env, or None if its options were refused."""
        options: dict[str, Any] = {"num_envs": int(self.rng.integers(1, 40))}
        for option in self.spec.options:
            if self.chance(0.08):
                options[option.name] = self.word()
        if self.chance(0.05):
            options[f"no_{self.rng.integers(9)}"] = self.word()
        count = options.get("num_envs")
        if isinstance(count, int) and count > 1000:
            options["num_envs"] = -count
        options["num_threads"] = int(self.rng.choice([0, 1, 1, 1, 2, 3]))
        return self.expect(self.spec.creator, **options)

    def good_actions(self, env: Any) -> np.ndarray:
        """Return actions of the space."""
        space, like = env.single_action_space, env.actions
        if isinstance(space, Box):
            return (
                self.rng.uniform(-1, 1, like.shape).clip(space.low, space.high).astype(like.dtype)
            )
        return self.rng.integers(0, getattr(space, "nvec", getattr(space, "n", 1)), like.shape)

    def actions(self, env: Any) -> Any:
        """Return actions, more or less."""
        good = self.good_actions(env)
        kind = int(self.rng.integers(9))
        if kind == 0:
            return self.word()
        if kind == 1:
            good = good.astype(self.rng.choice(list("bBhHiIlLfdg?")))
        elif kind == 2:
            good = good.astype(object if self.chance(0.5) else complex)
        elif kind == 3:
            good.flat[int(self.rng.integers(good.size))] = self.rng.choice([-1, 99, 2**31 - 1])
        elif kind == 4:
            good = good[: int(self.rng.integers(len(good) + 1))]
        elif kind == 5:
            good = np.repeat(good, 2, axis=0)[::2]
        elif kind == 6:
            good = good.astype(float)
            good.flat[int(self.rng.integers(good.size))] = self.rng.choice(
                [np.nan, np.inf, -np.inf]
            )
        elif kind == 7:
            return good.tolist()
        return good

    def buffers(self, env: Any) -> Buffers:
        """Return buffers, one of which may be wrong."""
        fields = Buffers.fields(
            env.single_observation_space,
            env.single_action_space,
            env.num_agents,
            final_observations=self.chance(0.5),
            action_masks=env.can_fill_action_masks and self.chance(0.5),
        )
        buffers = Buffers.allocate(fields)
        name = str(self.rng.choice(list(fields)))
        array = getattr(buffers, name)
        wrong: list[Any] = [
            array.astype(np.float64),
            np.repeat(array, 2, axis=0)[::2],
            array[1:],
            np.broadcast_to(array[:1], array.shape),
            array[None],
        ]
        if self.chance(0.5):
            setattr(buffers, name, wrong[int(self.rng.integers(len(wrong)))])
        return buffers

    def state(self, env: Any) -> Any:
        """Return a state, damaged in most cases."""
        state = self.expect(env.state)
        if state is None or self.chance(0.2):
            return state or b"puffer-ocean state 1\n" + self.rng.bytes(50)
        broken = bytearray(state)
        for _ in range(int(self.rng.integers(4))):
            broken[int(self.rng.integers(len(broken)))] = int(self.rng.integers(256))
        return bytes(
            broken[: int(self.rng.integers(len(broken) + 1)) if self.chance(0.3) else None]
        )

    def two_threads(self, env: Any) -> None:
        """Step one env in two threads at once."""
        actions = self.good_actions(env)

        def step() -> None:
            for _ in range(5):
                self.expect(env.step, actions)

        threads = [threading.Thread(target=step) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def call(self, env: Any) -> None:
        """Do one thing to an env."""
        kind = int(self.rng.integers(16))
        if kind == 0:
            self.expect(env.reset, self.word() if self.chance(0.3) else 5)
        elif kind == 1:
            self.expect(env.attach, self.buffers(env))
        elif kind == 2:
            self.expect(env.set_state, self.state(env))
        elif kind == 3:
            self.expect(env.step_async, self.actions(env))
        elif kind == 4:
            self.expect(env.wait)
        elif kind == 5:
            option = self.spec.options[int(self.rng.integers(len(self.spec.options)))].name
            value = (
                self.word()
                if self.chance(0.7)
                else self.rng.integers(-2, 9, int(env.num_simulations))
            )
            self.expect(env.vary, **{option: value})
        elif kind == 6:
            self.expect(env.statistics)
        elif kind == 7 and self.chance(0.1):
            self.expect(env.close)
        elif kind == 8 and self.chance(0.2):
            self.two_threads(env)
        elif kind == 9:
            self.expect(env.render)
        else:
            self.expect(env.step, self.actions(env))

    def play(self) -> None:
        """Make an env, do many things to it, and see that one in order still plays."""
        env = self.make()
        if env is None:
            return
        for _ in range(int(self.rng.integers(60))):
            self.call(env)
        self.expect(env.wait)
        try:
            env.reset(1)
        except PufferError:  # it was closed, or its arrays are gone
            env.close()
            return
        space = env.observation_space
        for _ in range(5):
            observations = env.step(self.good_actions(env))[0]
        if not space.contains(observations):
            raise AssertionError(f"{self.spec.name}: an observation outside its space")
        if self.chance(0.7):
            env.close()


def main() -> None:
    """Fuzz until the time is over; print what was raised."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; others follow")
    parser.add_argument("--env", nargs="+", default=family.ids, help="names to fuzz")
    options = parser.parse_args()
    specs = [family.load(name) for name in options.env]
    errors: collections.Counter[str] = collections.Counter()
    start, seed = time.monotonic(), options.seed
    while time.monotonic() - start < options.seconds:
        fuzzer = Fuzzer(specs[seed % len(specs)], seed)
        print(f"\rseed {seed} {fuzzer.spec.name:<30}", end="", flush=True)
        fuzzer.play()
        errors += fuzzer.errors
        seed += 1
    print(f"\n{seed - options.seed} rounds in {time.monotonic() - start:.0f} s, raised:")
    for name, number in errors.most_common():
        print(f"{number:>10} {name}")


if __name__ == "__main__":
    main()
