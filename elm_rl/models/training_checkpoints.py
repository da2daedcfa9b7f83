"""Checkpoints of a training run: after a kill the same command goes on from the last one, to the same end.

Weights, optimiser, schedule and random state are saved and loaded by transformers' ``Trainer``. It does not know where an
epoch's order of the examples came from, how much time was spent, nor what was logged, and a kill while it writes leaves a
folder that looks like a checkpoint. That is what is added here: a file with the rest, written last, without which the folder
does not count.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from elm_rl.models.training_options import check_same_settings
from elm_rl.models.training_progress import Progress, Recorder
from elm_rl.runs.processes import is_main_process
from elm_rl.runs.run_directory import explained_disk_errors, read_json, sync_folder, write_json

CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints, inside the run's own."""

_RUN_FILE = "run.json"  # written last: a checkpoint without it is none
_ORDER_FILE = "order_{rank}.pt"


class Checkpoints(TrainerCallback):
    """Saves checkpoints while a run goes on, keeping the newest, and restores what the Trainer does not.

    Args:
        folder: The run's folder.
        steps: Steps between two checkpoints, or None.
        seconds: Seconds between two checkpoints, or None.
        run: What a checkpoint must agree with to be continued: settings and a digest of the examples.
        progress: The run's.
        recorder: The run's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int | None,
        seconds: float | None,
        run: dict[str, Any],
        progress: Progress,
        recorder: Recorder,
    ) -> None:
        self.folder = folder / CHECKPOINTS
        self._steps = steps
        self._seconds = seconds
        self._run = run
        self._progress = progress
        self._recorder = recorder
        self._trainer: Trainer | None = None
        self._saved_at = 0.0
        self._restored: dict[str, Any] | None = None
        self._path: Path | None = None
        self._order: torch.Tensor | None = None  # the random state from which this epoch's order was drawn

    def find(self) -> Path | None:
        """The newest whole checkpoint, if there is one.

        Raises:
            ElmError: It is of a run with other settings or examples, or is damaged.
        """
        found = sorted(self.folder.glob(f"checkpoint-*/{_RUN_FILE}"), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            return None
        content = read_json(found[-1])
        check_same_settings(f"'{self.folder.parent}' holds a half-finished training", content["run"], self._run)
        self._restored, self._path = content, found[-1].parent
        return self._path

    def watch(self, trainer: Trainer) -> None:
        """Takes the trainer whose run this is; called before it trains."""
        self._trainer = trainer
        trainer.add_callback(self)

    def remove(self) -> None:
        """Removes all checkpoints, once the run has finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Starts the clock and the metrics file, here so that loading and compiling do not count, or goes on with them."""
        restored = self._restored
        self._recorder.begin(None if restored is None else restored["recorder"])
        self._progress.start(0.0 if restored is None else restored["seconds"])
        if restored is not None:
            self._saved_at = restored["seconds"]
            # Without these the first loss after the checkpoint would be the mean of too few steps.
            for name, value in restored["loss"].items():
                before = getattr(self._trainer, name, None)
                setattr(self._trainer, name, before.new_tensor(value) if isinstance(before, torch.Tensor) else value)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keeps the random state that the order of the epoch's examples is drawn from, or puts that of the kept epoch back.

        The Trainer then skips what was learnt before the checkpoint, and sets the random state to that of the checkpoint.
        """
        if self._path is not None:
            torch.set_rng_state(torch.load(self._path / _ORDER_FILE.format(rank=args.process_index), weights_only=True))
            self._path = None
        self._order = torch.get_rng_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Asks for a checkpoint when it is time, unless the run ends here."""
        by_steps = self._steps is not None and state.global_step % self._steps == 0
        by_time = self._seconds is not None and self._progress.seen - self._saved_at >= self._seconds
        control.should_save = (by_steps or by_time) and not control.should_training_stop

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Completes the checkpoint that the Trainer has just written, and removes the ones before it."""
        trainer, path = self._trainer, self.folder / f"checkpoint-{state.global_step}"
        assert trainer is not None
        if float(state.epoch).is_integer():  # the next epoch's order is drawn next, after a kill too
            self._order = torch.get_rng_state()
        self._saved_at = self._progress.seen
        torch.save(self._order, path / _ORDER_FILE.format(rank=args.process_index))
        trainer.accelerator.wait_for_everyone()
        if not is_main_process():
            return
        loss = {name: getattr(trainer, name, 0) for name in _LOSS}
        with explained_disk_errors(path):
            for file in path.iterdir():
                with open(file, "rb+") as opened:
                    os.fsync(opened.fileno())
            sync_folder(path)
        content = {
            "run": self._run,
            "seconds": self._progress.elapsed(),
            "recorder": self._recorder.state(),
            "loss": {name: float(value) if isinstance(value, torch.Tensor) else value for name, value in loss.items()},
        }
        write_json(path / _RUN_FILE, content)
        for other in self.folder.glob("checkpoint-*"):
            if other != path:
                shutil.rmtree(other, ignore_errors=True)


_LOSS = (
    "_tr_loss",
    "_total_loss_scalar",
    "_globalstep_last_logged",
)  # how the Trainer adds up the loss between two logs
