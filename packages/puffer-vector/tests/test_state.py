"""state and set_state of every backend: what follows is the same, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from vector_scripted import NUM_ACTIONS, CountingEnv, FaultyEnv, PlainEnv

import puffer.vector
from puffer.core.errors import ClosedError, ResetNeeded, UsageError, WorkerError

AGENTS = 12
# name -> (num_envs, options of make); always the same 12 agents.
SETUPS = {
    "serial": (4, {"backend": "serial"}),
    "native": (1, {"backend": "native"}),
    "one process": (1, {"backend": "multiprocessing"}),
    "processes": (4, {"backend": "multiprocessing", "num_workers": 2}),
    "copies": (4, {"backend": "multiprocessing", "num_workers": 2, "zero_copy": False}),
    "half batches": (4, {"backend": "multiprocessing", "num_workers": 2, "batch_size": 2}),
    "gathered halves": (
        4,
        {"backend": "multiprocessing", "num_workers": 2, "batch_size": 2, "zero_copy": False},
    ),
}


@pytest.fixture(params=SETUPS)
def setup(request):
    return SETUPS[request.param]


def make(setup, env=CountingEnv, **more):
    num_envs, options = setup
    kwargs = {"num_agents": AGENTS // num_envs}
    return puffer.vector.make(env, env_kwargs=kwargs, num_envs=num_envs, **options, **more)


def run(vecenv, steps):
    """Step all agents that often, hold them, and return what each of them saw, by its number."""
    seen = {agent: [] for agent in range(AGENTS)}
    while min(map(len, seen.values())) < steps + 1:
        observations, rewards, terminals, truncations, _, agent_ids, masks = vecenv.recv()
        arrays = [observations, rewards, terminals, truncations, masks, vecenv.action_masks]
        for row, agent in enumerate(agent_ids):
            seen[agent].append([array[row].tobytes() for array in arrays])
        if min(len(seen[agent]) for agent in agent_ids) == steps + 1:
            vecenv.hold()
        else:
            # What an agent does depends on it and its time alone, whatever the order of batches.
            vecenv.send([(agent + len(seen[agent])) % NUM_ACTIONS for agent in agent_ids])
    return seen


def test_a_restored_vector_goes_on_as_the_saved_one_did(setup):
    with make(setup, action_masks=True) as vecenv, make(setup, action_masks=True) as other:
        assert vecenv.can_save_state
        vecenv.async_reset(3)
        run(vecenv, 7)
        state = vecenv.state()
        assert state == vecenv.state()
        expected = run(vecenv, 9)
        assert vecenv.state() != state
        for again in (other, vecenv):
            again.set_state(state)
            assert again.state() == state
            result = run(again, 9)
            for agent in range(AGENTS):
                assert result[agent][0][1:4] == [bytes(4), b"\0", b"\0"]  # cleared
                result[agent][0][1:4] = expected[agent][0][1:4]
            assert result == expected


def test_the_state_goes_from_backend_to_backend():
    with make(SETUPS["serial"], action_masks=True) as vecenv:
        vecenv.async_reset(3)
        run(vecenv, 6)
        state = vecenv.state()
        vecenv.set_state(state)
        expected = run(vecenv, 8)
    for name in ("processes", "copies", "half batches"):
        with make(SETUPS[name], action_masks=True) as vecenv:
            vecenv.set_state(state)
            assert vecenv.state() == state
            assert run(vecenv, 8) == expected


def test_no_infos_survive(setup):
    """Pending results are dropped, and those of the batches that were left."""
    with make(setup) as vecenv:
        vecenv.async_reset(0)
        vecenv.recv()
        state = None
        while vecenv.agents_per_batch < AGENTS and state is None:
            vecenv.hold()
            vecenv.recv()
            state = vecenv.state()
        state = state or vecenv.state()
        for _ in range(4):
            vecenv.send(np.zeros(vecenv.num_envs, int))
            vecenv.recv()
        vecenv.send(np.zeros(vecenv.num_envs, int))
        vecenv.set_state(state)
        _, rewards, _, _, infos, _, _ = vecenv.recv()
        assert infos == []
        assert not rewards.any()


def test_when_the_state_can_be_saved(setup):
    vecenv = make(setup)
    with pytest.raises(ResetNeeded, match=r"^state\(\) before reset\(\)"):
        vecenv.state()
    vecenv.async_reset(0)
    with pytest.raises(ResetNeeded, match=r"^state\(\) while results are pending: call recv"):
        vecenv.state()
    vecenv.recv()
    if vecenv.agents_per_batch == AGENTS:
        vecenv.state()
    else:
        with pytest.raises(ResetNeeded, match=r"^state\(\) while other agents are at work: hold"):
            vecenv.state()
    vecenv.hold()
    if vecenv.agents_per_batch < AGENTS:
        vecenv.recv()
        vecenv.state()
        vecenv.hold()
    state = vecenv.state()
    vecenv.recv()
    vecenv.send(np.zeros(vecenv.num_envs, int))
    with pytest.raises(ResetNeeded, match=r"^state\(\) while results are pending: call recv"):
        vecenv.state()
    vecenv.set_state(state)
    vecenv.close()
    for call in (vecenv.state, lambda: vecenv.set_state(state)):
        with pytest.raises(ClosedError, match=r"after close\(\): make a new one$"):
            call()


def test_environments_that_cannot(setup):
    with make(setup, PlainEnv) as vecenv:
        vecenv.reset(seed=0)
        assert not vecenv.can_save_state
        for name, call in {
            "state": vecenv.state,
            "set_state": lambda: vecenv.set_state(b""),
        }.items():
            with pytest.raises(UsageError) as caught:
                call()
            assert str(caught.value) == (
                f"{name}(): PlainEnv cannot save its state: begin with reset(seed)"
            )
        vecenv.send(np.zeros(vecenv.num_envs, int))  # nothing has happened


@pytest.mark.parametrize("backend", ["serial", "multiprocessing"])
def test_one_that_cannot_among_others_is_named(backend):
    with puffer.vector.make([CountingEnv, PlainEnv], backend=backend, num_envs=2) as vecenv:
        assert not vecenv.can_save_state
        with pytest.raises(UsageError, match=r"^state\(\): PlainEnv cannot save its state"):
            vecenv.state()


def test_an_emulated_environment_is_named_by_its_own_class():
    import gymnasium

    def creator():
        return gymnasium.make("CartPole-v1")

    with (
        puffer.vector.make(creator) as vecenv,
        pytest.raises(UsageError, match=r"^state\(\): CartPoleEnv cannot save its state"),
    ):
        vecenv.state()


def test_states_of_others_are_refused(setup):
    num_envs = setup[0]
    with make(setup) as vecenv:
        vecenv.async_reset(0)
        vecenv.recv()
        if vecenv.agents_per_batch < AGENTS:
            vecenv.hold()
            vecenv.recv()
        state = vecenv.state()
        for wrong, sentence in {
            b"": "set_state() was given bytes that no vector environment's state() made",
            state[:-1]: "set_state() was given a state that is cut short: read the whole file",
            state[:30]: "set_state() was given a state that is cut short: read the whole file",
        }.items():
            with pytest.raises(UsageError) as caught:
                vecenv.set_state(wrong)
            assert str(caught.value) == sentence
        vecenv.send(np.zeros(vecenv.num_envs, int))  # nothing has happened
        with puffer.vector.make(CountingEnv, num_envs=num_envs + 1) as other:
            other.reset(seed=0)
            state = other.state()
        with pytest.raises(UsageError) as caught:
            vecenv.set_state(state)
        assert str(caught.value) == (
            f"set_state() was given the state of {num_envs + 1} envs, expected {num_envs}: "
            "make the vector environment with the same num_envs"
        )
        with puffer.vector.make(
            CountingEnv, env_kwargs={"num_agents": 1}, num_envs=num_envs
        ) as other:
            other.reset(seed=0)
            state = other.state()
        with pytest.raises(UsageError, match=r"^state of 1 agents, expected ") as caught:
            vecenv.set_state(state)
        assert caught.value.__notes__ == ["raised by env 0 in set_state()"]
        with pytest.raises(ResetNeeded, match=r"^recv\(\) before reset\(\)"):
            vecenv.recv()
        vecenv.reset(seed=0)


@pytest.mark.parametrize("where", ["state", "set_state"])
@pytest.mark.parametrize("fault", ["raise", "hang", "kill"])
def test_a_worker_that_fails_meanwhile(where, fault):
    vecenv = puffer.vector.make(
        FaultyEnv,
        env_kwargs=[{}, {"fault": fault, "where": where}],
        backend="multiprocessing",
        num_envs=2,
        timeout=0.5,
    )
    with puffer.vector.make(FaultyEnv, num_envs=2) as healthy:
        healthy.reset(seed=0)
        state = healthy.state()
    vecenv.reset(seed=0)
    with pytest.raises(WorkerError, match=rf"(?s)^worker 1 \(env 1\) .* in {where}\b"):
        vecenv.state() if where == "state" else vecenv.set_state(state)
    with pytest.raises(ClosedError):
        vecenv.reset()


class BigEnv(CountingEnv):
    """Has more to save than a pipe holds."""

    def __init__(self, hang: bool = False):
        self.blob, self.hang = bytes(2), hang
        super().__init__(1)

    def reset(self, seed=None):
        self.blob = bytes([seed % 251]) * 3_000_000
        return super().reset(seed)

    def state(self):
        return self.blob

    def set_state(self, state):
        self.blob = state


def test_states_larger_than_a_pipe():
    with puffer.vector.make(BigEnv, backend="multiprocessing", num_envs=4, num_workers=2) as vecenv:
        vecenv.reset(seed=7)
        state = vecenv.state()
        assert len(state) > 12_000_000
        vecenv.reset(seed=9)
        assert vecenv.state() != state
        vecenv.set_state(state)
        assert vecenv.state() == state
