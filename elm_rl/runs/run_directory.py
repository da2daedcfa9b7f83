"""The folder a run leaves on disk: opened once, never half written, readable while the run goes on.

A file that is replaced (``config.json``, ``summary.json``, a model folder) is written beside its destination, synced
and renamed over it, so a reader sees the old content or the new and never half of one. Files that grow, and
checkpoints, are in `elm_rl.runs.checkpoint`.
"""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from elm_rl.errors import ElmError

ADMITTED_FILE = "admitted.jsonl"
"""Every program that an evolution run admitted to an archive, one JSON line each."""
CONFIG_FILE = "config.json"
VERSIONS_FILE = "versions.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
LOCK_FILE = ".elm-rl.lock"

# EFBIG is what a per-file size limit (ulimit -f, FAT, some quotas) answers: to the user it is the same full disk.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PACKAGES = ("numpy", "numba", "pymunk", "pydantic-monty", "gymnasium", "ribs", "torch", "transformers", "trl")


@contextmanager
def explained_disk_errors(path: Path) -> Iterator[None]:
    """Turns an error of the file system raised inside into one sentence: which file, why, and what to do.

    Args:
        path: the file or folder being written.

    Raises:
        ElmError: instead of any ``OSError``.
    """
    full = (
        f"The disk is full: '{path}' could not be written; what was written before is kept, so make some room and "
        "continue with --resume."
    )
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ElmError(full) from error
        raise ElmError(
            f"'{path}' could not be written ({error.strerror or error}); check that its folder exists and is writable."
        ) from error
    except Exception as error:
        # Libraries written in Rust (safetensors, tokenizers) report the system's error as text in a class of their own.
        if "No space left on device" in str(error):
            raise ElmError(full) from error
        raise


def temporary_path(path: Path) -> Path:
    """Where this process writes what will become `path`: hidden, in the same folder, removed by the next resume."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file in place and waits until it is on the disk.

    Raises:
        OSError: as the system reports it.
    """
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut, where the platform can."""
    if os.name != "posix":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all; the old content, if any, stays until the new one is safe on the disk.

    The folder is made if there is none.

    Raises:
        ElmError: the disk is full or the folder cannot be written.
    """
    temporary = temporary_path(path)
    with explained_disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(temporary, data)
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all; see `to_json` for what it takes."""
    write_text(path, to_json(value, indent=2) + "\n")


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; it takes the place of `path` at the end, or is removed when the body fails.

    Example:
        with replaced_folder(run / "language_model") as folder:
            model.save_pretrained(folder)

    Raises:
        ElmError: the disk is full or the folder cannot be written.
    """
    temporary = temporary_path(path)
    old = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
    with explained_disk_errors(path):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb+") as opened:
                        os.fsync(opened.fileno())
            # A folder that holds files cannot be replaced in one step, so the old one steps aside first. Should the
            # process die between the two renames, `path` is missing and the stage that writes it simply runs again.
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON text in ASCII; NumPy numbers and arrays, and paths, become plain numbers, lists and text."""
    return json.dumps(value, indent=indent, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_text(path: Path, what: str) -> str:
    """Reads a text file that somebody named.

    Args:
        path: The file.
        what: What it is, for messages, with a capital letter.

    Raises:
        ElmError: It cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ElmError(f"{what} '{path}' cannot be read ({error.strerror}); check the path.") from None
    except UnicodeDecodeError:
        raise ElmError(f"{what} '{path}' is not UTF-8 text; save it as such.") from None


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        ElmError: it is missing, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ElmError(f"'{path}' does not exist; check the path, or run the stage that writes it first.") from None
    except OSError as error:
        raise ElmError(f"'{path}' could not be read ({error.strerror}); expected a JSON file.") from error
    except ValueError as error:  # undecodable bytes and bad JSON alike
        raise ElmError(f"'{path}' is damaged: expected JSON, got {error}; restore it or start a new run.") from None


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Reads a JSON-lines file, leaving out a last line that was never finished (of a run that goes on, or died).

    Raises:
        ElmError: the file is missing, or a finished line is not a JSON object.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise ElmError(f"'{path}' does not exist; check the path, or run the stage that writes it first.") from None
    except OSError as error:
        raise ElmError(f"'{path}' could not be read ({error.strerror}); expected a JSON-lines file.") from error
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise ElmError(f"'{path}' is damaged: line {number} is not a JSON object; restore it from a copy.")
            yield record


def can_resume(folder: Path) -> bool:
    """Whether a run was started in `folder`, finished or not."""
    return (folder / CONFIG_FILE).is_file()


def versions() -> dict[str, Any]:
    """Python, platform and package versions, for a reader who wants to repeat the run.

    Of the platform only the system and the processor's type: no result depends on the kernel.
    """
    installed: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    system = f"{platform.system()} {platform.machine()}"
    return {"python": platform.python_version(), "platform": system, "packages": installed}


def check_place(folder: Path, *, resume: bool) -> None:
    """Whether there can be a run in `folder` at all; writes nothing.

    Raises:
        ElmError: it is a file, or there is nothing to resume.
    """
    if folder.exists() and not folder.is_dir():
        raise ElmError(f"'{folder}' is a file; expected a folder for the run, so name another one.")
    if resume and not folder.exists():
        raise ElmError(f"There is no run to resume in '{folder}'; check the path, or start one without --resume.")


def open_run_directory(folder: Path, config: Any, *, resume: bool, may_change: Collection[str] = ()) -> bool:
    """Starts a run directory, or re-opens that of a run with the same settings; `elm_rl.run_lock.opened_run` locks it first.

    Args:
        folder: the run directory; a new run makes it, with its parents.
        config: the stage's config dataclass. A new run writes it to ``config.json``, and ``versions.json`` beside it.
        resume: continue the run in `folder` instead of starting one.
        may_change: names of the fields that a resumed run may set anew (how long it runs, on how many cores).

    Returns:
        True when a run that had started is being resumed, False when a new one starts.

    Raises:
        ElmError: a new run in a folder that is not empty, nothing to resume, or a resumed run whose settings differ.
    """
    check_place(folder, resume=resume)
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # A run killed in its first moment leaves its versions at most: such a folder is as good as empty.
        leftovers = {VERSIONS_FILE, LOCK_FILE, *(path.name for path in folder.glob(".*.tmp"))}
        others = sorted({entry.name for entry in folder.iterdir()} - leftovers)
    if others and not resume:
        raise ElmError(f"'{folder}' is not empty; name another folder, or continue the run in it with --resume.")
    if others and not can_resume(folder):
        raise ElmError(f"'{folder}' holds '{others[0]}' but no run to resume; name the folder of a run.")
    if others:
        _check_same_settings(folder, config, may_change)
    _remove_temporary(folder)
    if others:
        return True
    write_json(folder / VERSIONS_FILE, versions())
    write_config(folder, config)  # last, because its presence says that a run has started
    return False


def write_config(folder: Path, config: Any) -> None:
    """Writes the config dataclass of a run, over the one it was started with when some settings changed on resume."""
    write_json(folder / CONFIG_FILE, asdict(config))


def _check_same_settings(folder: Path, config: Any, may_change: Collection[str]) -> None:
    started, wanted = read_json(folder / CONFIG_FILE), json.loads(to_json(asdict(config)))
    if not isinstance(started, dict):
        raise ElmError(f"'{folder / CONFIG_FILE}' is damaged: expected a JSON object; restore it or start a new run.")
    for name in dict.fromkeys([*started, *wanted]):
        before, now = started.get(name), wanted.get(name)
        if before != now and name not in may_change:
            raise ElmError(
                f"The run in '{folder}' was started with {name} = {before!r}, not {now!r}; resume it with the same "
                "setting, or start a new run in another folder."
            )


def _remove_temporary(folder: Path) -> None:
    """Removes what a killed process left half written."""
    for leftover in folder.glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
