"""Reading a run's summary: what an older version or an unfinished run left out is a dash in the report, and no error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"
"""Stands for a figure that the summary does not hold."""


def part(figures: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What the summary holds under these nested keys; an empty mapping if there is nothing."""
    for key in keys:
        figures = figures.get(key) or {}
    return figures


def figure(figures: Mapping[str, Any], key: str, form: str = "") -> str:
    """A figure as text, in a form that ``format`` knows, or ``MISSING``."""
    value = figures.get(key)
    return MISSING if value is None else format(value, form)


def terrains_of(stage3: Mapping[str, Any]) -> list[str]:
    """The terrains of stage 3, in the order of its matrices."""
    listed = stage3.get("terrains")
    return list(next(iter(part(stage3, "generators").values()), {}) if listed is None else listed)


def matrices_of(stage3: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """The terrain x terrain matrices of stage 3 by the generator's name: those that fit the terrains."""
    size = len(terrains_of(stage3))
    return {name: matrix for name, matrix in part(stage3, "matrices").items() if len(matrix) == size > 0}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table: the first column to the left, figures to the right; a sentence if there are no rows."""
    if not rows:
        return "Not recorded by this run."
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    lines += ["| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in row) + " |" for row in rows]
    return "\n".join(lines)
