"""NLE, the NetHack Learning Environment: the dungeon game, whole and as smaller tasks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError, near
from puffer.core.spaces import Dict
from puffer.envs.family import declare
from puffer.envs.load import quiet, require
from puffer.envs.registered import check_render_mode

FAMILY = "nethack"
RENDER_MODES = ("ansi", "rgb_array")
KEYS = "glyphs,blstats,message"
OWN_GAMES = ("nle.env.base", "nle.env.tasks")  # where the classes are whose step is known
ABORTED, SUCCESSFUL = -1, 2  # of NLE's StepStatus

HELP = {
    "NetHackScore-v0": "Raise the in-game score, with 23 keys.",
    "NetHack-v0": "The whole game with 86 keys; the score is the reward.",
    "NetHackStaircase-v0": "Find the staircase down.",
    "NetHackStaircasePet-v0": "Find it with the pet beside you.",
    "NetHackOracle-v0": "Find the Oracle, some levels down.",
    "NetHackGold-v0": "Collect gold.",
    "NetHackEat-v0": "Eat when hungry.",
    "NetHackScout-v0": "See as much of the dungeon as possible.",
    "NetHackChallenge-v0": "The NeurIPS 2021 challenge: any role, all 121 keys; takes no seeds.",
}


class Game(gymnasium.Wrapper[Any, Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """A game of NLE's that obeys seeds and tells time-outs apart from deaths.

    NLE's arrays are overwritten by the next step. On the last step of an episode they show how it
    ended, and not NetHack's farewell. There `end_status` is -1 (out of time), 1 (dead) or 2 (task
    done), and in games that are a task `perf` is 1 if it was done, else 0.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        keys: Collection[str],
        render_mode: str | None = None,
    ) -> None:
        """Wrap `env`.

        Args:
            env: NLE's or MiniHack's.
            keys: those of its observations that are shown.
            render_mode: of `RENDER_MODES`, or None.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, keys=tuple(keys))
        super().__init__(env)
        spaces: Any = env.observation_space
        self.observation_space = Dict({key: spaces[key] for key in keys})
        self._hidden = sorted(set(spaces) - set(keys))
        self._mode = render_mode
        self.metadata = {"render_modes": list(RENDER_MODES), "render_fps": 10}
        game: Any = env.unwrapped
        self._game = game
        self._is_task = hasattr(game.StepStatus, "TASK_SUCCESSFUL")
        self._seeds: np.random.Generator | None = np.random.default_rng()
        if type(game).__name__ == "NetHackChallenge":
            self._seeds = None  # it forbids them
        game._quit_game = _stay
        game._get_information = _at_the_end(game._get_information)
        self._step: Callable[[Any], Any] = env.step
        if type(game).__module__ in OWN_GAMES and self._seeds is not None:
            # Where in NLE's observations the numbers are that rewards compare with earlier ones.
            self._compared = (game._blstats_index, game._internal_index)
            self._running, self._died = game.StepStatus.RUNNING, game.StepStatus.DEATH
            self._places = list(
                zip(game._original_observation_keys, game._original_indices, strict=True)
            )
            self._step = self._press

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]
        """How it draws itself."""
        return self._mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a game; options go nowhere, since NLE takes them as NetHack's own."""
        if self._seeds is not None:
            if seed is not None:
                self._seeds = np.random.default_rng(seed)
            # NLE draws the seeds of each further game from the system, and reseeds while playing.
            core, disp = (int(n) for n in self._seeds.integers(2**31, size=2))
            self._game.seed(core=core, disp=disp, reseed=False)
        observation, info = self.env.reset(seed=seed)
        return self._shown(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Press the key `action`."""
        observation, reward, ended, aborted, info = self._step(action)
        if self._hidden:
            observation = self._shown(observation)
        if not (ended or aborted):
            return observation, float(reward), False, False, info
        status = int(info["end_status"])
        info = {**info, "end_status": status}
        if self._is_task:
            info["perf"] = float(status == SUCCESSFUL)
        return observation, float(reward), status != ABORTED, status == ABORTED, info

    def _press(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Do what `step` of NLE's tasks does, in nine tenths of its time.

        NLE keeps a copy of the whole screen for a reward that compares two numbers.
        """
        game = self._game
        before = list(game.last_observation)
        for i in self._compared:
            before[i] = before[i].copy()
        observation, done = game.nethack.step(game.actions[action])
        if not game._allow_all_modes or observation[game._program_state_index][0] == 1:
            observation, done = game._perform_known_steps(observation, done, exceptions=True)
        game._steps += 1
        game.last_observation = observation
        if done:
            status = self._died
        elif game._steps >= game._max_episode_steps:
            status = game.StepStatus.ABORTED
        else:
            status = game._is_episode_end(observation)
        reward = game._reward_fn(before, action, observation, status)
        shown = {key: observation[i] for key, i in self._places}
        ended = status is not self._running
        return shown, reward, ended, False, game._get_information(status)

    def render(self) -> Any:
        """Return the screen, as text or as an image."""
        return None if self._mode is None else self.env.render()

    def _shown(self, observation: dict[str, Any]) -> dict[str, Any]:
        for key in self._hidden:
            del observation[key]
        return observation


def _at_the_end(
    inform: Callable[[int], dict[str, Any]],
) -> Callable[[int], dict[str, Any]]:
    """Return `inform` for ended games alone: it takes a tenth of a step, and nobody reads it."""
    return lambda end_status: inform(end_status) if end_status else {}


def _stay(observation: Any, done: bool) -> None:
    """Stand in for NLE's `_quit_game`, which overwrites the observation that the step returns.

    The next reset ends the game as well.
    """


def parse_keys(keys: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the names in `keys`, which commas separate.

    Raises:
        UsageError: there is none, or one that is not among `known`.
    """
    names = tuple(name.strip() for name in keys.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise UsageError(
                f"keys={keys!r}: there is no observation {name!r}, {near(name, known)}"
            )
    if not names:
        raise UsageError(f"keys={keys!r}: expected names of observations, such as {KEYS!r}")
    return names


def start(
    name: str, keys: tuple[str, ...], max_episode_steps: int, render_mode: str | None, **own: Any
) -> Game:
    """Return the game that Gymnasium calls `name`, `own` being its other arguments."""
    if max_episode_steps < 0:
        raise UsageError(f"max_episode_steps={max_episode_steps}: expected an integer >= 0")
    check_render_mode(name, render_mode, RENDER_MODES)
    if max_episode_steps:
        # Not Gymnasium's: it would put a limit of its own around NLE's.
        own["max_episode_steps"] = max_episode_steps
    seen = (*keys, "chars") if render_mode == "ansi" and "chars" not in keys else keys
    spec = copy.deepcopy(gymnasium.spec(name))
    spec.kwargs = {
        **spec.kwargs,
        "observation_keys": seen,
        "render_mode": "pixel" if render_mode == "rgb_array" else "ansi",
        "fix_moon_phase": True,  # from the seed, not from tonight's
        **own,
    }
    with quiet():
        env = gymnasium.make(spec, disable_env_checker=True)  # emulation checks, once
    return Game(env, keys, render_mode)


def make(
    name: str,
    *,
    keys: str = KEYS,
    character: str | None = None,
    full_keyboard: bool = False,
    max_episode_steps: int = 0,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the game, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: one of `HELP`, NLE's own.
        keys: what is observed, names of NLE's separated by commas.
        character: role, race, sex and alignment, such as `mon-hum-neu-mal`; `@` is any, and None
            NLE's own choice.
        full_keyboard: the 86 keys of the whole game instead of the task's own 23.
        max_episode_steps: an episode is truncated there; 0 takes NLE's limit, 5,000 but for the
            challenge's million.
        render_mode: `ansi`, `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: an unknown key, a negative limit, or a render mode that there is not.
        MissingPackageError: nle is not installed.
    """
    base: Any = require("nle.env.base", FAMILY, name, below=(3, 14))
    own: dict[str, Any] = {} if character is None else {"character": character}
    if full_keyboard and name != "NetHackChallenge-v0":
        own["actions"] = base.FULL_ACTIONS
    shown = parse_keys(keys, [key for key, _ in base.NLE_SPACE_ITEMS])
    return GymnasiumPufferEnv(start(name, shown, max_episode_steps, render_mode, **own), buf=buf)


def _defaults(name: str) -> Mapping[str, Any]:
    return {"character": "@" if name == "NetHackChallenge-v0" else "mon-hum-neu-mal"}


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    aliases={"nethack": "NetHackScore-v0", "nle": "NetHackScore-v0"},
    defaults=_defaults,
    policy="puffer.train.models:NetHack",
)
