"""The terrain x program matrix: chosen programs down, terrains across, and in each cell a walk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from elm_rl.report.figures import part
from elm_rl.report.viewer.history import History
from sodarace_gym.terrains.paper import PAPER_FAMILIES

MOST_ROWS = 16
"""Programs of a matrix."""


class Row(NamedTuple):
    """A program of the matrix.

    Attributes:
        name: What it is called.
        program: Its text.
        record: Its place among the records; None for one that evolution did not find.
    """

    name: str
    program: str
    record: int | None


def matrix_rows(history: History, summary: Mapping[str, Any]) -> list[Row]:
    """Chooses programs: stage 3's best for each terrain, then the best elite of each archive, each text once.

    Args:
        history: The runs.
        summary: Of a pipeline; of anything else it holds none.
    """
    rows: dict[str, Row] = {}
    places = {record.program: place for place, record in enumerate(history.records) if record.elite}
    for terrain, best in part(summary, "stage3", "best_programs").items():
        if isinstance(best.get("program"), str):
            program = best["program"]
            rows.setdefault(program, Row(f"stage 3, asked for {terrain}", program, places.get(program)))
    for place in history.champions():
        record = history.records[place]
        name = f"best of {record.line['archive']}"
        if len(history.runs) > 1 and "/" not in name:
            name += f" ({record.terrain})"
        rows.setdefault(record.program, Row(name, record.program, place))
    return list(rows.values())[:MOST_ROWS]


def matrix_terrains(history: History, summary: Mapping[str, Any]) -> list[str]:
    """The terrains: those of the runs, those of stage 3, and the paper's five; each once, as the texts that name them."""
    own = [record.terrain for record in history.records]
    return list(dict.fromkeys([*own, *part(summary, "stage3").get("terrains", []), *PAPER_FAMILIES]))
