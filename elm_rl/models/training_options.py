"""Settings and figures of a supervised training run, and how a finished one is found again."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from elm_rl.errors import ConfigError, ElmError
from elm_rl.runs.run_directory import read_json, to_json

TRAINING_FILE = "training.json"
"""Written last into the folder of a training run: its settings and figures."""

PRECISIONS = ("auto", "float32", "bfloat16")
SAVED_TYPES = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "muon")

HOUSEKEEPING = ("checkpoint_steps", "checkpoint_seconds")
"""Settings that have no part in the result: a run may be continued, and a finished one reused, with others."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a language model is trained; shared by every supervised stage."""

    learning_rate: float = 3e-3
    """Peak of the learning rate, which warms up linearly and falls along a cosine."""
    batch_size: int = 16
    """Programs that go through the model together, on each device."""
    gradient_accumulation: int = 1
    """Batches whose gradients are added up before a step, for large steps in little memory."""
    max_epochs: float = 30.0
    """Passes over the examples, unless the time is up first."""
    max_seconds: float | None = None
    """Time budget in seconds; the learning rate reaches zero when it is spent. Not used together with max_steps."""
    max_steps: int | None = None
    """Exact number of steps, in place of epochs and seconds; such a run is repeatable."""
    warmup: float = 0.05
    """Share of the run in which the learning rate rises."""
    weight_decay: float = 0.1
    """Weight decay, on matrices alone."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """What takes the steps: adamw, or muon for the matrices and adamw for the rest (`elm_rl.models.muon`)."""
    seed: int = 0
    """Seed of the initial weights and of the order of the examples."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """What the model computes in while it learns; weights and optimiser stay in float32. auto: bfloat16 where the
    processor has instructions for it. On such a core, 1M parameters learn 1.3 times as many tokens a second, 21M twice."""
    save_dtype: Literal["float32", "bfloat16"] = "float32"
    """What the weights are saved in; bfloat16 takes half the space and is a little less exact."""
    checkpoint_steps: int | None = None
    """Steps between two checkpoints, from which the same command goes on after a kill; None for none by steps."""
    checkpoint_seconds: float | None = 600.0
    """Seconds between two checkpoints; None for none by time. A checkpoint takes three times the space of the weights, and
    is removed when the run has finished."""

    def __post_init__(self) -> None:
        numbers = (
            "learning_rate",
            "batch_size",
            "gradient_accumulation",
            "max_epochs",
            "max_seconds",
            "max_steps",
            "checkpoint_steps",
            "checkpoint_seconds",
        )
        for name in numbers:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be a positive number, got {value}.")
        if not 0 <= self.seed < 2**32:  # numpy's bound, which the Trainer seeds
            raise ConfigError(f"seed is {self.seed}; expected 0 to {2**32 - 1}.")
        if not 0 <= self.warmup < 1 or not 0 <= self.weight_decay <= 1:
            raise ConfigError(
                f"warmup must lie in [0, 1) and weight_decay in [0, 1], got {self.warmup} and {self.weight_decay}."
            )
        for name, known in (("precision", PRECISIONS), ("save_dtype", SAVED_TYPES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}.")


@dataclass(frozen=True)
class TrainResult:
    """Figures of a finished training run.

    Attributes:
        parameters: Trainable parameters of the model.
        examples: Examples trained on; ``too_long`` were left out because they exceed the context.
        too_long: See ``examples``.
        steps: Optimiser steps.
        epochs: Passes over the examples.
        tokens: Tokens seen, prompts included, padding not.
        seconds: Wall-clock time of training, with its evaluations and, after a kill, of all its parts together.
        train_loss: Loss in nats per token over the last stretch of the run: the mean over its steps of a step's own mean.
        held_out_loss: Loss in nats per token on the held-out examples at the end: the mean over batches of a batch's own mean,
            weighted by examples, so that short programs count for more than their tokens. None without any.
    """

    parameters: int
    examples: int
    too_long: int
    steps: int
    epochs: float
    tokens: int
    seconds: float
    train_loss: float
    held_out_loss: float | None


def load_finished(folder: Path, settings: dict[str, Any]) -> TrainResult | None:
    """Figures of the training run that finished in ``folder``, or None when there is none.

    Args:
        folder: The output folder of `elm_rl.models.supervised_training.train_causal_lm`.
        settings: What was passed to it as ``settings``.

    Raises:
        ElmError: A run with other settings finished there.
    """
    path = Path(folder) / TRAINING_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    check_same_settings(f"'{folder}' holds a model trained", content["settings"], settings)
    return TrainResult(**content["figures"])


def check_same_settings(
    holds: str, started: dict[str, Any], wanted: dict[str, Any], may_differ: Collection[str] = HOUSEKEEPING
) -> None:
    """Whether a run has the settings of another one.

    Args:
        holds: How the sentence begins that says they differ: what is where.
        started: The other's settings, as JSON gave them back.
        wanted: The run's settings.
        may_differ: Names that are not compared.

    Raises:
        ElmError: A setting differs.
    """
    wanted = json.loads(to_json(wanted))
    for name in dict.fromkeys([*started, *wanted]):
        if name not in may_differ and started.get(name) != wanted.get(name):
            raise ElmError(
                f"{holds} with {name} = {started.get(name)!r}, not {wanted.get(name)!r}; "
                "choose another output folder, or delete that one to train again."
            )
