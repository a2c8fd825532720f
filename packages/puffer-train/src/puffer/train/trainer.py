"""The training loop on one screen: collect, advantage, update."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from puffer.core.errors import PufferError, UsageError
from puffer.core.stats import mean_infos
from puffer.train import randomness
from puffer.train.checkpoint import load_checkpoint, save_checkpoint
from puffer.train.config import Config, TrainConfig
from puffer.train.fixed import FixedCollector
from puffer.train.log import Logger, NoLogger
from puffer.train.normalize import NormalizeObservations, ReturnScaler
from puffer.train.optim import anneal, let_record, make_optimizer, set_learning_rate
from puffer.train.overlap import Ahead
from puffer.train.parallel import Crew
from puffer.train.perceptron import Perceptron
from puffer.train.ppo import anchor, segment_advantages, update
from puffer.train.recorded import RecordedSteps
from puffer.train.recording import Recording
from puffer.train.rollout import Collector
from puffer.train.runs import Checkpoints
from puffer.train.storage import Segments


class TrainingDiverged(PufferError, ArithmeticError):
    """Rewards, values or the loss are no longer finite; checkpoints saved before are untouched.

    Rewards and values are checked before the update, so that they never reach the weights.
    """


class Trainer:
    """Trains `policy` in `vecenv`; neither is closed by it.

    Args:
        config: `config.train` says how; the rest goes into the checkpoints' headers.
        vecenv: a vector environment of `puffer.vector`.
        policy: any module; see `puffer.train.models`. Moved to the training device.
        logger: receives the numbers of every update.
    """

    def __init__(
        self, config: Config, vecenv: Any, policy: nn.Module, logger: Logger | None = None
    ) -> None:
        train = config.train
        if train.overlap:  # a recording may not run beside other work
            train = dataclasses.replace(train, cuda_graphs=False)
        self.config, self.vecenv = config, vecenv
        self.device = pick_device(train.device)
        self.policy = policy.to(self.device)
        self.logger = logger or NoLogger()
        self.optimizer = make_optimizer(train, self.policy)
        self.generator = torch.Generator(self.device)
        self.generator.manual_seed(derive_seed(train.seed, "sampling"))
        recording = train.cuda_graphs and self.device.type == "cuda"
        fixed = getattr(vecenv, "fixed_batches", False)
        collector_class = FixedCollector if fixed else Collector
        self.collector = collector_class(vecenv, self.policy, train, self.device, self.generator)
        self.segments = Segments.allocate(
            train.horizon,
            vecenv.num_agents,
            vecenv.single_observation_space,
            vecenv.single_action_space,
            self.collector.state,
            self.device,
        )
        self.native = Perceptron.of(self.policy, self.segments, train)
        self.collector.native = self.native
        self.ahead = (
            Ahead(self.collector, self.segments, train, derive_seed(train.seed, "sampling ahead"))
            if train.overlap
            else None
        )
        self.scaler = (
            ReturnScaler(vecenv.num_agents).to(self.device) if train.norm_returns else None
        )
        self.recorded = (
            RecordedSteps(
                self.policy,
                self.optimizer,
                self.generator,
                records=recording,
                compiled=train.compile,
            )
            if recording or train.compile
            else None
        )
        self._advantages = Recording(
            self._advantages_of, self.generator, records=recording and self.scaler is None
        )
        self.crew = Crew.of(
            self.policy, vecenv.single_observation_space, train.minibatch_size, self.device
        )
        self.steps = 0
        self.updates = 0
        self.at_rest = False  # all agents are held, not somewhere in the middle of a segment
        self.seconds = {"update": 0.0, "advantage": 0.0}
        self.started = time.perf_counter()
        self._last_report = (0, self.started)
        self._tail: deque[tuple[int, np.ndarray, np.ndarray, dict[str, float]]] = deque()
        vecenv.async_reset(derive_seed(train.seed, "environment"))

    @property
    def done(self) -> bool:
        """Whether `total_steps` have been taken."""
        return self.steps >= self.config.train.total_steps

    @property
    def phases(self) -> dict[str, float]:
        """The seconds of the trainer's thread so far, by what they were spent on."""
        if self.ahead is not None:
            return {"wait": self.ahead.waited, **self.seconds}
        return {**self.collector.seconds, **self.seconds}

    def train_update(self) -> dict[str, Any]:
        """Collect one segment per agent, learn from it, and return this update's numbers."""
        train = anneal(self.config.train, self.steps / self.config.train.total_steps)
        set_learning_rate(self.optimizer, train.learning_rate)
        self.at_rest = False
        if self.ahead is None:
            self.collector.collect(self.segments)
        else:
            self.ahead.take()
        self.at_rest = True
        episodes = self._take_episodes()
        last = self.steps + int(self.segments.valid.sum()) >= train.total_steps
        with contextlib.nullcontext() if self.ahead is None or last else self.ahead.meanwhile():
            losses = self._learn(train)
        return self._report(losses, train.learning_rate, episodes)

    def _learn(self, train: TrainConfig) -> dict[str, float]:
        """Learn from the segments and count them; return the parts of the loss."""
        segments = self.segments
        began = time.perf_counter()
        self._check_finite()
        if self.ahead is not None:
            anchor(self.policy, segments, train)
        advantages = self._advantages()
        middle = time.perf_counter()
        losses = update(
            self.policy,
            self.optimizer,
            segments,
            advantages,
            train,
            self.generator,
            self.recorded or self.native or self.crew,
        )
        for module in self.policy.modules():
            if isinstance(module, NormalizeObservations):
                module.observe(segments.observations[segments.valid])
        self.seconds["advantage"] += middle - began
        self.seconds["update"] += time.perf_counter() - middle
        self.steps += int(segments.valid.sum())
        self.updates += 1
        if not all(np.isfinite(v) for k, v in losses.items() if k != "explained_variance"):
            raise TrainingDiverged(
                f"the loss is not finite after {self.steps} steps ({losses}): lower "
                f"train.learning_rate={train.learning_rate} or set train.reward_clip"
            )
        return losses

    def train(self) -> dict[str, Any]:
        """Train to the end and return `summary`."""
        while not self.done:
            self.train_update()
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Return what came out; means are over the episodes of the last tenth of the steps."""
        seconds = time.perf_counter() - self.started
        returns = np.concatenate([r for _, r, _, _ in self._tail] or [np.zeros(0)])
        lengths = np.concatenate([n for _, _, n, _ in self._tail] or [np.zeros(0)])
        infos = mean_infos(info for *_, info in self._tail)
        nan = float("nan")
        mean = float(returns.mean()) if len(returns) else nan
        return {
            "environment": self.config.env_name,
            "steps": self.steps,
            "seconds": seconds,
            "steps_per_second": self.steps / seconds,
            "episodes": len(returns),
            "return_mean": mean,
            "return_std": float(returns.std()) if len(returns) else nan,
            "score_mean": infos.get("score", mean),
            "length_mean": float(lengths.mean()) if len(lengths) else nan,
        }

    def save(self, run_dir: str | Path) -> Path:
        """Write a checkpoint into the run's folder and return the checkpoint's folder.

        Between two updates it holds all that a run needs to continue bit for bit.
        """
        header = {
            "environment": self.config.env_name,
            "policy": self.config.tables()["policy"],
            "env": dict(self.config.env),
            "observation_space": repr(self.vecenv.single_observation_space),
            "action_space": repr(self.vecenv.single_action_space),
        }
        checkpoints = Checkpoints(Path(run_dir) / "checkpoints", self.config.train.keep_checkpoints)
        if (same := checkpoints.at(self.steps)) is not None:
            return same
        score = self.summary()["score_mean"]
        return save_checkpoint(
            checkpoints,
            self.steps,
            self.policy,
            header,
            self.state_dict(),
            score if math.isfinite(score) else None,
        )

    def load(self, checkpoint: str | Path) -> None:
        """Continue from a checkpoint's folder, before the first update.

        Where the environment can restore its state, the run goes on bit for bit on a CPU; else
        its episodes begin anew, with one warning.

        Raises:
            UsageError: it is damaged, or was made with other settings.
        """
        state = load_checkpoint(Path(checkpoint), self.policy)
        try:
            self.load_state_dict(state)
        except UsageError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UsageError(
                f"{checkpoint}: does not fit this run ({type(error).__name__}: {error}): resume "
                "with the settings that it was trained with"
            ) from error

    def state_dict(self) -> dict[str, Any]:
        """Return all that lives from one update to the next, but for the policy."""
        pending = self.ahead is not None and self.ahead.pending  # is lost, and not what led to it
        can_save = getattr(self.vecenv, "can_save_state", False) and self.at_rest and not pending
        return {
            "steps": self.steps,
            "updates": self.updates,
            "elapsed": time.perf_counter() - self.started,
            "seconds": self.seconds,
            "tail": list(self._tail),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "randomness": randomness.get_state(),
            "collector": self.collector.state_dict(),
            "ahead": None if self.ahead is None else self.ahead.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "environment": self.vecenv.state() if can_save else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; see `load`."""
        self.steps, self.updates = state["steps"], state["updates"]
        self.started = time.perf_counter() - state["elapsed"]
        self.seconds = state["seconds"]
        self._last_report = (self.steps, time.perf_counter())
        self._tail = deque((n, r, e, info) for n, r, e, info in state["tail"])
        self.optimizer.load_state_dict(state["optimizer"])
        let_record(self.optimizer, self.device)
        self._check_optimizer()
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.ahead is not None and state.get("ahead") is not None:  # else a run without saved it
            self.ahead.load_state_dict(state["ahead"])
        environment = state["environment"]
        goes_on = environment is not None and getattr(self.vecenv, "can_save_state", False)
        self.collector.load_state_dict(state["collector"], episodes_go_on=goes_on)
        if goes_on:
            self.vecenv.set_state(environment)
        else:
            warnings.warn(
                "the checkpoint holds no state of the environment: its episodes begin anew, so "
                "this run will not repeat an uninterrupted one",
                stacklevel=3,
            )
            seed = derive_seed(self.config.train.seed, f"environment after {self.steps} steps")
            self.vecenv.async_reset(seed)
        self.generator.set_state(state["generator"])
        randomness.set_state(state["randomness"])

    def _check_optimizer(self) -> None:
        """Refuse an optimizer's state of other parameters, which `load_state_dict` accepts."""
        parts = getattr(self.optimizer, "parts", [self.optimizer])
        for parameter, values in (item for part in parts for item in part.state.items()):
            for name, value in values.items():
                if getattr(value, "ndim", 0) and value.shape != parameter.shape:
                    raise UsageError(
                        f"the optimizer's {name} has shape {tuple(value.shape)} in the checkpoint, "
                        f"its parameter has {tuple(parameter.shape)}: use another checkpoint"
                    )

    def _take_episodes(self) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """Return the returns and lengths of the episodes just collected, and means of infos."""
        returns, lengths = self.collector.tracker.drain()
        infos, self.collector.infos = self.collector.infos, []
        return returns, lengths, mean_infos(infos)

    def _report(
        self,
        losses: dict[str, float],
        rate: float,
        episodes: tuple[np.ndarray, np.ndarray, dict[str, float]],
    ) -> dict[str, Any]:
        now = time.perf_counter()
        steps, when = self._last_report
        self._last_report = (self.steps, now)
        means = episodes[2]
        self._tail.append((self.steps, *episodes))
        while self._tail[0][0] < self.steps - self.config.train.total_steps / 10:
            self._tail.popleft()
        metrics = {
            "updates": self.updates,
            "seconds": now - self.started,
            "steps_per_second": (self.steps - steps) / (now - when),
            "learning_rate": rate,
            "environment": means,
            "losses": losses,
            "phases": self.phases,
        }
        self.logger.log(self.steps, metrics)
        return metrics

    def _advantages_of(self) -> Tensor:
        """Shape the rewards and return the advantages; the settings for both stay as they are."""
        shape_rewards(self.segments, self.config.train, self.scaler)
        return segment_advantages(self.segments, self.config.train)

    def _check_finite(self) -> None:
        """Refuse segments with NaN or infinity, before they reach the weights."""
        remedies = {
            "observations": "correct the environment",
            "rewards": "correct the environment, or set train.reward_clip",
            "values": "lower train.learning_rate",
            "log_probs": "lower train.learning_rate",
            "cut_values": "correct the environment's final observations",
        }
        floats = {
            field: tensor
            for field in remedies
            if (tensor := getattr(self.segments, field)).is_floating_point()
        }
        # Sums cost less than a look at each number; they may overflow where all are finite.
        sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in floats.values()])
        if bool(torch.isfinite(sums).all()):
            return
        for field, tensor in floats.items():
            remedy = remedies[field]
            wrong = ~torch.isfinite(tensor.view(*self.segments.rewards.shape, -1)).all(2)
            if bool(wrong.any()):
                t, agent = wrong.nonzero()[0].tolist()
                step = self.updates * self.config.train.horizon + t + 1
                raise TrainingDiverged(
                    f"{self.config.env_name}: the {field} of agent {agent} are not finite at its "
                    f"step {step:,} ({tensor[t, agent].flatten()[:8].tolist()}): {remedy}"
                )


