"""Agents of ordinary reinforcement learning libraries, and random ones that act as they do.

Every evaluation is one episode: a vector is one step, a word is as many as it has tokens. The terrain of an episode is always
the same, so there is nothing to plan ahead and rewards are not discounted. Needs the extra ``agents``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.entrants.task_evaluator import TaskEvaluator
from sodarace_gym.envs import SodaraceEnv
from sodarace_gym.suite import Task
from sodarace_gym.terrains.terrain import PROFILE_MAX_HEIGHT
from sodarace_gym.wrappers.box_actions import BoxActions
from sodarace_gym.wrappers.sequential_actions import SequentialActions

Wrapper = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]


def make_env(wrapper: Wrapper, task: Task, reward_scale: float = 1.0, reward_power: float = 1.0) -> gym.Env[Any, Any]:
    """The environment of a task under a wrapper of actions, scaled for neural networks.

    Args:
        wrapper: Of the actions.
        task: Evaluates the episodes; when it is spent, ``step`` raises BudgetSpent.
        reward_scale: Distance that earns a reward of 1, walker units.
        reward_power: The reward is this power of the scaled distance; above 1 rare far walkers outweigh many middling ones.

    Returns:
        An environment whose profiles lie in [-1, 1].
    """
    plain = SodaraceEnv(task.terrain, duration=task.duration, robustness=task.robustness)
    plain.use_evaluator(TaskEvaluator(task))
    env = wrapper(plain)
    profile = gym.spaces.Box(-1.0, 1.0, env.observation_space["floor"].shape, np.float32)  # type: ignore[index]
    space = gym.spaces.Dict({**env.observation_space.spaces, "floor": profile, "ceiling": profile})  # type: ignore[attr-defined]

    def scaled(observation: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        heights = {name: observation[name] / np.float32(PROFILE_MAX_HEIGHT) for name in ("floor", "ceiling")}
        return {**observation, **heights}

    env = gym.wrappers.TransformReward(env, lambda distance: (float(distance) / reward_scale) ** reward_power)
    return gym.wrappers.TransformObservation(env, scaled, space)


class RandomActions:
    """Random search: actions drawn evenly from the action space, tokens evenly from those that may follow.

    Args:
        name: In tables.
        wrapper: Of the actions.
    """

    def __init__(self, name: str, wrapper: Wrapper) -> None:
        self.name, self.wrapper = name, wrapper

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        env = make_env(self.wrapper, task)
        env.action_space.seed(int(rng.integers(2**31)))
        while task.left > 0:
            _, info = env.reset()
            over = False
            while not over:
                mask = {"mask": info["action_mask"]} if "action_mask" in info else {}
                _, _, terminated, truncated, info = env.step(env.action_space.sample(**mask))
                over = terminated or truncated
        env.close()


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

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        torch.set_num_threads(1)  # sums are then added in one order
        env = make_env(self.wrapper, task, self.reward_scale, self.reward_power)
        seed = int(rng.integers(2**31))
        model = self.algorithm("MultiInputPolicy", env, seed=seed, device="cpu", **self.settings)
        model.learn(total_timesteps=task.budget * 1_000)  # more than there are: the task ends it


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


def vector_sac() -> Learner:
    """SAC on vectors: without a next step there is nothing to bootstrap, so it learns the reward of an action alone."""
    return Learner(
        "SB3 SAC on BoxActions",
        BoxActions,
        SAC,
        learning_starts=256,
        gamma=0.0,
        learning_rate=1e-3,
        batch_size=256,
        policy_kwargs={"net_arch": [128, 128]},
    )


def word_ppo(
    name: str = "MaskablePPO on SequentialActions", reward_scale: float = 30.0, reward_power: float = 3.0
) -> Learner:
    """MaskablePPO on words; only the last token is rewarded, so nothing is discounted.

    A search is after the best walker, not the mean one: a power of the distance above 1 makes the policy seek risk. The idea,
    with quantiles instead of a power: Petersen et al. 2021, "Deep symbolic regression", https://arxiv.org/abs/1912.04871.

    Args:
        name: Its name in tables.
        reward_scale: Distance that earns a reward of 1, walker units.
        reward_power: The reward is this power of the scaled distance.
    """
    return Learner(
        name,
        SequentialActions,
        MaskablePPO,
        reward_scale=reward_scale,
        reward_power=reward_power,
        n_steps=512,
        batch_size=128,
        n_epochs=5,
        learning_rate=1e-3,
        ent_coef=0.01,
        gamma=1.0,
        gae_lambda=1.0,
        policy_kwargs={"net_arch": [64]},
    )
