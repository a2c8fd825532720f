"""MiniGrid and BabyAI: gridworlds seen from within, with missions in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box, Dict, Discrete, MultiDiscrete
from puffer.envs.family import declare
from puffer.envs.load import require
from puffer.envs.registered import make_registered

FAMILY = "minigrid"
VIEW = (7, 7, 3)
HIGHEST = 10  # of the numbers of objects, colours and states
MISSION_LENGTH = 48  # words; what is longer is cut off there
WORDS = """
    , a after and at avoid ball behind blue box door end fetch find from front get go goal green
    grey hallway in key lava left matching must near next object of on open opening pick purple put
    reach red right room rooms square the then to traverse unlock up use yellow you your
"""
# 0 is the end of the mission, 1 a word that is not among them.
VOCABULARY = {word: number for number, word in enumerate(WORDS.split(), start=2)}

MINIGRID = """
    BlockedUnlockPickup-v0 DistShift1-v0 DistShift2-v0 DoorKey-5x5-v0 DoorKey-6x6-v0 DoorKey-8x8-v0
    DoorKey-16x16-v0 Dynamic-Obstacles-5x5-v0 Dynamic-Obstacles-6x6-v0 Dynamic-Obstacles-8x8-v0
    Dynamic-Obstacles-16x16-v0 Dynamic-Obstacles-Random-5x5-v0 Dynamic-Obstacles-Random-6x6-v0
    Empty-5x5-v0 Empty-6x6-v0 Empty-8x8-v0 Empty-16x16-v0 Empty-Random-5x5-v0 Empty-Random-6x6-v0
    Fetch-5x5-N2-v0 Fetch-6x6-N2-v0 Fetch-8x8-N3-v0 FourRooms-v0 GoToDoor-5x5-v0 GoToDoor-6x6-v0
    GoToDoor-8x8-v0 GoToObject-6x6-N2-v0 GoToObject-8x8-N2-v0 KeyCorridorS3R1-v0 KeyCorridorS3R2-v0
    KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0 KeyCorridorS6R3-v0
    LavaCrossingS9N1-v0 LavaCrossingS9N2-v0 LavaCrossingS9N3-v0 LavaCrossingS11N5-v0 LavaGapS5-v0
    LavaGapS6-v0 LavaGapS7-v0 LockedRoom-v0 MemoryS7-v0 MemoryS9-v0 MemoryS11-v0 MemoryS13-v0
    MemoryS13Random-v0 MemoryS17Random-v0 MultiRoom-N2-S4-v0 MultiRoom-N4-S5-v0 MultiRoom-N4-S5-v1
    MultiRoom-N6-v0
    ObstructedMaze-1Dl-v0 ObstructedMaze-1Dlh-v0 ObstructedMaze-1Dlhb-v0 ObstructedMaze-1Q-v0
    ObstructedMaze-2Dl-v0 ObstructedMaze-2Dlh-v0 ObstructedMaze-2Dlhb-v0 ObstructedMaze-2Q-v0
    ObstructedMaze-Full-v0 ObstructedMaze-1Q-v1 ObstructedMaze-2Dlhb-v1 ObstructedMaze-2Q-v1
    ObstructedMaze-Full-v1 Playground-v0 PutNear-6x6-N2-v0 PutNear-8x8-N3-v0 RedBlueDoors-6x6-v0
    RedBlueDoors-8x8-v0 SimpleCrossingS9N1-v0 SimpleCrossingS9N2-v0 SimpleCrossingS9N3-v0
    SimpleCrossingS11N5-v0 Unlock-v0 UnlockPickup-v0
"""
BABYAI = """
    ActionObjDoor-v0 BlockedUnlockPickup-v0 BossLevel-v0 BossLevelNoUnlock-v0 FindObjS5-v0
    FindObjS6-v0 FindObjS7-v0 GoTo-v0 GoToDoor-v0 GoToImpUnlock-v0 GoToLocal-v0 GoToLocalS5N2-v0
    GoToLocalS6N2-v0 GoToLocalS6N3-v0 GoToLocalS6N4-v0 GoToLocalS7N4-v0 GoToLocalS7N5-v0
    GoToLocalS8N2-v0 GoToLocalS8N3-v0 GoToLocalS8N4-v0 GoToLocalS8N5-v0 GoToLocalS8N6-v0
    GoToLocalS8N7-v0 GoToObj-v0 GoToObjDoor-v0 GoToObjMaze-v0 GoToObjMazeOpen-v0 GoToObjMazeS4-v0
    GoToObjMazeS4R2-v0 GoToObjMazeS5-v0 GoToObjMazeS6-v0 GoToObjMazeS7-v0 GoToObjS4-v0 GoToObjS6-v1
    GoToOpen-v0 GoToRedBall-v0 GoToRedBallGrey-v0 GoToRedBallNoDists-v0 GoToRedBlueBall-v0
    GoToSeq-v0 GoToSeqS5R2-v0 KeyCorridor-v0 KeyCorridorS3R1-v0 KeyCorridorS3R2-v0
    KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0 KeyCorridorS6R3-v0 KeyInBox-v0
    MiniBossLevel-v0 MoveTwoAcrossS5N2-v0 MoveTwoAcrossS8N9-v0 OneRoomS8-v0 OneRoomS12-v0
    OneRoomS16-v0 OneRoomS20-v0 Open-v0 OpenDoor-v0 OpenDoorColor-v0 OpenDoorDebug-v0 OpenDoorLoc-v0
    OpenDoorsOrderN2-v0 OpenDoorsOrderN2Debug-v0 OpenDoorsOrderN4-v0 OpenDoorsOrderN4Debug-v0
    OpenRedBlueDoors-v0 OpenRedBlueDoorsDebug-v0 OpenRedDoor-v0 OpenTwoDoors-v0 Pickup-v0
    PickupAbove-v0 PickupDist-v0 PickupDistDebug-v0 PickupLoc-v0 PutNextLocal-v0 PutNextLocalS5N3-v0
    PutNextLocalS6N4-v0 PutNextS4N1-v0 PutNextS5N1-v0 PutNextS5N2-v0 PutNextS5N2Carrying-v0
    PutNextS6N3-v0 PutNextS6N3Carrying-v0 PutNextS7N4-v0 PutNextS7N4Carrying-v0 Synth-v0 SynthLoc-v0
    SynthS5R2-v0 SynthSeq-v0 UnblockPickup-v0 Unlock-v0 UnlockLocal-v0 UnlockLocalDist-v0
    UnlockPickup-v0 UnlockPickupDist-v0 UnlockToUnlock-v0
