"""Policies: shapes for every space, and recurrence that treats time as collection does."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete

from puffer.core.emulation import GymnasiumPufferEnv
from puffer.core.errors import UsageError
from puffer.core.registry import EnvSpec
from puffer.train import actions as act
from puffer.train.cleanrl import Policy, RecurrentPolicy
from puffer.train.config import PolicyConfig
from puffer.train.launch import make_policy
from puffer.train.models import (
    Convolutional,
    Default,
    Grid,
    LSTMWrapper,
    MinGRUWrapper,
    NetHack,
    NeuralMMO,
    ResNet,
    linear_scan,
)
from puffer.train.models.default import Heads
from puffer.train.models.nethack import crop
from puffer.train.models.recurrent import MinGRU
from puffer.train.models.scan import walk, walk_back
from puffer.train.rollout import forward


@pytest.mark.parametrize("kind", ["discrete", "multidiscrete", "box"])
def test_default_fits_every_action_space(match_class, kind):
    env = match_class(num_envs=5, kind=kind)
    observations = torch.as_tensor(env.reset(seed=0)[0])
    output, value = Default(env)(observations)
    actions, log_probs = act.sample(output)
    assert value.shape == (5, 1)
    assert log_probs.shape == (5,)
    if kind != "box":
        env.step(actions.numpy())


class Seeing:
    """An env of images, as far as a policy looks at it."""

    emulated = None
    single_action_space = Discrete(3)

    def __init__(self, *shape, dtype=np.uint8):
        self.single_observation_space = Box(0, 255, shape, dtype)


@pytest.mark.parametrize("policy", [Convolutional, ResNet])
@pytest.mark.parametrize("shape", [(4, 84, 84), (64, 64, 3), (72, 80, 1)])
@pytest.mark.parametrize("wrapper", [None, LSTMWrapper, MinGRUWrapper])
def test_image_policies_fit_both_orders_of_axes_and_every_cell(policy, shape, wrapper):
    env = Seeing(*shape)
    model = policy(env, hidden_size=16)
    observations = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8)
    if wrapper is None:
        logits, value = model(observations[0])
        assert (logits.shape, value.shape) == ((3, 3), (3, 1))
        return
    starts = torch.zeros(2, 3, dtype=torch.bool)
    logits, value, _ = wrapper(env, model)(observations, starts=starts)
    assert (logits.shape, value.shape) == ((6, 3), (6, 1))


def test_image_policies_take_the_axes_as_they_are_meant():
    first, last = Convolutional(Seeing(3, 64, 48)), Convolutional(Seeing(64, 48, 3))
    last.load_state_dict(first.state_dict())
    image = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
    torch.testing.assert_close(last(image.permute(0, 2, 3, 1))[0], first(image)[0])


@pytest.mark.parametrize("policy", [Convolutional, ResNet])
def test_with_a_layer_norm_the_scale_of_the_hidden_layer_does_not_matter(policy):
    env = Seeing(64, 64, 3)
    model = policy(env, hidden_size=64, layer_norm=True)
    image = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)
    hidden = []
    for scale in (100.0, 0.1):
        with torch.no_grad():
            model.encoder.weight *= scale
            model.encoder.bias *= scale
        hidden.append(model.encode_observations(image))
    torch.testing.assert_close(hidden[0], hidden[1], rtol=0, atol=1e-2)
    assert (hidden[0] > 0).float().mean() == pytest.approx(0.5, abs=0.2)
    assert "norm.weight" not in policy(env).state_dict()


def test_a_policy_without_a_layer_norm_says_so(match_class):
    spec = EnvSpec("test/match", match_class)
    with pytest.raises(UsageError, match=r"policy\.layer_norm: default takes no such argument"):
        make_policy(spec, PolicyConfig(layer_norm=True), match_class(num_envs=1), 0)


def test_the_nature_network_has_the_published_size():
    env = Seeing(4, 84, 84)
    sizes = [tuple(p.shape) for p in Convolutional(env).parameters() if p.dim() > 1]
    convolutions = [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)]
    assert sizes == [*convolutions, (512, 3136), (3, 512), (1, 512)]
    assert ResNet(env).encoder.in_features == 32 * 11 * 11


class Mission(gymnasium.Env):
    """What MiniGrid shows, as an environment of its own."""

    observation_space = Dict(
        {
            "direction": Discrete(4),
            "image": Box(0, 10, (7, 7, 3), np.uint8),
            "mission": MultiDiscrete([56] * 12, dtype=np.uint8),
        }
    )
    action_space = Discrete(7)


@pytest.mark.parametrize("wrapper", [LSTMWrapper, MinGRUWrapper])
def test_grid_reads_the_view_and_the_mission(wrapper):
    env = GymnasiumPufferEnv(Mission())
    policy = Grid(env, hidden_size=16)
    env.env.observation_space.seed(1)
    samples = [Mission.observation_space.sample() for _ in range(2)]
    samples[1] = {**samples[0], "mission": samples[0]["mission"].copy()}
    samples[1]["mission"][3] ^= 1
    make_row = env.emulated.observation.row_maker()
    observations = torch.as_tensor(np.stack([make_row(sample) for sample in samples]))
    logits, value = policy(observations)
    assert (logits.shape, value.shape) == ((2, 7), (2, 1))
    assert not torch.equal(value[0], value[1])
    logits, value, _ = wrapper(env, policy)(observations)
    assert (logits.shape, value.shape) == ((2, 7), (2, 1))


def test_grid_sees_categories_not_magnitudes():
    policy = Grid(GymnasiumPufferEnv(View()), hidden_size=16)
    image = torch.zeros((1, 7, 7, 3), dtype=torch.uint8)
    image[0, 3, 3, 1] = 4
    cells = policy.cells.weight
    expected = cells[0] + cells[16 + 4] + cells[32]
    seen = []
    policy.convolutions.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    policy(image)
    torch.testing.assert_close(seen[0][0, :, 3, 3], expected)


def test_grid_refuses_what_is_no_grid():
    class Vector(gymnasium.Env):
        observation_space, action_space = Box(0, 10, (7,), np.uint8), Discrete(2)

    with pytest.raises(UsageError, match="Grid sees"):
        Grid(GymnasiumPufferEnv(Vector()))


class View(gymnasium.Env):
    observation_space, action_space = Box(0, 10, (7, 7, 3), np.uint8), Discrete(7)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((7,), "Convolutional sees images, of three axes"), ((7, 7, 3), "are too small for it")],
)
def test_image_policies_refuse_what_is_no_image(shape, words):
    with pytest.raises(UsageError, match=words):
        Convolutional(Seeing(*shape))


def test_default_unpacks_structured_observations():
    import gymnasium
    import numpy as np

    from puffer.core.emulation import GymnasiumPufferEnv

    class Structured(gymnasium.Env):
        observation_space = Dict(
            {"image": Box(0, 255, (4, 4), np.uint8), "vector": Box(-1, 1, (3,), np.float32)}
        )
        action_space = Discrete(2)

        def reset(self, seed=None, options=None):
            super().reset(seed=seed)
            return self._observe(), {}

        def step(self, action):
            return self._observe(), 0.0, False, False, {}

        def _observe(self):
            return {
                "image": np.full((4, 4), 255, np.uint8),
                "vector": np.array([0.5, -0.5, 1.0], np.float32),
            }

    env = GymnasiumPufferEnv(env=Structured())
    observation, _ = env.reset(seed=0)
    policy = Default(env, hidden_size=8)
    assert policy.encoder.in_features == 19
    flat = policy._flatten(torch.as_tensor(observation).unsqueeze(0))
    assert sorted(set(flat.flatten().tolist())) == [-0.5, 0.5, 1.0, 255.0]


WRAPPERS = [LSTMWrapper, MinGRUWrapper]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("frequent", [0.0, 0.2, 1.0])
def test_memory_over_segments_equals_stepping_with_resets(match_class, wrapper, frequent):
    torch.manual_seed(0)
    env = match_class(num_envs=6)
    policy = wrapper(env, Default(env, hidden_size=16))
    time = 9
    observations = torch.randn(time, 6, 3)
    starts = torch.rand(time, 6) < frequent
    state = tuple(torch.randn_like(s) for s in policy.initial_state(6))
    logits, values, last = policy(observations, state, starts)
    stepped = state
    for t in range(time):
        out, value, stepped = forward(policy, observations[t], stepped, starts[t])
        torch.testing.assert_close(logits.view(time, 6, -1)[t], out)
        torch.testing.assert_close(values.view(time, 6)[t], value)
    torch.testing.assert_close(last, stepped)


@pytest.mark.parametrize("time", [1, 2, 7, 64])
def test_scans_equal_the_recurrence_in_double_precision(time, device):
    g = torch.Generator().manual_seed(time)
    decay, inputs = torch.rand(2, time, 5, 3, generator=g, dtype=torch.float64)
    decay[time // 2] = 0  # an episode begins
    state = initial = torch.rand(5, 3, generator=g, dtype=torch.float64)
    want = []
    for t in range(time):
        state = decay[t] * state + inputs[t]
        want.append(state)
    decay, inputs, initial = decay.to(device), inputs.to(device), initial.to(device)
    torch.testing.assert_close(
        walk(decay, inputs, initial).cpu(), torch.stack(want), rtol=1e-12, atol=0
    )
    # Backwards it is the same with time reversed, and each step's decay one step later.
    later = decay.roll(-1, 0).flip(0)
    backwards = walk(later, inputs.flip(0), torch.zeros_like(initial)).flip(0)
    torch.testing.assert_close(walk_back(decay, inputs), backwards, rtol=1e-12, atol=0)


def test_gradients_of_a_scan(device):
    g = torch.Generator().manual_seed(0)
    arguments = [
        torch.rand(shape, generator=g, dtype=torch.float64).to(device).requires_grad_()
        for shape in ((6, 2, 3), (6, 2, 3), (2, 3))
    ]
    assert torch.autograd.gradcheck(linear_scan, arguments)


def test_units_of_mingru_remember_from_one_step_to_the_horizon():
    core = MinGRU(8, horizon=100)
    with torch.no_grad():
        _, state = core(torch.zeros(1, 1, 8), torch.ones(1, 8))
    # What is left of a state after a step; its half-life grows with the horizon.
    assert state[0].tolist() == sorted(state[0].tolist())
    assert state[0, 0] == pytest.approx(0.5)
    assert state[0, -1] == pytest.approx(1 - 1 / 101)


class Plain(torch.nn.Module):
    """Encodes into `hidden` alone, or with a lookup that the decoder takes."""

    hidden_size = 4

    def __init__(self, lookup):
        super().__init__()
        self.lookup = lookup
        self.encoder, self.decoder = torch.nn.Linear(3, 4), torch.nn.Linear(4, 3)

    def encode_observations(self, observations):
        hidden = self.encoder(observations)
        return (hidden, observations.sum(1, keepdim=True)) if self.lookup else hidden

    def decode_actions(self, hidden, *lookup):
        assert len(lookup) == self.lookup
        value = hidden[:, :1] + sum(lookup)
        return self.decoder(hidden), value


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("lookup", [False, True])
def test_an_encoding_with_or_without_lookup(match_class, wrapper, lookup):
    env = match_class(num_envs=5)
    output, value, state = wrapper(env, Plain(lookup))(torch.ones(5, 3))
    assert (output.shape, value.shape, state[0].shape) == ((5, 3), (5, 1), (1, 5, 4))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_cell_wider_than_the_encoding(match_class, wrapper):
    env = match_class(num_envs=5)
    policy = Default(env, hidden_size=8)
    policy.heads, policy.value_head = Heads(env, 16), torch.nn.Linear(16, 1)
    output, value, state = wrapper(env, policy, hidden_size=16)(torch.ones(5, 3))
    assert (output.shape, value.shape, state[0].shape) == ((5, 3), (5, 1), (1, 5, 16))


def test_lstm_as_the_tutorial_calls_it(match_class):
    env = match_class(num_envs=1)
    policy = LSTMWrapper(env, Default(env))
    state = (torch.zeros(1, 1, policy.hidden_size), torch.zeros(1, 1, policy.hidden_size))
    actions, value, state = policy(torch.as_tensor(env.reset(seed=0)[0]), state)
    assert actions.shape == (1, 3)
    assert value.shape == (1, 1)
    assert state[0].shape == (1, 1, policy.hidden_size)


def test_cleanrl_adapters(match_class):
    env = match_class(num_envs=4)
    observations = torch.as_tensor(env.reset(seed=0)[0])
    base = Default(env)
    action, log_prob, entropy, value = Policy(base).get_action_and_value(observations)
    again = Policy(base).get_action_and_value(observations, action)
    torch.testing.assert_close(again[1], log_prob)
    assert entropy.shape == (4,)
    torch.testing.assert_close(Policy(base).get_value(observations), value)
    recurrent = RecurrentPolicy(LSTMWrapper(env, base))
    action, _, _, value, state = recurrent.get_action_and_value(observations)
    assert action.shape == (4,)
    torch.testing.assert_close(recurrent.get_value(observations), value)
    assert len(state) == 2


def test_small_policies_run_on_one_thread(match_class, monkeypatch):
    import puffer.vector
    from puffer.train.launch import choose_threads

    monkeypatch.setattr(puffer.vector, "usable_cores", lambda: 6)
    env = match_class()
    assert choose_threads(Default(env), env, 8192) == 1
    assert choose_threads(Default(env, hidden_size=4096), env, 2**17) == 6
    assert choose_threads(LSTMWrapper(env, Default(env, hidden_size=16)), env, 64) == 1


class Dungeon(gymnasium.Env):
    """What NLE shows by default, as an environment of its own."""

    action_space = Discrete(23)

    def __init__(self, *hidden):
        self.observation_space = Dict(
            {
                key: space
                for key, space in {
                    "blstats": Box(-(2**31), 2**31 - 1, (27,), np.int64),
                    "glyphs": Box(0, 5976, (21, 79), np.int16),
                    "message": Box(0, 255, (256,), np.uint8),
                }.items()
                if key not in hidden
            }
        )

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        sample = self.observation_space.sample()
        if "blstats" in sample:
            sample["blstats"][:2] = 78, 20
        return sample, {}


@pytest.mark.parametrize("wrapper", [None, LSTMWrapper, MinGRUWrapper])
@pytest.mark.parametrize("hidden", [(), ("message",)])
def test_nethack_reads_all_leaves(wrapper, hidden):
    env = GymnasiumPufferEnv(Dungeon(*hidden))
    policy = NetHack(env, hidden_size=16)
    rows = torch.stack([torch.as_tensor(env.reset(seed=s)[0]) for s in range(3)])
    logits, value = policy(rows)
    assert (logits.shape, value.shape) == ((3, 23), (3, 1))
    (logits.square().sum() + value.sum()).backward()
    unread = {"characters", "words"} if hidden else set()
    for name, parameter in policy.named_parameters():
        read = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert read == (name.partition(".")[0] not in unread), name
    if wrapper is not None:
        starts = torch.zeros(2, 3, dtype=torch.bool)
        logits, value, _ = wrapper(env, policy)(torch.stack([rows, rows]), starts=starts)
        assert (logits.shape, value.shape) == ((6, 23), (6, 1))


def test_nethack_crops_around_the_agent():
    glyphs = torch.arange(2 * 21 * 79).view(2, 21, 79)
    cropped = crop(glyphs, torch.tensor([[0, 0], [40, 10]]))
    assert (cropped[0, :4] == 5976).all()
    assert (cropped[0, :, :4] == 5976).all()
    assert torch.equal(cropped[0, 4:, 4:], glyphs[0, :5, :5])
    assert torch.equal(cropped[1], glyphs[1, 6:15, 36:45])


def test_nethack_refuses_other_observations():
    with pytest.raises(UsageError, match="NetHack sees glyphs and blstats, not blstats, message"):
        NetHack(GymnasiumPufferEnv(Dungeon("glyphs")))


class Crowd(gymnasium.Env):
    """What one agent of Neural MMO sees and does, smaller."""

    action_space = Dict({"Move": Discrete(5), "Use": Discrete(13)})

    def __init__(self, *hidden):
        numbers = np.iinfo(np.int16)
        arrays = {
            "Communication": (32, 4),
            "Entity": (100, 31),
            "Inventory": (12, 16),
            "Market": (384, 16),
            "Tile": (225, 3),
        }
        spaces = {
            name: Box(numbers.min, numbers.max, shape, np.int16) for name, shape in arrays.items()
        }
        spaces |= {
            "Task": Box(-100, 100, (64,), np.float16),
            "action_mask": Box(0, 1, (18,), np.int8),
        }
        spaces |= {"AgentId": Discrete(129), "CurrentTick": Discrete(32767)}
        self.observation_space = Dict({k: s for k, s in spaces.items() if k not in hidden})

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        sample = self.observation_space.sample()
        if "Tile" in sample:
            sample["Tile"][:, 2] = np.arange(225) % 16
        sample["Entity"][:, 0] = np.arange(100)
        sample["AgentId"] = 7
        return sample, {}


@pytest.mark.parametrize("wrapper", [None, LSTMWrapper, MinGRUWrapper])
def test_neural_mmo_reads_all_leaves(wrapper):
    env = GymnasiumPufferEnv(Crowd())
    policy = NeuralMMO(env, hidden_size=16)
    rows = torch.stack([torch.as_tensor(env.reset(seed=s)[0]) for s in range(3)])
    (move, use), value = policy(rows)
    assert (move.shape, use.shape, value.shape) == ((3, 5), (3, 13), (3, 1))
    (move.square().sum() + use.square().sum() + value.sum()).backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    if wrapper is not None:
        starts = torch.zeros(2, 3, dtype=torch.bool)
        (move, _), value, _ = wrapper(env, policy)(torch.stack([rows, rows]), starts=starts)
        assert (move.shape, value.shape) == ((6, 5), (6, 1))


def test_neural_mmo_knows_which_entity_it_is_and_passes_over_empty_rows():
    env = GymnasiumPufferEnv(Crowd())
    sample, _ = env.env.reset(seed=0)
    policy = NeuralMMO(env, hidden_size=16)

    def encode(**changes):
        row = env.emulated.observation.new_row()
        env.emulated.observation.pack({**sample, **changes}, row)
        with torch.no_grad():
            return policy.encode_observations(torch.as_tensor(row)[None])

    assert not torch.equal(encode(), encode(AgentId=8))
    order = np.roll(sample["Entity"], 3, axis=0)
    torch.testing.assert_close(encode(), encode(Entity=order))
    empty = np.zeros_like(sample["Market"])
    one = empty.copy()
    one[5] = sample["Market"][5]
    again = empty.copy()
    again[9] = sample["Market"][5]
    torch.testing.assert_close(encode(Market=one), encode(Market=again))
    assert not torch.equal(encode(Market=one), encode(Market=empty))


def test_neural_mmo_refuses_other_observations():
    with pytest.raises(UsageError, match="but there is no Tile: take another policy"):
        NeuralMMO(GymnasiumPufferEnv(Crowd("Tile")))
