"""PPO in one file, as CleanRL writes it, on Puffer's environments through Gymnasium's interface.

    python examples/ppo_gymnasium.py [--steps 300000] [--seed 1] [--stop 475]

Needs puffer-vector and torch. Prints the mean return of the last 100 episodes while CartPole is
learned.
"""

from __future__ import annotations

import argparse
import time

import gymnasium
import numpy as np
import torch
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import nn
from torch.distributions import Categorical

import puffer.vector
from puffer.vector.adapters import to_gymnasium

ENVS, HORIZON, EPOCHS, MINIBATCHES = 16, 64, 4, 4
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, RATE = 0.99, 0.95, 0.2, 0.01, 0.5, 1e-3


def make_env() -> gymnasium.Env:
    """Return one environment."""
    return gymnasium.make("CartPole-v1")


class Agent(nn.Module):
    """A policy and a value function, apart."""

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.actor = self._network(inputs, actions, 0.01)
        self.critic = self._network(inputs, 1, 1.0)

    @staticmethod
    def _network(inputs: int, outputs: int, gain: float) -> nn.Sequential:
        layers = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
        layers.append(nn.Linear(64, outputs))
        for layer, scale in zip(layers[::2], (2**0.5, 2**0.5, gain), strict=True):
            nn.init.orthogonal_(layer.weight, scale)
            nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        """Return one value for each observation."""
        return self.critic(observations).squeeze(-1)


def advantages(
    rewards: torch.Tensor, values: torch.Tensor, ends: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """Return generalized advantage estimates; `ends[t]` is 1 where step t ended an episode."""
    result, running = torch.zeros_like(rewards), torch.zeros_like(last)
    for t in reversed(range(len(rewards))):
        following = values[t + 1] if t + 1 < len(rewards) else last
        alive = 1 - ends[t]
        error = rewards[t] + GAMMA * following * alive - values[t]
        running = error + GAMMA * LAMBDA * alive * running
        result[t] = running
    return result


def main() -> None:
    """Train until `--steps` or `--stop` is reached."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stop", type=float, default=475.0, help="mean return at which to stop")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    vecenv = puffer.vector.make(make_env, num_envs=ENVS, final_observations=True)
    envs = RecordEpisodeStatistics(to_gymnasium(vecenv))
    agent = Agent(envs.single_observation_space.shape[0], envs.single_action_space.n)
    optimizer = torch.optim.Adam(agent.parameters(), lr=RATE, eps=1e-5)
    shape = HORIZON, ENVS
    observations = torch.zeros(*shape, *envs.single_observation_space.shape)
    actions = torch.zeros(shape, dtype=torch.long)
    logprobs, rewards, ends, values = (torch.zeros(shape) for _ in range(4))
    observation = torch.as_tensor(envs.reset(seed=args.seed)[0])
    updates, began = args.steps // (HORIZON * ENVS), time.perf_counter()
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = RATE * (1 - update / updates)
        for t in range(HORIZON):
            with torch.no_grad():
                choice = Categorical(logits=agent.actor(observation))
                actions[t] = choice.sample()
                logprobs[t], values[t] = choice.log_prob(actions[t]), agent.value(observation)
            observations[t] = observation
            following, reward, terminal, truncation, infos = envs.step(actions[t].numpy())
            observation = torch.as_tensor(following)
            rewards[t] = torch.as_tensor(reward)
            ends[t] = torch.as_tensor(terminal | truncation)
            # What a time limit cut off would have gone on: it is worth its last observation.
            for i in np.flatnonzero(truncation & ~terminal):
                with torch.no_grad():
                    last = agent.value(torch.as_tensor(infos["final_obs"][i]))
                rewards[t, i] += GAMMA * last
        with torch.no_grad():
            advantage = advantages(rewards, values, ends, agent.value(observation))
        batch = [
            x.flatten(0, 1)
            for x in (observations, actions, logprobs, advantage, advantage + values)
        ]
        for _ in range(EPOCHS):
            for rows in torch.randperm(HORIZON * ENVS).chunk(MINIBATCHES):
                learn(agent, optimizer, *(x[rows] for x in batch))
        mean = np.mean(envs.return_queue) if envs.return_queue else float("nan")
        done = (update + 1) * HORIZON * ENVS
        if (update + 1) % 10 == 0 or mean >= args.stop:
            print(f"{done} steps, {time.perf_counter() - began:.1f} s, mean return {mean:.1f}")
        if mean >= args.stop and len(envs.return_queue) == 100:
            break
    envs.close()


def learn(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    observations: torch.Tensor,
    actions: torch.Tensor,
    logprobs: torch.Tensor,
    advantage: torch.Tensor,
    returns: torch.Tensor,
) -> None:
    """Take one gradient step on one minibatch."""
    choice = Categorical(logits=agent.actor(observations))
    ratio = (choice.log_prob(actions) - logprobs).exp()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
    policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
    value_loss = 0.5 * (agent.value(observations) - returns).pow(2).mean()
    loss = policy_loss + VALUE * value_loss - ENTROPY * choice.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
    optimizer.step()


if __name__ == "__main__":
    main()
