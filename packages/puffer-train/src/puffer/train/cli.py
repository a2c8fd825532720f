"""The command `puffer-train`: train or evaluate an environment by name."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from puffer.core import registry
from puffer.core.errors import PufferError, UsageError, WorkerError
from puffer.train.config import Config, Tables, resolve, to_toml
from puffer.train.options import RunOptions, parse, peek

EXIT_FAILURE, EXIT_USAGE, EXIT_DIVERGED, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 3, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; an error is one line on standard error.

    Codes: 2 wrong input, 3 training diverged, 1 any other failure, 130 and 143 after SIGINT and
    SIGTERM (a checkpoint is saved first).
    """
    # torch takes seconds to import, so the modules that need it load where they are used. Its
    # threads spin while they wait for each other: on a busy machine that costs a factor of twenty.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with _terminate_as_exit():
            return _run(argv)
    except (PufferError, ArithmeticError) as error:
        sys.stderr.write(f"puffer-train: {error}\n")
        if isinstance(error, ArithmeticError):
            return EXIT_DIVERGED
        return EXIT_FAILURE if isinstance(error, WorkerError) else EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("puffer-train: interrupted\n")
        return EXIT_INTERRUPTED


def _run(argv: list[str]) -> int:
    name = peek(argv, "--env")
    if not name:
        run, _, _ = parse(argv, None, Config(""))
        if run.list:
            return _print_names()
        raise UsageError(
            "no environment given: expected --env NAME, as in `puffer-train --env puffer_squared`; "
            "--list prints the names"
        )
    spec = registry.find(name)
    defaults, origins = resolve(spec, peek(argv, "--config") or None)
    checkpoint: Any = None
    if peek(argv, "--mode") == "eval" and peek(argv, "--eval-model-path"):
        checkpoint, defaults = _use_checkpoint(argv, spec, defaults, origins)
    run, config, given = parse(argv, spec, defaults)
    if run.list:
        return _print_names()
    if run.print_config:
        for section, key in given:
            origins[section][key] = "command line"
        sys.stdout.write(to_toml(config.tables(), origins))
        return 0
    if run.mode == "eval":
        return _evaluate(spec, config, run, checkpoint)
    for option, value in (
        ("--eval-model-path", run.eval_model_path),
        ("--video", run.video),
        ("--render", run.render if run.render != "none" else ""),
    ):
        if value:
            raise UsageError(f"{option} {value}: is for --mode eval; this is --mode train")
    return _train(spec, config, run)


def _train(spec: registry.EnvSpec, config: Config, run: RunOptions) -> int:
    import torch

    from puffer.train.dashboard import make_ui
    from puffer.train.launch import choose_threads, make_policy, make_vecenv, new_run_dir
    from puffer.train.log import JsonLinesLogger
    from puffer.train.trainer import Trainer, pick_device

    pick_device(config.train.device)
    with contextlib.closing(make_vecenv(spec, config)) as vecenv:
        policy = make_policy(spec, config.policy, vecenv.driver_env, config.train.seed)
        threads = choose_threads(policy, vecenv.driver_env, config.train.minibatch_size)
        torch.set_num_threads(threads)
        run_dir = new_run_dir(config.train.data_dir, spec.name)
        (run_dir / "config.toml").write_text(to_toml(config.tables()), "utf-8")
        logger = JsonLinesLogger(run_dir / "metrics.jsonl")
        ui = make_ui(run.ui, spec.name, config.train.total_steps)
        with contextlib.closing(logger), contextlib.closing(ui):
            trainer = Trainer(config, vecenv, policy, logger)
            saved = trainer.started
            try:
                while not trainer.done:
                    metrics = trainer.train_update()
                    ui.update(trainer.steps, metrics)
                    now = trainer.started + metrics["seconds"]
                    if now - saved >= config.train.checkpoint_seconds:
                        saved = now
                        trainer.save(run_dir)
            except (KeyboardInterrupt, SystemExit, WorkerError):
                if trainer.updates:
                    ui.message(f"checkpoint: {trainer.save(run_dir)}")
                raise
            path = trainer.save(run_dir)
            ui.finish({**trainer.summary(), "checkpoint": str(path)})
    return 0


def _evaluate(spec: registry.EnvSpec, config: Config, run: RunOptions, checkpoint: Any) -> int:
    from puffer.train.checkpoint import load_weights
    from puffer.train.dashboard import make_ui
    from puffer.train.evaluation import evaluate
    from puffer.train.launch import for_evaluation, make_policy, make_vecenv
    from puffer.train.trainer import derive_seed, pick_device
    from puffer.train.video import Screen

    device = pick_device(config.train.device)
    screen = Screen(run.render, run.video)
    episodes = run.episodes or (1 if screen.render_mode else 100)
    if episodes < 0:
        raise UsageError(f"--episodes {episodes}: expected a number >= 0")
    played = for_evaluation(spec, config, episodes, screen.render_mode)
    ui = make_ui("plain" if run.ui in ("auto", "rich") else run.ui, spec.name, 0)
    with contextlib.closing(make_vecenv(spec, played)) as vecenv, contextlib.closing(screen):
        policy = make_policy(spec, config.policy, vecenv.driver_env, config.train.seed)
        if checkpoint is None:
            ui.message("no --eval-model-path: this policy is untrained")
        else:
            load_weights(checkpoint, policy)
        summary = evaluate(
            policy.to(device).eval(),
            vecenv,
            episodes,
            seed=derive_seed(config.train.seed, "evaluation"),
            greedy=run.greedy,
            on_step=lambda _: screen.show(vecenv.driver_env),
        )
    if run.video:
        ui.message(f"video: {run.video}")
    ui.finish(
        {
            "environment": spec.name,
            **summary,
            "checkpoint": None if checkpoint is None else str(checkpoint),
        }
    )
    return 0


def _use_checkpoint(
    argv: list[str], spec: registry.EnvSpec, defaults: Config, origins: Tables
) -> tuple[Any, Config]:
    """Return the checkpoint asked for, and the settings with those it was trained with."""
    from puffer.train.checkpoint import find_checkpoint, read_header

    data_dir = peek(argv, "--train.data-dir") or defaults.train.data_dir
    path = find_checkpoint(peek(argv, "--eval-model-path"), data_dir, spec.name)
    header = read_header(path)
    if header.get("environment") != spec.name:
        raise UsageError(
            f"{path}: was trained on {header.get('environment')}, not on {spec.name}: "
            f"use --env {header.get('environment')}"
        )
    env = {k: v for k, v in header.get("env", {}).items() if k in defaults.env}
    policy = {k: v for k, v in header.get("policy", {}).items() if hasattr(defaults.policy, k)}
    for section, table in (("env", env), ("policy", policy)):
        origins[section] |= dict.fromkeys(table, str(path))
    return path, dataclasses.replace(
        defaults,
        env={**defaults.env, **env},
        policy=dataclasses.replace(defaults.policy, **policy),
    )


def _print_names() -> int:
    names = registry.names()
    width = max(map(len, names), default=0)
    for name in names:
        sys.stdout.write(f"{name:<{width}}  {registry.find(name).help}\n")
    for problem in registry.problems():
        sys.stderr.write(f"puffer-train: {problem}\n")
    if not names:
        sys.stdout.write('no environments are installed: pip install "puffer-train[ocean]"\n')
    return 0


@contextlib.contextmanager
def _terminate_as_exit() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that checkpoints are saved and workers closed."""

    def leave(*_: object) -> None:
        raise SystemExit(EXIT_TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread: whoever called us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
