"""The file of a ledger: whole lines of JSON, each on the disk before the next, and found again by where they stand."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.mutation.api.exchange import ANSWERED, REPLIES
from elm_rl.runs.run_directory import explained_disk_errors, to_json

REQUESTS_FOLDER = "requests"
"""In a run directory: the ledgers, one for each operator."""

ASKED, FAILED, REPLIED, CHECKED = ("asked", "failed", "replied", "checked")
"""Kinds of lines; `elm_rl.mutation.api.ledger` says what they are."""

_USAGE = ("prompt", "completion", "estimated")
_FIELDS = {
    ASKED: ("key", "estimated_tokens"),
    FAILED: ("key", "last", *_USAGE),
    REPLIED: ("key", "status", "text", "ended", "reason", *_USAGE),
    CHECKED: _USAGE,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: from byte ``start`` to byte ``end`` of a file."""

    path: Path
    start: int
    end: int

    def read(self) -> dict[str, Any]:
        """The line.

        Raises:
            ElmError: It is not there any more.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(self.start)
                record: dict[str, Any] = json.loads(file.read(self.end - self.start))
        except (OSError, ValueError) as error:
            raise ElmError(
                f"'{self.path}' could not be read again ({error}); it must not change during a run."
            ) from None
        return record


def ledger_lines(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The whole lines of a ledger, leaving out a last one that was never finished.

    Raises:
        ElmError: There is no such file, or a whole line is not one of a ledger.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise ElmError(f"'{path}' could not be read ({error.strerror}); expected the requests of a run.") from None
    start = 0
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
                whole = all(name in record for name in _FIELDS[record["kind"]])
                whole = whole and record.get("status", ANSWERED) in REPLIES
            except (ValueError, TypeError, KeyError):
                whole = False
            if not whole:
                raise ElmError(f"'{path}' is damaged: line {number} is not of a ledger; restore it from a copy.")
            place = Place(path, start, start + len(line))
            start = place.end
            yield place, record


class LedgerWriter:
    """Adds lines to a ledger, behind its last whole line; half a line, which a kill may leave, is cut off first.

    Args:
        path: The file, made with its folder if there is none.

    Raises:
        ElmError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with explained_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self._length = _whole_bytes(path)
        with explained_disk_errors(path):
            os.truncate(path, self._length)

    def append(self, record: Mapping[str, Any]) -> Place:
        """Adds a line and waits until it is on the disk.

        Raises:
            ElmError: The disk is full; the file is then as it was before.
        """
        line = to_json(record).encode("ascii") + b"\n"
        with explained_disk_errors(self._path):
            try:
                with open(self._path, "ab", buffering=0) as file:
                    rest = memoryview(line)
                    while rest:  # one write may take only a part, and does on a disk that is about to be full
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self._path, self._length)  # half a line here would spoil what is kept after it
                raise
        place = Place(self._path, self._length, self._length + len(line))
        self._length = place.end
        return place


def _whole_bytes(path: Path) -> int:
    """Length of a file up to the end of its last whole line."""
    with explained_disk_errors(path), open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 2**16)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def ledger_path(folder: Path, name: str) -> Path:
    """Where the ledger of an operator lies in a run directory.

    A name that is no plain file name gets one, which differs from that of any other name, on every file system.
    """
    plain = re.sub(r"[^a-z0-9_-]", "_", name)
    if plain != name or not plain or len(plain) > 60:
        plain = f"{plain[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return folder / REQUESTS_FOLDER / f"{plain}.jsonl"


def recorded_ledgers(folder: Path) -> list[Path]:
    """The ledgers in the directory of a run that is to be replayed.

    Raises:
        ElmError: There are none.
    """
    paths = sorted((folder / REQUESTS_FOLDER).glob("*.jsonl"))
    if not paths:
        raise ElmError(
            f"There are no requests to replay in '{folder / REQUESTS_FOLDER}'; name the directory of a run that asked a server."
        )
    return paths
