"""Agents of ordinary reinforcement learning libraries, and the random agents they must beat, as ``Generator``s.

Every evaluation is one episode: a vector is one step, a word is as many as it has tokens. The terrain of an episode is always
the same, so there is nothing to plan ahead and rewards are not discounted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.baselines import Meter
from sodarace_gym.terrains.terrain import PROFILE_MAX_HEIGHT
from sodarace_gym.wrappers.box_actions import BoxActions

Wrapper = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]


class _Booked(gym.Wrapper[Any, Any, Any, Any]):
    """Books every episode of an environment on a meter."""

    def __init__(self, env: gym.Env[Any, Any], meter: Meter) -> None:
        super().__init__(env)
        self.meter = meter

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """A step; the last of an episode is an evaluation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if (terminated or truncated) and self.meter.left > 0:
            self.meter.record(float(reward), info["error"] is None)
        return observation, reward, terminated, truncated, info


class _WhileBudgetLasts(BaseCallback):
    """Ends the training when the meter's budget is spent."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def _on_step(self) -> bool:
        return self.meter.left > 0


def make_env(wrapper: Wrapper, meter: Meter, reward_scale: float = 1.0, reward_power: float = 1.0) -> gym.Env[Any, Any]:
    """The meter's terrain under a wrapper of actions, scaled for neural networks after the meter has booked the distance.

    Args:
        wrapper: Of the actions.
        meter: Books the episodes.
        reward_scale: Distance that earns a reward of 1, walker units.
        reward_power: The reward is this power of the scaled distance; above 1 rare far walkers outweigh many middling ones.

    Returns:
        An environment whose profiles lie in [-1, 1].
    """
    env = wrapper(gym.make(f"Sodarace-{meter.terrain}-v0", duration=meter.evaluator.duration))
    profile = gym.spaces.Box(-1.0, 1.0, env.observation_space["floor"].shape, np.float32)  # type: ignore[index]
    space = gym.spaces.Dict({**env.observation_space.spaces, "floor": profile, "ceiling": profile})  # type: ignore[attr-defined]

    def scaled(observation: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        heights = {name: observation[name] / np.float32(PROFILE_MAX_HEIGHT) for name in ("floor", "ceiling")}
        return {**observation, **heights}

    env = gym.wrappers.TransformReward(
        _Booked(env, meter), lambda distance: (float(distance) / reward_scale) ** reward_power
    )
    return gym.wrappers.TransformObservation(env, scaled, space)


class RandomActions:
    """Random search: actions drawn evenly from the action space, tokens evenly from those that may follow.

    Args:
        name: In tables.
        wrapper: Of the actions.
    """

    def __init__(self, name: str, wrapper: Wrapper) -> None:
        self.name, self.wrapper = name, wrapper

    def spend(self, meter: Meter, seed: int) -> bool:
        """See ``Generator``."""
        env = make_env(self.wrapper, meter)
        env.action_space.seed(seed)
        while meter.left > 0:
            _, info = env.reset()
            over = False
            while not over:
                mask = {"mask": info["action_mask"]} if "action_mask" in info else {}
                _, _, terminated, truncated, info = env.step(env.action_space.sample(**mask))
                over = terminated or truncated
        env.close()
        return True


class Learner:
    """An algorithm of Stable-Baselines3 that learns for as long as the budget lasts.

    Args:
        name: In tables.
        wrapper: Of the actions.
        algorithm: The class.
        reward_scale: Distance that earns a reward of 1, walker units: a value function that starts near 0 learns large targets
            slowly.
        reward_power: See ``make_env``.
        settings: Its arguments.
    """

    def __init__(
        self,
        name: str,
        wrapper: Wrapper,
        algorithm: type[BaseAlgorithm],
        reward_scale: float = 1.0,
        reward_power: float = 1.0,
        **settings: Any,
    ) -> None:
        self.name, self.wrapper, self.algorithm = name, wrapper, algorithm
        self.reward_scale, self.reward_power, self.settings = reward_scale, reward_power, settings

    def spend(self, meter: Meter, seed: int) -> bool:
        """See ``Generator``."""
        torch.manual_seed(seed)
        env = make_env(self.wrapper, meter, self.reward_scale, self.reward_power)
        model = self.algorithm("MultiInputPolicy", env, seed=seed, device="cpu", **self.settings)
        model.learn(total_timesteps=meter.budget * 1_000, callback=_WhileBudgetLasts(meter))
        env.close()
        return True


def vector_ppo() -> Learner:
    """PPO on vectors. One step is a whole episode, so a rollout of 64 steps is a generation of 64 walkers."""
    return Learner(
        "SB3 PPO on BoxActions",
        BoxActions,
        PPO,
        n_steps=64,
        batch_size=64,
        n_epochs=10,
        learning_rate=1e-3,
        gamma=1.0,
        policy_kwargs={"log_std_init": -0.5, "net_arch": [64]},
    )
