"""PPO for Atari in one file, in CleanRL's style, on puffer.vector.

    python examples/cleanrl_ppo_atari.py [--game breakout] [--steps 10000000] [--seed 1]

`diff` it with `cleanrl_ppo_atari_plain.py` to see what moving such a script to puffer.vector takes.
Needs puffer-vector, puffer-envs[atari] and torch.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import puffer.vector
from puffer.envs import atari

ENVS, EPOCHS, MINIBATCHES = 8, 4, 4
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, RATE = 0.99, 0.95, 0.1, 0.01, 0.5, 2.5e-4


def layer(module: nn.Module, gain: float = 2**0.5) -> nn.Module:
    """Return the layer with orthogonal weights."""
    nn.init.orthogonal_(module.weight, gain)
    nn.init.zeros_(module.bias)
    return module


class Agent(nn.Module):
    """The network of Mnih et al. 2015, with a policy and a value."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            layer(nn.Conv2d(4, 32, 8, stride=4)),
            nn.ReLU(),
            layer(nn.Conv2d(32, 64, 4, stride=2)),
            nn.ReLU(),
            layer(nn.Conv2d(64, 64, 3, stride=1)),
            nn.ReLU(),
            nn.Flatten(),
            layer(nn.Linear(64 * 7 * 7, 512)),
            nn.ReLU(),
        )
        self.actor = layer(nn.Linear(512, actions), 0.01)
        self.critic = layer(nn.Linear(512, 1), 1.0)

    def forward(self, observations: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """Return the distribution of actions and the values."""
        hidden = self.network(observations / 255.0)
        return Categorical(logits=self.actor(hidden)), self.critic(hidden).squeeze(-1)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--game", default="breakout")
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--horizon", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    envs = puffer.vector.make(
        atari.env_creator(args.game),
        env_kwargs={"episodic_life": True},
        num_envs=ENVS,
        backend="multiprocessing",
        num_workers=2,
    )
    agent = Agent(envs.single_action_space.n).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=RATE, eps=1e-5)
    horizon = args.horizon
    shape = horizon, ENVS
    observations = torch.zeros(*shape, *envs.single_observation_space.shape, device=device)
    actions = torch.zeros(shape, dtype=torch.long, device=device)
    logprobs, rewards, ends, values = (torch.zeros(shape, device=device) for _ in range(4))
    observation, _ = envs.reset(seed=args.seed)
    observation, end = torch.as_tensor(observation, device=device), torch.zeros(ENVS, device=device)
    returns: list[float] = []
    updates, began = args.steps // (horizon * ENVS), time.perf_counter()
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = RATE * (1 - update / updates)
        for t in range(horizon):
            observations[t], ends[t] = observation, end
            with torch.no_grad():
                choice, values[t] = agent(observations[t])
            actions[t] = choice.sample()
            logprobs[t] = choice.log_prob(actions[t])
            result = envs.step(actions[t].cpu().numpy())
            observation = torch.as_tensor(result[0], device=device)
            rewards[t] = torch.as_tensor(np.sign(result[1]), device=device)
            end = torch.as_tensor(result[2] | result[3], device=device).float()
            returns += [info["episode_return"] for info in result[4]]
        with torch.no_grad():
            following = agent(observation.float())[1]
        advantages, running = torch.zeros_like(rewards), torch.zeros_like(following)
        for t in reversed(range(horizon)):
            alive = 1 - (ends[t + 1] if t + 1 < horizon else end)
            error = rewards[t] + GAMMA * following * alive - values[t]
            running = advantages[t] = error + GAMMA * LAMBDA * alive * running
            following = values[t]
        batch = [
            x.flatten(0, 1)
            for x in (observations, actions, logprobs, values, advantages, advantages + values)
        ]
        for _ in range(EPOCHS):
            for rows in torch.randperm(horizon * ENVS).chunk(MINIBATCHES):
                learn(agent, optimizer, *(x[rows] for x in batch))
        done, mean = (update + 1) * horizon * ENVS, np.mean(returns[-100:]) if returns else 0.0
        speed = done / (time.perf_counter() - began)
        print(f"{done} steps, {speed:.0f} steps/s, mean return {mean:.2f}", flush=True)
    envs.close()


def learn(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    observations: torch.Tensor,
    actions: torch.Tensor,
    logprobs: torch.Tensor,
    old_values: torch.Tensor,
    advantage: torch.Tensor,
    returns: torch.Tensor,
) -> None:
    """Take one gradient step on one minibatch."""
    choice, value = agent(observations)
    ratio = (choice.log_prob(actions) - logprobs).exp()
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
    policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
    near = old_values + (value - old_values).clamp(-CLIP, CLIP)
    value_loss = 0.5 * torch.max((value - returns) ** 2, (near - returns) ** 2).mean()
    loss = policy_loss + VALUE * value_loss - ENTROPY * choice.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
    optimizer.step()


if __name__ == "__main__":
    main()
