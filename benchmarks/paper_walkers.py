"""Do walkers built to the paper's descriptions walk here, and the seeds hardly?

Usage: ``python -m benchmarks.paper_walkers [--write]``. Takes seconds; nothing in it is random.
"""

from __future__ import annotations

import argparse

from benchmarks.tables import markdown_table, publish
from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.walkers.library import load_walker


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/paper_walkers.md")
    options = parser.parse_args()
    programs = {name: load_walker(name) for name in ("wheel", "runner")} | {
        f"seed {name}": load_seed(name) for name in SEED_NAMES
    }
    rows = []
    with Evaluator() as evaluator:
        by_terrain = [evaluator.evaluate(list(programs.values()), terrain) for terrain in TERRAIN_NAMES]
    for index, name in enumerate(programs):
        design = by_terrain[0][index].design
        assert design is not None  # these programs are ours
        size = f"{len(design.joints)} / {len(design.muscles)}"
        rows.append([name, size, *(f"{evaluations[index].displacement:+.1f}" for evaluations in by_terrain)])
    body = "Displacement along x in 10 s, units, after settling:\n\n" + markdown_table(
        ["walker", "joints / muscles", *TERRAIN_NAMES], rows
    )
    publish("paper_walkers", "Do the paper's walkers walk here?", body, options.write)


if __name__ == "__main__":
    main()
