"""The command line of the kit: `python -m puffer.ocean new|play|bench`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from puffer.core.errors import PufferError, UsageError
from puffer.core.registry import EnvSpec, find


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit code: 2 for a command line that means nothing."""
    options, rest = _parser().parse_known_args(argv)
    try:
        if rest and options.command == "new":
            raise UsageError(f"new does not take {rest[0]!r}: see --help")
        return int(options.run(options, rest))
    except PufferError as error:
        sys.stderr.write(f"puffer.ocean: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m puffer.ocean", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="write a package with a working game, to change")
    new.add_argument("name", help="of the environment, such as my_env")
    new.add_argument("--path", type=Path, help="folder to create; by default the name, here")
    new.set_defaults(run=_new)
    play = commands.add_parser("play", help="play with the keyboard")
    play.add_argument("name", help="such as puffer_breakout")
    play.add_argument("--seed", type=int, help="of the episodes; by default they are new")
    play.add_argument("--speed", type=float, default=1.0, help="1 is the environment's own")
    play.add_argument("--steps", type=int, help="stop after this many; by default go on")
    play.set_defaults(run=_play)
    bench = commands.add_parser("bench", help="measure steps per second")
    bench.add_argument("name", help="such as puffer_breakout")
    bench.add_argument("--copies", type=int, nargs="+", default=[1, 64, 1024, 4096, 16384])
    bench.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    bench.add_argument("--repeats", type=int, default=5, help="measurements per case")
    bench.add_argument("--seconds", type=float, default=0.1, help="per measurement, at least")
    bench.set_defaults(run=_bench)
    for command in (play, bench):
        command.epilog = "Further words are the environment's options: --size 5."
    return parser


def _new(options: argparse.Namespace, rest: list[str]) -> int:
    from puffer.ocean.kit.new import write_package

    folder = options.path or Path(options.name)
    files = write_package(options.name, folder)
    listing = "".join(f"  {file.relative_to(folder)}\n" for file in files)
    sys.stdout.write(
        f"{folder} holds a game that works:\n{listing}\n"
        f"Install it:    pip install {folder}\n"
        f"Test it:       python -m pytest {folder}\n"
        f"Play it:       python -m puffer.ocean play {options.name}\n"
        f"Train it:      puffer-train --env {options.name}\n"
        f"The rules are in {folder / 'src' / options.name}.hpp; after a change, install again.\n"
    )
    return 0


def _play(options: argparse.Namespace, rest: list[str]) -> int:
    from puffer.ocean.kit.play import CONTROLS, play

    spec = find(options.name)
    sys.stdout.write(f"{spec.help}\n{CONTROLS}\n")
    for line in play(
        spec,
        own_options(spec, rest),
        seed=options.seed,
        speed=options.speed,
        max_steps=options.steps,
    ):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def _bench(options: argparse.Namespace, rest: list[str]) -> int:
    from puffer.ocean.kit.bench import table

    spec = find(options.name)
    for line in table(
        spec,
        own_options(spec, rest),
        copies=options.copies,
        threads=options.threads,
        repeats=options.repeats,
        seconds=options.seconds,
    ):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def own_options(spec: EnvSpec, words: list[str]) -> dict[str, Any]:
    """Return the environment's options that `words`, such as `--size 5`, set.

    Raises:
        UsageError: an option that there is not, or a value of another type.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for option in spec.options:
        kind = type(option.default)
        how: dict[str, Any] = {"type": kind}
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        parser.add_argument(f"--{option.name.replace('_', '-')}", dest=option.name, **how)
    names = ", ".join(f"--{option.name.replace('_', '-')}" for option in spec.options)
    try:
        values, unknown = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise UsageError(f"{spec.name}: {error}: its options are {names}") from error
    if unknown:
        raise UsageError(f"{spec.name} does not know {unknown[0]!r}: its options are {names}")
    return {name: value for name, value in vars(values).items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
