"""The Arcade Learning Environment: 104 games of the Atari 2600, preprocessed as the field does."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from puffer.core import Buffers
from puffer.core.emulation import GymnasiumPufferEnv, GymnasiumVectorPufferEnv
from puffer.core.errors import UsageError
from puffer.core.spaces import Box
from puffer.envs.family import declare
from puffer.envs.load import require
from puffer.envs.registered import check_render_mode, make_registered

FAMILY = "atari"
RENDER_MODES = ("human", "rgb_array")
FRAMES_PER_SECOND = 60
_ROMS = """
    adventure air_raid alien amidar assault asterix asteroids atlantis atlantis2 backgammon
    bank_heist basic_math battle_zone beam_rider berzerk blackjack bowling boxing breakout carnival
    casino centipede chopper_command crazy_climber crossbow darkchambers defender demon_attack
    donkey_kong double_dunk earthworld elevator_action enduro entombed et fishing_derby
    flag_capture freeway frogger frostbite galaxian gopher gravitar hangman haunted_house hero
    human_cannonball ice_hockey jamesbond journey_escape kaboom kangaroo keystone_kapers king_kong
    klax koolaid krull kung_fu_master laser_gates lost_luggage mario_bros miniature_golf
    montezuma_revenge mr_do ms_pacman name_this_game othello pacman phoenix pitfall pitfall2 pong
    pooyan private_eye qbert riverraid road_runner robotank seaquest sir_lancelot skiing solaris
    space_invaders space_war star_gunner superman surround tennis tetris tic_tac_toe_3d time_pilot
    trondead turmoil tutankham up_n_down venture video_checkers video_chess video_cube
    video_pinball wizard_of_wor word_zapper yars_revenge zaxxon
"""
GAMES = _ROMS.split()

HELP = {game: f"The Atari 2600's {game.replace('_', ' ').title()}." for game in GAMES}


def _gymnasium_name(game: str) -> str:
    return game.title().replace("_", "")


class Preprocessing(
    gymnasium.Wrapper[np.ndarray, Any, np.ndarray, Any], gymnasium.utils.RecordConstructorArgs
):
    """What Mnih et al. 2015 (Human-level control through deep reinforcement learning) feed a net.

    A step repeats its action for `frame_skip` frames and shows the brighter of each pixel of the
    last two, in grey, scaled down, behind those of the steps before. It does what Gymnasium's
    `AtariPreprocessing` and `FrameStackObservation` do together, in less time; `episodic_life`
    differs: after a lost life the same game goes on. The observation is overwritten by the next.

    Args:
        env: an `ale_py.AtariEnv` of frame skip 1, perhaps wrapped.
        frame_skip: frames in a step.
        stack: steps in an observation.
        screen_size: side of the square that a frame becomes, in pixels.
        noop_max: an episode begins with 1 to so many frames of doing nothing; 0: with none.
        episodic_life: a lost life ends the episode.
        clip_rewards: rewards become their sign.
        fire_reset: an episode begins with FIRE, where the game has it.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        frame_skip: int,
        stack: int,
        screen_size: int,
        noop_max: int,
        episodic_life: bool,
        clip_rewards: bool,
        fire_reset: bool,
    ) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(
            self,
            frame_skip=frame_skip,
            stack=stack,
            screen_size=screen_size,
            noop_max=noop_max,
            episodic_life=episodic_life,
            clip_rewards=clip_rewards,
            fire_reset=fire_reset,
        )
        super().__init__(env)
        inner: Any = env.unwrapped
        self._ale, self._codes = inner.ale, list(inner._action_set)
        cv2: Any = require("cv2", FAMILY, "scaling frames")
        self._resize, self._interpolation = cv2.resize, cv2.INTER_AREA
        self._side, self._skip, self._noop_max = (screen_size, screen_size), frame_skip, noop_max
        self._episodic_life, self._clip = episodic_life, clip_rewards
        meanings = inner.get_action_meanings()
        self._fire = meanings.index("FIRE") if fire_reset and "FIRE" in meanings else None
        height, width = self._ale.getScreenDims()
        self._last, self._before = (np.zeros((height, width), np.uint8) for _ in range(2))
        self._frames = np.zeros((stack, screen_size, screen_size), np.uint8)
        self.observation_space = Box(0, 255, self._frames.shape, np.uint8)
        self.metadata = {**env.metadata, "render_fps": FRAMES_PER_SECOND / frame_skip}
        self._lives, self._goes_on = 0, False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a game, or the next life of the same."""
        if self._goes_on and seed is None:
            self._goes_on = False
            self._act(0, 1)
            info: dict[str, Any] = self._info()
        else:
            _, info = self.env.reset(seed=seed, options=options)
            if self._noop_max:
                self._act(0, int(self.unwrapped.np_random.integers(1, self._noop_max + 1)))
        if self._fire is not None:
            self._act(self._fire, self._skip)
        self._lives = self._ale.lives()
        self._ale.getScreenGrayscale(self._last)
        self._frames[...] = self._scaled()
        return self._frames, info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act for `frame_skip` frames, or until the game is over."""
        ale, code, reward = self._ale, self._codes[action], 0.0
        pooled = self._skip > 1
        for frame in range(self._skip):
            reward += ale.act(code, 1.0)
            if ale.game_over(with_truncation=True):
                pooled = False
                break
            if frame == self._skip - 2:
                ale.getScreenGrayscale(self._before)
        ale.getScreenGrayscale(self._last)
        if pooled:
            np.maximum(self._last, self._before, out=self._last)
        self._frames[:-1] = self._frames[1:]
        self._frames[-1] = self._scaled()
        terminated, truncated = ale.game_over(with_truncation=False), ale.game_truncated()
        if self._episodic_life and not (terminated or truncated):
            lives = ale.lives()
            # Some games count a new life before they take the old one away.
            self._goes_on = terminated = 0 < lives < self._lives
            self._lives = lives
        if self._clip:
            reward = float(np.sign(reward))
        return self._frames, reward, terminated, truncated, self._info()

    def _act(self, action: int, frames: int) -> None:
        for _ in range(frames):
            self._ale.act(self._codes[action], 1.0)
            if self._ale.game_over(with_truncation=True):
                self.env.reset()

    def _scaled(self) -> np.ndarray:
        scaled: np.ndarray = self._resize(self._last, self._side, interpolation=self._interpolation)
        return scaled

    def _info(self) -> dict[str, Any]:
        return {"lives": self._ale.lives()}


class Seeded(gymnasium.vector.VectorWrapper):
    """ALE's vector environment with seeds of any size; its own have 31 bits."""

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new games; game k has the seed `seed + k`."""
        if seed is not None:
            # The remainder, and not a digest: then neighbours still overlap.
            seed = (int(seed) + np.arange(self.num_envs)) % 2**31
        return self.env.reset(seed=seed, options=options)


def make(
    name: str,
    *,
    frame_skip: int = 4,
    stack: int = 4,
    screen_size: int = 84,
    noop_max: int = 30,
    episodic_life: bool = False,
    clip_rewards: bool = False,
    fire_reset: bool = False,
    repeat_action_probability: float = 0.0,
    full_action_space: bool = False,
    max_episode_steps: int = 27_000,
    ale_envs: int = 0,
    ale_threads: int = 0,
    render_mode: str | None = None,
    buf: Buffers | None = None,
) -> GymnasiumPufferEnv | GymnasiumVectorPufferEnv:
    """Return the game: observations `(stack, screen_size, screen_size)` uint8, in grey.

    Args:
        name: one of `HELP`, the name of its ROM.
        frame_skip: frames in which an action is repeated.
        stack: steps in an observation.
        screen_size: side of the square that a frame becomes, in pixels.
        noop_max: a game begins with 1 to so many frames of doing nothing.
        episodic_life: a lost life ends the episode, and the same game goes on in the next.
        clip_rewards: rewards become their sign.
        fire_reset: an episode begins with FIRE, where the game has it; with `ale_envs`, a game.
        repeat_action_probability: of each frame to repeat the last action; 0.25 are sticky actions.
        full_action_space: all 18 actions instead of those that the game uses.
        max_episode_steps: an episode is truncated there.
        ale_envs: so many games in one vector environment of ALE's own; 0: one, through Gymnasium.
        ale_threads: of ALE's vector environment; 0: one for each core.
        render_mode: `human`, `rgb_array` or None; a game that is drawn is always a single one.
        buf: rows to write; None allocates them.

    Raises:
        UsageError: a number out of range, or a render mode that there is not.
        MissingPackageError: ale-py or OpenCV is not installed.
    """
    for key, value in {
        "frame_skip": frame_skip,
        "stack": stack,
        "screen_size": screen_size,
    }.items():
        if value < 1:
            raise UsageError(f"{key}={value}: expected an integer >= 1")
    check_render_mode(name, render_mode, RENDER_MODES)
    ale_py: Any = require("ale_py", FAMILY, name)
    # It announces itself on standard error, from C++.
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    common: dict[str, Any] = {
        "repeat_action_probability": repeat_action_probability,
        "full_action_space": full_action_space,
        "max_num_frames_per_episode": max_episode_steps * frame_skip,
    }
    if ale_envs and render_mode is None:
        vector: Any = require("ale_py.vector_env", FAMILY, name)
        return GymnasiumVectorPufferEnv(
            Seeded(
                vector.AtariVectorEnv(
                    name,
                    ale_envs,
                    num_threads=ale_threads,
                    autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
                    img_height=screen_size,
                    img_width=screen_size,
                    stack_num=stack,
                    frameskip=frame_skip,
                    noop_max=noop_max,
                    # Its own `episodic_life` begins a new game after every life.
                    life_loss_info=episodic_life,
                    reward_clipping=clip_rewards,
                    use_fire_reset=fire_reset,
                    **common,
                )
            ),
            buf,
        )
    gymnasium.register_envs(ale_py)
    env = make_registered(
        f"ALE/{_gymnasium_name(name)}-v5",
        FAMILY,
        render_mode=render_mode,
        drawn_by="ale_py",
        frameskip=1,
        **common,
    )
    played = Preprocessing(
        env,
        frame_skip=frame_skip,
        stack=stack,
        screen_size=screen_size,
        noop_max=noop_max,
        episodic_life=episodic_life,
        clip_rewards=clip_rewards,
        fire_reset=fire_reset,
    )
    return GymnasiumPufferEnv(played, buf=buf)


env_creator, family = declare(
    FAMILY,
    make,
    HELP,
    default="breakout",
    aliases={f"ALE/{_gymnasium_name(game)}-v5": game for game in GAMES}
    | {f"{_gymnasium_name(game)}NoFrameskip-v4": game for game in GAMES},
    policy="puffer.train.models:Convolutional",
)