def shape_rewards(
    segments: Segments, config: TrainConfig, scaler: ReturnScaler | None = None
) -> None:
    """Make of the environment's rewards those that are learned from, in place.

    They are clipped, then divided by the deviation of returns, then a truncated transition gets
    the discounted value of what was cut off.
    """
    rewards = segments.rewards
    if config.reward_clip is not None:
        rewards.clamp_(-config.reward_clip, config.reward_clip)
    if scaler is not None:
        rewards.div_(scaler.observe(rewards, segments.ends, segments.valid, config.gamma))
    rewards.add_(segments.cut_values, alpha=config.gamma)


def derive_seed(seed: int, purpose: str) -> int:
    """Return a seed in 0..2^48 such that different seeds or purposes share no streams."""
    words = np.frombuffer(purpose.encode(), np.uint8)
    sequence = np.random.SeedSequence([seed, *words.tolist()])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(16))


def pick_device(name: str) -> torch.device:
    """Return the device that `name` means; `auto` is CUDA where there is one, else the CPU.

    Raises:
        UsageError: it is no device, or there is none of the kind.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"train.device={name!r} is no device: expected auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"train.device={name!r}, but this machine has no CUDA device that torch can use: "
            "use --train.device cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"train.device={name!r}, but there are {torch.cuda.device_count()} CUDA devices: "
            "use cuda:0"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"train.device={name!r}, but there is no MPS here: use --train.device cpu")
    return device
