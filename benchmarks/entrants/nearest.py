"""Known walkers: those of the terrain of a cross table that looks most like the one that is asked about."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from elm_rl.corpus.cross_table import TABLE_FILE, CrossTable, load_cross_table
from elm_rl.judging.selection_baselines import nearest_terrain
from elm_rl.report.ledger import read_entries
from elm_rl.runs.run_directory import read_json
from sodarace_gym.suite import Task, Training


class NearestElite:
    """The walkers that are best, copies included, on the nearest terrain of a cross table, best first.

    Args:
        cross_table: Folder of ``elm-rl cross-table``. Its runs and its roll-outs count as training.
    """

    name = "nearest elite"

    def __init__(self, cross_table: str) -> None:
        self.folder = Path(cross_table)
        runs = [Path(run) for run in read_json(self.folder / TABLE_FILE)["config"]["evolution"]]
        entries = [entry for folder in (self.folder, *runs) for entry in read_entries(folder)]
        self.training = Training(
            evaluations=sum(entry.evaluations or 0 for entry in entries),
            seconds=sum(entry.seconds or 0.0 for entry in entries),
        )

    def generate(self, task: Task, rng: np.random.Generator) -> Iterable[str]:
        """See ``Generator``."""
        table = _table(self.folder)
        [best] = nearest_terrain(list(table.terrains.values()), table.least, [task.terrain], task.budget)
        return [table.walkers[place].program for place in best]


@lru_cache
def _table(folder: Path) -> CrossTable:
    return load_cross_table(folder)
