"""A run that was interrupted goes on as if it had not been, bit for bit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

import puffer.vector
from puffer.core.errors import UsageError
from puffer.core.registry import EnvSpec
from puffer.train import Config, TrainConfig, Trainer, cli
from puffer.train.config import PolicyConfig
from puffer.train.launch import make_policy
from puffer.train.runs import Checkpoints, read_run

TRAIN = TrainConfig(
    total_steps=16 * 32 * 8, horizon=16, minibatch_size=128, learning_rate=0.01, device="cpu"
)


def make_trainer(vecenv, recurrent="none", *, normalize=False, **changes):
    train = dataclasses.replace(TRAIN, **changes)
    policy_config = PolicyConfig(hidden_size=16, recurrent=recurrent, norm_observations=normalize)
    spec = EnvSpec("test/match", type(vecenv.driver_env))
    policy = make_policy(spec, policy_config, vecenv.driver_env, train.seed)
    return Trainer(Config("test/match", train, policy=policy_config), vecenv, policy)


def digest(policy):
    tensors = (t.detach().cpu().numpy().tobytes() for t in policy.state_dict().values())
    return hashlib.sha256(b"".join(tensors)).hexdigest()


WORKERS = {"num_envs": 2, "num_workers": 2}
CASES = [
    ("native", {}, "none", {"norm_returns": True, "prio_alpha": 0.6, "normalize": True}),
    ("native", {}, "none", {"optimizer": "muon", "epochs": 3, "ent_schedule": "linear"}),
    ("native", {}, "mingru", {"optimizer": "adamw", "replay_ratio": 2.0, "normalize": True}),
    ("multiprocessing", WORKERS, "lstm", {"lr_schedule": "linear", "vf_clip_coef": 0.2}),
]


@pytest.mark.parametrize(("backend", "vec", "recurrent", "changes"), CASES)
def test_twice_n_equals_n_and_n_more(make_match, tmp_path, backend, vec, recurrent, changes):
    def trainer():
        # Episodes of 7 steps in segments of 16: they are cut in the middle.
        return make_trainer(make_match(backend, vec, length=7, delay=1), recurrent, **changes)

    whole = trainer()
    expected = whole.train()
    first = trainer()
    for _ in range(whole.updates // 2):
        first.train_update()
    path = first.save(tmp_path)
    first.train_update()  # what comes after the checkpoint does not matter
    second = trainer()
    second.load(path)
    assert second.steps == expected["steps"] // 2
    summary = second.train()
    assert digest(second.policy) == digest(whole.policy)
    for key in ("steps", "episodes", "return_mean", "return_std", "score_mean", "length_mean"):
        assert summary[key] == expected[key]


def test_batches_of_half_the_workers_go_on(make_match, tmp_path):
    vec = {"num_envs": 2, "num_workers": 2, "batch_size": 1}
    first = make_trainer(make_match("multiprocessing", vec))
    first.train_update()
    second = make_trainer(make_match("multiprocessing", vec))
    second.load(first.save(tmp_path))
    assert second.train()["steps"] == 16 * 64 * 4


def test_the_same_seed_repeats_and_another_differs_from_the_first_observation_on(make_match):
    runs = []
    for seed in (0, 0, 1):
        trainer = make_trainer(make_match(), seed=seed)
        trainer.train_update()
        first = trainer.segments.observations[0].clone()
        trainer.train()
        runs.append((first, digest(trainer.policy)))
    assert torch.equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not torch.equal(runs[0][0], runs[2][0])
    assert runs[0][1] != runs[2][1]


def test_an_environment_without_state_begins_its_episodes_anew(match_class, tmp_path):
    class Forgetful(match_class):
        can_save_state = False

    def trainer():
        vecenv = puffer.vector.make(Forgetful, backend="native", final_observations=True)
        return make_trainer(vecenv)

    first = trainer()
    first.train_update()
    path = first.save(tmp_path)
    second = trainer()
    with pytest.warns(UserWarning, match="its episodes begin anew") as caught:
        second.load(path)
    assert len(caught) == 1
    assert digest(second.policy) == digest(first.policy)
    assert second.train()["steps"] == TRAIN.total_steps


def test_a_checkpoint_of_other_settings_is_refused(make_match, tmp_path):
    first = make_trainer(make_match(), "lstm")
    first.train_update()
    path = first.save(tmp_path)
    for vecenv, recurrent, changes, sentence in (
        (make_match(), "none", {}, "does not fit this policy"),
        (make_match(num_envs=16), "lstm", {}, r"has shape \(1, 32, 16\) in the checkpoint and"),
        (make_match(), "lstm", {"optimizer": "muon"}, "does not fit this run"),
        (make_match(length=9), "lstm", {}, "another Match"),
    ):
        trainer = make_trainer(vecenv, recurrent, **changes)
        with pytest.raises(UsageError, match=sentence):
            trainer.load(path)


def test_tensors_of_wrong_shape_are_refused(make_match, tmp_path):
    from puffer.train.checkpoint import save_checkpoint

    trainer = make_trainer(make_match())
    trainer.train_update()
    state = trainer.state_dict()
    evil = {
        "optimizer": lambda s: s["optimizer"]["state"][0].update(exp_avg=torch.zeros(5)),
        "generator": lambda s: s.update(generator=torch.zeros(3, dtype=torch.uint8)),
        "counters": lambda s: s.pop("steps"),
        "randomness": lambda s: s["randomness"].update(torch="x"),
        "environment": lambda s: s.update(environment=b"evil"),
    }
    for steps, change in enumerate(evil.values()):
        changed = {**state, "optimizer": {**state["optimizer"]}}
        changed["optimizer"]["state"] = {k: dict(v) for k, v in state["optimizer"]["state"].items()}
        changed["randomness"] = dict(state["randomness"])
        change(changed)
        path = save_checkpoint(Checkpoints(tmp_path), steps, trainer.policy, {}, changed)
        with pytest.raises(UsageError):
            make_trainer(make_match()).load(path)


# --- the command ---------------------------------------------------------------------------------

SQUARED = ["--env", "puffer_squared", "--env.num-envs", "64", "--train.device", "cpu"]
SQUARED += ["--train.total-steps", "20000", "--train.checkpoint-seconds", "0.001", "--ui", "json"]


def start(tmp_path, *argv):
    return subprocess.Popen(
        [sys.executable, "-m", "puffer.train", *argv],
        cwd=tmp_path,
        # A shell starts background jobs with SIGINT ignored, and whatever they start inherits it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def weights(path):
    import safetensors.torch

    tensors = safetensors.torch.load_file(path)
    return hashlib.sha256(b"".join(tensors[k].numpy().tobytes() for k in sorted(tensors)))


def lines(run):
    return (run / "metrics.jsonl").read_text().splitlines()


def newest(folder):
    return max(folder.glob("experiments/*/checkpoints/*/model.safetensors"))


def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*SQUARED, "--train.data-dir", "whole"]) == 0
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])
    process = start(tmp_path, *SQUARED)
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("experiments/*/checkpoints/0*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert int(newest(tmp_path).parent.name) < 20_000
    assert cli.main(["--resume", "--ui", "json"]) == 0
    out = capsys.readouterr()
    resumed = json.loads(out.out.splitlines()[-1])
    assert "resumed from" in out.err
    assert "begin anew" not in out.err
    assert weights(resumed["checkpoint"]).digest() == weights(whole["checkpoint"]).digest()
    assert resumed["return_mean"] == whole["return_mean"]
    (run,) = (tmp_path / "experiments").iterdir()
    steps = [json.loads(line)["steps"] for line in lines(run)]
    assert steps == sorted(set(steps))
    (other,) = (tmp_path / "whole").iterdir()
    assert steps == [json.loads(line)["steps"] for line in lines(other)]
    starts = read_run(run)["starts"]
    assert [s["resumed"] is None for s in starts] == [True, False]
    assert (run / "config.toml").read_text().count("# command line") == 4


def test_resume_from_a_damaged_latest_takes_the_one_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(SQUARED) == 0
    path = newest(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["--resume", "--ui", "json", "--train.total-steps", "21000"]) == 0
    err = capsys.readouterr().err
    assert "is damaged, its SHA-256 is not the one in state.json" in err
    assert "trying the one before" in err


def test_resume_from_an_older_checkpoint_begins_another_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(SQUARED) == 0
    older = min(newest(tmp_path).parent.parent.glob("0*"))
    argv = ["--resume", str(older), "--train.learning-rate", "0.001", "--ui", "none"]
    assert cli.main(argv) == 0
    runs = sorted((tmp_path / "experiments").iterdir(), key=os.path.getmtime)
    assert len(runs) == 2
    assert read_run(runs[1])["starts"][0]["resumed"] == str(older)
    assert "learning_rate = 0.001" in (runs[1] / "config.toml").read_text()


def test_resume_of_a_finished_run_and_of_another_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(SQUARED) == 0
    before = newest(tmp_path).read_bytes()
    assert cli.main([*SQUARED, "--resume"]) == 0
    assert newest(tmp_path).read_bytes() == before
    (run,) = (tmp_path / "experiments").iterdir()
    assert cli.main(["--env", "puffer_cartpole", "--resume", run.name]) == 2
    assert "was trained on puffer_squared, not on puffer_cartpole" in capsys.readouterr().err
    assert cli.main(["--resume", "--policy.hidden-size", "8"]) == 2
    assert "does not fit this policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code", "more"),
    [
        (signal.SIGINT, 130, ()),
        (signal.SIGTERM, 143, ()),
        (signal.SIGTERM, 143, ("--train.overlap",)),
    ],
)
def test_signals_save_a_checkpoint_to_resume_from(number, code, more, tmp_path):
    vec = ["--vec", "multiprocessing", "--vec.num-envs", "2", "--vec.num-workers", "2"]
    process = start(tmp_path, *SQUARED, *vec, *more, "--train.total-steps", "1000000000")
    assert process.stdout.readline().startswith("{")  # it trains
    children = [child.pid for child in psutil.Process(process.pid).children()]
    assert len(children) >= 2
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "this update is finished and saved; once more leaves at once" in err
    assert not any(psutil.pid_exists(child) for child in children)
    state = json.loads((newest(tmp_path).parent / "state.json").read_text())
    assert state["steps"] > 0


@pytest.mark.parametrize("more", [(), ("--train.overlap",)])
def test_a_signal_to_the_workers_as_well_ends_as_one_to_the_trainer(more, tmp_path):
    """So Slurm and systemd end a job: nobody waits for workers that are gone, no error is shown."""
    vec = ["--vec", "multiprocessing", "--vec.num-envs", "2", "--vec.num-workers", "2"]
    process = start(tmp_path, *SQUARED, *vec, *more, "--train.total-steps", "1000000000")
    for _ in range(3):  # updates
        assert process.stdout.readline().startswith("{")
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert "SIGTERM in step" not in err
    state = json.loads((newest(tmp_path).parent / "state.json").read_text())
    assert state["steps"] > 0


@pytest.mark.parametrize("more", [(), ("--train.overlap",)])
def test_a_second_interrupt_leaves_at_once(more, tmp_path):
    """The environment hangs, so that the update never ends."""
    (tmp_path / "slow.py").write_text(
        "import time, gymnasium\n"
        "class Slow(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, seed=None, options=None):\n"
        "        return self.observation_space.sample(), {}\n"
        "    def step(self, action):\n"
        "        print('steps', flush=True)\n"
        "        time.sleep(1000)\n"
    )
    process = start(tmp_path, "--env", "slow:Slow", "--vec", "serial", "--ui", "json", *more)
    assert "steps" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert "once more leaves at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
