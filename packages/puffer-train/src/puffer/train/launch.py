"""From settings to objects: the vector environment and the policy."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import puffer.vector
from puffer.core.errors import UsageError
from puffer.core.registry import EnvSpec
from puffer.train import randomness
from puffer.train.allocator import keep_freed_memory
from puffer.train.config import Config, PolicyConfig
from puffer.train.models import Default, LSTMWrapper, MinGRUWrapper
from puffer.train.normalize import NormalizeObservations
from puffer.train.parallel import count_flops
from puffer.train.trainer import Trainer, derive_seed, pick_device
from puffer.train.user_code import load_object

MANY_SIMULATIONS = 8192  # on an H100 turns cost a fifth with 4,096 and gain a third with 16,384
SMALL_MINIBATCH_FLOPS = 2e9  # forward, about 30 ms of one core


def make_vecenv(spec: EnvSpec, config: Config) -> Any:
    """Return the vector environment that `config.vec` and `config.env` describe.

    It gives final observations and action masks wherever the environment can.
    """
    vec = config.vec
    options: dict[str, Any] = {
        "backend": vec.backend,
        "final_observations": None,
        "action_masks": None,
    }
    env = dict(config.env)
    if vec.backend == "native" and (turns := _turns(config)) > 1:
        options |= {"backend": "alternating", "num_envs": turns}
        env["num_envs"] //= turns
    if vec.backend == "serial":
        options["num_envs"] = vec.num_envs
    elif vec.backend == "multiprocessing":
        options |= {
            "num_envs": vec.num_envs,
            "num_workers": vec.num_workers or default_workers(vec.num_envs),
            "batch_size": vec.batch_size or vec.num_envs,
            "zero_copy": vec.zero_copy,
            "timeout": vec.timeout,
            "max_restarts": vec.max_restarts,
        }
    return puffer.vector.make(spec.creator, env_kwargs=env, **options)


def _turns(config: Config) -> int:
    """Return how many environments take turns, each with as many of the simulations."""
    simulations, turns = config.env.get("num_envs", 1), config.vec.turns
    if turns is None:
        large = simulations >= MANY_SIMULATIONS and simulations % 2 == 0
        return 2 if large and pick_device(config.train.device).type == "cuda" else 1
    if simulations % turns:
        raise UsageError(
            f"vec.turns={turns} with {simulations} simulations: expected a divisor of "
            "env.num_envs, for all take the same part"
        )
    return turns


@contextlib.contextmanager
def make_trainer(spec: EnvSpec, config: Config) -> Iterator[Trainer]:
    """Make what `puffer-train` trains with; its environments close afterwards.

    Seeds the global generators and sets the allocator and the threads of torch, for the process.
    """
    pick_device(config.train.device)
    keep_freed_memory()
    torch.set_num_threads(1)  # the first weights must not depend on the machine
    randomness.seed_all(derive_seed(config.train.seed, "global"))
    with contextlib.closing(make_vecenv(spec, config)) as vecenv:
        env = vecenv.driver_env
        policy = make_policy(spec, config.policy, env, config.train.seed)
        torch.set_num_threads(choose_threads(policy, env, config.train.minibatch_size))
        yield Trainer(config, vecenv, policy)


def default_workers(num_envs: int) -> int:
    """Return the largest divisor of `num_envs` that is at most the number of usable cores."""
    cores = puffer.vector.usable_cores()
    return max(n for n in range(1, num_envs + 1) if num_envs % n == 0 and n <= cores)


def make_policy(spec: EnvSpec, config: PolicyConfig, env: Any, seed: int) -> nn.Module:
    """Return the policy that `config` and the environment's spec name, for `env`'s spaces.

    The same seed gives the same weights; torch's global random state is left as it was.
    """
    name = spec.policy if config.name == "default" and spec.policy else config.name
    cls: Any = Default if name == "default" else load_object(name, "--policy")
    kwargs = {"hidden_size": config.hidden_size, "layer_norm": config.layer_norm}
    accepted = inspect.signature(cls).parameters
    if config.layer_norm and "layer_norm" not in accepted:
        raise UsageError(
            f"policy.layer_norm: {name} takes no such argument: leave it out, or take a policy for "
            "images"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        policy: nn.Module = cls(env, **{k: v for k, v in kwargs.items() if k in accepted})
        if config.norm_observations:
            policy = NormalizeObservations(env, policy)
        if config.recurrent == "none":
            return policy
        return {"lstm": LSTMWrapper, "mingru": MinGRUWrapper}[config.recurrent](env, policy)


def choose_threads(policy: nn.Module, env: Any, minibatch_size: int) -> int:
    """Return how many CPU threads torch should use for gradient steps of this size.

    Threads of a small policy mostly wait for each other, which on a busy machine costs far more
    than it ever gains. The rule counts operations and takes no time, so that a run repeats.
    """
    work = count_flops(policy, env.single_observation_space) * minibatch_size
    return puffer.vector.usable_cores() if work > SMALL_MINIBATCH_FLOPS else 1


def for_evaluation(spec: EnvSpec, config: Config, episodes: int, render_mode: str | None) -> Config:
    """Return `config` with an environment that reports every whole episode, all in one batch."""
    known = {option.name for option in spec.options}
    env = dict(config.env)
    if "report_interval" in known:
        env["report_interval"] = 0
    if "episodic_life" in known:  # a help in learning, but a score is that of a whole game
        env["episodic_life"] = False
    rendering = render_mode is not None
    if rendering:
        env["render_mode"] = render_mode
    if "num_envs" in known:
        env["num_envs"] = 1 if rendering else min(episodes, 1024)
    copies = 1 if rendering or "num_envs" in known else min(episodes, config.vec.num_envs)
    vec = dataclasses.replace(
        config.vec,
        backend="native" if config.vec.backend == "native" else "serial",
        num_envs=copies,
        turns=1,
        num_workers=None,
        batch_size=None,
    )
    return dataclasses.replace(config, vec=vec, env=env)
