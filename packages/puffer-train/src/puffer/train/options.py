"""The command line's grammar: typed options with help, built for the environment asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from puffer.core.errors import UsageError, near
from puffer.core.registry import EnvSpec
from puffer.train.config import SECTIONS, Config
from puffer.train.dashboard import Kind

_arg = tyro.conf.arg
_SHORT = {"--vec": "--vec.backend", "--policy": "--policy.name"}
_MAY_BE_NONE = {
    f"--{section}.{key.replace('_', '-')}"
    for section, cls in SECTIONS.items()
    for key, kind in typing.get_type_hints(cls).items()
    if type(None) in typing.get_args(kind)
}


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What to do; the tables that follow say how."""

    env_name: Annotated[str, _arg(name="env", help="the environment's name; see --list")] = ""
    mode: Annotated[
        Literal["train", "eval", "export", "profile", "autotune", "sweep-carbs"],
        _arg(
            help="train, play with a policy, write weights as a baseline, show where time goes, "
            "or look for settings that reach a score sooner"
        ),
    ] = "train"
    config: Annotated[str, _arg(help="TOML file with settings, as --print-config writes it")] = ""
    ui: Annotated[
        Kind, _arg(help="auto: rich on a terminal, else plain; json: one object a line")
    ] = "auto"
    resume: Annotated[
        str, _arg(help="go on with a run: its name or folder, a checkpoint, or latest")
    ] = ""
    track: Annotated[bool, _arg(help="log to Weights & Biases, too")] = False
    wandb_project: Annotated[str, _arg(help="track: the project")] = "puffer"
    wandb_group: Annotated[str, _arg(help="track: the group of runs")] = ""
    eval_model_path: Annotated[
        str,
        _arg(help="eval: a checkpoint, a run, latest or best; without it plays untrained"),
    ] = ""
    baseline: Annotated[bool, _arg(help="eval: the trained agent that ships with it")] = False
    episodes: Annotated[int, _arg(help="eval: at least this many; 0: 100, or 1 when drawn")] = 0
    greedy: Annotated[bool, _arg(help="eval: take the most probable action")] = False
    render: Annotated[
        Literal["none", "human", "ansi"], _arg(help="eval: draw in a window or as text")
    ] = "none"
    video: Annotated[str, _arg(help="eval: write a video, .gif or .mp4")] = ""
    export_path: Annotated[str, _arg(help="export: the file; without it NAME.safetensors")] = ""
    autotune_score: Annotated[
        float | None, _arg(help="autotune: the mean score of 100 episodes to reach")
    ] = None
    autotune_seconds: Annotated[float, _arg(help="autotune: the most that one trial may take")] = (
        120.0
    )
    autotune_minutes: Annotated[float, _arg(help="autotune: no trial begins after these")] = 30.0
    list: Annotated[bool, _arg(help="print the names of all environments")] = False
    print_config: Annotated[bool, _arg(help="print all settings with their origins")] = False


def parse(
    argv: Sequence[str], spec: EnvSpec | None, defaults: Config
) -> tuple[RunOptions, Config, set[tuple[str, str]]]:
    """Return what to do, the settings after all flags, and the (section, key) pairs that flags set.

    Args:
        argv: the words after the program's name.
        spec: the environment whose options `--env.KEY` sets; None has none.
        defaults: the settings that flags change.

    Raises:
        UsageError: an unknown option or a wrong value.
        SystemExit: with code 0 after `--help`.
    """
    cls = _options_class(spec, defaults)
    argv = normalize(argv)
    known = _flags(cls)
    given: set[tuple[str, str]] = set()
    for word in argv:
        flag = word.partition("=")[0]
        if flag.startswith("--"):
            if flag not in known:
                raise UsageError(f"unknown option {word.partition('=')[0]}: {near(flag, known)}")
            target = known[flag]
            if target is not None:
                given.add(target)
    options = _parse_quietly(cls, argv)
    run = RunOptions(**{f.name: getattr(options, f.name) for f in dataclasses.fields(RunOptions)})
    sections = {name: getattr(options, name) for name in SECTIONS}
    env = dataclasses.asdict(options.env) if hasattr(options, "env") else {}
    return run, Config(defaults.env_name, **sections, env=env), given


