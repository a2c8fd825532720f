"""Compiled code computes what torch computes: outputs, gradients, steps, whatever the spaces."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from puffer.core.spaces import Box, Discrete, MultiDiscrete
from puffer.train import _native
from puffer.train import actions as act
from puffer.train.config import TrainConfig
from puffer.train.models import Default, MinGRUWrapper
from puffer.train.models.recurrent import MinGRU
from puffer.train.normalize import NormalizeObservations
from puffer.train.optim import Muon, OrthogonalMomentum, orthogonalize
from puffer.train.perceptron import Perceptron
from puffer.train.ppo import update
from puffer.train.rollout import forward, initial_state
from puffer.train.storage import Segments

CONFIG = TrainConfig(minibatch_size=96, max_grad_norm=1e9, ent_coef=0.03, horizon=8)
ACTIONS = {
    "discrete": Discrete(5),
    "multidiscrete": MultiDiscrete([3, 2, 4]),
    "box": Box(-1, 1, (3,)),
}


def made(
    actions="discrete",
    observations=None,
    hidden=19,
    agents=40,
    horizon=8,
    memory=False,
    **options,
):
    """Return a policy with weights of some size and segments that it might have collected."""
    space = observations or Box(-1, 1, (7,))
    env = SimpleNamespace(
        single_observation_space=space, single_action_space=ACTIONS[actions], emulated=None
    )
    torch.manual_seed(0)
    policy = Default(env, hidden_size=hidden)
    if options.pop("normalized", False):
        policy = NormalizeObservations(env, policy, clip=1.5)
        policy.observe(torch.randn(100, *space.shape) * 3 + 1)
    if memory:
        policy = MinGRUWrapper(env, policy)
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(torch.randn_like(p) * 0.3)
    cpu = torch.device("cpu")
    state = initial_state(policy, agents, cpu)
    segments = Segments.allocate(horizon, agents, space, ACTIONS[actions], state, cpu, **options)
    for remembered in segments.state:
        remembered.normal_()
    segments.starts.bernoulli_(0.2)
    if segments.observations.is_floating_point():
        segments.observations.normal_()
    else:
        info = torch.iinfo(segments.observations.dtype)
        segments.observations.random_(max(info.min, -9), min(info.max, 250))
    segments.valid.fill_(True)
    with torch.no_grad():
        output, *_ = policy(segments.observations.flatten(0, 1))
        chosen, log_probs = act.sample(output)
    segments.actions.copy_(chosen.view_as(segments.actions))
    segments.log_probs.copy_((log_probs + torch.randn_like(log_probs) * 0.3).view(horizon, agents))
    segments.values.normal_()
    return policy, segments


def learned(policy, segments, config, native, steps_of=torch.optim.SGD):
    """Return gradients, ratios and losses after one update, by compiled code or by torch."""
    config = dataclasses.replace(config, native=native)
    workers = Perceptron.of(policy, segments, config)
    assert (workers is not None) == native
    advantages = torch.randn(segments.rewards.shape, generator=torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(4)
    optimizer = steps_of(policy.parameters(), 0.0)
    losses = update(policy, optimizer, segments, advantages, config, generator, workers)
    gradients = {name: p.grad.clone() for name, p in policy.named_parameters()}
    return gradients, segments.ratios.clone(), losses


def compare(policy, segments, config=CONFIG):
    ours = learned(policy, segments, config, native=True)
    torchs = learned(policy, segments, config, native=False)
    torch.testing.assert_close(ours, torchs, atol=2e-5, rtol=2e-4, equal_nan=True)
    assert max(float(g.abs().max()) for g in torchs[0].values()) > 1e-3


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("kernel", ["baseline", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("memory", [False, True])
def test_gradients_are_those_of_torch(actions, kernel, memory, monkeypatch):
    monkeypatch.setenv("PUFFER_TRAIN_KERNEL", kernel)  # at most this one
    compare(*made(actions, memory=memory))


@pytest.mark.parametrize(
    "changes",
    [
        {"vf_clip_coef": 0.3},
        {"norm_advantages": False},
        {"prio_alpha": 0.7, "prio_beta": 0.5},
        {"vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0, "epochs": 2},
        {"minibatch_size": 320, "clip_coef": 0.05},
    ],
)
@pytest.mark.parametrize("memory", [False, True])
def test_every_setting_of_the_loss(changes, memory):
    policy, segments = made(memory=memory)
    segments.valid[2:5, ::3] = False
    compare(policy, segments, dataclasses.replace(CONFIG, **changes))


@pytest.mark.parametrize("actions", ["discrete", "multidiscrete"])
def test_masked_actions(actions):
    policy, segments = made(actions, action_masks=True)
    masks = segments.action_masks
    masks.bernoulli_(0.7)
    sizes = [5] if actions == "discrete" else [3, 2, 4]
    starts = np.cumsum([0, *sizes[:-1]])
    columns = segments.actions.view(8, 40, -1)
    for column, start in enumerate(starts):
        masks.scatter_(2, (columns[..., column : column + 1] + int(start)).long(), True)
    compare(policy, segments)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float64", "float16"])
def test_compact_observations_are_read_as_they_are(dtype):
    low, high = (0, 255) if dtype == "uint8" else (-9, 9)
    compare(*made(observations=Box(low, high, (2, 3), dtype=dtype)))


@pytest.mark.parametrize("kernel", ["baseline", "x86-64-v3", "x86-64-v4"])
def test_every_half_is_the_float_that_it_is(kernel, monkeypatch):
    monkeypatch.setenv("PUFFER_TRAIN_KERNEL", kernel)
    native = _native.Perceptron(1, 1, [1], 0, False, 1.0, _native.Threads(1))
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)[:, None]
    halves = halves[~np.isnan(halves[:, 0])]
    for sign in (1, -1):  # relu lets one half of them through, then the other
        weights = [np.full(n, v, np.float32) for n, v in ((1, sign), (1, 0)) + 2 * ((1, 1), (1, 0))]
        outputs = native.forward(weights, halves, None, None, 0.0, None, None)[0][:, 0]
        expected = np.maximum(sign * halves[:, 0].astype(np.float32), 0)
        np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("memory", [False, True])
def test_forward_is_the_policys(actions, memory):
    policy, segments = made(actions, normalized=True, hidden=130, agents=300, memory=memory)
    compare(policy, segments)
    workers = Perceptron.of(policy, segments, CONFIG)
    for rows, starts in ((1, None), (5, segments.starts[0, :5]), (300, segments.starts[0])):
        observations = segments.observations[0, :rows]
        state = tuple(s[:, :rows] for s in segments.state)
        with torch.no_grad():
            output, values, after = forward(policy, observations, state, starts)
        ours, our_values, our_after = workers.forward(observations, state, starts)
        torch.testing.assert_close(our_values, values)
        torch.testing.assert_close(our_after, after)
        if actions == "box":
            output, ours = (output.mean, output.stddev), (ours.mean, ours.stddev)
        torch.testing.assert_close(ours, output)


@settings(max_examples=30)
@given(
    inputs=st.integers(1, 40),
    hidden=st.integers(1, 50),
    agents=st.integers(1, 30),
    horizon=st.one_of(st.integers(1, 12), st.just(300)),
    memory=st.booleans(),
)
def test_odd_sizes(inputs, hidden, agents, horizon, memory):
    policy, segments = made(
        observations=Box(-1, 1, (inputs,)),
        hidden=hidden,
        agents=agents,
        horizon=horizon,
        memory=memory,
    )
    config = dataclasses.replace(CONFIG, norm_advantages=False, minibatch_size=7 * horizon)
    ours = learned(policy, segments, config, native=True)
    torch.testing.assert_close(
        ours[0], learned(policy, segments, config, native=False)[0], atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("memory", [False, True])
def test_the_number_of_threads_changes_no_bit(memory, monkeypatch):
    results = []
    for threads in (1, 2, 3, 7):
        pool = _native.Threads(threads)
        monkeypatch.setattr("puffer.train.perceptron.native_threads", lambda pool=pool: pool)
        policy, segments = made(hidden=64, agents=500, memory=memory)
        config = dataclasses.replace(CONFIG, minibatch_size=4000)
        results.append(learned(policy, segments, config, native=True))
        assert pool.size == threads
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], atol=0, rtol=0)


class Own(Default):
    """A user's, who may change anything."""


