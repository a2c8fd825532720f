"""The environments of puffer-ocean, one folder each: rules, settings, tests' oracle and text."""

from __future__ import annotations

from puffer.ocean import native

family = native.family(
    {
        "puffer_bandit": "puffer.ocean.envs.bandit:Bandit",
        "puffer_breakout": "puffer.ocean.envs.breakout:Breakout",
        "puffer_cartpole": "puffer.ocean.envs.cartpole:Cartpole",
        "puffer_connect4": "puffer.ocean.envs.connect4:Connect4",
        "puffer_continuous": "puffer.ocean.envs.continuous:Continuous",
        "puffer_memory": "puffer.ocean.envs.memory:Memory",
        "puffer_password": "puffer.ocean.envs.password:Password",
        "puffer_pong": "puffer.ocean.envs.pong:Pong",
        "puffer_snake": "puffer.ocean.envs.snake:Snake",
        "puffer_squared": "puffer.ocean.envs.squared:Squared",
        "puffer_squared_targets": "puffer.ocean.envs.squared_targets:SquaredTargets",
        "puffer_stochastic": "puffer.ocean.envs.stochastic:Stochastic",
    }
)
