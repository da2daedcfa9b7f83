"""Known walkers: those of the terrain of a cross table that looks most like the one that is asked about."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.entrants.costs import spent_in
from elm_rl.corpus.cross_table import TABLE_FILE, CrossTable, load_cross_table
from elm_rl.judging.selection_baselines import nearest_terrain
from elm_rl.runs.run_directory import read_json
from sodarace_gym.suite import Task


class NearestElite:
    """The walkers that are best, copies included, on the nearest terrain of a cross table, best first.

    Args:
        cross_table: Folder of ``elm-rl cross-table``. Its runs and its roll-outs count as training.
    """

    name = "nearest elite"

    def __init__(self, cross_table: str) -> None:
        self.folder = Path(cross_table)
        runs = read_json(self.folder / TABLE_FILE)["config"]["evolution"]
        self.training = spent_in([cross_table, *runs])

    def generate(self, task: Task, rng: np.random.Generator) -> Iterable[str]:
        """See ``Generator``."""
        table = _table(self.folder)
        [best] = nearest_terrain(list(table.terrains.values()), table.least, [task.terrain], task.budget)
        return [table.walkers[place].program for place in best]


@lru_cache
def _table(folder: Path) -> CrossTable:
    return load_cross_table(folder)
