"""Alternating: batches come round in order, steps run in the background, nothing is lost."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from vector_scripted import NUM_ACTIONS, Agent, CountingEnv

import puffer.vector
from puffer.core.errors import ActionError, ResetNeeded

AGENTS = 4  # of each environment


class BackgroundEnv(CountingEnv):
    """Steps in a thread, as native environments do."""

    thread = None

    def step_async(self, actions):
        assert self.thread is None, "two steps at a time"
        kept = np.array(actions)

        def work():
            self.result = self.step(kept)

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def wait(self):
        self.thread.join()
        self.thread = None
        return self.result

    def close(self):
        assert self.thread is None, "closed while a step is under way"
        super().close()


class FailingEnv(BackgroundEnv):
    """Cannot take its third step."""

    steps = 0

    def wait(self):
        result = super().wait()
        self.steps += 1
        if self.steps == 3:
            raise ArithmeticError("out of numbers")
        return result


def make(env=BackgroundEnv, num_envs=3, **options):
    return puffer.vector.make(
        env, env_kwargs={"num_agents": AGENTS}, backend="alternating", num_envs=num_envs, **options
    )


@pytest.mark.parametrize("env", [BackgroundEnv, CountingEnv])
@pytest.mark.parametrize("num_envs", [1, 2, 3])
def test_batches_come_round_and_follow_the_rule(env, num_envs):
    rng = np.random.default_rng(0)
    with make(env, num_envs, final_observations=True) as vecenv:
        assert vecenv.num_agents == num_envs * AGENTS
        assert vecenv.agents_per_batch == AGENTS
        agents = [Agent(9 + k) for k in range(vecenv.num_agents)]
        expected = [agent.reset() for agent in agents]
        vecenv.async_reset(9)
        infos_due = [[] for _ in range(num_envs)]
        for turn in range(8 * num_envs):
            observations, rewards, *_, infos, ids, _ = vecenv.recv()
            place = turn % num_envs
            np.testing.assert_array_equal(ids, np.arange(AGENTS) + place * AGENTS)
            for row, agent_id in enumerate(ids):
                np.testing.assert_array_equal(observations[row], expected[agent_id]["observations"])
                assert rewards[row] == expected[agent_id].get("rewards", 0)
                if expected[agent_id].get("final_observations") is not None:
                    np.testing.assert_array_equal(
                        vecenv.final_observations[row], expected[agent_id]["final_observations"]
                    )
            assert infos == infos_due[place]
            actions = rng.integers(NUM_ACTIONS, size=AGENTS)
            infos_due[place] = []
            for agent_id, action in zip(ids, actions, strict=True):
                expected[agent_id], info = agents[agent_id].step(int(action))
                if info:
                    infos_due[place].append({**info, "agent_id": agent_id})
            vecenv.send(actions)


def test_held_environments_wait_for_all_and_their_state_can_be_saved():
    zeros = np.zeros(AGENTS, int)
    with make() as vecenv, make() as twin:
        vecenv.async_reset(1)
        for _ in range(6):
            vecenv.recv()
            vecenv.send(zeros)
        with pytest.raises(ResetNeeded, match="while results are pending"):
            vecenv.state()
        vecenv.recv()
        with pytest.raises(ResetNeeded, match="while other agents are at work"):
            vecenv.state()
        vecenv.hold()
        for _ in range(2):
            vecenv.recv()
            vecenv.hold()
        state = vecenv.state()
        before = []
        for _ in range(3):
            batch = vecenv.recv()
            before.append((batch[5][0], batch[0].copy()))
            vecenv.send(zeros + 1)
        assert [agent for agent, _ in before] == [0, 4, 8]
        twin.set_state(state)
        assert twin.state() == state
        for agent, observations in before:
            batch = twin.recv()
            assert batch[5][0] == agent
            np.testing.assert_array_equal(batch[0], observations)
            twin.send(zeros + 1)
        for _ in range(9):
            np.testing.assert_array_equal(vecenv.recv()[0], twin.recv()[0])
            vecenv.send(zeros)
            twin.send(zeros)


def test_one_that_is_held_is_passed_over_until_all_are():
    zeros = np.zeros(AGENTS, int)
    with make() as vecenv:
        vecenv.async_reset(0)
        vecenv.recv()
        vecenv.hold()
        for first in (4, 8, 4, 8):
            assert vecenv.recv()[5][0] == first
            vecenv.send(zeros)


def test_a_reset_a_call_and_the_end_wait_for_steps_under_way():
    zeros = np.zeros(AGENTS, int)
    vecenv = make()
    vecenv.async_reset(0)
    vecenv.recv()
    vecenv.send(zeros)
    assert vecenv.call(lambda env: env.thread is None) == [True] * 3
    vecenv.async_reset(70)
    for first in (70, 74, 78):
        assert vecenv.recv()[0][0, 0] == first
        vecenv.send(zeros)
    vecenv.close()
    vecenv.close()


def test_wrong_actions_begin_nothing():
    with make() as vecenv:
        vecenv.async_reset(0)
        vecenv.recv()
        with pytest.raises(ActionError, match=r"^action 9 of agent 0"):
            vecenv.send(np.full(AGENTS, 9))
        vecenv.send(np.zeros(AGENTS, int))


def test_an_error_names_the_environment_and_a_reset_begins_anew():
    zeros = np.zeros(AGENTS, int)
    with make(FailingEnv) as vecenv:
        vecenv.async_reset(0)
        for _ in range(6):
            vecenv.recv()
            vecenv.send(zeros)
        vecenv.recv()
        vecenv.send(zeros)
        vecenv.recv()
        vecenv.send(zeros)
        vecenv.recv()
        vecenv.send(zeros)
        with pytest.raises(ArithmeticError, match="out of numbers") as caught:
            vecenv.recv()
        assert caught.value.__notes__ == ["raised by env 0 in a step"]
        vecenv.async_reset(30)
        assert vecenv.recv()[0][0, 0] == 30
