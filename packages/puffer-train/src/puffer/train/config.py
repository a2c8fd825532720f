"""Settings: frozen dataclasses with the help beside the default, and the TOML that fills them.

Precedence: defaults < the environment's TOML < `--config FILE` < flags.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from puffer.core.errors import UsageError, near
from puffer.core.registry import EnvSpec

Schedule = Literal["cosine", "linear", "constant"]


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train."""

    seed: int = 0
    """Seeds everything; the same seed repeats a run."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes cuda where there is one, else cpu."""
    total_steps: int = 10_000_000
    """Agent steps to train for."""
    horizon: int = 64
    """Steps that each agent takes between two updates."""
    epochs: int = 1
    """Passes over the collected steps in one update."""
    replay_ratio: float | None = None
    """Steps learned from for each step collected, 1.5 say; none: whole epochs."""
    minibatch_size: int = 8192
    """Steps in one gradient step; whole segments of `horizon` steps."""
    microbatch_size: int | None = None
    """Steps that pass through the network at once, to save memory; gradients add up."""
    prio_alpha: float = 0.0
    """Prefer segments of large advantages: 0 draws all alike, 1 in proportion."""
    prio_beta: float = 0.4
    """Correction of prio_alpha's bias at the start, 0..1; rises to 1, which is exact."""
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    """adam, adamw (see weight_decay), or muon for matrices with adam for the rest."""
    learning_rate: float = 2.5e-3
    """At the start; see lr_schedule."""
    lr_schedule: Schedule = "cosine"
    """How the learning rate falls to 0 over total_steps."""
    weight_decay: float = 0.0
    """adamw's decay of weights."""
    adam_eps: float = 1e-5
    """Adam's epsilon."""
    native: bool = True
    """Compute the shipped policy, also with mingru, by compiled code; no: all by torch."""
    cuda_graphs: bool = True
    """On CUDA, record collection and gradient steps once and replay them."""
    compile: bool = False
    """Learn by torch, not `native`, with the loss fused by torch.compile; slow at first."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products; bfloat16 keeps weights, losses and sums in float32."""
    gamma: float = 0.99
    """Discount per step."""
    gae_lambda: float = 0.95
    """Generalized advantage estimation: 0 trusts the value, 1 the returns."""
    overlap: bool = False
    """Collect the next segments while learning from the last, with V-trace's clips on; a resumed
    run begins its episodes anew."""
    vtrace_rho_clip: float | None = None
    """V-trace: upper bound of a transition's weight; none is 1 with overlap, else GAE as it is."""
    vtrace_c_clip: float | None = None
    """V-trace: upper bound of the trace's weights; none is 1 with overlap, else GAE as it is."""
    norm_advantages: bool = True
    """Normalize the advantages of each minibatch to mean 0 and deviation 1."""
    clip_coef: float = 0.2
    """PPO's clip range of the probability ratio, at the start; see clip_schedule."""
    clip_schedule: Schedule = "constant"
    """How the clip range falls to 0 over total_steps."""
    vf_coef: float = 0.5
    """Weight of the value loss."""
    vf_clip_coef: float | None = None
    """Clip range of the value around the old one; none does not clip."""
    ent_coef: float = 0.01
    """Weight of the entropy bonus, at the start; see ent_schedule."""
    ent_schedule: Schedule = "constant"
    """How the weight of the entropy bonus falls to 0 over total_steps."""
    max_grad_norm: float = 0.5
    """Gradients are scaled down to this global norm."""
    target_kl: float | None = None
    """End an update when the policy has moved this far; none never does."""
    reward_clip: float | None = None
    """Clip rewards to plus and minus this; none keeps them."""
    norm_returns: bool = False
    """Divide rewards by the running deviation of the discounted returns."""
    checkpoint_seconds: float = 300.0
    """Save a checkpoint about this often, and always at the end."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay, beside the one with the best score."""
    data_dir: str = "experiments"
    """Folder that receives a folder per run."""

    def __post_init__(self) -> None:
        positive = ("total_steps", "horizon", "epochs", "minibatch_size", "learning_rate")
        saving = ("checkpoint_seconds", "keep_checkpoints")
        for key in (*positive, "adam_eps", "clip_coef", "max_grad_norm", *saving):
            _require(self, key, "a number > 0", lambda x: x > 0)
        bounds = ("vf_clip_coef", "target_kl", "reward_clip", "vtrace_rho_clip", "vtrace_c_clip")
        for key in (*bounds, "replay_ratio", "microbatch_size"):
            _require(self, key, "none or a number > 0", lambda x: x is None or x > 0)
        for key in ("gamma", "gae_lambda", "prio_beta"):
            _require(self, key, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        for key in ("seed", "vf_coef", "ent_coef", "prio_alpha", "weight_decay"):
            _require(self, key, "a number >= 0", lambda x: x >= 0)

    @property
    def uses_vtrace(self) -> bool:
        """Whether advantages are weighted by ratios of probabilities."""
        clips = self.vtrace_rho_clip, self.vtrace_c_clip
        return self.overlap or clips != (None, None)

    @property
    def vtrace_clips(self) -> tuple[float, float]:
        """The upper bounds of a transition's weight and of the trace's weights."""
        none = 1.0 if self.overlap else math.inf
        rho, c = self.vtrace_rho_clip, self.vtrace_c_clip
        return none if rho is None else rho, none if c is None else c


@dataclasses.dataclass(frozen=True, slots=True)
class VecConfig:
    """How to run the environments: puffer.vector's options."""

    backend: Literal["serial", "multiprocessing", "native"] = "multiprocessing"
    """native: one environment object with many simulations inside, in this process."""
    num_envs: int = 8
    """Environment objects; native has one, whose simulations are --env.num-envs."""
    turns: int | None = None
    """native: parts of the simulations that take turns, some stepped while actions are chosen for
    others; none: 2 for many on CUDA, else 1."""
    num_workers: int | None = None
    """multiprocessing: processes; none takes the usable cores."""
    batch_size: int | None = None
    """multiprocessing: environments that one step waits for; none waits for all."""
    zero_copy: bool = True
    """multiprocessing: batches of fixed neighbours, uncopied; else of the first ready ones."""
    timeout: float = 60.0
    """multiprocessing: seconds after which a silent worker is an error."""
    max_restarts: int = 0
    """multiprocessing: how many failed workers are replaced before one is an error."""

    def __post_init__(self) -> None:
        for key in ("num_envs", "timeout"):
            _require(self, key, "a number > 0", lambda x: x > 0)
        _require(self, "max_restarts", "a number >= 0", lambda x: x >= 0)
        for key in ("turns", "num_workers", "batch_size"):
            _require(self, key, "none or a number > 0", lambda x: x is None or x > 0)


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyConfig:
    """The network."""

    name: str = "default"
    """default, or module:Class of your own."""
    hidden_size: int = 128
    """Width of the hidden layer."""
    recurrent: Literal["none", "lstm", "mingru"] = "none"
    """Recurrent cell between encoder and decoder."""
    norm_observations: bool = False
    """Give observations mean 0 and deviation 1, as far as was seen."""
    layer_norm: bool = False
    """Normalize the hidden layer of a policy for images, where rewards are rare."""

    def __post_init__(self) -> None:
        _require(self, "hidden_size", "a number > 0", lambda x: x > 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """One run."""

    env_name: str
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    vec: VecConfig = dataclasses.field(default_factory=VecConfig)
    policy: PolicyConfig = dataclasses.field(default_factory=PolicyConfig)
    env: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return the settings as the TOML has them; what is None is left out."""
        tables = {s: dataclasses.asdict(getattr(self, s)) for s in ("train", "vec", "policy")}
        tables["env"] = dict(self.env)
        return {s: {k: v for k, v in t.items() if v is not None} for s, t in tables.items()}


SECTIONS = {"train": TrainConfig, "vec": VecConfig, "policy": PolicyConfig}
Tables = dict[str, dict[str, Any]]


def resolve(spec: EnvSpec, *config_files: str | Path) -> tuple[Config, Tables]:
    """Return the settings of an environment before any flag, and the origin of each value.

    Later files override earlier ones. Origins are tables of the same shape that hold `default`,
    `NAME's settings`, the file's path, or what `to_toml` noted in the file.

    Raises:
        UsageError: the file cannot be read, or holds an unknown key or a value of a wrong type.
    """
    values: Tables = {name: {} for name in (*SECTIONS, "env")}
    origins: Tables = {name: {} for name in values}
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            origins[section][field.name] = "default"
    for option in spec.options:
        values["env"][option.name] = option.default
        origins["env"][option.name] = "default"
    sources: list[tuple[str, Mapping[str, Any]]] = [(f"{spec.name}'s settings", spec.settings)]
    sources += [(str(file), _read_toml(file)) for file in config_files]
    notes = {str(file): _read_origins(file) for file in config_files}
    for origin, tables in sources:
        for section, table in tables.items():
            if section not in values or not isinstance(table, Mapping):
                raise UsageError(
                    f"{origin}: unknown table [{section}]: there is {', '.join(values)}"
                )
            for key, value in table.items():
                kind = _expected_type(spec, section, key, origin)
                values[section][key] = _convert(value, kind, f"{origin}: {section}.{key}")
                origins[section][key] = notes.get(origin, {}).get((section, key), origin)
    sections = {name: cls(**values[name]) for name, cls in SECTIONS.items()}
    return Config(spec.name, **sections, env=values["env"]), origins


def merge(spec: EnvSpec, config: Config, tables: Tables, origin: str) -> Config:
    """Return `config` with the values of `tables`; keys that this version has not are left out.

    Raises:
        UsageError: a value of a wrong type; `origin` says where it is from.
    """
    values: Tables = {name: {} for name in (*SECTIONS, "env")}
    for section, table in tables.items():
        for key, value in table.items():
            if key in _known_types(spec, section):
                kind = _expected_type(spec, section, key, origin)
                values[section][key] = _convert(value, kind, f"{origin}: {section}.{key}")
    sections = {s: dataclasses.replace(getattr(config, s), **values[s]) for s in SECTIONS}
    return Config(config.env_name, **sections, env={**config.env, **values["env"]})


def to_toml(tables: Tables, origins: Tables | None = None) -> str:
    """Return `tables` as a TOML text that `--config` reads, with the origins as comments."""
    lines = []
    for section, table in tables.items():
        lines.append(f"[{section}]")
        for key, value in table.items():
            text = f"{key} = {_toml_value(value)}"
            origin = (origins or {}).get(section, {}).get(key)
            lines.append(f"{text:<40}# {origin}" if origin else text)
        lines.append("")
    return "\n".join(lines)


def _read_toml(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: is not a TOML file ({error})") from error


def _read_origins(path: str | Path) -> dict[tuple[str, str], str]:
    """Return what `to_toml` noted behind the values of a file: (section, key) -> origin."""
    section, origins = "", {}
    for line in Path(path).read_text("utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1]
        elif found := re.fullmatch(r"(\w+) = .*?\s# ([^#]+)", line):
            origins[section, found[1]] = found[2]
    return origins


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _expected_type(spec: EnvSpec, section: str, key: str, origin: str) -> Any:
    known = _known_types(spec, section)
    if key not in known:
        raise UsageError(f"{origin}: unknown key {section}.{key}: {near(key, known)}")
    return known[key]


def _known_types(spec: EnvSpec, section: str) -> dict[str, Any]:
    if section == "env":
        return {o.name: type(o.default) for o in spec.options}
    return typing.get_type_hints(SECTIONS[section])


def _convert(value: Any, kind: Any, where: str) -> Any:
    """Return `value` as `kind`, a type, a union of types or a Literal."""
    choices = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        if value not in choices:
            raise UsageError(
                f"{where} = {value!r}: expected one of {', '.join(map(repr, choices))}"
            )
        return value
    kinds = choices if typing.get_origin(kind) is types.UnionType else (kind,)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not any(type(value) is k for k in kinds):
        names = " or ".join(k.__name__ for k in kinds if k is not types.NoneType)
        raise UsageError(f"{where} = {value!r}: expected {names}, got {type(value).__name__}")
    return value


def _require(config: Any, key: str, expected: str, holds: Any) -> None:
    value = getattr(config, key)
    if not holds(value):
        section = next(s for s, cls in SECTIONS.items() if isinstance(config, cls))
        raise UsageError(f"{section}.{key}={value!r}: expected {expected}")
