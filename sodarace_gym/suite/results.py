"""Tidy results: one row a cell, of all generators in a folder, as a table and as a Parquet file."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sodarace_gym.suite.cell import lenders_of
from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.suite.log import CELLS_FILE, ENTRY_FILE, SWAPS_FILE, read_lines

if TYPE_CHECKING:
    import pandas as pd

RESULTS_FILE = "results.parquet"

COLUMNS: dict[str, tuple[str, str]] = {
    "generator": ("string", "name of the generator"),
    "version": ("string", "version of the suite"),
    "terrain": ("string", "text that names the terrain"),
    "group": ("string", "its group"),
    "budget": ("Int64", "evaluations allowed"),
    "seed": ("Int64", "seed of the repetition"),
    "evaluations": ("Int64", "evaluations used"),
    "valid": ("Int64", "of them walkers that could be simulated"),
    "behaviours": ("Int64", "different behaviours of these"),
    "best_1": ("Float64", "judged distance of the first program, walker units"),
    "best_8": ("Float64", "judged distance of the best of the first 8, walker units; none where the budget is smaller"),
    "best_64": (
        "Float64",
        "judged distance of the best of the first 64, walker units; none where the budget is smaller",
    ),
    "best": ("Float64", "judged distance of the best of all, walker units"),
    "seen": ("Float64", "its least distance as the generator saw it, walker units"),
    "reference": ("Float64", "the distance that counts as 1 on the terrain, walker units"),
    "lender": ("string", "terrain whose best program was tried here too"),
    "swapped": ("Float64", "judged distance of that program here, walker units"),
    "training_evaluations": ("Int64", "evaluations before the first task, as declared"),
    "training_model_calls": ("Int64", "calls of models before the first task, as declared"),
    "training_tokens": ("Int64", "tokens before the first task, as declared"),
    "training_seconds": ("Float64", "time before the first task, s, as declared"),
    "model_calls": ("Int64", "calls of models in the task, as declared"),
    "tokens": ("Int64", "tokens that models wrote in the task, as declared"),
    "seconds": ("Float64", "wall time of the task, s"),
    "evaluation_seconds": ("Float64", "of which evaluations took, s"),
    "program": ("string", "the best program of all"),
    "error": ("string", "what the generator raised; none where all went well"),
    "traceback": ("string", "where it raised it"),
    "command": ("string", "the command that reproduces the row"),
}
"""The columns of the table: type and meaning. Times differ from run to run; nothing else does."""
TIMES = ("seconds", "evaluation_seconds")
"""The columns that differ from run to run."""


def needed(name: str) -> ModuleType:
    """A package of the extra ``suite``, imported when it is needed.

    Raises:
        SuiteError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SuiteError(
            f"The results need a package that is missing ({error}); install it with: pip install 'sodarace-gym[suite]'"
        ) from error


def read_results(out: Path) -> pd.DataFrame:
    """All rows that the generators in a folder have by now, in order.

    Args:
        out: Folder of the results.

    Returns:
        One row a cell, with the columns of :data:`COLUMNS`. A cell that was run again has its last row.

    Raises:
        SuiteError: There are no results, or those of different versions of the suite.
    """
    pandas = needed("pandas")
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    versions: dict[str, str] = {}
    for path in sorted(out.glob(f"*/{ENTRY_FILE}")):
        head = json.loads(path.read_text(encoding="utf-8"))
        versions[head["definition"]] = head["version"]
        mine = {
            (head["name"], row["budget"], row["seed"], row["terrain"]): {
                "generator": head["name"],
                "version": head["version"],
                **row,
            }
            for row in read_lines(path.parent / CELLS_FILE)
        }
        _add_swaps(mine, path.parent / SWAPS_FILE)
        rows |= mine
    if not rows:
        raise SuiteError(f"'{out}' holds no results; `python -m sodarace_gym.suite run --help` says how to make some.")
    if len(versions) > 1:
        raise SuiteError(
            f"'{out}' holds results of different definitions of the suite ({', '.join(sorted(versions.values()))}), which "
            "cannot be compared; put them into different folders."
        )
    table = pandas.DataFrame([rows[key] for key in sorted(rows)]).reindex(columns=list(COLUMNS))
    found: pd.DataFrame = table.astype({name: kind for name, (kind, _) in COLUMNS.items()})
    return found


def write_results(out: Path) -> Path:
    """Writes the rows as Parquet, in full beside the place and then there.

    Returns:
        The file.

    Raises:
        SuiteError: See :func:`read_results`.
    """
    needed("pyarrow")
    path = out / RESULTS_FILE
    beside = path.with_suffix(".tmp")
    # Programs are most of the file, and much alike.
    read_results(out).to_parquet(beside, index=False, compression="zstd", compression_level=9)
    os.replace(beside, path)
    return path


def load_results(path: Path) -> pd.DataFrame:
    """Reads results from their Parquet file, or from a folder that holds one.

    Raises:
        SuiteError: It is not there, or lacks columns.
    """
    pandas = needed("pandas")
    needed("pyarrow")
    file = path if path.suffix == ".parquet" else path / RESULTS_FILE
    if not file.is_file():
        raise SuiteError(f"There is no '{file}'; `python -m sodarace_gym.suite run --help` says how to make one.")
    table: pd.DataFrame = pandas.read_parquet(file)
    if missing := [name for name in COLUMNS if name not in table]:
        raise SuiteError(f"'{file}' is not a file of results: it has no column {missing[0]}.")
    return table


def join_results(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Puts results into one table; of a generator that several have, the rows of the first one count."""
    pandas = needed("pandas")
    known: set[str] = set()
    parts = []
    for table in tables:
        parts.append(table[~table["generator"].isin(known)])
        known |= set(table["generator"])
    found: pd.DataFrame = pandas.concat(parts, ignore_index=True)
    return found


def _add_swaps(rows: dict[tuple[Any, ...], dict[str, Any]], path: Path) -> None:
    """Puts the swap of each row beside it: the one of the circle through the terrains that there are."""
    found = {(row["budget"], row["seed"], row["terrain"], row["lender"]): row["distance"] for row in read_lines(path)}
    terrains: dict[tuple[int, int], set[str]] = {}
    for (_, budget, seed, terrain), row in rows.items():
        if row["error"] is None:
            terrains.setdefault((budget, seed), set()).add(terrain)
    lenders = {key: lenders_of(texts) for key, texts in terrains.items()}
    for (_, budget, seed, terrain), row in rows.items():
        lender = lenders.get((budget, seed), {}).get(terrain)
        distance = found.get((budget, seed, terrain, lender))
        if distance is not None:
            row["lender"], row["swapped"] = lender, distance
