"""Playing control environments: short episodes, policies to play them with, and an observation taken apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sodarace_gym.envs.control import SodaraceControlEnv
from sodarace_gym.envs.senses import LOOK_POINTS

SHORT = 1.0  # s
PIT = np.array([[-900.0, 50.0], [-16.0, 50.0], [-16.0, 0.0], [16.0, 0.0], [16.0, 50.0], [900.0, 50.0]])


def make(**kwargs: Any) -> SodaraceControlEnv:
    env = SodaraceControlEnv(**({"duration": SHORT} | kwargs))
    env.reset(seed=0)
    return env


def play(env: SodaraceControlEnv, policy: Callable[[SodaraceControlEnv], Any]) -> tuple[list[float], tuple[Any, ...]]:
    """The rewards until the episode is over, and its last step."""
    rewards, last = [], None
    while last is None or not (last[2] or last[3]):
        last = env.step(policy(env))
        rewards.append(last[1])
    return rewards, last


def own_gait(env: SodaraceControlEnv) -> Any:
    return env.open_loop_action()


def at_random(env: SodaraceControlEnv) -> Any:
    return env.action_space.sample()


def parts(env: SodaraceControlEnv, observation: Any) -> list[Any]:
    joints, muscles = len(env.design.joints), sum(not m.distance_only for m in env.design.muscles)
    sizes = [2, 2 * joints, 2 * joints, muscles, muscles, LOOK_POINTS, LOOK_POINTS]
    assert sum(sizes) == len(observation)
    return np.split(observation, np.cumsum(sizes)[:-1])
