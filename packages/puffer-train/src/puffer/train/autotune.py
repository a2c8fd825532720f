"""Find settings that reach a score sooner, by seconds and not by steps per second.

From the settings given, one knob at a time is halved and doubled, on and on while that helps,
until no knob does (coordinate descent). Learning is noisy and small gains may be luck: repeat what
matters with other seeds.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from puffer.core.errors import PufferError, UsageError
from puffer.train.config import Config
from puffer.train.trainer import Trainer, TrainingDiverged

EPISODES = 100  # a score is the mean of as many finished last
KNOBS = ("train.minibatch_size", "train.horizon", "env.num_envs", "vec.num_envs")


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What came of training with some settings.

    Attributes:
        config: the settings.
        seconds: that it took to the score, or until it was given up.
        score: the last mean; NaN before enough episodes have ended.
        reached: whether it reached the score asked for.
        failure: what went wrong, or "".
    """

    config: Config
    seconds: float
    score: float = math.nan
    reached: bool = False
    failure: str = ""

    def beats(self, other: Trial) -> bool:
        """Whether it was sooner there, or came closer if neither arrived."""
        if self.reached or other.reached:
            return self.reached and (not other.reached or self.seconds < other.seconds)
        return self.score > other.score or (math.isnan(other.score) and not math.isnan(self.score))


def autotune(
    start: Config,
    attempt: Callable[[Config, float], Trial],
    seconds: float,
    total_seconds: float,
    show: Callable[[Trial, bool], None] = lambda trial, better: None,
) -> tuple[Trial, Trial]:
    """Return the trial of `start` and the best one.

    Args:
        start: the settings to begin with.
        attempt: trains with some settings for at most some seconds.
        seconds: the most that one trial may take; none takes longer than the best before it.
        total_seconds: after that no trial begins.
        show: is told of every trial, and whether it is the best so far.
    """
    ends = time.perf_counter() + total_seconds
    first = best = attempt(start, seconds)
    show(best, True)
    seen = [start]
    knobs = [knob for knob in KNOBS if _turn(start, knob, 2.0) is not None]
    idle = 0  # knobs that did not help, one after another
    for turn in range(1000):
        knob = knobs[turn % len(knobs)]
        helped = False
        for factor in (0.5, 2.0):
            while (config := _turn(best.config, knob, factor)) is not None and config not in seen:
                if time.perf_counter() >= ends:
                    return first, best
                seen.append(config)
                trial = attempt(config, best.seconds if best.reached else seconds)
                better = trial.beats(best)
                show(trial, better)
                if not better:
                    break
                best, helped = trial, True
        idle = 0 if helped else idle + 1
        if idle == len(knobs):
            break
    return first, best


def train_to_score(trainer: Trainer, score: float, seconds: float) -> tuple[float, float]:
    """Train until the mean score reaches `score`; return the seconds taken and the last mean."""
    recent: deque[tuple[float, float]] = deque()  # episodes of an update, and their mean score
    began, mean = time.perf_counter(), math.nan
    while not trainer.done:
        environment = trainer.train_update()["environment"]
        if environment.get("episodes", 0) and "score" in environment:
            recent.append((environment["episodes"], environment["score"]))
        while sum(n for n, _ in recent) - (recent[0][0] if recent else 0) >= EPISODES:
            recent.popleft()
        episodes = sum(n for n, _ in recent)
        if episodes >= EPISODES:
            mean = sum(n * s for n, s in recent) / episodes
        elapsed = time.perf_counter() - began
        if mean >= score or elapsed >= seconds:
            break
    return time.perf_counter() - began, mean


def attempt_with(
    make_trainer: Callable[[Config], Any], score: float
) -> Callable[[Config, float], Trial]:
    """Return `autotune`'s `attempt` over a context manager that makes trainers."""

    def attempt(config: Config, seconds: float) -> Trial:
        try:
            with make_trainer(config) as trainer:
                taken, reached = train_to_score(trainer, score, seconds)
        except (TrainingDiverged, PufferError) as error:
            return Trial(config, seconds, failure=str(error))
        return Trial(config, taken, reached, reached >= score)

    return attempt


def changes(start: Config, config: Config) -> dict[str, Any]:
    """Return what `config` has otherwise than `start`: "section.key" -> value."""
    before = start.tables()
    return {
        f"{section}.{key}": value
        for section, table in config.tables().items()
        for key, value in table.items()
        if before[section].get(key) != value
    }


def _turn(config: Config, knob: str, factor: float) -> Config | None:
    """Return `config` with a knob multiplied; None where that changes nothing."""
    section, key = knob.split(".")
    if section == "env":
        if config.vec.backend != "native" or key not in config.env:
            return None
        value = int(config.env[key] * factor)
        return None if value < 1 else dataclasses.replace(config, env={**config.env, key: value})
    if section == "vec" and config.vec.backend == "native":
        return None
    table = getattr(config, section)
    value = int(getattr(table, key) * factor)
    if value < 1:
        return None
    try:
        return dataclasses.replace(config, **{section: dataclasses.replace(table, **{key: value})})
    except UsageError:
        return None
