"""How far a training run has come, and what it logs on the way."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback

from elm_rl.runs.processes import is_main_process
from elm_rl.runs.run_directory import METRICS_FILE, to_json


class Progress:
    """How much of a run has passed: by steps, or by the clock where that is further.

    Args:
        steps: Steps of the whole run.
        seconds: Time budget of the whole run; None where only steps count.
    """

    def __init__(self, steps: int, seconds: float | None) -> None:
        self.steps = steps
        self.seconds = seconds
        self._start = time.monotonic()
        self._seen = 0.0

    def start(self, already: float = 0.0) -> None:
        """Starts the clock; ``already`` are seconds that earlier parts of the run took."""
        self._start = time.monotonic() - already
        self._seen = already

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def look(self, device: torch.device) -> None:
        """Reads the clock, once a step. Of several processes, all take the time of the first, or they would part ways."""
        self._seen = self.elapsed()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            seen = torch.tensor([self._seen], dtype=torch.float64, device=device)
            torch.distributed.broadcast(seen, 0)
            self._seen = float(seen)

    @property
    def seen(self) -> float:
        """Seconds since the start when the clock was last looked at."""
        return self._seen

    def share(self, step: int) -> float:
        """Share of the run that has passed once ``step`` steps are done, at most 1."""
        by_steps = step / self.steps
        by_time = self._seen / self.seconds if self.seconds is not None else 0.0
        return min(1.0, max(by_steps, by_time))


class Recorder(TrainerCallback):
    """Watches a run: stops it when its budget is spent, asks for logs and evaluations, writes and shows them.

    Args:
        folder: Where ``metrics.jsonl`` lies.
        progress: The run's.
        evaluate: Whether there is something to evaluate on.

    Attributes:
        train_loss: Mean loss over the last stretch; not a number before the first log.
        held_out_loss: The last one measured.
    """

    _LOGS = 50
    _EVALUATIONS = 10

    def __init__(self, folder: Path, progress: Progress, *, evaluate: bool) -> None:
        self.train_loss = math.nan
        self.held_out_loss: float | None = None
        self._folder = folder
        self._progress = progress
        self._evaluate = evaluate
        self._logged = self._evaluated = 0

    def __enter__(self) -> Recorder:
        place = self._folder / METRICS_FILE if is_main_process() else Path(os.devnull)
        self._file = open(place, "ab", buffering=0)
        # None: shown on a terminal, silent where a bar would only fill a log file.
        hidden = None if is_main_process() else True
        self._bar = tqdm(
            total=100, desc=self._folder.name, disable=hidden, bar_format="{l_bar}{bar}| {elapsed}{postfix}"
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
        self._file.close()

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep."""
        return {
            "train_loss": self.train_loss,
            "held_out_loss": self.held_out_loss,
            "logged": self._logged,
            "evaluated": self._evaluated,
            "metrics_bytes": self._file.tell(),
        }

    def begin(self, state: dict[str, Any] | None) -> None:
        """Begins the metrics file anew, or cuts it back to where a checkpoint saw it and goes on from there."""
        if state is not None:
            self.train_loss, self.held_out_loss = state["train_loss"], state["held_out_loss"]
            self._logged, self._evaluated = state["logged"], state["evaluated"]
        if is_main_process():
            self._file.truncate(0 if state is None else state["metrics_bytes"])
            self._file.seek(0, os.SEEK_END)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Looks at the clock, before the learning rate is set."""
        self._progress.look(args.device)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Logs 50 times a run, evaluates ten times, and always at the end."""
        share = self._progress.share(state.global_step)
        done = share >= 1.0
        if done or int(share * self._LOGS) > self._logged:
            self._logged = int(share * self._LOGS)
            control.should_log = True
        if self._evaluate and (done or int(share * self._EVALUATIONS) > self._evaluated):
            self._evaluated = int(share * self._EVALUATIONS)
            control.should_evaluate = True
        control.should_training_stop = control.should_training_stop or done
        self._bar.update(100 * share - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Appends one line to the metrics file and refreshes the figures beside the bar."""
        logs = logs or {}
        self.train_loss = logs.get("loss", self.train_loss)
        self.held_out_loss = logs.get("eval_loss", self.held_out_loss)
        seconds = self._progress.elapsed()
        tokens = int(state.num_input_tokens_seen)
        line = to_json({"step": state.global_step, "seconds": seconds, "tokens": tokens, **logs})
        self._file.write(line.encode("ascii") + b"\n")
        figures = {"loss": f"{self.train_loss:.3f}", "tokens/s": f"{tokens / max(seconds, 1e-9):,.0f}"}
        if self.held_out_loss is not None:
            figures["held out"] = f"{self.held_out_loss:.3f}"
        self._bar.set_postfix(figures)
