"""Pokemon Red in the emulator PyBoy: screen and memory to see, exploration and progress to gain.

The cartridge's image is the user's own: `rom_path`, or the environment variable ROM_VARIABLE.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Dict, Discrete
from puffer.envs.family import declare
from puffer.envs.load import quiet, require
from puffer.envs.registered import check_render_mode

FAMILY = "pokemon-red"
ROM_VARIABLE = "PUFFER_POKEMON_RED_ROM"
RENDER_MODES = ("rgb_array",)
FRAMES_PER_SECOND = 60

HELP = {"pokemon_red": "Explore the world of Pokemon Red, meet its events and raise a team."}

BUTTONS = ("down", "left", "right", "up", "a", "b", "start", "select")
HELD_FRAMES = 8  # of those of a step: the game reads a button once

# Addresses of the game's first English edition, as its disassembly by pret names them.
MAP, ROW, COLUMN = 0xD35E, 0xD361, 0xD362  # wCurMap, wYCoord, wXCoord
BADGES = 0xD356  # wObtainedBadges: a bit for each
IN_BATTLE = 0xD057  # wIsInBattle
PARTY_COUNT = 0xD163  # wPartyCount
PARTY, MEMBER_BYTES, PARTY_SIZE = 0xD16B, 0x2C, 6  # wPartyMons
HEALTH, LEVEL, FULL_HEALTH = 0x01, 0x21, 0x22  # within a member; two bytes, one, two
EVENTS, EVENTS_END = 0xD747, 0xD887  # wEventFlags: a bit for each


class PokemonRed(gymnasium.Env[Any, Any]):
    """The game as an environment; a step presses one button for some frames.

    Observations are `screen` uint8 `(72, 80, 1)`, grey at half size; `place` uint8 `(3,)`, map, row
    and column; `levels` uint8 `(6,)` and `health` float32 `(6,)`, of full health, of the party;
    `badges` int8 `(8,)`; `in_battle` int8 `(1,)`. An episode is only ever truncated.

    Attributes:
        emulator: PyBoy's own object.

    Args:
        rom: the cartridge's image.
        init_state: a file of PyBoy's `save_state` with which episodes begin; None: power-on.
        frames: in one step.
        max_steps: an episode is truncated there.
        noop_max: an episode begins with 0 to so many steps of doing nothing, drawn from its seed.
        exploration_reward: for each place never seen before in the episode.
        event_reward: for each of the game's events that is new.
        level_reward: for each level that the party gains over its best sum.
        badge_reward: for each new badge.
        render_mode: `rgb_array` or None.
    """

    metadata = {  # noqa: RUF012 - Gymnasium's own form
        "render_modes": list(RENDER_MODES),
        "render_fps": FRAMES_PER_SECOND,
    }

    def __init__(
        self,
        rom: Path,
        init_state: Path | None,
        *,
        frames: int,
        max_steps: int,
        noop_max: int,
        exploration_reward: float,
        event_reward: float,
        level_reward: float,
        badge_reward: float,
        render_mode: str | None,
    ) -> None:
        pyboy = require("pyboy", FAMILY, "Pokemon Red")
        with quiet():
            self.emulator: Any = pyboy.PyBoy(
                str(rom), window="null", sound_emulated=False, log_level="ERROR"
            )
        self.emulator.set_emulation_speed(0)
        self._beginning = self._save_emulator() if init_state is None else init_state.read_bytes()
        self._frames, self._max_steps, self._noop_max = frames, max_steps, noop_max
        self._weights = (exploration_reward, event_reward, level_reward, badge_reward)
        self.render_mode = render_mode
        self.observation_space = Dict(
            {
                "screen": Box(0, 255, (72, 80, 1), np.uint8),
                "place": Box(0, 255, (3,), np.uint8),
                "levels": Box(0, 255, (PARTY_SIZE,), np.uint8),
                "health": Box(0.0, 1.0, (PARTY_SIZE,), np.float32),
                "badges": Box(0, 1, (8,), np.int8),
                "in_battle": Box(0, 1, (1,), np.int8),
            }
        )
        self.action_space = Discrete(len(BUTTONS))
        self._steps = 0
        self._best: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._seen: set[bytes] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put the console into its first state."""
        super().reset(seed=seed)
        self.emulator.load_state(io.BytesIO(self._beginning))
        for _ in range(int(self.np_random.integers(self._noop_max + 1))):
            self.emulator.tick(self._frames, False, False)
        self.emulator.tick(1, True, False)
        self._steps = 0
        self._seen = {self._place()}
        self._best = self._progress()
        return self._observe(), {}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Press a button for HELD_FRAMES frames and wait for the rest of the step."""
        button, tick = BUTTONS[action], self.emulator.tick
        held = min(HELD_FRAMES, self._frames - 1)
        self.emulator.button_press(button)
        tick(held, False, False)
        self.emulator.button_release(button)
        tick(self._frames - held, True, False)
        self._steps += 1
        self._seen.add(self._place())
        now = self._progress()
        best: Any = tuple(max(pair) for pair in zip(now, self._best, strict=True))
        gains = zip(self._weights, best, self._best, strict=True)
        reward = float(sum(weight * (new - old) for weight, new, old in gains))
        self._best = best
        truncated = self._steps >= self._max_steps
        return self._observe(), reward, False, truncated, self._statistics() if truncated else {}

    def _place(self) -> bytes:
        memory = self.emulator.memory
        return bytes((memory[MAP], memory[ROW], memory[COLUMN]))

    def _progress(self) -> tuple[int, int, int, int]:
        """Return the numbers of places, events, levels of the party and badges."""
        memory = self.emulator.memory
        events = int.from_bytes(bytes(memory[EVENTS:EVENTS_END]), "little").bit_count()
        levels = sum(self._party(LEVEL, 1))
        return len(self._seen), events, levels, memory[BADGES].bit_count()

    def _party(self, offset: int, size: int) -> list[int]:
        """Return a number of each member of the party, as many as there are."""
        memory = self.emulator.memory
        count = min(memory[PARTY_COUNT], PARTY_SIZE)
        starts = [PARTY + i * MEMBER_BYTES + offset for i in range(count)]
        return [int.from_bytes(bytes(memory[at : at + size]), "big") for at in starts]

    def _observe(self) -> dict[str, np.ndarray]:
        memory = self.emulator.memory
        levels, health = np.zeros(PARTY_SIZE, np.uint8), np.zeros(PARTY_SIZE, np.float32)
        levels[: memory[PARTY_COUNT]] = self._party(LEVEL, 1)
        pairs = zip(self._party(HEALTH, 2), self._party(FULL_HEALTH, 2), strict=True)
        for i, (now, full) in enumerate(pairs):
            health[i] = min(now / full, 1.0) if full else 0.0
        badges = np.unpackbits(np.array([memory[BADGES]], np.uint8), bitorder="little")
        return {
            "screen": self.emulator.screen.ndarray[::2, ::2, :1].copy(),
            "place": np.frombuffer(self._place(), np.uint8).copy(),
            "levels": levels,
            "health": health,
            "badges": badges.astype(np.int8),
            "in_battle": np.array([memory[IN_BATTLE] != 0], np.int8),
        }

    def _statistics(self) -> dict[str, float]:
        names = ("places", "events", "levels", "badges")
        return dict(zip(names, map(float, self._best), strict=True))

    def save(self) -> bytes:
        """Return all that decides what comes next, but for the random numbers of later resets."""
        head = struct.pack("<5I", self._steps, *self._best)
        seen = b"".join(sorted(self._seen))
        return head + struct.pack("<I", len(seen)) + seen + self._save_emulator()

    def load(self, state: bytes) -> dict[str, np.ndarray]:
        """Go on from what `save` returned, and return the observation.

        Raises:
            UsageError: it is none of this cartridge.
        """
        try:
            self._steps, *best, size = struct.unpack_from("<6I", state)
            seen, rest = state[24 : 24 + size], state[24 + size :]
            self.emulator.load_state(io.BytesIO(rest))
        except Exception as error:
            raise UsageError(f"state of {len(state)} bytes is none of Pokemon Red: {error}") from (
                error
            )
        self._best = (best[0], best[1], best[2], best[3])
        self._seen = {seen[i : i + 3] for i in range(0, size, 3)}
        return self._observe()

    def _save_emulator(self) -> bytes:
        file = io.BytesIO()
        self.emulator.save_state(file)
        return file.getvalue()

    def render(self) -> Any:
        """Return the screen, uint8 `(144, 160, 3)`."""
        if self.render_mode is None:
            return None
        return self.emulator.screen.ndarray[..., :3].copy()

    def close(self) -> None:
        """Switch the console off; nothing is written to a file."""
        self.emulator.stop(save=False)


def make(
    name: str,
    *,
    rom_path: str = "",
    init_state: str = "",
    frames: int = 24,
    max_episode_steps: int = 2048,
    noop_max: int = 0,
    exploration_reward: float = 0.02,
    event_reward: float = 1.0,
    level_reward: float = 0.5,
    badge_reward: float = 5.0,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the game, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: `pokemon_red`.
        rom_path: the cartridge's image; empty: the path in PUFFER_POKEMON_RED_ROM.
        init_state: a file of PyBoy's save_state with which episodes begin; empty: power-on.
        frames: of the console in one step.
        max_episode_steps: an episode is truncated there.
        noop_max: an episode begins with 0 to so many steps of doing nothing, drawn by its seed.
        exploration_reward: for each place that is new in the episode.
        event_reward: for each event of the game that is new.
        level_reward: for each level that the party gains.
        badge_reward: for each badge.
        render_mode: `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: no ROM or state at such a path, one of another game, or a number out of range.
        MissingPackageError: PyBoy is not installed.
    """
    if frames < 2 or max_episode_steps < 1 or noop_max < 0:
        raise UsageError(
            f"frames={frames}, max_episode_steps={max_episode_steps}, noop_max={noop_max}: "
            "expected integers >= 2, >= 1 and >= 0"
        )
    check_render_mode(name, render_mode, RENDER_MODES)
    require("pyboy", FAMILY, "Pokemon Red")
    state = Path(init_state) if init_state else None
    if state is not None and not state.is_file():
        raise UsageError(f"init_state={init_state!r}: there is no such file")
    env = PokemonRed(
        find_rom(rom_path),
        state,
        frames=frames,
        max_steps=max_episode_steps,
        noop_max=noop_max,
        exploration_reward=exploration_reward,
        event_reward=event_reward,
        level_reward=level_reward,
        badge_reward=badge_reward,
        render_mode=render_mode,
    )
    return GymnasiumPufferEnv(env, buf=buf)


def find_rom(rom_path: str) -> Path:
    """Return where the cartridge's image is.

    Raises:
        UsageError: nobody said, there is none, or it is one of another game.
    """
    given = rom_path or os.environ.get(ROM_VARIABLE, "")
    if not given:
        raise UsageError(
            "Pokemon Red needs the image of your own cartridge: pass rom_path "
            f"(--env.rom-path), or set {ROM_VARIABLE}"
        )
    path = Path(given)
    if not path.is_file():
        raise UsageError(f"rom_path={given!r}: there is no such file")
    content = path.read_bytes()
    title = content[0x134:0x144].rstrip(b"\0")
    if title not in (b"POKEMON RED", b"POKEMON BLUE"):
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        raise UsageError(
            f"rom_path={given!r} has the title {title.decode('ascii', 'replace')!r} (SHA-1 "
            f"{digest}), expected POKEMON RED or POKEMON BLUE"
        )
    return path


env_creator, family = declare(FAMILY, make, HELP)
