"""Proves that the built wheels work where nothing else of this clone is.

Each installs in an empty virtual environment with nothing but its declared dependencies, in the
versions of constraints.txt; together they train; a third party's native environment builds against
them and is trained by name.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from venvs import CheckError, new_venv, pip, run
from workspace import ROOT, Command

MAZE = ROOT / "examples" / "puffer-maze"

# Layer -> the layers that it brings, itself included.
LAYERS = {
    "core": {"core"},
    "vector": {"core", "vector"},
    "ocean": {"core", "ocean"},
    "envs": {"core", "envs"},
    "train": {"core", "vector", "train"},
}
# Layer -> what it does for the user, in a line or two of a script that asserts.
SMOKE = {
    "core": """
import puffer.core, puffer.core.emulation
puffer.core.emulation.GymnasiumPufferEnv(gymnasium.make("CartPole-v1")).reset(seed=0)
""",
    "vector": """
import puffer.vector
with puffer.vector.make(lambda: gymnasium.make("CartPole-v1"), num_envs=2) as vecenv:
    assert vecenv.reset(seed=0)[0].shape == (2, 4)
""",
    "ocean": """
import puffer.ocean
with puffer.ocean.Squared(num_envs=2) as env:
    env.reset(seed=0)
    assert env.step([0, 0])[1].shape == (2,)
""",
    "envs": """
import puffer.core.registry
puffer.core.registry.find("CartPole-v1").creator().reset(seed=0)
""",
    "train": """
import puffer.train, puffer.train._native
assert puffer.train._native.Threads(2).size == 2
""",
}
# What nobody imports by accident: the modules that `import puffer.LAYER` must not bring.
HEAVY = {layer: {"torch", "puffer.ocean"} for layer in ("core", "vector", "envs")} | {
    "ocean": {"torch"},
    "train": {"puffer.ocean"},
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the proof is made: the built wheels by layer, a folder of its own, and the pins.

    The pins are a file of constraints: ours from the wheels, the others as they are tested.
    """

    wheels: dict[str, Path]
    folder: Path
    pins: Path

    def install(self, python: Path, wheel: Path | str) -> None:
        """Install `wheel` with its dependencies, and let pip check that all fit together."""
        pip("install", "--no-compile", "--constraint", self.pins, wheel, python=python)
        pip("check", python=python)


def prove(wheels: dict[str, Path]) -> None:
    """Install and use every wheel.

    Raises:
        CheckError: one does not work.
    """
    with tempfile.TemporaryDirectory(prefix="puffer-wheels-") as name:
        folder = Path(name)
        ours = [f"puffer-{layer} @ {path.as_uri()}" for layer, path in wheels.items()]
        pins = folder / "constraints.txt"
        pins.write_text("\n".join([*ours, (ROOT / "constraints.txt").read_text("utf-8")]))
        place = Place(wheels, folder, pins)
        for layer in LAYERS:
            check_alone(layer, place)
        python = folder / "train" / "bin" / "python"  # which has torch
        check_together(python, place)
        check_package("maze", MAZE, python, place)
        check_kit(python, place)


def check_alone(layer: str, place: Place) -> None:
    """Install one layer in an empty virtual environment of its own, and use it.

    Raises:
        CheckError: it brings other layers than declared, imports what is heavy, or fails.
    """
    print(f"puffer-{layer} alone: installing", flush=True)
    python = new_venv(place.folder / layer)
    place.install(python, place.wheels[layer])
    expected = sorted(f"puffer-{name}" for name in LAYERS[layer])
    script = f"""
import importlib.metadata, sys
import gymnasium
{SMOKE[layer]}
import puffer
assert puffer.__file__ is None, f"a file at puffer/ level: {{puffer.__file__}}"
heavy = {sorted(HEAVY[layer])!r}
loaded = [name for name in heavy if name in sys.modules]
assert not loaded, f"import puffer.{layer} also imports {{loaded}}"
names = {{d.metadata["Name"] for d in importlib.metadata.distributions()}}
brought = sorted(name for name in names if name.startswith("puffer-"))
assert brought == {expected!r}, f"it brings {{brought}}, declared is {expected}"
"""
    run([python, "-c", script], f"puffer-{layer} alone", cwd=place.folder)
    print(f"puffer-{layer} alone: works", flush=True)


def check_together(python: Path, place: Place) -> None:
    """Add ocean and envs to the environment of train, and train, evaluate, by name.

    Raises:
        CheckError: a step failed.
    """
    script = "import puffer.vector, sys; assert 'torch' not in sys.modules"
    run([python, "-c", script], "puffer.vector beside an installed torch", cwd=place.folder)
    missing = subprocess.run(
        [python.with_name("puffer-train"), "--env", "puffer_squared"],
        cwd=place.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if missing.returncode != 2 or 'pip install "puffer-train[ocean]"' not in missing.stderr:
        raise CheckError(f"puffer-train without puffer-ocean does not say so: {missing.stderr}")
    for layer, name in (("ocean", "puffer_squared"), ("envs", "CartPole-v1")):
        place.install(python, place.wheels[layer])
        train(name, python, place, 100_000)
    flags = ["--env", "puffer_squared", "--mode", "eval", "--baseline", "--episodes", "64"]
    baseline: Command = [python.with_name("puffer-train"), *flags]
    run(baseline, "the baseline", cwd=place.folder)
    print("puffer_squared: its baseline plays", flush=True)


def check_kit(python: Path, place: Place) -> None:
    """Let the kit write a package, build it isolated, run its own tests, and train it by name."""
    written = place.folder / "written"
    new: Command = [python, "-m", "puffer.ocean", "new", "catch_it", "--path", written]
    run(new, "ocean new", cwd=place.folder)
    check_package("catch_it", written, python, place)
    place.install(python, "pytest")
    tests: Command = [python, "-m", "pytest", "-q", written / "tests"]
    told = run(tests, "the kit's own tests", cwd=place.folder)
    print(f"catch_it: {told.splitlines()[-1]}", flush=True)


def check_package(name: str, source: Path, python: Path, place: Place) -> None:
    """Build a third party's package isolated against the wheels, install it, train it by name.

    Raises:
        CheckError: a step failed, or left no checkpoint.
    """
    print(f"{name}: building isolated, against the wheels", flush=True)
    built = place.folder / f"{name}-wheels"
    pip("wheel", "--no-deps", "-w", built, source, pins=place.pins)
    place.install(python, next(built.glob("*.whl")))
    train(name, python, place, 16_384)


def train(name: str, python: Path, place: Place, steps: int) -> None:
    """Train an environment by name, outside of this clone.

    Raises:
        CheckError: it failed, or left no checkpoint.
    """
    runs = place.folder / f"{name}-runs"
    puffer_train = python.with_name("puffer-train")
    flags = ["--train.total-steps", str(steps), "--train.device", "cpu"]
    command: Command = [puffer_train, "--env", name, *flags, "--train.data-dir", runs]
    run(command, f"training {name}", cwd=place.folder)
    if not list(runs.glob("**/model.safetensors")):
        raise CheckError(f"training {name} left no checkpoint")
    print(f"{name}: trains by name", flush=True)
