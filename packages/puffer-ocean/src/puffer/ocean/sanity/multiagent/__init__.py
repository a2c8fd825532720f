"""Multiagent: two agents of one policy that have to answer differently. See README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from puffer.core.buffers import Buffers
from puffer.core.emulation import PettingZooPufferEnv
from puffer.core.emulation.parallel import ParallelEnv
from puffer.core.errors import UsageError
from puffer.ocean.render import Picture, open_renderer

Agents = dict[str, Any]


class MultiagentGame(ParallelEnv):
    """The rules, as anybody would write them for PettingZoo."""

    metadata: ClassVar[dict[str, Any]] = {
        "name": "multiagent",
        "render_modes": ["rgb_array", "human", "ansi"],
        "render_fps": 2,
    }

    def __init__(self, max_steps: int, render_mode: str | None) -> None:
        if max_steps < 1:
            raise UsageError(f"max_steps={max_steps}: expected at least 1")
        self.possible_agents = ["zero", "one"]
        self.agents: list[str] = []
        self.max_steps, self.render_mode = max_steps, render_mode
        self._renderer = open_renderer(render_mode, "Multiagent")

    def observation_space(self, agent: str) -> Box:
        """Return the space of an agent's own number."""
        return Box(0, 1, (1,), np.float32)

    def action_space(self, agent: str) -> Discrete:
        """Return the two answers."""
        return Discrete(2)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Agents, Agents]:
        """Begin an episode; nothing in it is random."""
        self.agents = list(self.possible_agents)
        self._tick = 0
        self._answers: dict[str, int] = {}
        self._right = dict.fromkeys(self.agents, 0)
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions: Mapping[str, Any]) -> tuple[Agents, Agents, Agents, Agents, Agents]:
        """Reward each agent whose answer is its own number."""
        self._tick += 1
        rewards, infos = {}, {}
        for number, agent in enumerate(self.possible_agents):
            self._answers[agent] = int(actions[agent])
            rewards[agent] = float(self._answers[agent] == number)
            self._right[agent] += int(rewards[agent])
            share = self._right[agent] / self._tick
            infos[agent] = {"score": share, "perf": share}
        over = self._tick == self.max_steps
        if over:
            self.agents = []
        flags = dict.fromkeys(self.possible_agents, False)
        truncations = dict.fromkeys(self.possible_agents, over)
        return self._observe(), rewards, flags, truncations, infos

    def _observe(self) -> Agents:
        return {
            agent: np.array([number], np.float32)
            for number, agent in enumerate(self.possible_agents)
        }

    def render(self) -> Any:
        """Draw the two agents as robots that hold up their last answer."""
        shapes: list[tuple[Any, ...]] = []
        for number, agent in enumerate(self.possible_agents):
            x = 30 + 150 * number
            answer = self._answers.get(agent)
            body = (70, 130, 200) if number == 0 else (214, 140, 60)
            shapes += [
                ("line", (180, 186, 196), x + 45, 30, x + 45, 50, 4),
                ("circle", (220, 80, 80), x + 45, 28, 6),
                ("rectangle", body, x + 12, 48, 66, 48),
                ("circle", (245, 245, 245), x + 32, 68, 8),
                ("circle", (245, 245, 245), x + 58, 68, 8),
                ("rectangle", (30, 34, 42), x + 28, 84, 34, 5),
                ("rectangle", body, x, 102, 90, 66),
                ("text", (20, 24, 30), x + 36, 116, 32, str(number)),
            ]
            if answer is not None:
                color = (80, 170, 110) if answer == number else (200, 80, 80)
                shapes += [
                    ("rectangle", color, x + 20, 180, 50, 40),
                    ("text", (250, 250, 250), x + 38, 184, 26, str(answer)),
                ]
        picture = Picture(300, 234, (24, 28, 36), shapes)
        return self._renderer.show(picture, self.metadata["render_fps"])

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()


class Multiagent(PettingZooPufferEnv):
    """Two agents of one policy, each of which has to answer with its own number."""

    HELP: ClassVar[dict[str, str]] = {"max_steps": "answers until an episode is truncated"}

    def __init__(
        self, max_steps: int = 8, *, render_mode: str | None = None, buf: Buffers | None = None
    ) -> None:
        """Build one pair, whose episodes have `max_steps` answers."""
        super().__init__(MultiagentGame(max_steps, render_mode), buf=buf)
