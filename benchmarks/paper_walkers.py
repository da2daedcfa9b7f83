"""Do walkers built to the paper's descriptions walk here, and the seeds hardly?

Usage: ``python -m benchmarks.paper_walkers [--write]``. Takes seconds; nothing in it is random.
"""

from __future__ import annotations

import argparse

from benchmarks.tables import markdown_table, publish
from elm_rl.seeds import SEED_NAMES, load_seed
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrain import TERRAIN_NAMES

WHEEL = """
def make_walker():
    wc = walker_creator()
    hub = wc.add_joint(8.0, 9.0)
    rim = [wc.add_joint(1.5 * math.cos(math.tau * i / 8), 1.5 * math.sin(math.tau * i / 8)) for i in range(8)]
    for i in range(8):
        wc.add_muscle(rim[i], rim[(i + 1) % 8])
        wc.add_muscle(rim[i], rim[(i + 2) % 8])
        wc.add_muscle(rim[i], hub, False, 3.0, math.tau * i / 8)
    return wc.get_walker()
"""
"""Eight rim joints of radius 1.5 around a hub far up and to the side; spokes with growing phase: 9 joints, 24 muscles."""

RUNNER = """
def make_walker():
    wc = walker_creator()
    cells = [(column, row) for column in range(8) for row in range(5)]
    ids = [wc.add_joint(2.0 * column, 2.0 * row) for column, row in cells]
    for i in range(40):
        for j in range(i + 1, 40):
            columns = cells[j][0] - cells[i][0]
            rows = abs(cells[j][1] - cells[i][1])
            if columns >= 4:
                wc.add_muscle(ids[i], ids[j], False, 0.6 * columns, 1.0 * cells[i][0])
            elif columns <= 1 and rows <= 1:
                wc.add_muscle(ids[i], ids[j])
    return wc.get_walker()
"""
"""A grid of 5 x 8 joints with spacing 2 whose active muscles join columns four or more apart; plain ones join neighbours."""


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/paper_walkers.md")
    options = parser.parse_args()
    programs = {"wheel": WHEEL, "runner": RUNNER, **{f"seed {name}": load_seed(name) for name in SEED_NAMES}}
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
