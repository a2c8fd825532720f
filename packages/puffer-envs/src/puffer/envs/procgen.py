"""Procgen: sixteen arcade games with levels without end, in the engine's own vector interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from puffer.core import Buffers, PufferEnv
from puffer.core.env import Infos, StepResult
from puffer.core.errors import ResetNeeded, UsageError
from puffer.core.spaces import Box, Discrete, write_actions
from puffer.core.stats import episode_info
from puffer.envs.family import declare
from puffer.envs.load import quiet, require
from puffer.envs.registered import check_render_mode

FAMILY = "procgen"
RENDER_MODES = ("rgb_array",)

HELP = {
    "bigfish": "Eat smaller fish and grow.",
    "bossfight": "Shoot a spaceship through its shields.",
    "caveflyer": "Fly through caves to the goal.",
    "chaser": "Eat the dots of a maze, as in MsPacman.",
    "climber": "Jump up platforms to collect stars.",
    "coinrun": "Run and jump to the coin at the right end.",
    "dodgeball": "Hit the others with balls, then leave.",
    "fruitbot": "Collect fruit and avoid everything else.",
    "heist": "Open locks to steal the gem of a maze.",
    "jumper": "Jump to the carrot that a compass points to.",
    "leaper": "Cross the road and the river, as in Frogger.",
    "maze": "Find the cheese in a maze.",
    "miner": "Dig for diamonds below falling stones.",
    "ninja": "Jump along platforms to the mushroom.",
    "plunder": "Sink enemy ships, not your own.",
    "starpilot": "Shoot and dodge in a scrolling sky.",
}
ANY = frozenset(HELP)
MODES: dict[str, frozenset[str]] = {
    "easy": ANY,
    "hard": ANY,
    "extreme": frozenset({"chaser", "dodgeball", "leaper", "starpilot"}),
    "memory": frozenset({"caveflyer", "dodgeball", "heist", "jumper", "maze", "miner"}),
    "exploration": ANY
    - {"bigfish", "bossfight", "chaser", "dodgeball", "fruitbot", "miner", "plunder", "starpilot"},
}
# Game -> return of an agent that sees nothing, and the highest: easy, then hard. Appendix C of
# Cobbe et al. 2020 (Leveraging procedural generation to benchmark RL, arXiv 1912.01588).
RANGES = {
    "bigfish": ((1, 40), (0, 40)),
    "bossfight": ((0.5, 13), (0.5, 13)),
    "caveflyer": ((3.5, 12), (2, 13.4)),
    "chaser": ((0.5, 13), (0.5, 14.2)),
    "climber": ((2, 12.6), (1, 12.6)),
    "coinrun": ((5, 10), (5, 10)),
    "dodgeball": ((1.5, 19), (1.5, 19)),
    "fruitbot": ((-1.5, 32.4), (-0.5, 27.2)),
    "heist": ((3.5, 10), (2, 10)),
    "jumper": ((3, 10), (1, 10)),
    "leaper": ((3, 10), (1.5, 10)),
    "maze": ((5, 10), (4, 10)),
    "miner": ((1.5, 13), (1.5, 20)),
    "ninja": ((3.5, 10), (2, 10)),
    "plunder": ((4.5, 30), (3, 30)),
    "starpilot": ((2.5, 64), (1.5, 35)),
}


class Procgen(PufferEnv):
    """Many copies of one game, stepped by one call.

    The engine begins the next level in the step that ends one, and shows the last frame to nobody:
    there are no final observations, and what time ends counts as a terminal, as it does in what
    was published. Infos come as episodes end; `perf` is the normalized return of the paper.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": list(RENDER_MODES), "render_fps": 15}

    def __init__(
        self,
        name: str,
        num_envs: int,
        options: Mapping[str, Any],
        render_mode: str | None = None,
        buf: Buffers | None = None,
    ) -> None:
        """Make `num_envs` copies of the game `name`; `options` are the engine's."""
        self.single_observation_space = Box(0, 255, (64, 64, 3), np.uint8)
        self.single_action_space = Discrete(15)
        self.num_agents = num_envs
        self.render_mode = render_mode
        self._engine_class: Any = require("procgen", FAMILY, name, below=(3, 13)).ProcgenGym3Env
        self._options = {**options, "env_name": name, "render_mode": render_mode}
        self._engine = self._start(num_envs, 0)
        easy_or_hard = {"easy": 0, "hard": 1}.get(options["distribution_mode"])
        self._range = None if easy_or_hard is None else RANGES[name][easy_or_hard]
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._was_reset = False
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, Infos]:
        """Begin new episodes everywhere.

        The engine takes a seed as it is made, one for all copies. So each copy's own comes from an
        engine of one copy, whose state it is given; that takes milliseconds a copy.
        """
        first = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._engine.set_state([self._state_of(first + k) for k in range(self.num_agents)])
        _, observation, _ = self._engine.observe()
        self.observations[...] = observation["rgb"]
        self.rewards[...] = 0.0
        self.terminals[...] = self.truncations[...] = False
        self.masks[...] = True
        self._returns[...] = self._lengths[...] = 0
        self._was_reset = True
        return self.observations, []

    def step(self, actions: npt.ArrayLike) -> StepResult:
        """Advance every copy.

        Raises:
            ResetNeeded: before the first `reset`.
            ActionError: an action outside the space; nothing was stepped.
        """
        if not self._was_reset:
            raise ResetNeeded("step was called before reset: call reset first")
        write_actions(actions, self.actions, self.single_action_space)
        self._engine.act(self.actions)
        rewards, observation, first = self._engine.observe()
        self.observations[...] = observation["rgb"]
        self.rewards[...] = rewards
        self.terminals[...] = first
        self._returns += rewards
        self._lengths += 1
        infos = self._end(np.flatnonzero(first)) if first.any() else []
        return self.observations, self.rewards, self.terminals, self.truncations, infos

    def _end(self, ended: np.ndarray) -> Infos:
        """Return the infos of the copies whose episode ended, and begin to count anew."""
        levels = self._engine.get_info()
        infos = []
        for i in ended.tolist():
            info: dict[str, Any] = {
                "level_seed": int(levels[i]["prev_level_seed"]),
                "level_complete": int(levels[i]["prev_level_complete"]),
            }
            gained = float(self._returns[i])
            if self._range is not None:
                low, high = self._range
                info["perf"] = min(max((gained - low) / (high - low), 0.0), 1.0)
            infos.append({**episode_info(gained, int(self._lengths[i]), info), "agent_id": i})
            self._returns[i] = self._lengths[i] = 0
        return infos

    def render(self) -> np.ndarray | None:
        """Return the first copy's frame, `(512, 512, 3)` bytes."""
        if self.render_mode is None:
            return None
        frame: np.ndarray = self._engine.get_info()[0]["rgb"]
        return frame

    def close(self) -> None:
        """Close the engine; calling it again does nothing."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _start(self, num: int, seed: int) -> Any:
        with quiet():
            return self._engine_class(num=num, rand_seed=seed, **self._options)

    def _state_of(self, seed: int) -> bytes:
        """Return the state of a new engine of one copy."""
        engine = self._start(1, int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1))
        state: bytes = engine.get_state()[0]
        engine.close()
        return state


def make(
    name: str,
    *,
    num_envs: int = 1,
    distribution_mode: str = "hard",
    num_levels: int = 0,
    start_level: int = 0,
    sequential_levels: bool = False,
    center_agent: bool = True,
    use_backgrounds: bool = True,
    restrict_themes: bool = False,
    use_monochrome_assets: bool = False,
    paint_vel_info: bool = False,
    num_threads: int = 0,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> Procgen:
    """Return copies of the game as one native environment.

    Args:
        name: one of `HELP`, Procgen's own.
        num_envs: how many copies, one agent each.
        distribution_mode: `easy`, `hard`, and for some games `extreme`, `memory`, `exploration`.
        num_levels: how many different levels there are; 0 is no limit.
        start_level: the first of them.
        sequential_levels: a completed level is followed by the next one within the episode.
        center_agent: the view follows the agent, where a game has the choice.
        use_backgrounds: draw backgrounds; else they are black.
        restrict_themes: draw each thing in one way only.
        use_monochrome_assets: draw things as rectangles of one colour.
        paint_vel_info: paint the agent's velocity into the upper left corner.
        num_threads: of the engine; 0 steps in the calling one, which is faster for few copies.
        render_mode: `rgb_array` or None.
        buf: rows to write; None allocates them.

    Raises:
        UsageError: a number too small, a mode that the game has not, levels chosen in exploration
            mode, or a render mode that there is not.
        MissingPackageError: procgen-mirror is not installed.
    """
    least = {"num_envs": 1, "num_levels": 0, "start_level": 0, "num_threads": 0}
    given = {
        "num_envs": num_envs,
        "num_levels": num_levels,
        "start_level": start_level,
        "num_threads": num_threads,
    }
    for option, value in given.items():
        if value < least[option]:
            raise UsageError(f"{option}={value}: expected an integer >= {least[option]}")
    known = [mode for mode, games in MODES.items() if name in games]
    if distribution_mode not in known:
        raise UsageError(f"distribution_mode={distribution_mode!r}: {name} has {', '.join(known)}")
    check_render_mode(name, render_mode, RENDER_MODES)
    options: dict[str, Any] = {
        "distribution_mode": distribution_mode,
        "use_sequential_levels": sequential_levels,
        "center_agent": center_agent,
        "use_backgrounds": use_backgrounds,
        "restrict_themes": restrict_themes,
        "use_monochrome_assets": use_monochrome_assets,
        "paint_vel_info": paint_vel_info,
        "num_threads": min(num_threads, os.cpu_count() or 1),
    }
    if distribution_mode == "exploration":
        if num_levels or start_level:
            raise UsageError(
                f"num_levels={num_levels}, start_level={start_level}: exploration has one level "
                "of its own"
            )
    else:
        options |= {"num_levels": num_levels, "start_level": start_level}
    return Procgen(name, num_envs, options, render_mode, buf)


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    aliases={f"procgen-{name}": name for name in HELP},
    policy="puffer.train.models:ResNet",
)
