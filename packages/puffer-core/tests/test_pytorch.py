"""The torch side of layouts: views, batch shapes, compilation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import SpaceError, UsageError
from puffer.core.layout import Layout

torch = pytest.importorskip("torch")
from puffer.core.pytorch import layer_init, nativize_dtype, nativize_tensor  # noqa: E402

SPACE = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (4, 3), np.uint8),
        "flags": spaces.Tuple((spaces.Box(0, 1, (3,), np.bool_), spaces.Discrete(5, start=-2))),
        "half": spaces.Box(-1, 1, (2,), np.float16),
        "speed": spaces.Box(-1, 1, (), np.float32),
        "items": spaces.Sequence(spaces.Dict({"kind": spaces.Discrete(3), "u": spaces.Box(0, 1)})),
    }
)


def rows(layout: Layout, count: int) -> np.ndarray:
    make = layout.row_maker()
    space = layout.original
    space.seed(0)
    items = tuple({"kind": i, "u": np.array([i / 3], np.float32)} for i in range(3))
    return np.stack([make({**space.sample(), "items": items[: i % 4]}) for i in range(count)])


def leaves(tensors: Any) -> list[Any]:
    if isinstance(tensors, dict):
        return [leaf for member in tensors.values() for leaf in leaves(member)]
    return [tensors]


@pytest.mark.parametrize("batch", [(), (6,), (2, 3), (3, 1, 2)])
def test_leaves_have_the_batch_in_front(batch: tuple[int, ...]) -> None:
    layout = Layout.of(SPACE, max_length=3)
    flat = rows(layout, int(np.prod(batch)))
    out = nativize_tensor(torch.from_numpy(flat.reshape(*batch, -1)), nativize_dtype(layout))
    assert out["image"].shape == (*batch, 4, 3)
    assert out["flags"]["f0"].shape == (*batch, 3)
    assert out["flags"]["f0"].dtype is torch.bool
    assert out["flags"]["f1"].shape == batch
    assert out["speed"].shape == batch
    assert out["items"]["items"]["u"].shape == (*batch, 3, 1)
    expected = flat.view(layout.dtype)[:, 0]
    assert out["half"].reshape(-1, 2).tolist() == expected["half"].tolist()
    assert out["items"]["items"]["kind"].reshape(-1, 3).tolist() == (
        expected["items"]["items"]["kind"].tolist()
    )


def test_leaves_are_views() -> None:
    layout = Layout.of(SPACE, max_length=3)
    batch = torch.from_numpy(rows(layout, 4))
    memory = batch.untyped_storage().data_ptr()
    out = nativize_tensor(batch, nativize_dtype(layout))
    assert len(leaves(out)) == 8
    assert {leaf.untyped_storage().data_ptr() for leaf in leaves(out)} == {memory}


def test_slices_of_a_batch_are_taken_too() -> None:
    layout = Layout.of(SPACE, max_length=3)
    dtype = nativize_dtype(layout)
    batch = torch.from_numpy(rows(layout, 6))
    part = nativize_tensor(batch[1:5:2], dtype)
    whole = nativize_tensor(batch, dtype)
    assert torch.equal(part["half"], whole["half"][1:5:2])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_whole_graph_compiles(backend: str) -> None:
    layout = Layout.of(SPACE, max_length=3)
    dtype = nativize_dtype(layout)
    batch = torch.from_numpy(rows(layout, 6))
    torch._dynamo.reset()
    compiled = torch.compile(lambda b: nativize_tensor(b, dtype), fullgraph=True, backend=backend)
    for a, b in zip(leaves(compiled(batch)), leaves(nativize_tensor(batch, dtype)), strict=True):
        assert torch.equal(a, b)


def test_a_lone_array_is_the_batch_itself_and_a_discrete_loses_its_last_dimension() -> None:
    batch = torch.zeros(5, 4, 3)
    assert nativize_tensor(batch, nativize_dtype(Layout.of(spaces.Box(0, 1, (4, 3))))) is batch
    discrete = nativize_dtype(Layout.of(spaces.Discrete(9)))
    assert nativize_tensor(torch.full((5, 1), 7), discrete).tolist() == [7] * 5
    scalar = nativize_dtype(Layout.of(spaces.Box(0, 1, ())))
    assert nativize_tensor(torch.zeros(5, 1), scalar).shape == (5, 1)


def test_it_takes_what_an_environment_calls_emulated() -> None:
    env = GymnasiumPufferEnv(gymnasium.make("Blackjack-v1"))
    observation, _ = env.reset(seed=0)
    out = nativize_tensor(torch.from_numpy(observation), nativize_dtype(env.emulated))
    assert [int(out[name]) for name in ("f0", "f1", "f2")] == observation.tolist()


def test_rows_of_another_environment_are_refused() -> None:
    dtype = nativize_dtype(Layout.of(SPACE, max_length=3))
    with pytest.raises(UsageError, match=r"have rows of 8 bytes, expected \d+: is this a batch of"):
        nativize_tensor(torch.zeros(2, 2), dtype)


def test_an_environment_that_is_flat_by_nature_has_no_structure() -> None:
    with pytest.raises(UsageError, match=r"emulated is None: expected env\.emulated"):
        nativize_dtype(None)  # type: ignore[arg-type]


def test_a_dtype_that_torch_lacks_is_named() -> None:
    layout = Layout.of(spaces.Dict({"x": spaces.Box(0, 1, (2,), np.float32)}))
    layout.dtype = np.dtype([("x", np.longdouble, (2,))])
    with pytest.raises(
        SpaceError, match=r"observation\['x'\] has dtype .*, which torch does not have: cast it"
    ):
        nativize_dtype(layout)


def test_layer_init_is_orthogonal() -> None:
    layer = layer_init(torch.nn.Linear(8, 4), std=0.5, bias_const=0.25)
    weight = layer.weight.detach()
    assert torch.allclose(weight @ weight.T, 0.25 * torch.eye(4), atol=1e-6)
    assert layer.bias.tolist() == [0.25] * 4
    assert layer_init(torch.nn.Conv2d(1, 2, 3, bias=False)).bias is None
