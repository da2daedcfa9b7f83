"""Running generators: which cells there are, which are done, and the rest side by side on any joblib backend.

What is done is kept line by line, so that a run that was killed goes on with what is missing. A row depends on its cell alone:
the results are the same for any number of workers, in any order, with or without a stop in between.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import joblib

from sodarace_gym.evaluation import ParallelMap
from sodarace_gym.suite.cell import Cell, Swap, lenders_of, play, play_swap
from sodarace_gym.suite.definition import Definition, load_definition
from sodarace_gym.suite.entry import Entry
from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.suite.log import GeneratorLog

Job = TypeVar("Job", Cell, Swap)

DEFAULT_BUDGETS = (1, 8, 64, 1000)
"""Budgets that are run where none are named: all but the largest."""
WAVE = 8
"""Jobs a worker that are sent at a time to backends that give back nothing before all is done."""


@dataclass(frozen=True)
class Plan:
    """What is to be run of the suite.

    Attributes:
        terrains: Texts of terrains; with no groups either, all.
        groups: Names of groups of terrains.
        budgets: Evaluations a task.
        seeds: Seeds of the repetitions; empty for those of the suite.
        n_jobs: Cells side by side; -1 for one a core.
        backend: ``"loky"`` (processes on this machine), ``"dask"`` or ``"ray"`` (a cluster that was connected to), or another
            one that joblib knows.
    """

    terrains: Sequence[str] = ()
    groups: Sequence[str] = ()
    budgets: Sequence[int] = DEFAULT_BUDGETS
    seeds: Sequence[int] = ()
    n_jobs: int = -1
    backend: str = "loky"

    def cells(self, entry: Entry, definition: Definition) -> list[Cell]:
        """All cells of a generator: the cheap ones first, then terrain by terrain.

        Raises:
            SuiteError: A terrain, group, budget or seed is not one of the suite.
        """
        for name, given, known in (
            ("budget", self.budgets, definition.budgets),
            ("seed", self.seeds, definition.seeds),
        ):
            for value in given:
                if value not in known:
                    raise SuiteError(f"{value} is no {name} of the suite; it has {', '.join(map(str, known))}.")
        terrains = definition.chosen(self.terrains, self.groups)
        return [
            Cell(entry, terrain.text, budget, seed)
            for budget in sorted(set(self.budgets))
            for seed in sorted(set(self.seeds or definition.seeds))
            for terrain in terrains
        ]


@dataclass
class Progress:
    """How a run went.

    Attributes:
        name: Of the generator.
        kept: Cells that were done before.
        done: Cells that were run.
        failed: Rows of cells in which the generator raised.
    """

    name: str
    kept: int = 0
    done: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)


def run_suite(
    entry: Entry,
    out: Path,
    plan: Plan | None = None,
    *,
    definition: Definition | None = None,
    told: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> Progress:
    """Runs what is missing of a generator's cells, and then its swap test.

    Cells in which the generator raised are run again.

    Args:
        entry: The generator.
        out: Folder of the results, which several generators share.
        plan: What to run; all seeds and terrains at the smaller budgets where there is none.
        definition: The suite; the one that the package ships where there is none.
        told: Called after each cell with how many are done, of how many, and its row.

    Raises:
        SuiteError: The generator cannot be loaded, or the folder holds results of another version of it or of the suite.
        ValueError: The backend is unknown, or n_jobs is no number of workers.
        ImportError: The backend's package is missing.
        RuntimeError: There is no connection to the backend's cluster.
    """
    plan, definition = plan or Plan(), definition or load_definition()
    cells = plan.cells(entry, definition)
    ParallelMap(plan.n_jobs, plan.backend)  # says what is wrong with either
    name = entry.make().name
    with GeneratorLog(out, name, entry, definition) as log, warnings.catch_warnings():
        # A worker that has loaded a large library is taken for one that leaks, and is replaced; no job is lost.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        missing = [cell for cell in cells if cell.key not in log.done]
        progress = Progress(name, kept=len(cells) - len(missing))
        for number, row in enumerate(_rows(play, missing, plan, definition), start=progress.kept + 1):
            log.add_cell(row)
            progress.done += 1
            if row["error"] is not None:
                progress.failed.append(row)
            if told is not None:
                told(number, len(cells), row)
        swaps = [swap for swap in _swaps(cells, log) if swap.key not in log.swapped]
        for row in _rows(play_swap, swaps, plan, definition):
            log.add_swap(row)
    return progress


def _swaps(cells: Sequence[Cell], log: GeneratorLog) -> Iterator[Swap]:
    """Each champion on another terrain, for the budgets and seeds of some cells."""
    for budget, seed in dict.fromkeys((cell.budget, cell.seed) for cell in cells):
        # All terrains that are done, also those of earlier commands: tables make the circle through all of them.
        terrains = [terrain for terrain, *rest in log.done if rest == [budget, seed]]
        for terrain, lender in lenders_of(terrains).items():
            yield Swap(terrain, budget, seed, lender, log.done[lender, budget, seed]["program"])


def _rows(
    work: Callable[[Job, Definition], dict[str, Any]], jobs: Sequence[Job], plan: Plan, definition: Definition
) -> Iterator[dict[str, Any]]:
    """The rows of some jobs, as they are done."""
    if plan.n_jobs == 1:
        for job in jobs:
            yield work(job, definition)
        return
    with joblib.parallel_config(backend=plan.backend):
        try:
            parallel = joblib.Parallel(n_jobs=plan.n_jobs, batch_size=1, return_as="generator_unordered")
            waves: Iterable[Sequence[Job]] = [jobs]
        except ValueError:  # Dask and Ray hand over all results at once
            parallel = joblib.Parallel(n_jobs=plan.n_jobs, batch_size=1)
            size = WAVE * max(1, joblib.effective_n_jobs(plan.n_jobs))
            waves = [jobs[begin : begin + size] for begin in range(0, len(jobs), size)]
        for wave in waves:
            # As text: a cluster would look for values of its own in what is sent.
            yield from map(json.loads, parallel(joblib.delayed(_worked)(work, job, definition) for job in wave))


def _worked(work: Callable[[Job, Definition], dict[str, Any]], job: Job, definition: Definition) -> str:
    return json.dumps(work(job, definition))
