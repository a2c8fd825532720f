"""check_env: does an environment keep the contract of PufferEnv? Errors say how to repair it."""

from __future__ import annotations

import dataclasses
import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from puffer.core.buffers import Buffers
from puffer.core.env import PufferEnv
from puffer.core.errors import ActionError, ConformanceError, UsageError
from puffer.core.spaces import Box, Discrete, FlatActionSpace

_GUARD = 2  # rows before and behind those of the env, which it must not touch
_FILLS = (0x55, 0xAA)  # bytes of unwritten memory: what is still there in both runs was not written
_WRITTEN = ("observations", "rewards", "terminals", "truncations", "masks")


@dataclasses.dataclass(slots=True)
class _Step:
    """Copies of what one call of reset or step left behind."""

    arrays: dict[str, np.ndarray]
    infos: list[dict[str, Any]]


def check_env(
    env: PufferEnv | Callable[..., PufferEnv], *, steps: int = 256, seed: int = 0
) -> None:
    """Return if the environment keeps the contract of PufferEnv as far as playing it can show.

    Plays the same episodes in differently filled buffers and compares. Checks shapes and dtypes,
    writing in place and within bounds, masks, flags, infos, seeding, `close`, and that no global
    random state is used; where `can_save_state` is True, that a state brings everything back and a
    wrong one is refused. It leaves an instance that it was given closed.

    Args:
        env: a class, a creator function, or an instance.
        steps: how many steps to play; at least one episode should end within them.
        seed: of the episodes and of the actions.

    Raises:
        ConformanceError: the first thing that is wrong.
    """
    subject = env if isinstance(env, PufferEnv) else env()
    if not isinstance(subject, PufferEnv):
        raise ConformanceError(
            f"{env!r} gives a {type(subject).__name__}, expected a puffer.core.PufferEnv: wrap "
            "Gymnasium environments with puffer.core.emulation and check them with "
            "gymnasium.utils.env_checker.check_env"
        )
    make = None if isinstance(env, PufferEnv) else env
    name = type(subject).__name__
    globals_before = _global_random_state()
    actions = _random_actions(subject, steps, seed)
    runs = [_play(_with_buffers(subject, make, fill), actions, seed, name) for fill in _FILLS]
    _check_equal(runs[0], runs[1], name)
    _check_final_observations(runs, name)
    _check_infos(runs[0], name)
    _check_seeds(_with_buffers(subject, make, _FILLS[0]), seed, name)
    if subject.can_save_state:
        saved = _check_state(_with_buffers(subject, make, _FILLS[0]), actions, runs[0], seed, name)
        _check_restored(
            _with_buffers(subject, make, _FILLS[1]), saved, actions, runs[0], seed, name
        )
    _check_wrong_action(subject, name)
    if _global_random_state() != globals_before:
        raise ConformanceError(
            f"{name} used the global random state of random or numpy.random: keep a "
            "numpy.random.Generator made from the seed"
        )
    _check_close(subject, name)


def _global_random_state() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, np.asarray(keys).tobytes(), *rest


