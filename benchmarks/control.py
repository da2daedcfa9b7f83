"""Does an agent that drives a walker's muscles step by step get further than the walker's own gait?

Usage: ``python -m benchmarks.control [--walkers biped worm] [--terrains Flat Bumpy] [--steps N] [--seeds N] [--jobs N]
[--write]``. For each walker and terrain Stable-Baselines3's PPO learns residual actions, which start as the walker's own gait;
what it has learnt is compared with that gait from the same starts. Takes about STEPS / 1500 seconds a walker, terrain and seed
on one core: half an hour on two with the defaults.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from joblib import Parallel, delayed
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tqdm import tqdm

from benchmarks.tables import format_interval, markdown_table, publish
from sodarace_gym.envs.control import SodaraceControlEnv
from sodarace_gym.physics.rollout import roll_out

START_NOISE = 0.2
"""Standard deviation of the joints' velocities at the start, units / s: no policy can learn one trajectory by heart."""
EPISODES = 20
"""Starts that a policy is judged by; training never sees their seeds."""
FIRST_JUDGED = 1_000_000
"""Seed of the first of these starts."""
ENVS = 8
"""Environments that PPO collects from."""

Policy = Callable[[SodaraceControlEnv, Any], Any]


def make(walker: str, terrain: str, residual: bool) -> SodaraceControlEnv:
    """The environment of the study."""
    env = gym.make(f"SodaraceControl-{terrain}-v0", walker=walker, residual=residual, start_noise=START_NOISE).unwrapped
    assert isinstance(env, SodaraceControlEnv)
    return env


def judge(env: SodaraceControlEnv, policy: Policy) -> list[float]:
    """Returns of a policy from the judged starts."""
    returns = []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=FIRST_JUDGED + episode)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(policy(env, observation))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    return returns


def own_gait(env: SodaraceControlEnv, observation: Any) -> Any:
    """The policy that follows the walker's own gait."""
    return env.open_loop_action()


def train(walker: str, terrain: str, residual: bool, steps: int, seed: int) -> Policy:
    """Trains PPO and returns what it has learnt, without exploration."""
    torch.set_num_threads(1)
    venv = VecNormalize(
        DummyVecEnv([lambda: make(walker, terrain, residual)] * ENVS), norm_obs=True, norm_reward=True, gamma=0.99
    )
    model = PPO(
        "MlpPolicy",
        venv,
        n_steps=256,
        batch_size=256,
        n_epochs=10,
        learning_rate=3e-4,
        gamma=0.99,
        gae_lambda=0.95,
        ent_coef=0.0,
        policy_kwargs={"log_std_init": -1.5},
        seed=seed,
        device="cpu",
    )
    model.learn(total_timesteps=steps)
    venv.training = False

    def policy(env: SodaraceControlEnv, observation: Any) -> Any:
        return model.predict(venv.normalize_obs(observation[None]), deterministic=True)[0][0]

    return policy


def learnt(walker: str, terrain: str, residual: bool, steps: int, seed: int) -> float:
    """Mean return, from the judged starts, of what PPO has learnt."""
    return float(np.mean(judge(make(walker, terrain, residual), train(walker, terrain, residual, steps, seed))))


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walkers", nargs="+", default=["biped", "worm"], help="names (default biped worm)")
    parser.add_argument("--terrains", nargs="+", default=["Flat", "Bumpy"], help="families (default Flat Bumpy)")
    parser.add_argument("--steps", type=int, default=300_000, help="steps PPO trains for (default 300000)")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions with seeds 0, 1, ... (default 5)")
    parser.add_argument("--direct", action="store_true", help="actions stand alone instead of being added to the gait")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; results do not depend on it (default: cores)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/control.md")
    options = parser.parse_args()
    residual = not options.direct
    cells = [(walker, terrain) for walker in options.walkers for terrain in options.terrains]
    work = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(learnt)(walker, terrain, residual, options.steps, seed)
        for walker, terrain in cells
        for seed in range(options.seeds)
    )
    scores = iter(tqdm(work, total=len(cells) * options.seeds, unit="training"))
    rows: list[list[object]] = []
    for walker, terrain in cells:
        env = make(walker, terrain, residual)
        gait = float(np.mean(judge(env, own_gait)))
        still = roll_out(env.design, env.terrain).displacement
        reached = list(itertools.islice(scores, options.seeds))
        better = sum(value > gait for value in reached)
        rows.append(
            [f"{walker}, {terrain}", f"{still:.1f}", f"{gait:.1f}", format_interval(reached),
             f"{better} of {options.seeds}"]
        )  # fmt: skip
    kind = "stand alone" if options.direct else "are added to the walker's own gait"
    body = (
        f"Displacement to the right in 10 s, walker units. PPO's actions {kind}; {options.steps} steps of training, "
        f"seeds 0 to {options.seeds - 1}. Starts are noisy (joints' velocities, {START_NOISE:g} units / s); both are judged by "
        f"the same {EPISODES} starts (seeds {FIRST_JUDGED:,} to {FIRST_JUDGED + EPISODES - 1:,}), which training never saw, "
        "without exploration; Bumpy is the one that PPO was trained on. Mean over the training seeds and its 95% bootstrap "
        "interval.\n\n"
        + markdown_table(
            ["walker, terrain", "own gait, no noise", "own gait", "PPO", "seeds in which PPO gets further"], rows
        )
    )
    publish("control", "Does driving muscles step by step get further than the walker's own gait?", body, options.write)


if __name__ == "__main__":
    main()