"""
HELP = {f"MiniGrid-{task}": f"MiniGrid's {task[:-3]}." for task in MINIGRID.split()} | {
    f"BabyAI-{task}": f"BabyAI's {task[:-3]}: do as the mission says." for task in BABYAI.split()
}
# Where the mission differs from episode to episode and the agent has to know it.
_TOLD = ("BabyAI-", "MiniGrid-Fetch-", "MiniGrid-GoTo", "MiniGrid-PutNear-", "MiniGrid-LockedRoom-")


class Seen(gymnasium.ObservationWrapper[Any, Any, Any], gymnasium.utils.RecordConstructorArgs):
    """Shows the agent's view, and with `tokens` its direction and the words of the mission.

    The view are the numbers of object, colour and state in each of 7 x 7 cells. MiniGrid's own
    space says that they go to 255.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, tokens: bool) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, tokens=tokens)
        super().__init__(env)
        self._tokens = tokens
        view = Box(0, HIGHEST, VIEW, np.uint8)
        self.observation_space = view
        if tokens:
            words = MultiDiscrete([len(VOCABULARY) + 2] * MISSION_LENGTH, dtype=np.uint8)
            self.observation_space = Dict(
                {"direction": Discrete(4), "image": view, "mission": words}
            )
        self._mission, self._words = "", np.zeros(MISSION_LENGTH, np.uint8)

    def observation(self, observation: Any) -> Any:
        """Return the view, or all."""
        if not self._tokens:
            return observation["image"]
        if observation["mission"] != self._mission:
            self._mission = observation["mission"]
            self._words = tokenize(self._mission)
        return {
            "direction": int(observation["direction"]),
            "image": observation["image"],
            "mission": self._words,
        }


def tokenize(mission: str) -> np.ndarray:
    """Return the numbers of the words of a mission, `(MISSION_LENGTH,)` uint8, zeros behind it."""
    words = mission.lower().replace(",", " , ").split()[:MISSION_LENGTH]
    row = np.zeros(MISSION_LENGTH, np.uint8)
    row[: len(words)] = [VOCABULARY.get(word, 1) for word in words]
    return row


def _tells(name: str) -> str:
    return "tokens" if name.startswith(_TOLD) else "drop"


def make(
    name: str,
    *,
    mission: str | None = None,
    max_episode_steps: int = 0,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv:
    """Return the environment, emulated: a Gymnasium environment that writes into `buf`.

    Args:
        name: one of `HELP`, Gymnasium's id.
        mission: `tokens` shows direction and mission beside the view, `drop` the view alone; None
            shows what the task needs.
        max_episode_steps: an episode is truncated there; 0 takes its own limit.
        render_mode: `human`, `rgb_array` or None.
        buf: one row to write; None allocates it.

    Raises:
        UsageError: another mission, a negative limit, or a render mode that there is not.
        MissingPackageError: minigrid is not installed.
    """
    mission = mission or _tells(name)
    if mission not in ("tokens", "drop"):
        raise UsageError(f"mission={mission!r}: expected 'tokens' or 'drop'")
    if max_episode_steps < 0:
        raise UsageError(f"max_episode_steps={max_episode_steps}: expected an integer >= 0")
    require("minigrid", FAMILY, name)
    # BabyAI prints each level that it throws away.
    level: Any = require("minigrid.envs.babyai.core.roomgrid_level", FAMILY, name)
    level.print = _say_nothing
    own: dict[str, Any] = {"max_steps": max_episode_steps} if max_episode_steps else {}
    env = make_registered(name, FAMILY, render_mode=render_mode, **own)
    return GymnasiumPufferEnv(Seen(env, tokens=mission == "tokens"), buf=buf)


def _say_nothing(*_: object) -> None:
    """Stand in for `print`."""


def _defaults(name: str) -> Mapping[str, Any]:
    return {"mission": _tells(name)}


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    default="MiniGrid-DoorKey-5x5-v0",
    defaults=_defaults,
    policy="puffer.train.models:Grid",
)
