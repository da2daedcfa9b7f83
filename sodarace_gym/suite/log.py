"""What is kept of a generator's cells while they are run: lines of JSON, of which a kill can break only the last."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sodarace_gym.suite.definition import Definition
from sodarace_gym.suite.entry import Entry
from sodarace_gym.suite.errors import SuiteError

ENTRY_FILE, CELLS_FILE, SWAPS_FILE = "entry.json", "cells.jsonl", "swaps.jsonl"


class GeneratorLog:
    """The rows of one generator.

    Args:
        out: Folder of all results; this generator's are in a folder below it.
        name: The generator's.
        entry: The generator.
        definition: The suite.

    Attributes:
        done: Rows of cells by terrain, budget and seed; those in which the generator raised are left out.
        swapped: Keys of the swaps that are done.

    Raises:
        SuiteError: The folder holds results of another source, another generator of the name or another version of the suite.
    """

    def __init__(self, out: Path, name: str, entry: Entry, definition: Definition) -> None:
        self.folder = out / _folder_name(name)
        head = {
            "name": name,
            "target": entry.target,
            "settings": [list(pair) for pair in entry.settings],
            "source": entry.digest(),
            "version": definition.version,
            "definition": definition.digest,
        }
        path = self.folder / ENTRY_FILE
        if path.exists():
            _check_same(json.loads(path.read_text(encoding="utf-8")), head, self.folder)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".tmp")
            beside.write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
            os.replace(beside, path)
        self.done = {
            (row["terrain"], row["budget"], row["seed"]): row
            for row in read_lines(self.folder / CELLS_FILE)
            if row["error"] is None
        }
        self.swapped = {
            (row["terrain"], row["budget"], row["seed"], row["lender"]) for row in read_lines(self.folder / SWAPS_FILE)
        }
        self._cells: IO[str] | None = None
        self._swaps: IO[str] | None = None

    def __enter__(self) -> Self:
        """Opens the files for more lines."""
        self._cells, self._swaps = (_opened(self.folder / name) for name in (CELLS_FILE, SWAPS_FILE))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the files."""
        for file in (self._cells, self._swaps):
            if file is not None:
                file.close()

    def add_cell(self, row: dict[str, Any]) -> None:
        """Keeps the row of a cell."""
        _add(self._cells, row)
        if row["error"] is None:
            self.done[row["terrain"], row["budget"], row["seed"]] = row

    def add_swap(self, row: dict[str, Any]) -> None:
        """Keeps the row of a swap."""
        _add(self._swaps, row)
        self.swapped.add((row["terrain"], row["budget"], row["seed"], row["lender"]))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file; a last line that a kill has broken is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _opened(path: Path) -> IO[str]:
    """A file to be gone on with, behind its last whole line."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
    return path.open("a", encoding="utf-8", newline="\n")


def _add(file: IO[str] | None, row: dict[str, Any]) -> None:
    assert file is not None, "the log is not open"
    file.write(json.dumps(row) + "\n")
    file.flush()


def _folder_name(name: str) -> str:
    """A folder's name that says what the generator's is, and no two alike."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{plain}-{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}"


def _check_same(kept: dict[str, Any], head: dict[str, Any], folder: Path) -> None:
    reasons = {
        "version": "of version {kept} of the suite, not {given}",
        "definition": "of another definition of the suite ({kept}, not {given})",
        "target": "of another generator with the name '" + head["name"] + "' ({kept}, not {given})",
        "settings": "of the same generator with other settings ({kept}, not {given}), which need another name",
        "source": "of another state of the generator's file",
    }
    for key, reason in reasons.items():
        if kept.get(key) != head[key]:
            why = reason.format(kept=kept.get(key), given=head[key])
            raise SuiteError(f"'{folder}' holds results {why}; remove that folder, or give another --out.")
