"""Vector environments of short episodes, programs that walk in them, and when two answers are the same."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from sodarace_gym.envs.vector import SodaraceVectorEnv
from tests.sodarace_gym.sample_walkers import random_designs

SHORT = 0.5  # s of walking: enough to move
ID = "Sodarace-Bumpy-v0"
GOOD = [design.to_program() for design in random_designs(seed=31, count=6)]


def make(num_envs: int, **kwargs: Any) -> SodaraceVectorEnv:
    envs = gym.make_vec(ID, num_envs=num_envs, **({"duration": SHORT} | kwargs))
    assert isinstance(envs, SodaraceVectorEnv)
    return envs


def identical(one: Any, other: Any) -> bool:
    """Whether two values are of the same types, the same keys in the same order, and equal to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(identical(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.dtype == object:
            return identical(one.tolist(), other.tolist())
        return one.tobytes() == other.tobytes()
    return bool(one == other)
