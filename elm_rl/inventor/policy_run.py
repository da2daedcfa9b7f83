"""A training run of a policy: its log, its checkpoints, the policy that it keeps. What takes the steps is another's matter."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from elm_rl.errors import ElmError
from elm_rl.inventor.policy_watch import PolicyWatch, Standing
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.language_model import save_language_model
from elm_rl.models.training_options import check_same_settings
from elm_rl.runs.run_directory import METRICS_FILE, explained_disk_errors, read_json, to_json, write_bytes, write_json
from elm_rl.runs.tensorboard import ScalarLog

_CHECKPOINT = "checkpoint.pt"
_SHOWN = ("distance", "valid", "designs", "kl")
"""What stands beside the progress bar."""


@dataclass(frozen=True)
class PolicyResult:
    """Figures of a finished training.

    Attributes:
        updates: Updates done.
        stopped: Why it ended: "updates", "patience", "collapsed" or "diverged".
        evaluations: Programs rolled out.
        tokens: Tokens written.
        seconds: Time it took, by part.
        start: The policy at the start, on the terrains that it was looked at.
        kept: The policy that was kept. It was chosen by these figures, which therefore flatter it a little: report fresh ones.
    """

    updates: int
    stopped: str
    evaluations: int
    tokens: int
    seconds: dict[str, float]
    start: Standing
    kept: Standing


def finished_result(folder: Path, file: str, settings: dict[str, Any]) -> PolicyResult | None:
    """Figures of the training that finished in ``folder``, or None when there is none.

    Raises:
        ElmError: A run with other settings finished there.
    """
    if not (folder / file).is_file():
        return None
    content = read_json(folder / file)
    check_same_settings(f"'{folder}' holds a policy trained", content["settings"], settings)
    figures = content["figures"]
    return PolicyResult(**figures | {name: Standing(**figures[name]) for name in ("start", "kept")})


class PolicyRun:
    """Keeps the books of a training run, which can be stopped between any two updates.

    Args:
        folder: Of the run; made if there is none.
        settings: What a checkpoint must agree with to be gone on with.
        policy: The policy in training.
        tokenizer: Its tokenizer.
        watch: Looks at it.
        updates: Updates of the whole run.
        name: What figures and the progress bar are named after.
        state: Gives the state of what takes the steps, as tensors, numbers and texts, for a checkpoint.
        restore: Takes it back.
        progress: Show a progress bar.

    Attributes:
        update: Updates done.
        evaluations: Programs rolled out.
        tokens: Tokens written.
        seconds: Time spent, by part.
        stopped: Why the run has ended; None while it goes on.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        policy: TerrainPolicy,
        tokenizer: PreTrainedTokenizerBase,
        watch: PolicyWatch,
        *,
        updates: int,
        name: str,
        state: Callable[[], dict[str, Any]],
        restore: Callable[[dict[str, Any]], None],
        progress: bool = True,
    ) -> None:
        self._folder, self._settings, self._name = folder, settings, name
        self._policy, self._tokenizer, self.watch = policy, tokenizer, watch
        self._updates, self._progress = updates, progress
        self._state, self._restore = state, restore
        self.update = self.evaluations = self.tokens = 0
        self.seconds: dict[str, float] = {}
        self.stopped: str | None = None

    def __enter__(self) -> PolicyRun:
        """Goes back to the checkpoint, or looks at the policy as it is at the start."""
        with explained_disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        logged = self._go_back()
        metrics = self._folder / METRICS_FILE
        with explained_disk_errors(metrics), open(metrics, "ab") as file:
            file.truncate(logged)
        self._scalars = ScalarLog(self._folder, resume_at=self.update or None)
        self._bar = tqdm(
            total=self._updates, initial=self.update, desc=self._name, unit="update", disable=not self._progress
        )
        if not logged:
            self._look({"update": 0})
        self._decide()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
        self._scalars.close()

    def spend(self, part: str, begun: float) -> float:
        """Enters the time since ``begun``, of `time.monotonic`, as spent on a part; returns the time."""
        now = time.monotonic()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - begun
        return now

    def finish_update(self, figures: dict[str, float]) -> None:
        """Enters an update: logs it, looks at the policy when it is time, and decides whether to go on.

        Args:
            figures: What is logged; ``loss``, if it is there, must be finite.
        """
        if not math.isfinite(figures.get("loss", 0.0)):
            self.stopped = "diverged"
            return
        self.update += 1
        record: dict[str, Any] = {"update": self.update, **figures}
        if self.update % self.watch.settings.evaluate_every == 0 or self.update == self._updates:
            self._look(record)
        else:
            self._log(record)
        shown = {name: f"{value:.3g}" for name, value in figures.items() if name in _SHOWN}
        best = self.watch.best
        if best is not None:
            shown["kept"] = f"{best.mean:.1f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()
        self._decide()

    def finish(self, file: str) -> PolicyResult:
        """Writes down what the run came to, and removes its checkpoint."""
        assert self.watch.start is not None
        assert self.watch.best is not None
        result = PolicyResult(
            updates=self.update,
            stopped=self.stopped or "updates",
            evaluations=self.evaluations,
            tokens=self.tokens,
            seconds={name: round(spent, 1) for name, spent in self.seconds.items()},
            start=self.watch.start,
            kept=self.watch.best,
        )
        write_json(self._folder / file, {"settings": self._settings, "figures": asdict(result)})
        (self._folder / _CHECKPOINT).unlink(missing_ok=True)
        return result

    def _decide(self) -> None:
        if self.update >= self._updates:
            self.stopped = "updates"
        elif self.watch.collapsed:
            self.stopped = "collapsed"
        elif not self.watch.patient:
            self.stopped = "patience"

    def _look(self, record: dict[str, Any]) -> None:
        """Takes a standing, keeps the policy if it is the best, and writes a checkpoint."""
        begun = time.monotonic()
        better = self.watch.look(self.update)
        self.evaluations += self.watch.samples
        if better:
            save_language_model(self._policy, self._tokenizer, self._folder)
        self.spend("look", begun)
        standing = {name: value for name, value in asdict(self.watch.last).items() if name != "update"}
        self._log({**record, "validation": standing, "kept": better})
        run = {
            "settings": self._settings,
            "watch": self.watch.state(),
            "update": self.update,
            "evaluations": self.evaluations,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "logged": (self._folder / METRICS_FILE).stat().st_size,
        }
        content = io.BytesIO()
        torch.save({"policy": self._policy.state_dict(), "state": self._state(), "run": to_json(run)}, content)
        write_bytes(self._folder / _CHECKPOINT, content.getvalue())

    def _go_back(self) -> int:
        """Takes the checkpoint, if there is one; returns how many bytes of the metrics it had seen."""
        path = self._folder / _CHECKPOINT
        if not path.is_file():
            return 0
        try:
            content = torch.load(path, weights_only=True, map_location=self._policy.device)
        except Exception as error:  # torch says in many ways that a file is damaged
            raise ElmError(f"'{path}' cannot be read; delete it to train from the start.") from error
        run = json.loads(content["run"])
        check_same_settings(f"'{self._folder}' holds a half-finished training", run["settings"], self._settings)
        self._policy.load_state_dict(content["policy"])
        self._restore(content["state"])
        self.watch.restore(run["watch"])
        self.update, self.evaluations, self.tokens = run["update"], run["evaluations"], run["tokens"]
        self.seconds = run["seconds"]
        return int(run["logged"])

    def _log(self, record: dict[str, Any]) -> None:
        line = {**record, "evaluations": self.evaluations, "tokens": self.tokens}
        path = self._folder / METRICS_FILE
        with explained_disk_errors(path), open(path, "a", encoding="utf-8") as file:
            file.write(to_json(line) + "\n")
        flat = {f"{self._name}/{key}": value for key, value in line.items() if isinstance(value, int | float)}
        flat |= {f"validation/{key}": value for key, value in line.get("validation", {}).items()}
        self._scalars.write(self.update, [(key, float(value)) for key, value in flat.items()])