def peek(argv: Sequence[str], flag: str) -> str:
    """Return the value of `--flag VALUE` or `--flag=VALUE`, or "", before anything is parsed."""
    value = ""
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        if word == flag and not following.startswith("--"):
            value = following
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


def normalize(argv: Sequence[str]) -> list[str]:
    """Return the words with every flag in its long form, and a bare `--resume` completed.

    `--vec serial` is `--vec.backend serial`, `--train.learning_rate` is `--train.learning-rate`,
    `none` is `None` where that is a value, and `--resume` alone is `--resume latest`. Doing it
    again changes nothing.
    """
    words: list[str] = []
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        flag, equals, value = word.partition("=")
        if flag.startswith("--"):
            flag = flag.replace("_", "-")
            flag = _SHORT.get(flag, flag)
            if flag in _MAY_BE_NONE and value == "none":
                value = "None"
            word = flag + equals + value
        elif word == "none" and words and words[-1] in _MAY_BE_NONE:
            word = "None"
        words.append(word)
        if word == "--resume" and following.startswith("--"):
            words.append("latest")
    return words


def _options_class(spec: EnvSpec | None, defaults: Config) -> Any:
    """Return a dataclass of all options whose defaults are the settings of the environment."""
    fields: list[tuple[str, Any, Any]] = [
        (name, cls, dataclasses.field(default=getattr(defaults, name)))
        for name, cls in SECTIONS.items()
    ]
    if spec is not None and spec.options:
        options = [
            (
                o.name,
                Annotated[type(o.default), _arg(help=o.help)],
                dataclasses.field(default=defaults.env[o.name]),
            )
            for o in spec.options
        ]
        env = dataclasses.make_dataclass("EnvOptions", options, frozen=True)
        env.__doc__ = f"Options of {spec.name}."
        fields.append(("env", env, dataclasses.field(default=env())))
    cls = dataclasses.make_dataclass("Options", fields, bases=(RunOptions,), frozen=True)
    cls.__doc__ = (
        "Train and evaluate reinforcement-learning agents. "
        "--help --env NAME shows an environment's own options and tuned defaults."
        if spec is None
        else f"{spec.name}: {spec.help} The defaults shown are this environment's."
    )
    return cls


def _flags(cls: Any) -> dict[str, tuple[str, str] | None]:
    """Return every flag -> the (section, key) that it sets, None for those of the run itself."""
    flags: dict[str, tuple[str, str] | None] = {"--help": None, "--env": None}
    for field in dataclasses.fields(cls):
        if not dataclasses.is_dataclass(field.default):
            name = field.name.replace("_", "-")
            flags |= {f"--{name}": None, f"--no-{name}": None}
            continue
        for inner in dataclasses.fields(field.default):
            key, target = inner.name.replace("_", "-"), (field.name, inner.name)
            flags[f"--{field.name}.{key}"] = target
            if isinstance(getattr(field.default, inner.name), bool):
                flags[f"--{field.name}.no-{key}"] = target
    del flags["--env-name"], flags["--no-env-name"]
    return flags


def _parse_quietly(cls: Any, argv: Sequence[str]) -> Any:
    """Parse with tyro; its framed complaints become one sentence."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(cls, args=argv, prog="puffer-train")
    except SystemExit as error:
        if error.code in (0, None):
            raise
        lines = [re.sub(r"[│╭╮╰╯]", "", line).strip() for line in complaint.getvalue().split("\n")]
        text = " ".join(lines)
        first = re.split(r"─{8,}", text)
        sentence = next(
            (part.strip() for part in first if part.strip(" ─") and "─" not in part), text
        )
        raise UsageError(sentence.removeprefix("Error parsing ").rstrip(".")) from None
