"""Watching a fine-tuning run: figures of every update, the terrain x terrain matrix now and then, the best policy.

A rising reward does not show that a policy is conditional: one good walker for all terrains raises it too. So the matrix
alone (see terrain_matrix.py) decides which policy is kept and when to stop.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from elm_rl.inventor.reward import RewardBatch, RewardScale
from elm_rl.judging.terrain_matrix import SURE_PERCENT, diagonal_support, is_conditional
from elm_rl.runs import tensorboard
from elm_rl.runs.run_directory import METRICS_FILE, explained_disk_errors, to_json
from elm_rl.runs.tensorboard import ScalarLog

# What TRL calls the figures people watch, and what they mean.
_TRL_FIGURES = {
    "objective/kl": "kl",  # from the reference model, nats a program
    "objective/entropy": "entropy",  # nats a program
    "policy/approxkl_avg": "approx_kl",  # from the policy before the update
    "policy/clipfrac_avg": "clip_fraction",
    "loss/policy_avg": "policy_loss",
    "loss/value_avg": "value_loss",
    "lr": "learning_rate",
}


def matrix_score(matrix: np.ndarray, scales: Sequence[RewardScale]) -> float:
    """Mean of the diagonal, each terrain in its own reward units so that an easy terrain cannot hide a failed one."""
    return float(np.mean([(own - s.mean) / s.std for own, s in zip(np.diagonal(matrix), scales, strict=True)]))


@dataclass
class Best:
    """The best policy so far by the matrix: surely conditional before not, then the higher score.

    A matrix that is diagonal by luck counts for nothing: it would keep a poor policy for a hair's breadth.

    Attributes:
        update: After which update it was met; 0 is the start.
        matrix: Its matrix, or None before the first evaluation.
        conditional: What `is_conditional` says of it.
        support: What `diagonal_support` says of it, %.
        score: What `matrix_score` says of it.
    """

    update: int = 0
    matrix: np.ndarray | None = None
    conditional: bool = False
    support: float = 0.0
    score: float = -np.inf

    def beaten_by(self, other: Best) -> bool:
        """Whether another policy is better."""
        return self.matrix is None or other._rank > self._rank

    @property
    def _rank(self) -> tuple[bool, float]:
        return self.support >= SURE_PERCENT, self.score


@dataclass
class Budget:
    """When to stop.

    Attributes:
        updates: Updates in all.
        evaluate_every: Updates between two matrices.
        patience: Matrices without a better policy before stopping; 0 never stops early.
        max_seconds: Wall-clock limit counted from ``started``; the run stops before an update that would pass it.
        started: `time.monotonic` at the start.
    """

    updates: int
    evaluate_every: int
    patience: int = 0
    max_seconds: float = float("inf")
    started: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started


class FinetuneMonitor(TrainerCallback):
    """Writes every update to ``metrics.jsonl`` and TensorBoard, keeps the best policy, and asks the trainer to stop.

    Args:
        folder: Where ``metrics.jsonl`` and ``tensorboard/`` go.
        scales: The reward scale of every terrain, in the order of the matrix.
        budget: When to evaluate and to stop.
        last_batch: Returns the batch the reward model scored last.
        measure: Rolls the policy out and returns distances (terrains asked for, terrains walked on, programs).
        keep: Called with ``best`` when the policy is the best so far; stores it.
        progress: Show a progress bar.

    Attributes:
        best: The best policy so far.
        update: Updates done.
        stopped: Why the run ended: "updates", "patience" or "time".
    """

    def __init__(
        self,
        folder: Path,
        scales: Mapping[str, RewardScale],
        budget: Budget,
        last_batch: Callable[[], RewardBatch | None],
        measure: Callable[[], np.ndarray],
        keep: Callable[[Best], None],
        progress: bool = True,
    ) -> None:
        self.folder = folder
        self.scales = scales
        self.budget = budget
        self.last_batch = last_batch
        self.measure = measure
        self.keep = keep
        self.best = Best()
        self.update = 0
        self.stopped = "updates"
        self._stale = 0
        self._slowest = {"update": 0.0, "evaluation": 0.0}
        self._record: dict[str, Any] = {}
        self._begun = time.monotonic()
        self._scalars: ScalarLog | None = None
        self._bar = tqdm(total=budget.updates, desc="PPO", unit="update", disable=not progress)

    def start(self) -> None:
        """Measures the policy before its first update: training has to beat it to be kept."""
        with explained_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            # What an interrupted run left: this one starts anew.
            (self.folder / METRICS_FILE).unlink(missing_ok=True)
            shutil.rmtree(self.folder / tensorboard.FOLDER, ignore_errors=True)
        self._scalars = ScalarLog(self.folder)
        self._write(self._evaluate({"update": 0}))
        self._begun = time.monotonic()

    def close(self) -> None:
        """Closes the log and the progress bar."""
        self._bar.close()
        if self._scalars is not None:
            self._scalars.close()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **unused: Any,
    ) -> None:
        """Takes over the trainer's own figures of the update."""
        self._record = {name: (logs or {})[key] for key, name in _TRL_FIGURES.items() if key in (logs or {})}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any
    ) -> TrainerControl:
        """Records the update, evaluates when it is time, and decides whether to go on."""
        self.update += 1
        seconds = time.monotonic() - self._begun
        self._slowest["update"] = max(self._slowest["update"], seconds)
        record: dict[str, Any] = {"update": self.update, "seconds": round(seconds, 3), **self._record}
        batch = self.last_batch()
        if batch is not None:
            figures = batch.per_terrain()
            record["terrains"] = {name: figures[name] for name in self.scales if name in figures}
            record["distinct"] = len(set(batch.programs))
            record["valid"] = float(batch.valid.mean())
        out_of_time = self._out_of_time()
        last = self.update >= self.budget.updates or out_of_time
        if last or self.update % self.budget.evaluate_every == 0:
            record = self._evaluate(record)
            out_of_time = out_of_time or self._out_of_time()
        if 0 < self.budget.patience <= self._stale:
            self.stopped, last = "patience", True
        elif out_of_time and self.update < self.budget.updates:
            self.stopped, last = "time", True
        control.should_training_stop = last
        self._write(record)
        self._show(record)
        self._begun = time.monotonic()
        return control

    def _out_of_time(self) -> bool:
        """Whether one more update, with the evaluation that ends the run, would pass the limit."""
        return self.budget.elapsed() + sum(self._slowest.values()) > self.budget.max_seconds

    def _evaluate(self, record: dict[str, Any]) -> dict[str, Any]:
        begun = time.monotonic()
        distances = np.asarray(self.measure(), dtype=np.float64)
        matrix = distances.mean(axis=2)
        met = Best(
            update=self.update,
            matrix=matrix,
            conditional=is_conditional(matrix),
            support=diagonal_support(list(distances)),
            score=matrix_score(matrix, list(self.scales.values())),
        )
        better = self.best.beaten_by(met)
        if better:
            self.best = met
            self.keep(self.best)
        self._stale = 0 if better else self._stale + 1
        self._slowest["evaluation"] = max(self._slowest["evaluation"], time.monotonic() - begun)
        return record | {
            "matrix": matrix,
            "conditional": met.conditional,
            "conditional_support_percent": met.support,
            "matrix_score": met.score,
            "best": better,
        }

    def _write(self, record: Mapping[str, Any]) -> None:
        path = self.folder / METRICS_FILE
        with explained_disk_errors(path), open(path, "a", encoding="utf-8") as file:
            file.write(to_json(record) + "\n")
        if self._scalars is not None:
            self._scalars.write(self.update, _flat(record, list(self.scales)))

    def _show(self, record: Mapping[str, Any]) -> None:
        shown = {name: f"{figures['fitness']:.1f}" for name, figures in record.get("terrains", {}).items()}
        shown["valid"] = f"{100 * record.get('valid', 0.0):.0f}%"
        shown["distinct"] = str(record.get("distinct", 0))
        shown |= {name: f"{record[name]:.2f}" for name in ("kl", "entropy") if name in record}
        if self.best.matrix is not None:
            shown["conditional"] = "yes" if self.best.conditional else "no"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()


def _flat(record: Mapping[str, Any], terrains: Sequence[str]) -> list[tuple[str, float]]:
    """The scalars of a record, named for TensorBoard's groups."""
    scalars = [(f"ppo/{k}", float(v)) for k, v in record.items() if isinstance(v, bool | int | float) and k != "update"]
    for terrain, figures in record.get("terrains", {}).items():
        scalars += [(f"{name}/{terrain}", value) for name, value in figures.items()]
    if "matrix" in record:
        scalars += [
            (f"matrix/{asked}_on_{walked}", float(record["matrix"][i, j]))
            for i, asked in enumerate(terrains)
            for j, walked in enumerate(terrains)
        ]
    return scalars
