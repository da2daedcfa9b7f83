"""Figures for TensorBoard, where it is installed; without it a run goes on and its JSON lines hold the same."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from elm_rl.runs.run_directory import explained_disk_errors

FOLDER = "tensorboard"
"""Where a stage's event files lie, in its folder."""


def summary_writer(folder: Path, resume_at: int | None = None) -> Any:
    """A ``SummaryWriter`` for a stage's folder, or None where tensorboard is not installed.

    Args:
        folder: Folder of the stage.
        resume_at: First step that will be written; what an interrupted run wrote from there on is hidden.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / FOLDER), purge_step=resume_at)


class ScalarLog:
    """Writes scalars of a stage, step by step.

    Args:
        folder: Folder of the stage.
        resume_at: See `summary_writer`.
    """

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        self._folder = folder
        with explained_disk_errors(folder / FOLDER):
            self._writer = summary_writer(folder, resume_at)

    def close(self) -> None:
        """Closes the files. What could not be written was reported by `write`."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    def write(self, step: int, scalars: Iterable[tuple[str, float]]) -> None:
        """Writes named values of one step.

        Raises:
            ElmError: The disk is full.
        """
        if self._writer is None:
            return
        with explained_disk_errors(self._folder / FOLDER):
            for name, value in scalars:
                self._writer.add_scalar(name, value, step)
            self._writer.flush()
