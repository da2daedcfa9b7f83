"""What is reported of a generator at a budget, from the rows of its cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from sodarace_gym.suite.generator import Training
from sodarace_gym.suite.results import needed
from sodarace_gym.suite.statistics import Scores, interquartile_mean, interquartile_mean_interval
from sodarace_gym.suite.task import FIRST

if TYPE_CHECKING:
    import pandas as pd

BESTS = (*(f"best_{number}" for number in FIRST), "best")


@dataclass(frozen=True)
class Figures:
    """A generator at a budget. Scores are distances in parts of the terrain's reference distance.

    Attributes:
        name: Of the generator.
        scores: Of the best of the budget, shape (seeds, terrains), terrains in the order of the results.
        interval: Their interquartile mean and its 95% interval.
        bests: Interquartile means of the best of the first 1, 8 and 64 and of the budget; NaN where the budget is smaller.
        groups: The interquartile mean by group of terrains.
        valid: Share of evaluated programs that were walkers.
        distinct: Different behaviours as a share of evaluated programs.
        swap: What a champion is worth on its own terrain more than another terrain's champion is there, mean; NaN where no
            swaps are done.
        swap_wins: Share of swaps in which it is worth more.
        training: What it took before the first task, as declared.
        evaluations: Evaluations a task, mean.
        model_calls: Calls of models a task, mean.
        tokens: Tokens a task, mean.
        seconds: Wall time a task, mean, s.
        failed: Cells in which the generator raised; each counts 0.
    """

    name: str
    scores: Scores
    interval: tuple[float, float, float]
    bests: tuple[float, ...]
    groups: dict[str, float]
    valid: float
    distinct: float
    swap: float
    swap_wins: float
    training: Training
    evaluations: float
    model_calls: float
    tokens: float
    seconds: float
    failed: int


@dataclass(frozen=True)
class Comparison:
    """All generators at one budget.

    Attributes:
        budget: Evaluations a task.
        terrains: Texts of the terrains.
        seeds: Most seeds that a generator has.
        figures: Of those that have done all terrains, the best interquartile mean first.
        unfinished: How many cells the others have done, and of how many, by name.
    """

    budget: int
    terrains: tuple[str, ...]
    seeds: int
    figures: tuple[Figures, ...]
    unfinished: dict[str, tuple[int, int]]


def compare_generators(results: pd.DataFrame) -> list[Comparison]:
    """The figures of all generators, budget by budget.

    Args:
        results: As `sodarace_gym.suite.results` reads them.
    """
    return [_at(rows, int(budget)) for budget, rows in results.groupby("budget", sort=True)]


def _at(results: pd.DataFrame, budget: int) -> Comparison:
    terrains = tuple(sorted(set(results["terrain"])))
    figures, unfinished = [], {}
    for name, rows in results.groupby("generator", sort=True):
        wanted = len(terrains) * rows["seed"].nunique()
        if len(rows) < wanted:
            unfinished[str(name)] = len(rows), wanted
        else:
            figures.append(_figures(str(name), rows))
    figures.sort(key=lambda each: -each.interval[0])
    return Comparison(budget, terrains, results["seed"].nunique(), tuple(figures), unfinished)


def _figures(name: str, rows: pd.DataFrame) -> Figures:
    scores = _matrix(rows, "best")
    worth = ((rows["best"] - rows["swapped"]) / rows["reference"]).dropna()
    evaluations = max(1, int(rows["evaluations"].sum()))
    return Figures(
        name=name,
        scores=scores,
        interval=interquartile_mean_interval(scores),
        bests=tuple(_mean(rows, column) for column in BESTS),
        groups={str(group): _mean(part, "best") for group, part in rows.groupby("group", sort=False)},
        valid=float(rows["valid"].sum()) / evaluations,
        distinct=float(rows["behaviours"].sum()) / evaluations,
        swap=float(worth.mean()) if len(worth) else np.nan,
        swap_wins=float((worth > 0).mean()) if len(worth) else np.nan,
        training=_training(rows),
        evaluations=float(rows["evaluations"].mean()),
        model_calls=float(rows["model_calls"].mean()),
        tokens=float(rows["tokens"].mean()),
        seconds=float(rows["seconds"].mean()),
        failed=int(rows["error"].notna().sum()),
    )


def _training(rows: pd.DataFrame) -> Training:
    pandas = needed("pandas")
    # None where it was not known, because the generator could not be made.
    spent = {field.name: rows[f"training_{field.name}"].max() for field in fields(Training)}
    known = {name: value for name, value in spent.items() if pandas.notna(value)}
    whole = {name: int(value) for name, value in known.items() if name != "seconds"}
    return Training(**whole, seconds=float(known.get("seconds", 0.0)))


def _matrix(rows: pd.DataFrame, column: str) -> Scores:
    parts = rows.assign(score=rows[column] / rows["reference"])
    table: Scores = parts.pivot(index="seed", columns="terrain", values="score").to_numpy(dtype=np.float64)
    return table


def _mean(rows: pd.DataFrame, column: str) -> float:
    return float("nan") if rows[column].isna().any() else interquartile_mean(_matrix(rows, column))


def groups_of(figures: Iterable[Figures]) -> list[str]:
    """The groups of terrains that some figures are about, in order."""
    return list(dict.fromkeys(group for each in figures for group in each.groups))
