"""Do the terrains ask for different walkers? Walkers bred for one terrain, on all the others, and how high they climb.

Usage: ``python -m benchmarks.terrains [--generations N] [--write]``. Takes about two minutes. Walkers are bred by a plain
evolution strategy on designs (not programs), so that the question about the terrains does not depend on any generator.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import markdown_table, publish
from sodarace_gym.errors import ProgramError
from sodarace_gym.physics.rollout import Rollout, roll_out_many
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES, TUNNEL_HEIGHT
from sodarace_gym.terrains.terrain import START_HALF_WIDTH, Terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO, Muscle, WalkerDesign, build_design

POPULATION = 400
SURVIVORS = 20
CHILDREN = 60


def mutate(design: WalkerDesign, rng: np.random.Generator) -> WalkerDesign:
    """One to three random changes of joints and muscles; the parent itself if they break a limit."""
    joints = list(design.joints)
    muscles = list(design.muscles)
    for _ in range(int(rng.integers(1, 4))):
        kind, chosen = int(rng.integers(4)), int(rng.integers(len(muscles)))
        muscle = muscles[chosen]
        if kind == 0:
            moved = int(rng.integers(len(joints)))
            joints[moved] = (joints[moved][0] + float(rng.normal()), joints[moved][1] + float(rng.normal()))
        elif kind == 1:
            length = math.dist(joints[muscle.a], joints[muscle.b])
            amplitude = float(rng.uniform(0.05, MAX_AMPLITUDE_RATIO)) * length
            muscles[chosen] = Muscle(muscle.a, muscle.b, False, amplitude, float(rng.uniform(0, math.tau)))
        elif kind == 2:
            muscles[chosen] = muscle._replace(phase=muscle.phase + float(rng.normal()))
        else:
            a, b = (int(joint) for joint in rng.integers(len(joints), size=2))
            muscles.append(Muscle(a, b, bool(rng.random() < 0.5), 1.0, float(rng.uniform(0, math.tau))))
    try:
        return build_design(joints, muscles)[0]
    except ProgramError:
        return design


class Breeder:
    """Breeds walkers for a terrain.

    Args:
        generations: Generations after the random population.
        seed: Seed of everything random.
    """

    def __init__(self, generations: int, seed: int) -> None:
        self.generations, self.rng = generations, np.random.default_rng(seed)
        self.founders = [random_design(self.rng) for _ in range(POPULATION)]

    def walk(self, designs: Sequence[WalkerDesign], terrain: Terrain, record: bool = False) -> list[Rollout]:
        """Rolls out designs on a terrain."""
        return roll_out_many(designs, [terrain] * len(designs), record=record)

    def breed(self, terrain: Terrain, fits: Callable[[Rollout, WalkerDesign], bool]) -> list[WalkerDesign]:
        """The best walkers for a terrain among those that ``fits`` admits."""

        def score(designs: Sequence[WalkerDesign]) -> NDArray[np.float64]:
            rollouts = self.walk(designs, terrain)
            return np.array([abs(r.displacement) * fits(r, d) for r, d in zip(rollouts, designs, strict=True)])

        population, fitness = list(self.founders), score(self.founders)
        for _ in range(self.generations):
            best = np.argsort(-fitness, kind="stable")[:SURVIVORS]
            population, fitness = [population[i] for i in best], fitness[best]
            children = [mutate(population[int(self.rng.integers(SURVIVORS))], self.rng) for _ in range(CHILDREN)]
            population, fitness = population + children, np.concatenate([fitness, score(children)])
        return [population[i] for i in np.argsort(-fitness, kind="stable")[:SURVIVORS]]


def _resting_height(rollout: Rollout) -> float:
    assert rollout.trajectory is not None  # recorded
    return float(np.ptp(rollout.trajectory[0, :, 1]))


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=60, help="generations of 60 children (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the evolution strategy (default 0)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/terrains.md")
    options = parser.parse_args()
    breeder = Breeder(options.generations, options.seed)
    terrains = {name: make_terrain(name) for name in TERRAIN_NAMES}
    panels = {f"bred for {name}": breeder.breed(terrain, lambda r, d: True) for name, terrain in terrains.items()}
    panels["bred for Flat, leftwards"] = breeder.breed(terrains["Flat"], lambda r, d: r.displacement < 0)
    panels["bred for Flat, over 9 high"] = breeder.breed(terrains["Flat"], lambda r, d: d.height > 9)
    rows, walls, tunnel = [], [], []
    for panel, designs in panels.items():
        means = [np.mean([abs(r.displacement) for r in breeder.walk(designs, t)]) for t in terrains.values()]
        rows.append([f"{panel} ({SURVIVORS})", *(f"{mean:.1f}" for mean in means)])
        wall = breeder.walk(designs, terrains["LeftWall"], record=True)
        walked = [r.trajectory for r in wall if r.trajectory is not None and r.fault is None]
        leftmost = min(float(t[..., 0].min()) for t in walked)
        near = [t[..., 1][t[..., 0] < -START_HALF_WIDTH + 1.0] for t in walked]
        highest = max((float(heights.max()) for heights in near if heights.size), default=float("nan"))
        walls.append([panel, f"{leftmost + START_HALF_WIDTH:.2f}", f"{highest:.1f}"])
        through = breeder.walk(designs, terrains["Tunnel"], record=True)
        low = [r for r in through if _resting_height(r) < TUNNEL_HEIGHT]
        high = [r for r in through if _resting_height(r) >= TUNNEL_HEIGHT]
        reach = [
            f"{np.mean([abs(r.displacement) for r in group]):.1f} ({len(group)})" if group else "none"
            for group in (low, high)
        ]
        tunnel.append([panel, *reach])
    body = (
        f"{SURVIVORS} walkers a panel, seed {options.seed}, {options.generations} generations of {CHILDREN} children after "
        f"{POPULATION} random ones.\n\nMean distance (units) of each panel on each terrain:\n\n"
        + markdown_table(["panel", *TERRAIN_NAMES], rows)
        + "\n\nOn LeftWall: how near any joint's centre came to the wall's face (0.3 when touching, negative inside), and "
        "how high a joint was within 1 unit of the wall (the wall is 100 high):\n\n"
        + markdown_table(["panel", "nearest", "highest at the wall"], walls)
        + f"\n\nIn the tunnel, {TUNNEL_HEIGHT:g} high: mean distance of the walkers that are lower than it at rest, and of "
        f"those that are higher (in brackets how many). The mouth is {START_HALF_WIDTH:g} from the start:\n\n"
        + markdown_table(["panel", "lower at rest", "higher at rest"], tunnel)
    )
    publish("terrains", "Do the terrains ask for different walkers?", body, options.write)


if __name__ == "__main__":
    main()
