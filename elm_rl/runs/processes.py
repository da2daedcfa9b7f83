"""Stages that run as several processes at once, one a GPU, as ``accelerate launch`` and ``torchrun`` start them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from elm_rl.runs.run_lock import run_lock

Result = TypeVar("Result")


def is_main_process() -> bool:
    """Whether this process is the only one of its stage, or the one of several that writes."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def shared_run_lock(folder: Path) -> Iterator[None]:
    """Holds the lock on a folder for all processes of a stage; see `elm_rl.runs.run_lock.run_lock`.

    Raises:
        ElmError: A process of another stage writes to the folder, or the folder cannot be written.
    """
    if not is_main_process():
        yield
        return
    with run_lock(folder):
        yield


def done_once(folder: Path, finished: Callable[[], Result | None], work: Callable[[], Result]) -> Result:
    """What a stage comes to in a folder, unless it was done there before.

    Args:
        folder: Where the stage writes; locked while it works.
        finished: What it came to, None when it is not done.
        work: Does it.

    Raises:
        ElmError: A process of another stage writes to the folder, or the folder cannot be written.
    """
    if (result := finished()) is not None:
        return result
    with shared_run_lock(folder):
        # Asked again: the process that had the lock until now may have done the work.
        return finished() or work()
