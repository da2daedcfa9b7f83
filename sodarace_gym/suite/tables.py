"""The page of results: Markdown tables, made of the rows alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sodarace_gym.suite.definition import Definition
from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.suite.figures import Comparison, Figures, compare_generators, groups_of
from sodarace_gym.suite.generator import Training
from sodarace_gym.suite.statistics import probability_of_improvement_interval
from sodarace_gym.suite.task import FIRST

if TYPE_CHECKING:
    import pandas as pd

_NOTHING = "–"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is left-aligned, the others right-aligned."""
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def results_page(results: pd.DataFrame, definition: Definition, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """All tables of some results.

    Args:
        results: As `sodarace_gym.suite.results` reads them.
        definition: The suite.
        pictures: Pictures to show: pairs of what is on it and the file's name.

    Returns:
        Markdown, without a heading.

    Raises:
        SuiteError: The results are of another version.
    """
    versions = sorted(set(results["version"]))
    if versions != [definition.version]:
        raise SuiteError(
            f"The results are of version {', '.join(versions)} of the suite, this package has version {definition.version}; "
            "install the version of sodarace-gym that they were made with."
        )
    parts = [_about(definition), *(f"![{text}]({file})" for text, file in pictures)]
    compared = compare_generators(results)
    if any(each.figures for each in compared):
        parts.insert(1, summary_table(compared))
    for comparison in compared:
        parts += _budget(comparison)
    learnt = {each.name: each.training for part in compared for each in part.figures if each.training != Training()}
    if learnt:
        header = ["generator", "evaluations", "model calls", "tokens", "seconds"]
        rows = [
            [name, f"{cost.evaluations:,}", f"{cost.model_calls:,}", f"{cost.tokens:,}", f"{cost.seconds:,.0f}"]
            for name, cost in learnt.items()
        ]
        parts += ["## What was spent before, as declared", markdown_table(header, rows)]
    failed = results[results["error"].notna()]
    if len(failed):
        parts += ["## Failures", "Each counts 0; `results.parquet` holds the tracebacks."]
        counts = failed.groupby(["generator", "error"], sort=True).size()
        rows = [[name, " ".join(error.replace("|", "\\|").split()), count] for (name, error), count in counts.items()]
        parts.append(markdown_table(["generator", "error", "tasks"], rows))
    return "\n\n".join(parts)


def summary_table(comparisons: Sequence[Comparison]) -> str:
    """One row a generator: its score at each budget, and what it cost before.

    Args:
        comparisons: Of `compare_generators`.

    Returns:
        Markdown, the best generator at the largest budget first; the best score at each budget is bold.
    """
    compared = [each for each in comparisons if each.figures]
    scores = {each.budget: {part.name: part.interval[0] for part in each.figures} for each in compared}
    learnt = {part.name: part.training.evaluations for each in compared for part in each.figures}

    def cell(name: str, budget: int) -> str:
        score = scores[budget].get(name, math.nan)
        return f"**{score:.2f}**" if score == max(scores[budget].values()) else _number(score)

    # One that has not done the largest budget stands behind those that have.
    order = sorted(learnt, key=lambda name: [-scores[budget].get(name, -math.inf) for budget in reversed(scores)])
    header = ["generator", *(f"best of {budget:,}" for budget in scores), "evaluations of training"]
    rows = [[name, *(cell(name, budget) for budget in scores), f"{learnt[name]:,}"] for name in order]
    return markdown_table(header, rows)


def _about(definition: Definition) -> str:
    provisional = (
        " The reference distances are provisional: they come from too few evaluations to stay."
        if definition.references.get("provisional")
        else ""
    )
    return (
        f"Version {definition.version} of the suite. A score is the least distance of a walker and "
        f"{definition.judged_copies} perturbed copies, in parts of the terrain's reference distance; of each task the program "
        f"counts that was best by what its generator could see, {definition.seen_copies} copies.{provisional} Scores are "
        "interquartile means over terrains and seeds, with 95% intervals of a stratified bootstrap. *Distinct*: different "
        "behaviours as a share of evaluated programs. *Swap*: how much more a task's best program is worth on its own terrain "
        "than another terrain's is there, and how often. Model calls, tokens and seconds are means of a task; evaluations of "
        "training came before, and are not in the budget."
    )


def _budget(comparison: Comparison) -> list[str]:
    figures = comparison.figures
    told = f"{len(comparison.terrains)} terrains, up to {comparison.seeds} seeds."
    if comparison.unfinished:
        rest = ", ".join(f"{name} ({done} of {all_})" for name, (done, all_) in comparison.unfinished.items())
        told += f" Not finished, and left out: {rest}."
    parts = [f"## {comparison.budget:,} evaluation{'s' * (comparison.budget > 1)}", told]
    if not figures:
        return parts
    firsts = [number for number in FIRST if number < comparison.budget]
    header = ["generator", f"best of {comparison.budget:,}", *(f"of {number}" for number in reversed(firsts))]
    header += ["valid %", "distinct %", "swap", "training evaluations", "model calls", "tokens", "seconds"]
    parts.append(markdown_table(header, [_row(each, len(firsts)) for each in figures]))
    groups = groups_of(figures)
    if len(groups) > 1:
        rows = [[each.name, *(_number(each.groups.get(group, math.nan)) for group in groups)] for each in figures]
        parts += ["By group of terrains:", markdown_table(["generator", *groups], rows)]
    if len(figures) > 1:
        parts += [
            "Probability of improvement, %: how likely a run of the row is better than one of the column.",
            markdown_table(["", *(each.name for each in figures)], [_against(each, figures) for each in figures]),
        ]
    return parts


def _row(each: Figures, firsts: int) -> list[str]:
    name = f"{each.name} ({each.failed} failed)" if each.failed else each.name
    swap = _NOTHING if math.isnan(each.swap) else f"{each.swap:+.2f} ({100 * each.swap_wins:.0f}%)"
    return [
        name,
        _interval(each.interval, 2),
        *(_number(value) for value in reversed(each.bests[:firsts])),
        f"{100 * each.valid:.0f}",
        f"{100 * each.distinct:.0f}",
        swap,
        f"{each.training.evaluations:,}",
        f"{each.model_calls:,.0f}",
        f"{each.tokens:,.0f}",
        f"{each.seconds:.1f}",
    ]


def _against(each: Figures, others: Sequence[Figures]) -> list[str]:
    cells = [each.name]
    for other in others:
        if other is each:
            cells.append(_NOTHING)
            continue
        chance = probability_of_improvement_interval(each.scores, other.scores)
        cells.append(_interval((100 * chance[0], 100 * chance[1], 100 * chance[2]), 0))
    return cells


def _interval(values: tuple[float, float, float], digits: int) -> str:
    mean, low, high = values
    if math.isnan(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _number(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.2f}"
