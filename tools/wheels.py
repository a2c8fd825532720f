"""Build the five wheels into dist/; with --check, prove that each one works alone.

The proof: no wheel has a file at `puffer/` level, each installs in an empty virtual environment
with nothing but its declared dependencies, and a third party's native environment builds against
the wheels and is trained by name.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
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
import puffer.train
""",
}
# What nobody imports by accident: the modules that `import puffer.LAYER` must not bring.
HEAVY = {layer: {"torch", "puffer.ocean"} for layer in ("core", "vector", "envs")} | {
    "ocean": {"torch"},
    "train": {"puffer.ocean"},
}


class CheckError(Exception):
    """A wheel is not what it should be; the message says which and how."""


def main(argv: list[str]) -> int:
    """Build, and check if asked; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="prove that each wheel works alone")
    args = parser.parse_args(argv)
    try:
        wheels = build()
        for layer, wheel in wheels.items():
            with zipfile.ZipFile(wheel) as archive:
                check_content(layer, archive.namelist())
            print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB")
        if args.check:
            with tempfile.TemporaryDirectory(prefix="puffer-wheels-") as folder:
                for layer in LAYERS:
                    check_alone(layer, wheels, Path(folder))
                check_third_party(wheels, Path(folder))
    except CheckError as error:
        print(f"tools/wheels.py: {error}", file=sys.stderr)
        return 1
    return 0


def build() -> dict[str, Path]:
    """Build the wheel of each layer into dist/ and return where it lies."""
    shutil.rmtree(DIST, ignore_errors=True)
    for layer in LAYERS:
        print(f"building puffer-{layer}", flush=True)
        pip("wheel", "--no-deps", "--no-build-isolation", "-w", DIST, f"packages/puffer-{layer}")
    return {layer: next(DIST.glob(f"puffer_{layer}-*.whl")) for layer in LAYERS}


def check_content(layer: str, names: Iterable[str]) -> None:
    """Refuse a wheel with files outside `puffer/LAYER/`, without its `py.typed` or without licence.

    Raises:
        CheckError: names the first wrong file.
    """
    names = list(names)
    for name in names:
        top = name.split("/")[0]
        if not name.startswith(f"puffer/{layer}/") and not top.endswith((".dist-info", ".data")):
            raise CheckError(
                f"the wheel of puffer-{layer} has {name}: expected files in puffer/{layer}/ alone"
            )
    if f"puffer/{layer}/py.typed" not in names:
        raise CheckError(f"the wheel of puffer-{layer} has no puffer/{layer}/py.typed: add one")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        raise CheckError(f"the wheel of puffer-{layer} has no licence: name it in license-files")


def check_alone(layer: str, wheels: dict[str, Path], folder: Path) -> None:
    """Install one layer in an empty virtual environment of its own, and use it.

    Raises:
        CheckError: it brings other layers than declared, imports what is heavy, or fails.
    """
    print(f"puffer-{layer} alone: installing", flush=True)
    python = new_venv(folder / layer)
    install(python, wheels, folder, wheels[layer])
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
    run([python, "-c", script], f"puffer-{layer} alone", cwd=folder)
    print(f"puffer-{layer} alone: works", flush=True)


def check_third_party(wheels: dict[str, Path], folder: Path) -> None:
    """Build the example of a third party isolated against the wheels, and train it by name.

    It takes over the virtual environment of puffer-train, which has torch.
    """
    python = folder / "train" / "bin" / "python"
    script = "import puffer.vector, sys; assert 'torch' not in sys.modules"
    run([python, "-c", script], "puffer.vector beside an installed torch", cwd=folder)
    missing = subprocess.run(
        [python.with_name("puffer-train"), "--env", "puffer_squared"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if missing.returncode != 2 or 'pip install "puffer-train[ocean]"' not in missing.stderr:
        raise CheckError(f"puffer-train without puffer-ocean does not say so: {missing.stderr}")
    check_package("maze", MAZE, python, wheels, folder)
    check_kit(python, wheels, folder)


def check_kit(python: Path, wheels: dict[str, Path], folder: Path) -> None:
    """Let the kit write a package, build it isolated, run its own tests, and train it by name."""
    written = folder / "written"
    run([python, "-m", "puffer.ocean", "new", "catch_it", "--path", written], "ocean new")
    check_package("catch_it", written, python, wheels, folder)
    pip("install", "--no-compile", "pytest", python=python)
    run([python, "-m", "pytest", "-q", written / "tests"], "the kit's own tests", cwd=folder)
    print("catch_it: its tests pass", flush=True)


def check_package(
    name: str, source: Path, python: Path, wheels: dict[str, Path], folder: Path
) -> None:
    """Build a third party's package isolated against the wheels, install it, train it by name.

    Raises:
        CheckError: a step failed, or left no checkpoint.
    """
    print(f"{name}: building isolated, against the wheels", flush=True)
    pip("wheel", "--no-deps", "--find-links", DIST, "-w", folder / name, source)
    install(python, wheels, folder, next((folder / name).glob("*.whl")))
    flags = [
        "--train.total-steps",
        "16384",
        "--train.device",
        "cpu",
        "--train.data-dir",
        f"{name}-runs",
    ]
    train: list[str | Path] = [python.with_name("puffer-train"), "--env", name, *flags]
    run(train, f"training {name} by name", cwd=folder)
    if not list((folder / f"{name}-runs").glob("**/model.safetensors")):
        raise CheckError(f"training {name} by name left no checkpoint")
    print(f"{name}: trains by name", flush=True)


def new_venv(folder: Path) -> Path:
    """Return the interpreter of a new, empty virtual environment."""
    run([sys.executable, "-m", "venv", "--without-pip", folder], "making a virtual environment")
    return folder / "bin" / "python"


def install(python: Path, wheels: dict[str, Path], folder: Path, wheel: Path) -> None:
    """Install `wheel` with its dependencies; our own come from `wheels`, torch as it is tested."""
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    ours = [f"puffer-{layer} @ {path.as_uri()}" for layer, path in wheels.items()]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join([*ours, *(p for p in pins if p.startswith("torch=="))]))
    pip("install", "--no-compile", "--constraint", constraints, wheel, python=python)


def pip(*words: str | Path, python: str | Path = sys.executable) -> None:
    """Run pip for the environment of `python`; its output is shown only if it fails."""
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run([*command, *words], f"pip {words[0]} {words[-1]}", cwd=ROOT)


def run(command: list[str | Path], what: str, cwd: Path | None = None) -> None:
    """Run a command, quietly.

    Raises:
        CheckError: it failed; has the end of its output.
    """
    done = subprocess.run(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        end = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-30:])
        raise CheckError(f"{what} failed:\n{end}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