def hooked(policy):
    policy.encoder.register_forward_hook(lambda *_: None)


def frozen(policy):
    policy.encoder.weight.requires_grad_(False)


def compiled(policy):
    policy._compiled_call_impl = policy.forward  # as policy.compile() leaves it


def replaced(policy):
    policy.encoder = nn.Sequential(policy.encoder)


def double(policy):
    policy.double()


def patched(policy):
    policy.forward = policy.forward


def subclass(policy):
    policy.__class__ = Own


CHANGES = [hooked, frozen, compiled, replaced, double, patched, subclass]


def subclass_of_cell(policy):
    policy.recurrent.__class__ = type("Own", (MinGRU,), {})


def frozen_cell(policy):
    policy.recurrent.gates.bias.requires_grad_(False)


def hooked_cell(policy):
    policy.recurrent.candidate.register_forward_hook(lambda *_: None)


def replaced_gates(policy):
    policy.recurrent.gates = nn.Sequential(policy.recurrent.gates)


def widened(policy):
    policy.widen = nn.Linear(19, 19)


@pytest.mark.parametrize(
    "change", [subclass, subclass_of_cell, frozen_cell, hooked_cell, replaced_gates, widened]
)
def test_a_memory_that_somebody_changed_is_left_to_torch(change):
    policy, segments = made(memory=True)
    assert Perceptron.of(policy, segments, CONFIG) is not None
    change(policy)
    assert Perceptron.of(policy, segments, CONFIG) is None


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_changed_is_left_to_torch(change):
    policy, segments = made()
    assert Perceptron.of(policy, segments, CONFIG) is not None
    change(policy)
    assert Perceptron.of(policy, segments, CONFIG) is None


