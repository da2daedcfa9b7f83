"""The fixed panel of 50 walkers that terrains are judged by: decent, diverse, and bred on the paper's terrains only.

Usage: ``python -m benchmarks.panel`` breeds the panel and writes ``benchmarks/panel.json`` (about three minutes). The file is
committed and the panel changes only when somebody runs this, so that tables of different days compare.

Each walker is the best of a lineage of its own, a small evolution strategy with its own random founders; lineage ``k`` is bred
on the paper's terrain number ``k % 5``. No walker has met the terrains beyond the paper's five.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.terrains import mutate
from sodarace_gym.physics.rollout import roll_out_many
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import Muscle, WalkerDesign

PANEL_FILE = Path(__file__).parent / "panel.json"
"""Where the panel is committed."""
PANEL_SIZE = 50
FOUNDERS = 100
SURVIVORS = 8
CHILDREN = 12
GENERATIONS = 30


def breed(terrain: Terrain, seed: int, generations: int = GENERATIONS) -> WalkerDesign:
    """The best walker of one lineage.

    Args:
        terrain: What it is bred on.
        seed: Seed of founders and mutations.
        generations: Generations after the random founders.
    """
    rng = np.random.default_rng(seed)
    population = [random_design(rng) for _ in range(FOUNDERS)]
    fitness = distances(population, terrain)
    for _ in range(generations):
        best = np.argsort(-np.array(fitness), kind="stable")[:SURVIVORS]
        population, fitness = [population[i] for i in best], [fitness[i] for i in best]
        children = [mutate(population[int(rng.integers(SURVIVORS))], rng) for _ in range(CHILDREN)]
        population, fitness = population + children, fitness + distances(children, terrain)
    return population[int(np.argmax(fitness))]


def distances(designs: Sequence[WalkerDesign], terrain: Terrain) -> list[float]:
    """The reward of each design on a terrain, walker units; 0.0 after a fault."""
    return [abs(rollout.displacement) for rollout in roll_out_many(designs, [terrain] * len(designs))]


def load_panel(path: Path = PANEL_FILE) -> list[WalkerDesign]:
    """The committed panel."""
    walkers = json.loads(path.read_text(encoding="utf-8"))["walkers"]
    return [
        WalkerDesign(tuple((x, y) for x, y in walker["joints"]), tuple(Muscle(*muscle) for muscle in walker["muscles"]))
        for walker in walkers
    ]


def main() -> None:
    """Breeds the panel and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PANEL_FILE, help="where to write (default benchmarks/panel.json)")
    options = parser.parse_args()
    names = [TERRAIN_NAMES[k % len(TERRAIN_NAMES)] for k in range(PANEL_SIZE)]
    with ThreadPoolExecutor() as threads:
        designs = list(threads.map(lambda k: breed(make_terrain(names[k]), seed=k), range(PANEL_SIZE)))
    walkers = [
        {"bred_on": name, "joints": design.joints, "muscles": design.muscles}
        for name, design in zip(names, designs, strict=True)
    ]
    lines = ",\n".join(json.dumps(walker) for walker in walkers)
    options.out.write_text(f'{{"command": "python -m benchmarks.panel", "walkers": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(walkers)} walkers written to {options.out}.")


if __name__ == "__main__":
    main()
