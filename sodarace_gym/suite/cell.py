"""One cell of the benchmark: a generator on a terrain, with a budget and a seed; and what of it is kept."""

from __future__ import annotations

import hashlib
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sodarace_gym.arguments import shown
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.suite.definition import Definition, SuiteTerrain
from sodarace_gym.suite.entry import Entry
from sodarace_gym.suite.errors import BudgetSpent, SuiteError
from sodarace_gym.suite.generator import Generator, training_of
from sodarace_gym.suite.task import FIRST, Champion, Task

_one_at_a_time = threading.Lock()
"""Generators may draw from generators of the whole process (torch's): cells that share one run one after the other."""

_SHUFFLE = 7
"""Seed of the circle of terrains in which each lends its champion to the next."""


@dataclass(frozen=True)
class Cell:
    """What is to be run.

    Attributes:
        entry: The generator.
        terrain: Text of a terrain of the suite.
        budget: Evaluations.
        seed: Seed of the repetition.
    """

    entry: Entry
    terrain: str
    budget: int
    seed: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells the cells of a generator apart."""
        return self.terrain, self.budget, self.seed

    def command(self) -> str:
        """The command that reproduces it."""
        where = f"--terrains {self.terrain} --budgets {self.budget} --seeds {self.seed}"
        return f"{self.entry.command()} {where} --out runs/one-cell"


@dataclass(frozen=True)
class Swap:
    """A champion of another terrain, to be judged on this one.

    Attributes:
        terrain: Text of the terrain to walk on.
        budget: Of the cell whose champion it is.
        seed: Of that cell.
        lender: Text of the terrain that it was found for.
        program: Its text; None where that cell found nothing.
    """

    terrain: str
    budget: int
    seed: int
    lender: str
    program: str | None

    @property
    def key(self) -> tuple[str, int, int, str]:
        """What tells the swaps of a generator apart."""
        return self.terrain, self.budget, self.seed, self.lender


def cell_rng(terrain: str, seed: int) -> np.random.Generator:
    """The randomness of a cell. Of another budget it is the same: who does not look at the budget only goes on."""
    digest = hashlib.blake2b(terrain.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def play(cell: Cell, definition: Definition) -> dict[str, Any]:
    """Runs a cell.

    A generator that raises ends the cell: what it raised is in the row, and nothing that it found counts.

    Returns:
        The row, see :data:`sodarace_gym.suite.results.COLUMNS`; distances in walker units.
    """
    terrain = definition.of(cell.terrain)
    row: dict[str, Any] = {"terrain": cell.terrain, "group": terrain.group, "budget": cell.budget, "seed": cell.seed}
    start = time.perf_counter()
    with _one_at_a_time, _evaluator(definition, definition.seen_copies) as evaluator:
        task = Task(cell.terrain, terrain.terrain(), cell.budget, evaluator, definition.behaviour)
        fault: BaseException | None = None
        try:
            generator = cell.entry.make()
            row |= {f"training_{name}": value for name, value in asdict(training_of(generator)).items()}
            run_generator(generator, task, cell_rng(cell.terrain, cell.seed))
        except (Exception, SystemExit) as error:  # whatever it is, it is the generator's
            fault = error
    row["seconds"] = time.perf_counter() - start
    return row | _figures(task, terrain, definition, fault) | {"command": cell.command()}


def run_generator(generator: Generator, task: Task, rng: np.random.Generator) -> None:
    """Has a generator spend a task: by itself, and by the programs that it returns."""
    try:
        programs = generator.generate(task, rng)
        if programs is not None and not isinstance(programs, Iterable):
            raise SuiteError(f"generate: expected program texts or None, got {shown(programs)}.")
        if programs is not None and task.left > 0:
            task.evaluate(programs)
    except BudgetSpent:
        pass


def judge(pairs: Sequence[tuple[str, SuiteTerrain]], definition: Definition) -> list[float]:
    """The least distance of each walker and its copies, more of them than generators see, walker units."""
    with _evaluator(definition, definition.judged_copies) as evaluator:
        grounds = [terrain.terrain() for _, terrain in pairs]
        return [each.score for each in evaluator.evaluate([program for program, _ in pairs], grounds)]


def play_swap(swap: Swap, definition: Definition) -> dict[str, Any]:
    """Judges a champion on another terrain than its own: a row with its ``distance``, walker units."""
    distance = 0.0
    if swap.program is not None:
        distance = judge([(swap.program, definition.of(swap.terrain))], definition)[0]
    return {
        "terrain": swap.terrain,
        "budget": swap.budget,
        "seed": swap.seed,
        "lender": swap.lender,
        "distance": distance,
    }


def lenders_of(terrains: Iterable[str]) -> dict[str, str]:
    """Who lends each terrain its champion: the next in a random circle through all of them, the same for all generators."""
    texts = sorted(set(terrains))
    order = [texts[place] for place in np.random.default_rng(_SHUFFLE).permutation(len(texts))]
    return dict(zip(order, order[1:] + order[:1], strict=True)) if len(order) > 1 else {}


def _evaluator(definition: Definition, copies: int) -> Evaluator:
    return Evaluator(n_jobs=1, duration=definition.duration, robustness=copies, gait=True)


def _figures(task: Task, terrain: SuiteTerrain, definition: Definition, fault: BaseException | None) -> dict[str, Any]:
    books = task.books
    # Who used less than so many evaluations has found by then what it found in all.
    champions: dict[str, Champion | None] = {
        f"best_{number}": books.first.get(number, books.champion) for number in FIRST if number <= task.budget
    }
    champions["best"] = books.champion
    if fault is not None:
        champions = dict.fromkeys(champions)
    texts = list(dict.fromkeys(each.program for each in champions.values() if each is not None))
    distances = dict(zip(texts, judge([(text, terrain) for text in texts], definition), strict=True))
    best = {name: distances[each.program] if each else 0.0 for name, each in champions.items()}
    return {
        "evaluations": books.evaluations,
        "valid": books.valid,
        "behaviours": len(books.behaviours),
        **{f"best_{number}": best.get(f"best_{number}") for number in FIRST},  # None where the budget is smaller
        "best": best["best"],
        "seen": champions["best"].score if champions["best"] else 0.0,
        "reference": terrain.reference,
        "model_calls": books.model_calls,
        "tokens": books.tokens,
        "evaluation_seconds": books.seconds,
        "program": champions["best"].program if champions["best"] else None,
        "error": None if fault is None else _writable(_sentence(fault)),
        "traceback": None if fault is None else _writable("".join(traceback.format_exception(fault))),
    }


def _sentence(fault: BaseException) -> str:
    """What an exception of an entrant says, where that can be found out."""
    try:
        return f"{type(fault).__name__}: {fault}"
    except Exception:  # of its __str__
        return f"{type(fault).__name__}: its text cannot be made"


def _writable(text: str) -> str:
    """A text that every file takes: half of a pair of surrogates is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
