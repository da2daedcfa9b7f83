"""The figures of a generator, from rows written by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from sodarace_gym.suite.figures import compare_generators
from sodarace_gym.suite.generator import Training
from sodarace_gym.suite.results import COLUMNS
from sodarace_gym.suite.tables import summary_table


def row(generator: str, terrain: str, seed: int, best: float, **others: object) -> dict[str, object]:
    given = {
        "generator": generator, "version": "1", "terrain": terrain, "group": "paper", "budget": 8, "seed": seed,
        "evaluations": 8, "valid": 6, "behaviours": 4, "best_1": 1.0, "best_8": best, "best": best,
        "reference": 10.0 if terrain == "Flat" else 20.0, "model_calls": 2, "tokens": 30, "seconds": 1.5,
        "training_evaluations": 7, "training_seconds": 9.0, "training_tokens": 0, "training_model_calls": 0,
    }  # fmt: skip
    return given | others


def table(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS)).astype({name: kind for name, (kind, _) in COLUMNS.items()})


def test_scores_are_parts_of_the_reference_and_swaps_are_what_a_program_is_worth_at_home():
    [comparison] = compare_generators(
        table(
            [
                row("a", "Flat", 0, 10.0, swapped=4.0),
                row("a", "Flat", 1, 20.0, swapped=22.0),
                row("a", "Tunnel", 0, 10.0, swapped=6.0),
                row("a", "Tunnel", 1, 0.0, error="Bad: luck", evaluations=0, valid=0, behaviours=0),
            ]
        )
    )
    assert (comparison.budget, comparison.terrains, comparison.seeds) == (8, ("Flat", "Tunnel"), 2)
    [figures] = comparison.figures
    assert figures.scores.tolist() == [[1.0, 0.5], [2.0, 0.0]]
    assert figures.interval[0] == 0.75, "the mean of the middle two"
    assert figures.bests[:2] == pytest.approx((0.075, 0.75))
    assert math.isnan(figures.bests[2]), "a best of 64 is none of 8"
    assert figures.groups == {"paper": 0.75}
    assert figures.valid == 18 / 24
    assert figures.distinct == 12 / 24
    assert figures.swap == pytest.approx((0.6 - 0.2 + 0.2) / 3)
    assert figures.swap_wins == pytest.approx(2 / 3)
    assert figures.training == Training(evaluations=7, seconds=9.0)
    assert (figures.model_calls, figures.tokens, figures.seconds, figures.failed) == (2.0, 30.0, 1.5, 1)


def test_generators_are_ranked_and_those_that_lack_terrains_are_named():
    whole = [
        row(name, terrain, 0, best) for name, best in (("low", 2.0), ("high", 9.0)) for terrain in ("Flat", "Tunnel")
    ]
    other = row("high", "Flat", 0, 3.0, budget=1)
    comparisons = compare_generators(table([*whole, row("part", "Flat", 0, 99.0), other]))
    assert [each.budget for each in comparisons] == [1, 8]
    assert [each.name for each in comparisons[1].figures] == ["high", "low"]
    assert comparisons[1].unfinished == {"part": (1, 2)}
    assert math.isnan(comparisons[1].figures[0].interval[1]), "one seed carries no interval"
    assert math.isnan(comparisons[1].figures[0].swap), "no swap was done"


def test_the_summary_ranks_by_the_largest_budget_and_marks_the_best_of_each():
    rows = [
        row(name, terrain, 0, best * (1.0 if terrain == "Flat" else 2.0), budget=budget)
        for name, budget, best in (
            ("low", 1, 4.0),
            ("low", 8, 5.0),
            ("high", 1, 3.0),
            ("high", 8, 9.0),
            ("quick", 1, 2.0),
        )
        for terrain in ("Flat", "Tunnel")
    ]
    assert summary_table(compare_generators(table(rows))).splitlines() == [
        "| generator | best of 1 | best of 8 | evaluations of training |",
        "|---|---:|---:|---:|",
        "| high | 0.30 | **0.90** | 7 |",
        "| low | **0.40** | 0.50 | 7 |",
        "| quick | 0.20 | – | 7 |",
    ]