@pytest.mark.parametrize("setting", [{"native": False}, {"precision": "bfloat16"}])
def test_settings_that_leave_it_to_torch(setting):
    policy, segments = made()
    assert Perceptron.of(policy, segments, dataclasses.replace(CONFIG, **setting)) is None


def test_an_action_that_does_not_exist_is_refused():
    policy, segments = made()
    segments.actions[3, 4] = 5
    with pytest.raises(IndexError, match="actions: 5 of 5"):
        learned(policy, segments, CONFIG, native=True)


def test_a_forked_process_works_alone():
    policy, segments = made(hidden=128, agents=500)
    config = dataclasses.replace(CONFIG, minibatch_size=4000)
    expected = learned(policy, segments, config, native=True)[0]["encoder.weight"]

    def child(queue):
        queue.put(learned(policy, segments, config, native=True)[0]["encoder.weight"].numpy())

    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    result = queue.get()
    process.join(30)
    assert process.exitcode == 0
    np.testing.assert_array_equal(result, expected.numpy())


@pytest.mark.parametrize("shape", [(128, 118), (30, 200), (1, 40), (5, 3)])
def test_a_step_of_muon_is_that_of_torch(shape):
    generator = torch.Generator().manual_seed(0)
    weight, momentum = torch.zeros(shape), torch.zeros(shape)
    parameter = nn.Parameter(weight.clone())
    optimizer = OrthogonalMomentum([parameter], lr=0.1, momentum=0.9)
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        parameter.grad = gradient.clone()
        optimizer.step()
        momentum.lerp_(gradient, 0.1)
        longer = max(1.0, shape[0] / shape[1]) ** 0.5
        weight -= 0.1 * longer * orthogonalize(gradient.lerp(momentum, 0.9))
    torch.testing.assert_close(parameter.detach(), weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(optimizer.state[parameter]["momentum_buffer"], momentum)


def test_muons_steps_of_biases_are_those_of_adam():
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(size, generator=generator)) for size in (5, 1, 30)]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    one, other = Muon(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for k in range(6):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = its.grad = torch.randn(its.shape, generator=generator) * 10.0**-k
        if k == 3:  # what was loaded is what compiled code goes on with
            state = copy.deepcopy(one.state_dict())
            one = Muon(ours, lr=0.1)
            one.load_state_dict(state)
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    for mine, its in zip(ours, theirs, strict=True):
        state, expected = one.parts[0].state[mine], other.state[its]
        torch.testing.assert_close(state["exp_avg"], expected["exp_avg"])
        torch.testing.assert_close(state["exp_avg_sq"], expected["exp_avg_sq"])
        assert state["step"] == expected["step"] == 6


def test_muon_follows_a_parameter_that_moves_to_other_memory():
    weight, bias = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3))
    optimizer = Muon([weight, bias], lr=0.1)
    for p in (weight, bias):
        p.grad = torch.ones_like(p)
    for _ in range(3):
        before = weight.detach().clone(), bias.detach().clone()
        optimizer.step()
        assert (weight < before[0]).all()
        assert (bias < before[1]).all()
        for p in (weight, bias):
            p.data = p.data.clone()


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_gradients_are_clipped_as_torch_does(most):
    policy, segments = made()
    workers = Perceptron.of(policy, segments, CONFIG)
    for native, kept in ((True, workers.gradients_of), (False, None)):
        learned(policy, segments, CONFIG, native)
        if native:
            for gradient in kept:
                gradient.copy_(torch.ones_like(gradient))
            norm = workers.clip_gradients(most)
        else:
            for p in policy.parameters():
                p.grad = torch.ones_like(p)
            assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(policy.parameters(), most)))
    expected = [p.grad for p in workers.parameters]
    torch.testing.assert_close(workers.gradients_of, expected)


def test_wrong_arrays_are_refused():
    def forward(weights, observations, *memory, native=None):
        native = native or _native.Perceptron(3, 4, [2], 0, False, 1.0, _native.Threads(1))
        return native.forward(weights, observations, None, None, 0.0, *(memory or (None, None)))

    observations = np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match="other layers"):
        forward([], observations)
    weights = [np.zeros(n, np.float32) for n in (12, 4, 8, 2, 4, 1)]
    assert forward(weights, observations)[0].shape == (1, 3)
    for wrong in (np.zeros((1, 4), np.float32), np.zeros((2, 6), np.float32)[:, ::2]):
        with pytest.raises(ValueError, match="rows of 3 numbers"):
            forward(weights, wrong)
    with pytest.raises(ValueError, match="dtype"):
        forward(weights, observations.astype(np.int64))
    remembers = _native.Perceptron(3, 4, [2], 0, True, 1.0, _native.Threads(1))
    cell = [np.zeros(n, np.float32) for n in (16, 4, 32, 8)]
    weights[2:2] = cell
    with pytest.raises(ValueError, match="the state is missing"):
        forward(weights, observations, native=remembers)
    for size, starts, match in ((3, 1, "state: 3 numbers, expected 4"), (4, 2, "starts: 2")):
        memory = np.zeros((1, size), np.float32), np.zeros(starts, np.bool_)
        with pytest.raises(ValueError, match=match):
            forward(weights, observations, *memory, native=remembers)
