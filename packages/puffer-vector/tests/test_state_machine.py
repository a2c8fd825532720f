"""Calls in any order: each either does what the model says or is refused, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from vector_scripted import Agent, CountingEnv

import puffer.vector
from puffer.core.errors import ActionError, ClosedError, ResetNeeded

AGENTS = 4
OPTIONS = {
    "serial": {"backend": "serial", "num_envs": 2},
    "native": {"backend": "native", "num_envs": 1},
    "processes": {"backend": "multiprocessing", "num_envs": 2, "num_workers": 2},
}


class Calls(RuleBasedStateMachine):
    """The model: which call comes next, and what every agent must show."""

    options = OPTIONS["serial"]

    @initialize()
    def make(self):
        agents = AGENTS // self.options["num_envs"]
        self.vecenv = puffer.vector.make(
            CountingEnv, env_kwargs={"num_agents": agents}, **self.options
        )
        self.next = "reset"

    def teardown(self):
        if hasattr(self, "vecenv"):
            self.vecenv.close()

    def refused(self, call, allowed):
        """Return whether the model refuses, after checking that the backend does too."""
        if self.next in allowed:
            return False
        error = ClosedError if self.next == "closed" else ResetNeeded
        with pytest.raises(error):
            call()
        return True

    def advance(self, actions):
        self.rows = [agent.step(a)[0] for agent, a in zip(self.agents, actions, strict=True)]

    def check(self, observations, rewards=None):
        np.testing.assert_array_equal(observations, [row["observations"] for row in self.rows])
        if rewards is not None:
            np.testing.assert_array_equal(rewards, [row.get("rewards", 0) for row in self.rows])

    @rule(seed=st.integers(0, 1000), synchronous=st.booleans())
    def reset(self, seed, synchronous):
        call = self.vecenv.reset if synchronous else self.vecenv.async_reset
        if self.refused(lambda: call(seed), {"reset", "send", "recv"}):
            return
        result = call(seed)
        self.agents = [Agent(seed + k) for k in range(AGENTS)]
        self.rows = [agent.reset() for agent in self.agents]
        self.next = "recv"
        if synchronous:
            self.next = "send"
            self.check(result[0])

    @rule(actions=st.lists(st.integers(0, 5), min_size=AGENTS, max_size=AGENTS))
    def send(self, actions):
        if self.refused(lambda: self.vecenv.send(actions), {"send"}):
            return
        if max(actions) > 4:
            with pytest.raises(ActionError):
                self.vecenv.send(actions)
            return
        self.vecenv.send(actions)
        self.advance(actions)
        self.next = "recv"

    @rule(actions=st.lists(st.integers(0, 4), min_size=AGENTS, max_size=AGENTS))
    def step(self, actions):
        if self.refused(lambda: self.vecenv.step(actions), {"send"}):
            return
        observations, rewards, *_ = self.vecenv.step(actions)
        self.advance(actions)
        self.check(observations, rewards)

    @rule()
    def recv(self):
        if self.refused(self.vecenv.recv, {"recv"}):
            return
        observations, rewards, *_ = self.vecenv.recv()
        self.check(observations, rewards)
        self.next = "send"

    @rule()
    def hold(self):
        if self.refused(self.vecenv.hold, {"send"}):
            return
        self.vecenv.hold()
        self.next = "recv"

    @rule(really=st.sampled_from([True, False, False, False]))
    def close(self, really):
        if really:
            self.vecenv.close()
            self.next = "closed"


@pytest.mark.parametrize("name", OPTIONS)
def test_calls_in_any_order(name):
    machine = type(name, (Calls,), {"options": OPTIONS[name]})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )
