"""Logs that can be cut back, and checkpoints that say where: together they let a run be killed at any moment.

A run writes what it finds to logs that only grow, so a checkpoint need not hold it again: it stores the length and
digest of every log beside a few numbers, and is cheap enough to be written after each iteration. On resume, what lies
in a log beyond that length, written by an iteration that never finished, is cut off. The two newest checkpoints are
kept: when the newest, or what it describes, is damaged, the run goes on from the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from elm_rl.errors import ElmError
from elm_rl.runs.run_directory import explained_disk_errors, read_json, sync_folder, temporary_path, to_json, write_synced

CHECKPOINT_FILE = "checkpoint.json"
PREVIOUS_CHECKPOINT_FILE = "checkpoint.previous.json"


class AppendLog:
    """A file that only grows, and can be cut back to where a checkpoint saw it.

    A file that exists is taken over at its full length; call `restore` before appending to it.

    Attributes:
        path: the file, created when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained_disk_errors(path):
            # Unbuffered: nothing waits in this process for a kill to lose, and a full disk shows at the write itself.
            self._file: IO[bytes] = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self._digest = hashlib.sha256()
        self._length = 0

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, data: bytes) -> None:
        """Adds bytes at the end.

        Raises:
            ElmError: the disk is full; a part of `data` may then stand in the file, beyond the last `mark`.
        """
        with explained_disk_errors(self.path):
            rest = memoryview(data)
            while rest:  # one write may take only a part, and does on a disk that is about to be full
                rest = rest[self._file.write(rest) :]
        self._digest.update(data)
        self._length += len(data)

    def append_json(self, record: Mapping[str, Any]) -> None:
        """Adds one JSON object as one line."""
        self.append(to_json(record).encode("ascii") + b"\n")

    def mark(self) -> dict[str, Any]:
        """Makes what was appended durable and returns its length in bytes and its SHA-256, for a checkpoint."""
        with explained_disk_errors(self.path):
            os.fsync(self._file.fileno())
        return {"bytes": self._length, "sha256": self._digest.hexdigest()}

    def verified(self, mark: Mapping[str, Any]) -> bytes:
        """Reads the marked part of the file.

        Raises:
            ElmError: the file is shorter than the mark, or its content is not what was marked.
        """
        length = int(mark["bytes"])
        try:
            with open(self.path, "rb") as file:
                data = file.read(length)
        except OSError as error:
            raise ElmError(f"'{self.path}' could not be read ({error.strerror}).") from error
        if len(data) < length or hashlib.sha256(data).hexdigest() != mark["sha256"]:
            raise ElmError(f"'{self.path}' is damaged: it is not what its checkpoint describes; restore it.")
        return data

    def cut(self, data: bytes) -> None:
        """Cuts the file back to `data`, which `verified` has returned."""
        with explained_disk_errors(self.path):
            os.truncate(self.path, len(data))
        self._digest, self._length = hashlib.sha256(data), len(data)


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint and keeps the one before it.

    Args:
        folder: the run directory.
        state: whatever JSON can hold; integers of any size and floats come back exactly as they were.

    Raises:
        ElmError: the disk is full; the earlier checkpoints are untouched.
    """
    text = to_json(state)
    current = folder / CHECKPOINT_FILE
    temporary = temporary_path(current)
    with explained_disk_errors(current):
        try:
            write_synced(temporary, f'{{"sha256": "{_digest(text)}", "state":\n{text}\n}}\n'.encode("ascii"))
            if current.exists():
                os.replace(current, folder / PREVIOUS_CHECKPOINT_FILE)
            os.replace(temporary, current)  # killed before this line, the run goes on from the previous checkpoint
            sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest state that is whole, only to be looked at: logs are not verified, and nothing is repaired; None without any."""
    for path in (folder / CHECKPOINT_FILE, folder / PREVIOUS_CHECKPOINT_FILE):
        if path.exists():
            with suppress(ElmError):
                return _read_checkpoint(path)
    return None


def load_checkpoint(folder: Path, restore: Callable[[dict[str, Any]], None]) -> bool:
    """Restores the newest checkpoint that is whole.

    Args:
        folder: the run directory.
        restore: takes the state; raises `ElmError`, having changed nothing, when a log that it describes is damaged,
            in which case the previous checkpoint is tried.

    Returns:
        False when there is no checkpoint: the run was killed before its first.

    Raises:
        ElmError: there are checkpoints and none can be used.
    """
    paths = [path for path in (folder / CHECKPOINT_FILE, folder / PREVIOUS_CHECKPOINT_FILE) if path.exists()]
    failures: list[str] = []
    for path in paths:
        try:
            restore(_read_checkpoint(path))
        except ElmError as error:
            failures.append(str(error).partition(";")[0])
            continue
        if failures:
            # The good one takes the damaged one's place, or the next save would keep the damaged one as the previous.
            with explained_disk_errors(paths[0]):
                os.replace(path, paths[0])
            warnings.warn(f"{failures[0]}; the run goes on from the checkpoint before it.", stacklevel=2)
        return True
    if failures:
        reasons = " and ".join(dict.fromkeys(failures))
        raise ElmError(
            f"No checkpoint in '{folder}' can be used ({reasons}); restore the folder from a copy, or start a new run."
        )
    return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _read_checkpoint(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("state"), dict):
        raise ElmError(f"'{path}' is damaged: expected a checkpoint with its digest; restore it from a copy.")
    state: dict[str, Any] = content["state"]
    # Python writes what it has read from its own JSON back to the same text, so the digest needs no second copy of it.
    if _digest(json.dumps(state)) != content.get("sha256"):
        raise ElmError(f"'{path}' is damaged: its content does not match its digest; restore it from a copy.")
    return state
