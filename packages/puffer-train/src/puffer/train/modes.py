"""What `puffer-train` does in each mode: train, evaluate, export weights, profile, autotune."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from puffer.core.errors import PufferError, UsageError, WorkerError
from puffer.core.registry import EnvSpec
from puffer.train.autotune import Trial, attempt_with, changes
from puffer.train.autotune import autotune as search
from puffer.train.checkpoint import export_weights, load_weights
from puffer.train.config import Config, to_toml
from puffer.train.dashboard import UI, make_ui
from puffer.train.evaluation import evaluate
from puffer.train.interrupts import Interrupts
from puffer.train.launch import for_evaluation, make_policy, make_trainer, make_vecenv
from puffer.train.log import JsonLinesLogger, Logger, Loggers
from puffer.train.log.guard import Guarded, Tolerant
from puffer.train.log.tensorboard import TensorBoardLogger
from puffer.train.log.wandb import WandbLogger, import_wandb
from puffer.train.options import RunOptions
from puffer.train.profile import profile_training
from puffer.train.provenance import describe_start
from puffer.train.runs import MODEL, Run, trim_metrics
from puffer.train.trainer import Trainer, TrainingDiverged, derive_seed, pick_device
from puffer.train.video import Screen


class SaveError(PufferError, OSError):
    """A checkpoint cannot be written; those that were saved before are untouched."""


PROFILE_SECONDS = 5.0
BASELINE_BYTES = 200 << 10  # what an environment may ship


def train(
    spec: EnvSpec,
    config: Config,
    options: RunOptions,
    settings: str,
    argv: Sequence[str],
    checkpoints: Sequence[Path] = (),
) -> int:
    """Train a new run, or go on with one.

    Args:
        spec: the environment.
        config: the run's settings.
        options: of the command line.
        settings: the text of `config.toml`.
        argv: the command's words, to write down.
        checkpoints: folders to resume from, the first that is whole; none begins anew.
    """
    if options.track:
        import_wandb()
    with contextlib.ExitStack() as stack:
        trainer = stack.enter_context(make_trainer(spec, config))
        ui = stack.enter_context(
            contextlib.closing(make_ui(options.ui, spec.name, config.train.total_steps))
        )
        resumed = _resume(trainer, checkpoints, ui) if checkpoints else None
        run = _open_run(spec, config, resumed)
        stack.callback(run.close)
        run.begin(spec.name, settings, _start(argv, trainer.steps, resumed))
        trainer.logger = _make_loggers(run, config, options, trainer.steps, ui.message)
        stack.callback(trainer.logger.close)
        path = _train_to_the_end(trainer, run, ui, stack.enter_context(Interrupts(ui.message)))
        ui.finish({**trainer.summary(), "checkpoint": str(path / MODEL)})
    return 0


def profile(spec: EnvSpec, config: Config, options: RunOptions) -> int:
    """Train for some seconds without a run's folder; show and trace what they were spent on."""
    trace = Path(config.train.data_dir) / f"{spec.name.replace('/', '-')}-trace.json"
    with make_trainer(spec, config) as trainer:
        report = profile_training(trainer, PROFILE_SECONDS, trace)
    ui = make_ui("plain" if options.ui in ("auto", "rich") else options.ui, spec.name, 0)
    if options.ui != "json":
        for line in report.lines():
            ui.message(line)
        ui.message(f"trace, for https://ui.perfetto.dev: {trace}")
    else:
        ui.finish({"environment": spec.name, **dataclasses.asdict(report), "trace": str(trace)})
    return 0


