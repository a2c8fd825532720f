"""Checkpoints are whole, found by name, and refuse what they are not."""

from __future__ import annotations

import os
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from puffer.core.errors import UsageError
from puffer.train.checkpoint import find_checkpoint, load_weights, read_header, save_checkpoint


def save(tmp_path, steps=10, environment="test/match", run="run"):
    return save_checkpoint(
        tmp_path / run, steps, nn.Linear(2, 3), {"environment": environment, "env": {"a": 1}}
    )


def test_round_trip(tmp_path):
    policy = nn.Linear(2, 3)
    path = save_checkpoint(tmp_path, 7, policy, {"environment": "x", "policy": {"name": "default"}})
    assert path == tmp_path / "checkpoints" / "000000000007" / "model.safetensors"
    other = nn.Linear(2, 3)
    load_weights(path, other)
    assert torch.equal(policy.weight, other.weight)
    assert read_header(path) == {"environment": "x", "policy": {"name": "default"}, "steps": 7}


def test_a_failed_save_leaves_nothing_and_keeps_the_old_one(tmp_path, monkeypatch):
    old = save(tmp_path, steps=1)

    def fail(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, steps=2)
    assert os.listdir(tmp_path / "run" / "checkpoints") == ["000000000001"]
    assert read_header(old)["steps"] == 1


def test_the_same_step_again_replaces_the_checkpoint(tmp_path):
    assert save(tmp_path) == save(tmp_path)
    assert len(os.listdir(tmp_path / "run" / "checkpoints")) == 1


def test_find_by_file_folder_and_latest(tmp_path):
    first, second = save(tmp_path, 5), save(tmp_path, 60)
    other = save(tmp_path, 1, "test/other", "other")
    for order, path in enumerate((first, second, other)):
        os.utime(path, (order, order))
    assert find_checkpoint(str(first), tmp_path, "any") == first
    assert find_checkpoint(str(tmp_path / "run"), tmp_path, "any") == second
    assert find_checkpoint("latest", tmp_path, "test/match") == second
    assert find_checkpoint("latest", tmp_path, "test/other") == other


def test_what_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"no checkpoint of test/match in .*: train one with"):
        find_checkpoint("latest", tmp_path, "test/match")
    with pytest.raises(UsageError, match=r"no model\.safetensors in this folder"):
        find_checkpoint(str(tmp_path), tmp_path, "test/match")
    with pytest.raises(UsageError, match="no such file or folder: give a checkpoint"):
        find_checkpoint(str(tmp_path / "nothing"), tmp_path, "test/match")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb-went-off",)


@pytest.mark.parametrize(
    "content", [os.urandom(4096), b"", pickle.dumps(Bomb()), b"\xff" * 8 + b"{}"]
)
def test_files_that_are_no_checkpoint(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a checkpoint .*that puffer-train saved"):
        load_weights(path, nn.Linear(2, 3))
    assert not (tmp_path / "bomb-went-off").exists()


def test_a_foreign_safetensors_file(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(UsageError, match="format None, expected 'puffer-checkpoint-1'"):
        read_header(path)


def test_a_policy_of_another_shape_stays_as_it_was(tmp_path):
    path, other = save(tmp_path), nn.Linear(2, 4)
    before = other.weight.clone()
    with pytest.raises(UsageError, match=r"bias has shape \(3,\) in the file and \(4,\)"):
        load_weights(path, other)
    assert torch.equal(other.weight, before)


def test_a_truncated_file(tmp_path):
    path = save(tmp_path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UsageError, match="is not a checkpoint"):
        load_weights(path, nn.Linear(2, 3))
