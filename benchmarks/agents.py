"""Do agents of ordinary reinforcement learning libraries beat random search at equal evaluations?

Vectors (``BoxActions``): random ones against Stable-Baselines3's PPO and SAC. Words (``SequentialActions``): random ones under
the mask against sb3-contrib's MaskablePPO. Needs the extra ``agents``.

Usage: ``python -m benchmarks.agents [--budget N] [--first-seed N] [--seeds N] [--terrains NAME ...] [--actions KIND ...]
[--jobs N] [--cache FOLDER] [--write]``. It takes almost two hours on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from joblib import Memory, Parallel, delayed
from tqdm import tqdm

from benchmarks.entrants.agents import Learner, RandomActions, vector_ppo, vector_sac, word_ppo
from benchmarks.tables import format_interval, markdown_table, mean_interval, publish
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.physics.constants import DURATION
from sodarace_gym.suite import BudgetSpent, Generator, Task
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.wrappers.box_actions import BoxActions
from sodarace_gym.wrappers.sequential_actions import SequentialActions

TERRAINS = ("Flat", "LeftWall", "Bumpy", "Tunnel")
"""RightWall is LeftWall in a mirror."""
FIRST_SEEDS = {"vectors": 0, "words": 5}
"""First seed by the kind of action. MaskablePPO's reward was chosen on seeds 0 to 4, so that it is judged on others; the
settings of the learners on vectors were never changed."""


def contests() -> dict[str, tuple[RandomActions, list[Learner]]]:
    """By the kind of action: the random search, and the learners that share its actions."""
    return {
        "vectors": (RandomActions("random vectors", BoxActions), [vector_ppo(), vector_sac()]),
        "words": (
            RandomActions("random words", SequentialActions),
            [
                word_ppo("MaskablePPO on SequentialActions, reward: distance", 10.0, 1.0),
                word_ppo("MaskablePPO on SequentialActions, reward: distance cubed", 30.0, 3.0),
            ],
        ),
    }


def _both(rival: RandomActions, learners: Sequence[Learner]) -> list[Generator]:
    return [rival, *learners]


def measure(generator: Generator, terrain: str, budget: int, seed: int, duration: float = DURATION) -> dict[str, float]:
    """What one agent found on one terrain with one seed.

    Args:
        generator: The agent.
        terrain: Name of the terrain.
        budget: Episodes, which are evaluations.
        seed: Of the agent.
        duration: Simulated seconds of a walk.

    Returns:
        ``best`` of all distances, the ``mean`` of all, and the mean of the ``last`` quarter.
    """
    torch.set_num_threads(1)
    with Evaluator(n_jobs=1, duration=duration) as evaluator, suppress(BudgetSpent):
        task = Task(terrain, make_terrain(terrain), budget, evaluator)
        generator.generate(task, np.random.default_rng(seed))
    distances = np.array(task.books.scores)
    last = distances[-max(1, budget // 4) :]
    return {"best": float(distances.max()), "mean": float(distances.mean()), "last": float(last.mean())}


def verdict(learner: Sequence[float], rival: Sequence[float]) -> str:
    """The learner's lead over random search, seed by seed, and whether its interval lies above 0, below or around."""
    lead = np.subtract(learner, rival)
    _, low, high = mean_interval(lead)
    word = "beats" if low > 0.0 else "loses" if high < 0.0 else "open"
    return f"{format_interval(lead)} {word}"


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=4096, help="episodes an agent, terrain and seed (default 4096)")
    parser.add_argument(
        "--first-seed",
        type=int,
        help=f"seed of the first repetition (default: {FIRST_SEEDS['vectors']} for vectors, {FIRST_SEEDS['words']} for words)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="repetitions, each with the next seed (default 5)")
    parser.add_argument("--terrains", nargs="+", choices=TERRAIN_NAMES, default=TERRAINS, metavar="NAME")
    parser.add_argument(
        "--actions", nargs="+", choices=sorted(contests()), default=sorted(contests()), help="kinds of actions"
    )
    parser.add_argument(
        "--jobs", type=int, default=-1, help="processes; the results do not depend on it (default: cores)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder that keeps finished runs, so that a stopped study goes on; a new one after a change of code",
    )
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/agents.md")
    options = parser.parse_args()
    chosen = [contest for kind, contest in contests().items() if kind in options.actions]
    seeds = {}
    for kind in options.actions:
        first = FIRST_SEEDS[kind] if options.first_seed is None else options.first_seed
        seeds[kind] = range(first, first + options.seeds)
    cells = [
        (agent, terrain, seed)
        for kind, contest in contests().items()
        if kind in options.actions
        for agent in _both(*contest)
        for terrain in options.terrains
        for seed in seeds[kind]
    ]
    run = Memory(options.cache, verbose=0).cache(measure) if options.cache else measure
    work = Parallel(n_jobs=options.jobs, return_as="generator")(
        delayed(run)(agent, terrain, options.budget, seed) for agent, terrain, seed in cells
    )
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for (agent, terrain, _), figures in zip(cells, tqdm(work, total=len(cells), unit="run"), strict=True):
        found.setdefault((agent.name, terrain), []).append(figures)

    def values(agent: Generator, terrain: str, figure: str) -> list[float]:
        return [figures[figure] for figures in found[agent.name, terrain]]

    rows: dict[str, list[list[object]]] = {"best": [], "best lead": [], "last": [], "last lead": []}
    for rival, learners in chosen:
        for agent in _both(rival, learners):
            # A random search does not change, so that all it drew is the better measure of what it draws.
            late = "mean" if agent is rival else "last"
            rows["best"].append([agent.name, *(format_interval(values(agent, t, "best")) for t in options.terrains)])
            rows["last"].append([agent.name, *(format_interval(values(agent, t, late)) for t in options.terrains)])
        for learner in learners:
            for figure, against in (("best", "best"), ("last", "mean")):
                verdicts = (verdict(values(learner, t, figure), values(rival, t, against)) for t in options.terrains)
                rows[f"{figure} lead"].append([learner.name, *verdicts])
    header = ["agent", *options.terrains]
    told = ", ".join(f"{kind}: {span[0]} to {span[-1]}" for kind, span in seeds.items())
    body = (
        f"{options.budget} episodes (each the evaluation of one walker) an agent, terrain and seed; {options.seeds} seeds "
        f"({told}); mean over the seeds and its 95% bootstrap interval. Distances in walker units; failures "
        "count 0. A learner *beats* random search with the same actions where the interval of its lead lies above 0. That "
        "the cube of the distance is the better reward for MaskablePPO was seen on seeds 0 to 4; the settings of the learners "
        "on vectors were never changed. The tables count distances whatever the reward.\n\n"
        "## The best walker found\n\nWhat a search is for: the best of all episodes, those of early training included.\n\n"
        f"{markdown_table(header, rows['best'])}\n\nLead over random search with the same actions:\n\n"
        f"{markdown_table(header, rows['best lead'])}\n\n"
        "## What the agent does when it has learned\n\nThe mean of the last quarter of training, exploration included; of a "
        f"random search the mean of all.\n\n{markdown_table(header, rows['last'])}\n\n"
        f"Lead over the mean of random search:\n\n{markdown_table(header, rows['last lead'])}"
    )
    publish("agents", "Do reinforcement learning agents beat random search at equal evaluations?", body, options.write)


if __name__ == "__main__":
    main()