def autotune(spec: EnvSpec, config: Config, options: RunOptions) -> int:
    """Look for settings that reach `options.autotune_score` sooner, and show them as a TOML."""
    if options.autotune_score is None:
        raise UsageError("--mode autotune: give the mean score to reach with --autotune-score")
    ui = make_ui("plain" if options.ui in ("auto", "rich") else options.ui, spec.name, 0)

    def describe(trial: Trial) -> dict[str, Any]:
        kept = {f.name: getattr(trial, f.name) for f in dataclasses.fields(trial)}
        return {**kept, "config": changes(config, trial.config)}

    def show(trial: Trial, better: bool) -> None:
        different = changes(config, trial.config)
        words = ", ".join(f"{key}={value}" for key, value in different.items()) or "as given"
        outcome = trial.failure or (
            f"score {trial.score:.4g}{'' if trial.reached else ', given up'}"
        )
        ui.message(f"{trial.seconds:7.1f} s  {outcome}  {words}{'  <- best' if better else ''}")

    first, best = search(
        config,
        attempt_with(functools.partial(make_trainer, spec), options.autotune_score),
        options.autotune_seconds,
        60 * options.autotune_minutes,
        show,
    )
    if options.ui == "json":
        ui.finish({"environment": spec.name, "first": describe(first), "best": describe(best)})
        return 0
    tables: dict[str, dict[str, Any]] = {}
    for key, value in changes(config, best.config).items():
        section, _, name = key.partition(".")
        tables.setdefault(section, {})[name] = value
    if not best.reached:
        ui.message("no settings reached the score: give more --autotune-seconds, or a lower score")
    elif not tables:
        ui.message(f"the settings given are the best that were found: {best.seconds:.1f} s")
    else:
        before = f"{first.seconds:.1f} s" if first.reached else "not at all"
        ui.message(f"{best.seconds:.1f} s, where the settings given took it {before}:\n")
    ui.message(to_toml(tables).rstrip())
    return 0


def _train_to_the_end(trainer: Trainer, run: Run, ui: UI, interrupts: Interrupts) -> Path:
    """Update and save in turn until all steps are taken; return the last checkpoint."""
    saved = time.perf_counter()
    try:
        while not trainer.done:
            metrics = trainer.train_update()
            ui.update(trainer.steps, metrics)
            if interrupts.pending is not None:
                ui.message(f"checkpoint: {_save(trainer, run, ui) / MODEL}")
                interrupts.leave()
            if time.perf_counter() - saved >= trainer.config.train.checkpoint_seconds:
                try:
                    _save(trainer, run, ui)
                except SaveError as error:
                    ui.message(f"{error}; training goes on")
                saved = time.perf_counter()
    except TrainingDiverged as error:
        good = next(run.checkpoints.candidates(), None)
        remedy = f"the last good checkpoint is {good}" if good else "no checkpoint was saved before"
        raise TrainingDiverged(f"{error}; {remedy}") from error
    except Exception as error:
        if not trainer.at_rest and trainer.updates:  # an environment failed, the weights are good
            ui.message(f"checkpoint: {_save(trainer, run, ui) / MODEL}")
        if interrupts.pending == signal.SIGTERM and isinstance(error, WorkerError):
            interrupts.leave()  # whoever sent the signal sent it to the workers as well
        raise
    return _save(trainer, run, ui)


def _save(trainer: Trainer, run: Run, ui: UI) -> Path:
    try:
        if run.ensure():
            ui.message(f"{run.path} was deleted: it is made again, without what was in it")
        path = trainer.save(run.path)
        run.touch()
    except OSError as error:
        raise SaveError(
            f"{run.path}: the checkpoint after {trainer.steps:,} steps cannot be written "
            f"({error.strerror or error}): make room, or choose another --train.data-dir"
        ) from error
    return path


def _resume(trainer: Trainer, checkpoints: Sequence[Path], ui: UI) -> Path:
    """Load the first checkpoint that is whole and return its folder."""
    for path in checkpoints[:-1]:
        try:
            return _load(trainer, path, ui)
        except UsageError as error:
            ui.message(f"{error}; trying the one before")
    return _load(trainer, checkpoints[-1], ui)


def _load(trainer: Trainer, path: Path, ui: UI) -> Path:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.load(path)
    ui.message(f"resumed from {path} after {trainer.steps:,} steps")
    for warning in caught:
        ui.message(str(warning.message))
    return path


