"""Checkpoints hold what they were given, and refuse what they are not."""

from __future__ import annotations

import json
import os
import pickle
import struct

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from puffer.core.errors import UsageError
from puffer.train.checkpoint import (
    export_weights,
    load_checkpoint,
    load_weights,
    pack,
    save_checkpoint,
    unpack,
)
from puffer.train.runs import MODEL, STATE, TENSORS, Checkpoints, _is_pickle, read_header


def save(folder, steps=7, policy=None, **state):
    header = {"environment": "x", "policy": {"name": "default"}}
    return save_checkpoint(
        Checkpoints(folder), steps, policy or nn.Linear(2, 3), header, {"steps": steps, **state}
    )


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb-went-off",)


@pytest.fixture(autouse=True)
def _no_bomb(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "bomb-went-off").exists()


def test_round_trip(tmp_path):
    policy, other = nn.Linear(2, 3), nn.Linear(2, 3)
    path = save(tmp_path, policy=policy, history=[1.5, float("nan")])
    assert path == tmp_path / "000000000007"
    assert sorted(os.listdir(path)) == [MODEL, STATE, TENSORS]
    state = load_checkpoint(path, other)
    assert state["steps"] == 7
    assert np.isnan(state["history"][1])
    assert torch.equal(policy.weight, other.weight)
    header = {"environment": "x", "policy": {"name": "default"}, "steps": 7}
    assert read_header(path / MODEL) == header


def test_every_kind_of_value_comes_back():
    value = {
        "optimizer": {0: {"step": torch.tensor(3.0), "x": torch.arange(4)}, 1: {}},
        "array": np.arange(6, dtype=np.float64).reshape(2, 3),
        "empty": np.zeros(0, np.bool_),
        "bytes": b"\x00\xff",
        "scalars": [None, True, 1, 2.5, "text", np.float32(0.5), np.int64(2**40)],
        "state": (torch.zeros(1, 2, 3),),
    }
    tensors = {}
    tree = json.loads(json.dumps(pack(value, tensors)))
    back = unpack(tree, safetensors.torch.load(safetensors.torch.save(tensors)))
    assert list(back["optimizer"]) == [0, 1]
    assert torch.equal(back["optimizer"][0]["x"], torch.arange(4))
    assert back["array"].dtype == np.float64
    assert np.array_equal(back["array"], value["array"])
    assert back["empty"].shape == (0,)
    assert back["bytes"] == b"\x00\xff"
    assert back["scalars"] == [None, True, 1, 2.5, "text", 0.5, 2**40]
    with pytest.raises(TypeError, match="cannot save a set"):
        pack({"x": {1}}, {})


def test_tied_weights_are_saved(tmp_path):
    policy = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    policy[1].weight = policy[0].weight
    load_checkpoint(save(tmp_path, policy=policy), policy)


@pytest.mark.parametrize(
    "content",
    [
        os.urandom(4096),
        b"",
        b"\xff" * 8 + b"{}",
        struct.pack("<Q", 10 * 2**30) + b"{}" + b" " * 100,  # a header of 10 GiB
        struct.pack("<Q", 2) + b"{}" + b"tail",
        struct.pack("<Q", 77)
        + b'{"weight":{"dtype":"F32","shape":[1099511627776,3],"data_offsets":[0,12]}}'.ljust(77)
        + bytes(12),
    ],
    ids=["noise", "empty", "negative", "absurd", "tail", "shape"],
)
def test_files_that_are_no_checkpoint(tmp_path, content):
    path = tmp_path / MODEL
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not a checkpoint .*that puffer-train saved"):
        load_weights(path, nn.Linear(2, 3))


@pytest.mark.parametrize("write", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path, write, request):
    path = tmp_path / "your_model.pt"
    write(Bomb(), path)
    with pytest.raises(UsageError, match=r"is a pickle, .*convert its weights: python -c"):
        load_weights(path, nn.Linear(2, 3))


def test_no_length_of_a_header_makes_weights_look_like_a_pickle(tmp_path):
    path = tmp_path / "model.safetensors"
    lengths = set()
    for padding in range(0, 1024, 8):  # headers are padded to 8 bytes
        safetensors.torch.save_file({"w": torch.zeros(2)}, path, {"note": " " * padding})
        lengths.add(path.read_bytes()[:2])
        assert not _is_pickle(path)
    assert {b"\x80\x02", b"\x80\x03"} <= lengths


