"""Does difficulty order the terrains? The mean distance of a fixed panel of walkers, for each family from easy to hard.

Usage: ``python -m benchmarks.difficulty [--seeds N] [--write]``. Takes about two minutes on two cores. The panel
(``benchmarks/panel.json``, see ``benchmarks.panel``) was bred on the paper's terrains and has met none of these families.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.panel import load_panel
from benchmarks.tables import markdown_table, publish
from sodarace_gym.physics.rollout import Rollout, roll_out_many
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.walkers.walker import WalkerDesign

DIFFICULTIES = (0.0, 0.25, 0.5, 0.75, 1.0)


def measure(
    designs: Sequence[WalkerDesign], family: str, difficulties: Sequence[float | None], seeds: Sequence[int]
) -> list[list[list[Rollout]]]:
    """Every design on every terrain: the roll-outs by difficulty, seed and design."""
    terrains = [[make_terrain(family, seed, difficulty) for seed in seeds] for difficulty in difficulties]
    return [[roll_out_many(designs, [ground] * len(designs)) for ground in row] for row in terrains]


def mean_distances(rollouts: Sequence[Sequence[Sequence[Rollout]]]) -> NDArray[np.float64]:
    """Mean distance at each difficulty, over seeds and designs, walker units; a fault counts 0."""
    return np.array([np.mean([[abs(r.displacement) for r in walks] for walks in row]) for row in rollouts])


def ranks(rollouts: Sequence[Sequence[Rollout]]) -> NDArray[np.float64]:
    """The rank of each design by its mean distance over seeds, 0 for the shortest; shape (designs,)."""
    means = np.mean([[abs(r.displacement) for r in walks] for walks in rollouts], axis=0)
    return means.argsort(kind="stable").argsort(kind="stable").astype(np.float64)


def main() -> None:
    """Measures, prints and optionally writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="terrains of each family and difficulty (default 4)")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), help="which families (default all)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/difficulty.md")
    options = parser.parse_args()
    designs, seeds = load_panel(), range(options.seeds)
    flat = ranks(measure(designs, "Flat", [None], [0])[0])
    rows, likeness = [], []
    for family in options.families:
        rollouts = measure(designs, family, DIFFICULTIES, seeds)
        means = mean_distances(rollouts)
        faults = [sum(r.fault is not None for walks in row for r in walks) for row in rollouts]
        rows.append(
            [
                family,
                *(f"{mean:.1f}" for mean in means),
                "yes" if (np.diff(means) < 0.0).all() else "**no**",
                f"{100.0 * sum(faults) / (len(designs) * len(seeds) * len(DIFFICULTIES)):.1f}",
            ]
        )
        likeness.append([family, *(f"{np.corrcoef(flat, ranks(row))[0, 1]:.2f}" for row in rollouts)])
        print(" | ".join(map(str, rows[-1])), file=sys.stderr, flush=True)
    paper = []
    for name in TERRAIN_NAMES:
        rollouts = measure(designs, name, [None], seeds if name == "Bumpy" else [0])
        faults = [sum(r.fault is not None for walks in row for r in walks) for row in rollouts]
        share = 100.0 * faults[0] / sum(len(walks) for walks in rollouts[0])
        paper.append([name, f"{mean_distances(rollouts)[0]:.1f}", f"{share:.1f}"])
    body = (
        f"Mean distance (units) of the panel's {len(designs)} walkers over {len(seeds)} terrains (seeds 0 to {len(seeds) - 1}) "
        "at each difficulty; a faulty walk counts 0.\n\n"
        + markdown_table(["family", *(f"{d:g}" for d in DIFFICULTIES), "falls at every step", "faulty walks, %"], rows)
        + "\n\nDo other walkers win there? Rank correlation (Spearman's) of the walkers' mean distances with those on Flat:\n\n"
        + markdown_table(["family", *(f"{d:g}" for d in DIFFICULTIES)], likeness)
        + "\n\nThe same panel on the paper's terrains, on which it was bred:\n\n"
        + markdown_table(["terrain", "mean distance", "faulty walks, %"], paper)
    )
    publish("difficulty", "Does difficulty order the terrains?", body, options.write)


if __name__ == "__main__":
    main()