def _open_run(spec: EnvSpec, config: Config, resumed: Path | None) -> Run:
    """Return the run to go on with: its own where the checkpoint is its latest, else a new one."""
    keep = config.train.keep_checkpoints
    if resumed is not None and resumed.parent.name == "checkpoints":
        run = Run(resumed.parent.parent, keep)
        if (run.path / "run.json").exists() and resumed in (
            run.checkpoints.pointed("latest"),
            *run.checkpoints.all()[:1],
        ):
            return run
    return Run.create(config.train.data_dir, spec.name, keep)


def _start(argv: Sequence[str], steps: int, resumed: Path | None) -> dict[str, Any]:
    start = describe_start(argv)
    return {**start, "steps": steps, "resumed": None if resumed is None else str(resumed)}


def _make_loggers(
    run: Run, config: Config, options: RunOptions, steps: int, warn: Callable[[str], None]
) -> Logger:
    metrics = run.path / "metrics.jsonl"
    trim_metrics(metrics, steps)
    loggers: list[Logger] = [
        Tolerant("metrics.jsonl", JsonLinesLogger(metrics), warn),
        Guarded("TensorBoard", lambda: TensorBoardLogger(run.path / "tensorboard", steps), warn),
    ]
    if options.track:
        tables = config.tables()
        project, group = options.wandb_project, options.wandb_group
        loggers.append(
            Guarded(
                "Weights & Biases",
                lambda: WandbLogger(run.path, tables, project, group, warn),
                warn,
            )
        )
    return Loggers(*loggers)


def play(spec: EnvSpec, config: Config, options: RunOptions, weights: Path | None) -> int:
    """Evaluate a policy, untrained without `weights`, and show what came out."""
    device = pick_device(config.train.device)
    screen = Screen(options.render, options.video)
    episodes = options.episodes or (1 if screen.render_mode else 100)
    if episodes < 0:
        raise UsageError(f"--episodes {episodes}: expected a number >= 0")
    played = for_evaluation(spec, config, episodes, screen.render_mode)
    ui = make_ui("plain" if options.ui in ("auto", "rich") else options.ui, spec.name, 0)
    with contextlib.closing(make_vecenv(spec, played)) as vecenv, contextlib.closing(screen):
        policy = make_policy(spec, config.policy, vecenv.driver_env, config.train.seed)
        if weights is None:
            ui.message("no --eval-model-path: this policy is untrained")
        else:
            load_weights(weights, policy)
        summary = evaluate(
            policy.to(device).eval(),
            vecenv,
            episodes,
            seed=derive_seed(config.train.seed, "evaluation"),
            greedy=options.greedy,
            on_step=lambda _: screen.show(vecenv.driver_env),
        )
    if options.video:
        ui.message(f"video: {options.video}")
    checkpoint = None if weights is None else str(weights)
    ui.finish({"environment": spec.name, **summary, "checkpoint": checkpoint})
    return 0


def export(
    spec: EnvSpec, config: Config, options: RunOptions, weights: Path, header: Mapping[str, Any]
) -> int:
    """Write the weights of a checkpoint in half precision, as `--baseline` loads them."""
    path = Path(options.export_path or f"{spec.name.replace('/', '-')}.safetensors")
    ui = make_ui("plain" if options.ui in ("auto", "rich") else options.ui, spec.name, 0)
    with contextlib.closing(make_vecenv(spec, for_evaluation(spec, config, 1, None))) as vecenv:
        policy = make_policy(spec, config.policy, vecenv.driver_env, config.train.seed)
    load_weights(weights, policy)
    kept = {k: v for k, v in header.items() if k not in ("format", "steps")}
    size = export_weights(path, policy, kept, int(header.get("steps", 0)))
    ui.message(f"exported: {path} ({size / 1024:.0f} KiB)")
    if size > BASELINE_BYTES:
        ui.message(
            f"an environment may ship {BASELINE_BYTES >> 10} KiB: train with a smaller "
            "--policy.hidden-size for that"
        )
    return 0
