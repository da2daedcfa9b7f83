"""Tables of a page: archives, operators and rounds, generators of stage 3, and benchmark tables from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from elm_rl.errors import ElmError
from elm_rl.report.figures import MISSING, figure, matrices_of, part, terrains_of
from elm_rl.report.gallery import GENERATOR_NAMES
from elm_rl.runs.run_directory import read_text

MOST_ROWS = 2_000
"""Rows of a table that a page shows."""

Table = dict[str, Any]
"""``title``, ``note``, ``columns`` and ``rows``: texts, written as they are to be read."""


def evolution_tables(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], name: str) -> list[Table]:
    """Archives and operators of an evolution run.

    Args:
        summary: The run's summary; empty while it goes on.
        metrics: Lines of its metrics.jsonl.
        name: What the run is called.
    """
    last = summary or (metrics[-1] if metrics else {})
    rows = [
        [each, figure(figures, "niches", ","), figure(figures, "qd_score", ",.0f"), figure(figures, "best", ".2f")]
        for each, figures in part(last, "archives").items()
    ]
    if rows:
        rows.append(
            [
                "best over all",
                figure(last, "niches", ","),
                figure(last, "qd_score", ",.0f"),
                figure(last, "best", ".2f"),
            ]
        )
    tables = [_table(f"{name}: archives", "", ["archive", "niches", "QD score", "best distance"], rows)]
    operators = []
    for number, phase in enumerate(summary.get("phases") or _phases(metrics), start=1):
        span = f"{number} ({figure(phase, 'first_iteration')} to {figure(phase, 'last_iteration')})"
        for operator, counts in part(phase, "operators").items():
            proposed = counts.get("proposed") or 0
            shares = [
                f"{100.0 * counts[key] / proposed:.1f}" if proposed and key in counts else MISSING
                for key in ("applied", "valid", "new", "admitted")
            ]
            gain = f"{counts['gain'] / proposed:.2f}" if proposed and "gain" in counts else MISSING
            operators.append([span, operator, f"{proposed:,}", *shares, gain])
    note = (
        "Shares of an operator's children: applied, a program came out; valid, it built a walker; new, the run had not seen "
        "that walker; admitted, an archive took it. Gain: QD score a child added. All fall as archives fill: compare within "
        "a phase. A phase begins where a round of training has made another operator."
    )
    columns = ["phase (iterations)", "operator", "children", "applied %", "valid %", "new %", "admitted %", "gain"]
    return [*tables, _table(f"{name}: operators and rounds", note, columns, operators)]


def _phases(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the summary of a run that goes on would say of its phases, from its metrics."""
    phases: dict[Any, dict[str, Any]] = {}
    for line in metrics:
        if not line.get("iteration"):
            continue
        first = {"first_iteration": line["iteration"], "operators": {}}
        phase = phases.setdefault(line.get("phase", 1), first)
        phase["last_iteration"] = line["iteration"]
        for operator, counts in part(line, "operators").items():
            sums = phase["operators"].setdefault(operator, {})
            for key, value in counts.items():
                sums[key] = sums.get(key, 0) + value
    return list(phases.values())