def test_the_way_to_convert_a_pickle_works(tmp_path):
    policy, other = nn.Linear(2, 3), nn.Linear(2, 3)
    for content in (policy, policy.state_dict()):
        torch.save(content, "your_model.pt")
        with pytest.raises(UsageError) as refusal:
            read_header("your_model.pt")
        code = str(refusal.value).partition('python -c "')[2].removesuffix('"')
        exec(code, {})
        load_weights("your_model.safetensors", other)
        assert torch.equal(policy.weight, other.weight)


def test_another_format(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, {"format": "other"})
    with pytest.raises(UsageError, match="format 'other', expected 'puffer-checkpoint-1'"):
        read_header(path)


def test_weights_of_other_names_or_shapes_leave_the_policy_as_it_was(tmp_path):
    path, other = save(tmp_path) / MODEL, nn.Linear(2, 4)
    before = other.weight.clone()
    with pytest.raises(UsageError, match=r"bias has shape \(3,\) in the file and \(4,\)"):
        load_weights(path, other)
    assert torch.equal(other.weight, before)
    safetensors.torch.save_file({"../../evil": torch.zeros(2)}, "keys.safetensors")
    with pytest.raises(UsageError, match=r"\.\./\.\./evil has shape \(2,\) in the file and None"):
        load_weights("keys.safetensors", other)


@pytest.mark.parametrize("name", [MODEL, TENSORS, STATE])
def test_a_truncated_file(tmp_path, name):
    path = save(tmp_path, numbers=torch.zeros(10))
    (path / name).write_bytes((path / name).read_bytes()[:-4])
    with pytest.raises(UsageError, match=r"is damaged|is not JSON"):
        load_checkpoint(path, nn.Linear(2, 3))


@pytest.mark.parametrize("name", [MODEL, TENSORS, STATE, ""])
def test_symbolic_links(tmp_path, name):
    path = save(tmp_path / "one")
    link = path / name
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a symbolic link"):
        load_checkpoint(path, nn.Linear(2, 3))
    if name == MODEL:
        with pytest.raises(UsageError, match="is a symbolic link"):
            load_weights(link, nn.Linear(2, 3))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s | {"sha256": {"../../evil": "0"}}, r"names the files \['\.\./\.\./evil'\]"),
        (lambda s: s | {"sha256": {**s["sha256"], MODEL: "0"}}, "is damaged, its SHA-256"),
        (lambda s: s | {"format": "puffer-checkpoint-9"}, "has format 'puffer-checkpoint-9'"),
        (lambda s: [s], "has format 'list'"),
        (lambda s: s | {"tree": {"tensor": "9"}}, "is not what puffer-train saves"),
        (lambda s: s | {"tree": {"eval": "1"}}, "is not what puffer-train saves"),
        (lambda s: s | {"tree": [1]}, "holds no state"),
    ],
)
def test_a_state_of_other_making(tmp_path, change, sentence):
    path = save(tmp_path)
    state = json.loads((path / STATE).read_bytes())
    (path / STATE).write_text(json.dumps(change(state)))
    with pytest.raises(UsageError, match=sentence):
        load_checkpoint(path, nn.Linear(2, 3))


def test_deep_json(tmp_path):
    path = save(tmp_path)
    (path / STATE).write_text("[" * 200_000)
    with pytest.raises(UsageError, match="is not JSON"):
        load_checkpoint(path, nn.Linear(2, 3))


def test_export_is_half_the_size_and_close(tmp_path):
    policy, other = nn.Linear(200, 50), nn.Linear(200, 50)
    size = export_weights(tmp_path / "x.safetensors", policy, {"environment": "x"}, 5)
    assert size < 2 * 51 * 200 + 1000
    load_weights("x.safetensors", other)
    assert other.weight.dtype == torch.float32
    assert torch.allclose(policy.weight, other.weight, atol=1e-4)
    assert read_header("x.safetensors") == {"environment": "x", "steps": 5}
    with torch.no_grad():
        policy.weight[0, 0] = 1e6
    with pytest.raises(UsageError, match="weight is not finite in half precision"):
        export_weights(tmp_path / "y.safetensors", policy, {}, 5)
    with pytest.raises(UsageError, match=r"--export-path .*gone/y: cannot be written"):
        export_weights(tmp_path / "gone" / "y", nn.Linear(2, 2), {}, 5)
