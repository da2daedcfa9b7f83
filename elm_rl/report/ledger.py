"""What everything in a folder has cost: evaluations, seconds and tokens of every stage, from what the stages wrote down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow.parquet as pq
import tyro

from elm_rl.errors import ElmError
from elm_rl.report.figures import MISSING
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import SUMMARY_FILE, read_json

_TABLES = {"cross_table.json": "cross table", "siblings.json": "siblings"}
_POLICIES = {"rank_gradient.json": "rank gradient", "finetuning.json": "PPO", "group.json": "GRPO or RLOO"}


@dataclass(frozen=True, kw_only=True)
class LedgerConfig:
    """Settings of ``elm-rl ledger``."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder with the results of any stages, at any depth."""

    def __post_init__(self) -> None:
        take_paths(self)


class Entry(NamedTuple):
    """What a stage has cost; None where it does not say.

    Attributes:
        place: Its folder.
        stage: What was done there.
        evaluations: Programs that were scored on a terrain; a program and its perturbed copies are one.
        seconds: Time it took.
        tokens: Tokens that a model learnt from, or wrote.
    """

    place: Path
    stage: str
    evaluations: int | None = None
    seconds: float | None = None
    tokens: int | None = None


def run_ledger(config: LedgerConfig) -> list[Entry]:
    """Prints a line for every stage that left results in a folder, and their sums.

    Raises:
        ElmError: There is no such folder, nothing in it is the result of a stage, or a file is damaged.
    """
    if not config.folder.is_dir():
        raise ElmError(f"'{config.folder}' is no folder; give one with the results of stages.")
    entries = list(read_entries(config.folder))
    if not entries:
        raise ElmError(f"Nothing in '{config.folder}' is the result of a finished stage.")
    rows: list[tuple[str, ...]] = [("folder", "stage", "evaluations", "seconds", "tokens")]
    for entry in entries:
        place = entry.place.relative_to(config.folder).as_posix()
        rows.append((place, entry.stage, *map(_cell, entry[2:])))
    columns: Any = zip(*(entry[2:] for entry in entries), strict=True)
    rows.append(("", "all", *(_cell(sum(value or 0 for value in column)) for column in columns)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, second, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True)]
        print("  ".join([first.ljust(widths[0]), second.ljust(widths[1]), *cells]))
    return entries


def read_entries(folder: Path) -> Iterator[Entry]:
    """The entries of all stages that finished in a folder or below it, by place."""
    for path in sorted(folder.rglob("*.json")):
        if path.name == SUMMARY_FILE:
            content = read_json(path)
            if "evaluations" in content:  # and not that of a pipeline
                seconds = (content.get("timing") or {}).get("seconds")
                yield Entry(path.parent, "evolution", content["evaluations"], seconds)
        elif path.name in _TABLES:
            files = sorted((path.parent / "scores").glob("*.parquet"))
            yield Entry(path.parent, _TABLES[path.name], sum(pq.read_metadata(file).num_rows for file in files))
        elif path.name == "training.json" and (figures := read_json(path).get("figures")):
            yield Entry(path.parent, "training", None, figures.get("seconds"), figures.get("tokens"))
        elif path.name in _POLICIES and (figures := read_json(path).get("figures")):
            yield Entry(
                path.parent,
                _POLICIES[path.name],
                figures["evaluations"],
                sum(figures["seconds"].values()),
                figures["tokens"],
            )


def _cell(value: Any) -> str:
    return MISSING if value is None else f"{value:,.0f}"