def pipeline_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Stage 2's samples, stage 3's generators and terrain x terrain matrices, and the times, from a pipeline's summary."""
    quality, stage3 = part(summary, "stage2", "quality"), part(summary, "stage3")
    forms = {"count": ",", "valid_percent": ".1f", "distinct_percent": ".1f", "niches": ",", "qd_score": ",.0f",
             "mean_fitness": ".1f", "best_fitness": ".1f"}  # fmt: skip
    samples = [
        [label, *(figure(part(quality, key), name, form) for name, form in forms.items())]
        for key, label in (("model", "stage 2 samples"), ("corpus", "corpus programs"))
        if key in quality
    ]
    columns = ["", "programs", "valid %", "distinct %", "niches", "QD score", "mean distance", "best"]
    tables = [
        _table("Stage 2: a language model of walkers", "As many samples of each in a fresh map.", columns, samples)
    ]
    terrains = terrains_of(stage3)
    rows = [
        [
            GENERATOR_NAMES.get(name, name),
            terrain,
            *(figure(part(figures, terrain), key, form) for key, form in _SCORES),
        ]
        for name, figures in part(stage3, "generators").items()
        for terrain in terrains
    ]
    note = "Fresh programs of each generator on every terrain. Mean and best: the least distance of a walker and its copies."
    columns = ["generator", "terrain", "samples", "mean", "best", "valid %", "different walkers", "copies of known %"]
    tables.append(_table("Stage 3: the right walker for the terrain", note, columns, rows))
    for name, matrix in matrices_of(stage3).items():
        rows = [
            [f"asked for {terrain}", *(f"{value:.1f}" for value in row)]
            for terrain, row in zip(terrains, matrix, strict=True)
        ]
        columns = ["mean distance", *(f"on {terrain}" for terrain in terrains)]
        tables.append(_table(f"Terrain x terrain: {GENERATOR_NAMES.get(name, name)}", "", columns, rows))
    times = [[name, figure(part(summary, "timing"), name, ".1f")] for name in part(summary, "timing")]
    tables.append(_table("Time taken", "", ["part", "seconds"], times))
    return [table for table in tables if table["rows"]]


_SCORES = (
    ("samples", ","), ("mean", ".1f"), ("best", ".1f"), ("valid_percent", ".0f"), ("distinct", ","), ("copies_percent", ".0f"),
)  # fmt: skip


def read_tables(path: Path) -> list[Table]:
    """The tables of a file: all of a Markdown page, or the one of a CSV or Parquet file.

    Raises:
        ElmError: The file cannot be read, holds no table, or is of another kind.
    """
    if path.suffix == ".md":
        tables = _markdown_tables(read_text(path, "Tables"), path.stem)
    elif path.suffix in (".csv", ".parquet"):
        try:
            frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise ElmError(f"Table '{path}' cannot be read ({error}); check the path.") from None
        rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
        tables = [_table(path.stem, "", [str(column) for column in frame.columns], rows)]
    else:
        raise ElmError(f"Table '{path}' ends in '{path.suffix}'; expected .md, .csv or .parquet.")
    if not any(table["rows"] for table in tables):
        raise ElmError(f"'{path}' holds no table with rows; give a file that a benchmark has written.")
    return tables


def _cell(value: object) -> str:
    if isinstance(value, float):
        return MISSING if value != value else f"{value:.4g}"
    return str(value)


def _markdown_tables(text: str, name: str) -> list[Table]:
    """Pipe tables, each with the heading and the paragraph above it."""
    tables: list[Table] = []
    heading, paragraph, block, continued = name, list[str](), list[list[str]](), False
    for line in [*text.split("\n"), ""]:  # not splitlines: it takes for an end of a line what may stand within a cell
        if line.lstrip().startswith("|"):
            cells = line.strip().removeprefix("|").removesuffix("|").split("|")
            block.append([_plain(cell) for cell in cells])
            continue
        if len(block) > 2 and all(set(cell) <= set(":- ") for cell in block[1]):
            tables.append(_table(heading, " ".join(paragraph), block[0], block[2:]))
        if line.startswith("#"):
            heading, paragraph = _plain(line.lstrip("# ")) or name, []
        elif line.strip():
            paragraph = [_plain(line)] if block or not continued else [*paragraph, _plain(line)]
        block, continued = [], bool(line.strip())
    return tables


def _plain(text: str) -> str:
    return text.strip().replace("**", "").replace("`", "")


def _table(title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    if len(rows) > MOST_ROWS:
        note = f"{note} The first {MOST_ROWS:,} of {len(rows):,} rows.".strip()
    return {"title": title, "note": note, "columns": list(columns), "rows": [list(row) for row in rows[:MOST_ROWS]]}
