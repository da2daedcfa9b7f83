"""Infos for wrappers that compute with all they are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
from gymnasium.core import ActType, ObsType


class NumericInfo(gym.Wrapper[ObsType, ActType, ObsType, ActType], gym.utils.RecordConstructorArgs):
    """Leaves out of infos what is neither number nor array: the texts, and the `None` of an error that did not happen.

    ## Description
    Gymnasium's `ArrayConversion` and `NumpyToTorch` convert infos too, but know no texts: around a single environment they turn
    each into another text, around a vector environment they fail.

    Example:
        >>> import gymnasium as gym
        >>> from sodarace_gym import NumericInfo
        >>> env = NumericInfo(gym.make("SodaraceControl-Flat-v0"))
        >>> env.reset()[1]
        {'displacement': 0.0, 'time': 0.0}

    Args:
        env: Any environment.
    """

    def __init__(self, env: gym.Env[ObsType, ActType]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsType, dict[str, Any]]:
        """Starts an episode of the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, _numbers(info)

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps through the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, _numbers(info)


def _numbers(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _numbers(value) if isinstance(value, Mapping) else value
        for key, value in info.items()
        if value is not None and not isinstance(value, str)
    }
