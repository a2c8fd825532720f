"""The command `puffer-train`: train or evaluate an environment by name."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from puffer.core import registry
from puffer.core.errors import PufferError, UsageError, WorkerError
from puffer.train.config import Config, Tables, TrainConfig, merge, resolve, to_toml
from puffer.train.options import RunOptions, normalize, parse, peek
from puffer.train.runs import MODEL, environment_of, find_checkpoints, read_header, read_run
from puffer.train.user_code import current_folder_importable, find_env

EXIT_FAILURE, EXIT_USAGE, EXIT_DIVERGED = 1, 2, 3
EXIT_INTERRUPTED, EXIT_UNREAD, EXIT_TERMINATED = 130, 141, 143  # 128 and the signal

# Mode -> the options that it alone has a use for, or with another one; the rest serve in each.
OWN_OPTIONS = {
    "train": ("--resume", "--track", "--wandb-project", "--wandb-group"),
    "eval": ("--eval-model-path", "--baseline", "--episodes", "--greedy", "--render", "--video"),
    "export": ("--eval-model-path", "--export-path"),
    "autotune": ("--autotune-score", "--autotune-seconds", "--autotune-minutes"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; an error is one line on standard error.

    Codes: 2 wrong input, 3 training diverged, 1 any other failure, 130 and 143 after SIGINT and
    SIGTERM (a checkpoint is saved first), 141 if nobody reads what it prints any more.
    """
    # torch's threads spin while they wait for each other: on a busy machine that costs a factor of
    # twenty.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    argv = normalize(sys.argv[1:] if argv is None else argv)
    try:
        with _terminate_as_exit(), current_folder_importable():
            try:
                return _run(argv)
            finally:
                sys.stdout.flush()
    except (PufferError, ArithmeticError) as error:
        sys.stderr.write(f"puffer-train: {error}\n")
        if isinstance(error, ArithmeticError):
            return EXIT_DIVERGED
        return EXIT_FAILURE if isinstance(error, WorkerError | OSError) else EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("puffer-train: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if not _is_unread():
            raise
        return EXIT_UNREAD


def _is_unread() -> bool:
    """Whether nobody reads standard output any more, as after `| head`; then it leads nowhere."""
    output = sys.stdout.fileno()
    poll = select.poll()
    poll.register(output, 0)  # errors alone
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # for what Python still has to write
    return True


def _run(argv: list[str]) -> int:
    name, run_dir, checkpoints = _find_run(argv)
    if not name:
        run, _, _ = parse(argv, None, Config(""))
        if run.list:
            return _print_names()
        raise UsageError(
            "no environment given: expected --env NAME, as in `puffer-train --env puffer_squared`; "
            "--list prints the names"
        )
    spec = find_env(name)
    files = [run_dir / "config.toml"] if run_dir is not None else []
    files += [Path(file) for file in (peek(argv, "--config"),) if file]
    defaults, origins = resolve(spec, *files)
    weights: Path | None = None
    header: dict[str, Any] = {}
    mode = peek(argv, "--mode") or "train"
    if mode in ("eval", "export"):
        weights = _find_weights(argv, spec, defaults, mode)
    if weights is not None:
        header = read_header(weights)
        defaults = _use_header(header, weights, spec, defaults, origins)
    run, config, given = parse(argv, spec, defaults)
    for section, key in given:
        origins[section][key] = "command line"
    if run.list:
        return _print_names()
    if run.print_config:
        sys.stdout.write(to_toml(config.tables(), origins))
        return 0
    _check_mode(run, argv)
    # torch takes seconds to import, so the modules that need it load where they are used.
    from puffer.train import modes

    if run.mode == "eval":
        return modes.play(spec, config, run, weights)
    if run.mode == "profile":
        return modes.profile(spec, config, run)
    if run.mode == "autotune":
        return modes.autotune(spec, config, run)
    if run.mode == "export" and weights is not None:
        return modes.export(spec, config, run, weights, header)
    return modes.train(spec, config, run, to_toml(config.tables(), origins), argv, checkpoints)


def _find_run(argv: list[str]) -> tuple[str, Path | None, list[Path]]:
    """Return the environment, and with `--resume` the folder of the run and its checkpoints."""
    name, resume = peek(argv, "--env"), peek(argv, "--resume")
    if not resume or peek(argv, "--mode") not in ("", "train"):
        return name, None, []
    data_dir = peek(argv, "--train.data-dir") or TrainConfig().data_dir
    checkpoints = find_checkpoints(resume, data_dir, name or None, "--resume")
    first = checkpoints[0]
    if first.is_file():
        first = first.parent
        checkpoints = [first]
    run_dir = first.parent.parent
    trained_on = read_run(run_dir).get("environment") or environment_of(first / MODEL)
    if name and trained_on and find_env(name).name != trained_on:
        raise UsageError(
            f"--resume {resume}: was trained on {trained_on}, not on {name}: use --env {trained_on}"
        )
    has_settings = (run_dir / "config.toml").is_file()
    return name or trained_on or "", run_dir if has_settings else None, checkpoints


def _find_weights(
    argv: list[str], spec: registry.EnvSpec, defaults: Config, mode: str
) -> Path | None:
    """Return the weight file that eval and export use; None plays untrained."""
    given, baseline = peek(argv, "--eval-model-path"), "--baseline" in argv
    if baseline and given:
        raise UsageError(f"--baseline and --eval-model-path {given} exclude each other: give one")
    if baseline:
        if spec.baseline is None:
            raise UsageError(
                f"--baseline: {spec.name} ships no trained agent: train one, and evaluate it with "
                "--eval-model-path latest"
            )
        return Path(spec.baseline)
    if not given and mode == "eval":
        return None
    data_dir = peek(argv, "--train.data-dir") or defaults.train.data_dir
    found = find_checkpoints(given or "latest", data_dir, spec.name, "--eval-model-path")[0]
    return found if found.is_file() else found / MODEL


def _use_header(
    header: dict[str, Any],
    weights: Path,
    spec: registry.EnvSpec,
    defaults: Config,
    origins: Tables,
) -> Config:
    """Return the settings with those that the weights were trained with."""
    if header.get("environment", spec.name) != spec.name:
        raise UsageError(
            f"{weights}: was trained on {header['environment']}, not on {spec.name}: "
            f"use --env {header['environment']}"
        )
    known = {s: t for s, t in defaults.tables().items() if s in ("policy", "env")}
    tables: Tables = {}
    for section in ("policy", "env"):
        table = header.get(section, {})
        if not isinstance(table, dict):
            raise UsageError(f"{weights}: its {section} is no table: use another checkpoint")
        tables[section] = {k: v for k, v in table.items() if k in known[section]}
        origins[section] |= dict.fromkeys(tables[section], str(weights))
    return merge(spec, defaults, tables, str(weights))


def _check_mode(run: RunOptions, argv: Sequence[str]) -> None:
    """Refuse options that the mode has no use for, which would be ignored."""
    if run.mode == "sweep-carbs":
        raise UsageError(
            "--mode sweep-carbs: sweeps are not built yet: train with other settings by hand, as "
            "in --train.learning-rate 0.001"
        )
    for word in argv:
        option = word.partition("=")[0]
        users = [mode for mode, options in OWN_OPTIONS.items() if option in options]
        if users and run.mode not in users:
            given = f"{option} {peek(argv, option)}".rstrip()
            raise UsageError(
                f"{given}: is for --mode {' or '.join(users)}; this is --mode {run.mode}"
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
