"""Neural MMO: its leaves, masks and maps; and the two steps that install it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puffer.core import registry
from puffer.core.emulation import PettingZooPufferEnv
from puffer.core.errors import MissingPackageError, UsageError
from puffer.core.wrappers import PettingZooTruncatedWrapper
from puffer.envs import install, nmmo
from puffer.envs.load import quiet, require

SMALL = {"num_agents": 8, "max_cycles": 20}


@pytest.fixture
def world() -> Any:
    pytest.importorskip("nmmo", reason="Neural MMO is not installed")
    with contextlib.closing(nmmo.env_creator()(**SMALL)) as env:
        env.reset(seed=1)
        yield env


def test_leaves_are_flat_and_the_mask_is_what_the_targets_say(world: Any) -> None:
    agent = world.agents[0]
    observations, _ = world.env.env.reset(seed=1)
    raw = observations[agent]
    shown = nmmo._with_mask(raw, nmmo._mask_parts(raw))
    assert nmmo.TARGETS not in shown
    space = world.env.action_space(agent)
    wanted = [raw[nmmo.TARGETS][verb][what] for verb in space.spaces for what in space[verb].spaces]
    np.testing.assert_array_equal(shown["action_mask"], np.concatenate(wanted))
    assert world.single_action_space.nvec.tolist() == [len(part) for part in wanted]
    assert shown["action_mask"].any()


def test_an_episode_ends_for_all_and_tells_of_tasks(world: Any) -> None:
    told = []
    for _ in range(SMALL["max_cycles"] + 1):
        if not world.agents:
            break
        actions = {agent: world.single_action_space.sample() for agent in world.agents}
        infos = world.step(actions)[4]
        told += [info for info in infos.values() if info]
    assert not world.agents
    assert told
    assert all(0 <= info["task_progress"] <= 1 for info in told)


def test_worlds_repeat_and_maps_go_with_them(world: Any) -> None:
    folder = Path(world.env._folder.name)
    assert list(folder.iterdir())
    with contextlib.closing(nmmo.env_creator()(**SMALL)) as other:
        rows, _ = world.reset(seed=5)
        same, _ = other.reset(seed=5)
        for agent, row in rows.items():
            np.testing.assert_array_equal(row, same[agent])
    world.close()
    assert not folder.exists()


def test_its_own_environment_is_emulated_as_the_tutorial_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nmmo", reason="Neural MMO is not installed")
    package: Any = require("nmmo", "nmmo", "the tutorial's sample")
    # It writes its maps into the folder that was the current one on import.
    monkeypatch.setattr(package.config.Config, "PATH_CWD", str(tmp_path))
    with quiet():
        world = package.Env()
    env = PettingZooPufferEnv(env=PettingZooTruncatedWrapper(world))
    rows, _ = env.reset()
    assert (tmp_path / "maps").is_dir()
    row = rows[1]
    structured = row.view(env.obs_dtype)
    assert set(structured.dtype.names) == set(world.observation_space(1).spaces)
    assert structured["ActionTargets"]["Move"]["Direction"].shape == (1, 5)
    assert structured["AgentId"] == 1
    assert row.nbytes == structured.dtype.itemsize
    env.close()


@pytest.mark.parametrize(("option", "low"), [("num_agents", 1), ("map_size", 128), ("num_maps", 1)])
def test_numbers_that_are_too_low(option: str, low: int) -> None:
    with pytest.raises(UsageError, match=f"{option}={low - 1}: expected an integer >= {low}"):
        nmmo.env_creator()(**{option: low - 1})


def test_its_absence_is_told_with_the_installer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nmmo", None)
    with pytest.raises(MissingPackageError, match=r": python -m puffer\.envs\.install nmmo$"):
        registry.find("nmmo").creator()


@pytest.mark.parametrize(("answer", "runs"), [("y", 2), ("n", 0), ("", 0)])
def test_the_installer_shows_asks_and_runs(
    answer: str, runs: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[list[str]] = []

    def run(line: list[str], **_: Any) -> Any:
        lines.append(line)
        return subprocess.CompletedProcess(line, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert install.main(["nmmo"]) == (0 if runs else 1)
    assert len(lines) == runs
    out = capsys.readouterr().out
    assert f'{sys.executable} -m pip install "cython>=3"' in out
    assert (
        '--no-deps --no-build-isolation --no-cache-dir --ignore-requires-python "nmmo==2.1.2"'
        in out
    )
    assert all(line[:3] == [sys.executable, "-m", "pip"] for line in lines)


def test_the_installer_stops_where_pip_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[list[str]] = []

    def run(line: list[str], **_: Any) -> Any:
        lines.append(line)
        return subprocess.CompletedProcess(line, 7)

    monkeypatch.setattr(subprocess, "run", run)
    assert install.main(["nmmo", "--yes"]) == 7
    assert len(lines) == 1
    assert "pip ended with code 7: what it said stands above" in capsys.readouterr().err


def test_the_installer_asks_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert install.main(["nmmo"]) == 1