def _random_actions(env: PufferEnv, steps: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [_sample(env.single_action_space, env.actions, rng) for _ in range(steps)]


def _sample(space: FlatActionSpace, like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if isinstance(space, Box):
        low = np.where(np.isfinite(space.low), space.low, -1.0)
        high = np.where(np.isfinite(space.high), space.high, 1.0)
        return rng.uniform(low, high, like.shape).astype(like.dtype)
    limit = space.n if isinstance(space, Discrete) else space.nvec
    return rng.integers(0, limit, like.shape).astype(like.dtype)


def _with_buffers(
    env: PufferEnv, make: Callable[..., PufferEnv] | None, fill: int
) -> tuple[PufferEnv, Buffers, Buffers]:
    """Return an env that writes into filled buffers, these, and the larger ones around them."""
    rows = env.num_agents + 2 * _GUARD
    fields = Buffers.fields(
        env.single_observation_space,
        env.single_action_space,
        rows,
        final_observations=env.can_fill_final_observations,
        action_masks=env.can_fill_action_masks,
    )
    around = Buffers.allocate(fields)
    for array in around.arrays().values():
        if array is not None:
            # A bool of another value than 0 or 1 is no bool: 1 stands for unwritten, then 0.
            array.view(np.uint8)[...] = fill & 1 if array.dtype == np.bool_ else fill
    inner = around.rows(_GUARD, rows - _GUARD)
    if make is not None and "buf" in inspect.signature(make).parameters:
        return make(buf=inner), inner, around
    env.attach(inner)
    return env, inner, around


def _play(
    setup: tuple[PufferEnv, Buffers, Buffers], actions: list[np.ndarray], seed: int, name: str
) -> list[_Step]:
    """Play `actions` and return what each call left, having checked each."""
    env, buf, around = setup
    guards = _guards(around)
    result: Any = env.reset(seed=seed)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ConformanceError(
            f"{name}.reset returned {_kind(result)}, expected (observations, infos)"
        )
    _check_returned(env, buf, dict(zip(("observations",), result, strict=False)), "reset", name)
    played = [_take(buf, result[1], "reset", name)]
    _check_values(env, played[0], "reset", name)
    for action in actions:
        given = action.copy()
        result = env.step(given)
        if not isinstance(result, tuple) or len(result) != 5:
            raise ConformanceError(
                f"{name}.step returned {_kind(result)}, expected "
                "(observations, rewards, terminals, truncations, infos)"
            )
        if not np.array_equal(given, action):
            raise ConformanceError(f"{name}.step changed the actions it was given: copy them first")
        _check_returned(env, buf, dict(zip(_WRITTEN, result[:4], strict=False)), "step", name)
        played.append(_take(buf, result[4], "step", name))
        _check_values(env, played[-1], "step", name)
        if _guards(around) != guards:
            raise ConformanceError(
                f"{name}.step wrote outside of its rows: write rows 0 to num_agents-1 alone"
            )
    return played


def _kind(result: Any) -> str:
    return f"a tuple of {len(result)}" if type(result) is tuple else f"a {type(result).__name__}"


def _guards(around: Buffers) -> bytes:
    arrays = [array for array in around.arrays().values() if array is not None]
    return b"".join(a[:_GUARD].tobytes() + a[-_GUARD:].tobytes() for a in arrays)


def _check_returned(
    env: PufferEnv, buf: Buffers, returned: dict[str, Any], call: str, name: str
) -> None:
    for array_name in _WRITTEN:
        if getattr(env, array_name) is not getattr(buf, array_name):
            raise ConformanceError(
                f"{name}.{call} replaced self.{array_name}: write into it "
                f"(self.{array_name}[:] = ...), since others read the buffer it was given"
            )
    for array_name, array in returned.items():
        own = getattr(buf, array_name)
        same = isinstance(array, np.ndarray) and array.shape == own.shape
        if not same or not np.may_share_memory(array, own):
            raise ConformanceError(
                f"{name}.{call} returned {array_name} that are not self.{array_name}: "
                f"write into self.{array_name} and return that"
            )


def _take(buf: Buffers, infos: Any, call: str, name: str) -> _Step:
    if not isinstance(infos, list) or not all(isinstance(info, dict) for info in infos):
        raise ConformanceError(
            f"{name}.{call} returned infos {infos!r}, expected a list of dicts: [] if there is "
            "nothing to tell"
        )
    arrays = {k: a.copy() for k, a in buf.arrays().items() if a is not None and k != "actions"}
    return _Step(arrays, infos)


def _check_values(env: PufferEnv, step: _Step, call: str, name: str) -> None:
    space, masks = env.single_observation_space, step.arrays["masks"]
    observations, rewards = step.arrays["observations"], step.arrays["rewards"]
    inside = (observations >= space.low) & (observations <= space.high)
    inside[~masks] = True
    if not inside.all():
        where = tuple(int(i) for i in np.argwhere(~inside)[0])
        raise ConformanceError(
            f"{name}.{call} wrote observations{list(where)} = {observations[where]}, outside of "
            f"single_observation_space {space}: widen the space, or write every row"
        )
    if not np.isfinite(rewards).all():
        raise ConformanceError(f"{name}.{call} wrote rewards {rewards}: expected finite numbers")
    if call == "reset" and (
        rewards.any() or step.arrays["terminals"].any() or step.arrays["truncations"].any()
    ):
        raise ConformanceError(
            f"{name}.reset left rewards or flags of earlier steps: set self.rewards, "
            "self.terminals and self.truncations to 0"
        )
    if observations[~masks].any() or rewards[~masks].any():
        raise ConformanceError(
            f"{name}.{call} gave a masked agent an observation or a reward other than 0: "
            "clear the rows of agents that are absent"
        )


def _check_equal(first: list[_Step], second: list[_Step], name: str) -> None:
    """Compare two runs of the same seed and actions."""
    for number, (one, two) in enumerate(zip(first, second, strict=True)):
        call = "reset" if number == 0 else f"step (number {number})"
        for array_name in (*_WRITTEN, "action_masks"):
            if array_name not in one.arrays:
                continue
            a, b = (_as_bytes(step.arrays[array_name]) for step in (one, two))
            rows = np.flatnonzero((a != b).any(axis=1))
            if rows.size == 0:
                continue
            row = int(rows[0])
            differ = a[row] != b[row]
            fills = [f & 1 if one.arrays[array_name].dtype == np.bool_ else f for f in _FILLS]
            unwritten = (a[row][differ] == fills[0]).all() and (b[row][differ] == fills[1]).all()
            if unwritten:
                raise ConformanceError(
                    f"{name}.{call} did not write self.{array_name}[{row}]: write every row on "
                    "every call, zeros for agents that are absent"
                )
            raise ConformanceError(
                f"{name}.{call} gave other {array_name}[{row}] in a second run of the same seed "
                "and actions: take all randomness from the seed, and reset all state"
            )


def _as_bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.uint8).reshape(array.shape[0], -1)


def _check_final_observations(runs: list[list[_Step]], name: str) -> None:
    if "final_observations" not in runs[0][0].arrays:
        return
    for one, two in zip(runs[0][1:], runs[1][1:], strict=True):
        ended = (one.arrays["terminals"] | one.arrays["truncations"]) & one.arrays["masks"]
        a, b = (_as_bytes(step.arrays["final_observations"])[ended] for step in (one, two))
        if (a != b).any():
            raise ConformanceError(
                f"{name}.step ended an episode without writing its row of self.final_observations: "
                "copy the last observation there before the next episode's first one"
            )


def _check_infos(played: list[_Step], name: str) -> None:
    """Compare the infos of episodes (those with an `agent_id`) with the rewards and flags."""
    returns = np.zeros(len(played[0].arrays["rewards"]))
    lengths = np.zeros(len(returns), np.int64)
    for step in played[1:]:
        returns += step.arrays["rewards"]
        lengths += step.arrays["masks"]
        for info in step.infos:
            if "episodes" not in info:
                continue
            missing = {"episode_return", "episode_length", "score", "perf"} - info.keys()
            if missing:
                raise ConformanceError(
                    f"{name} gave an info with episodes but without {', '.join(sorted(missing))}: "
                    "make it with puffer.core.stats.episode_info"
                )
            if "agent_id" in info:
                _check_episode(info, returns, lengths, name)
        ended = step.arrays["terminals"] | step.arrays["truncations"]
        returns[ended], lengths[ended] = 0.0, 0


def _check_episode(
    info: dict[str, Any], returns: np.ndarray, lengths: np.ndarray, name: str
) -> None:
    agent = info["agent_id"]
    if not 0 <= agent < len(returns):
        raise ConformanceError(
            f"{name} gave an info of agent_id {agent}, expected 0 to {len(returns) - 1}"
        )
    told = info["episode_return"], info["episode_length"]
    seen = float(returns[agent]), int(lengths[agent])
    if told[1] != seen[1] or not np.isclose(told[0], seen[0], rtol=1e-3, atol=1e-3):
        raise ConformanceError(
            f"{name} told of an episode of agent {agent} with return and length {told}, but its "
            f"rewards since the last end sum to {seen}: count from one end to the next"
        )


def _check_seeds(setup: tuple[PufferEnv, Buffers, Buffers], seed: int, name: str) -> None:
    env, buf, _ = setup
    simulations, agents = env.num_simulations, env.num_agents
    if agents % simulations:
        raise ConformanceError(
            f"{name}.num_agents={agents} is not a multiple of num_simulations={simulations}: "
            "override num_simulations with the number of seeds that reset uses"
        )
    each = agents // simulations
    env.reset(seed=seed)
    first = buf.observations.copy()
    env.reset(seed=seed + 1)
    if not np.array_equal(first[each:], buf.observations[: agents - each]):
        raise ConformanceError(
            f"{name}.reset(seed={seed + 1}) does not begin where simulation 1 of "
            f"reset(seed={seed}) does: give simulation k the seed s + k, or override "
            "num_simulations if there are fewer simulations than agents"
        )


def _check_state(
    setup: tuple[PufferEnv, Buffers, Buffers],
    actions: list[np.ndarray],
    played: list[_Step],
    seed: int,
    name: str,
) -> bytes:
    """Return the state after half of the actions; taking it must not disturb the other half."""
    env, buf, _ = setup
    half = len(actions) // 2
    env.reset(seed=seed)
    for action in actions[:half]:
        env.step(action.copy())
    saved = env.state()
    if not isinstance(saved, bytes):
        raise ConformanceError(f"{name}.state returned {_kind(saved)}, expected bytes")
    _check_continued(env, buf, actions[half:], played[half + 1 :], "state", name)
    return saved


def _check_restored(
    setup: tuple[PufferEnv, Buffers, Buffers],
    saved: bytes,
    actions: list[np.ndarray],
    played: list[_Step],
    seed: int,
    name: str,
) -> None:
    """Continue from `saved`, elsewhere, where other episodes had begun; refuse wrong states."""
    env, buf, _ = setup
    half = len(actions) // 2
    env.reset(seed=seed + 1)
    env.set_state(saved)
    if buf.rewards.any() or buf.terminals.any() or buf.truncations.any():
        raise ConformanceError(
            f"{name}.set_state left rewards or flags of earlier steps: set self.rewards, "
            "self.terminals and self.truncations to 0"
        )
    restored = _take(buf, [], "set_state", name)
    for array_name in ("observations", "masks", "action_masks"):
        array = restored.arrays.get(array_name)
        if array is not None and not np.array_equal(array, played[half].arrays[array_name]):
            raise ConformanceError(
                f"{name}.set_state did not write self.{array_name} as they were when state() was "
                "called: save them too, or compute them anew"
            )
    _check_continued(env, buf, actions[half:], played[half + 1 :], "set_state", name)
    for wrong in (b"", saved[:-1], saved + b"\0"):
        try:
            env.set_state(wrong)
        except UsageError:
            continue
        raise ConformanceError(
            f"{name}.set_state took {len(wrong)} bytes, where state() gives {len(saved)}: raise "
            "UsageError unless the state is one of this env's"
        )


def _check_continued(
    env: PufferEnv,
    buf: Buffers,
    actions: list[np.ndarray],
    expected: list[_Step],
    call: str,
    name: str,
) -> None:
    """Play `actions` and compare with what they gave when nothing interrupted them."""
    for number, (action, step) in enumerate(zip(actions, expected, strict=True), 1):
        now = _take(buf, env.step(action.copy())[4], "step", name)
        for array_name in (*_WRITTEN, "action_masks"):
            if array_name in step.arrays and not np.array_equal(
                now.arrays[array_name], step.arrays[array_name]
            ):
                raise ConformanceError(
                    f"{name}.step (number {number} after {call}) gave other {array_name} than "
                    "without it: let state() return all that decides what comes next, random "
                    "streams included, and set_state put all of it back"
                )


def _check_wrong_action(env: PufferEnv, name: str) -> None:
    if not env.validates_actions or isinstance(env.single_action_space, Box):
        return
    env.reset(seed=0)
    try:
        env.step(np.full(env.actions.shape, -1, np.int32))
    except ActionError:
        return
    raise ConformanceError(
        f"{name}.validates_actions is True, but step took the action -1: raise ActionError"
    )


def _check_close(env: PufferEnv, name: str) -> None:
    for _ in range(2):
        try:
            env.close()
        except Exception as error:
            raise ConformanceError(
                f"{name}.close raised {error!r}: closing twice must do nothing"
            ) from error
