"""The supervised trainer behind the language model, the mutation model and the terrain warm start.

Examples are a prompt, which is given, and a completion, which is learnt; transformers' ``Trainer`` does the work.

A run ends after a number of steps, of epochs or of seconds, and its learning rate follows how much of that has passed,
so that a run of two minutes has the same cosine as one of two days. With ``max_steps`` no clock is read and a run
repeats exactly on the same machine type and number of threads.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import save_language_model
from elm_rl.runs.run_directory import METRICS_FILE, explained_disk_errors, read_json, to_json, write_json
from elm_rl.runs.tensorboard import summary_writer

TRAINING_FILE = "training.json"

Example = tuple[Sequence[int], Sequence[int]]
"""Token ids of a prompt, which is given, and of the completion to learn; the completion brings its own end token."""

_IGNORED = -100  # the label that cross entropy leaves out


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a language model is trained; shared by every supervised stage."""

    learning_rate: float = 3e-3
    """Peak of the learning rate, which warms up linearly and falls along a cosine."""
    batch_size: int = 16
    """Programs per step."""
    max_epochs: float = 30.0
    """Passes over the examples, unless the time is up first."""
    max_seconds: float | None = None
    """Time budget in seconds; the learning rate reaches zero when it is spent. Not used together with max_steps."""
    max_steps: int | None = None
    """Exact number of steps, in place of epochs and seconds; such a run is repeatable."""
    warmup: float = 0.05
    """Share of the run in which the learning rate rises."""
    weight_decay: float = 0.1
    """Weight decay of AdamW, on matrices alone."""
    seed: int = 0
    """Seed of the initial weights and of the order of the examples."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "max_epochs", "max_seconds", "max_steps"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ConfigError(f"{name} must be a positive number, got {value}.")
        if not 0 <= self.warmup < 1 or not 0 <= self.weight_decay <= 1:
            raise ConfigError(
                f"warmup must lie in [0, 1) and weight_decay in [0, 1], got {self.warmup} and {self.weight_decay}."
            )


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
        seconds: Wall-clock time of training, with its evaluations.
        train_loss: Mean loss in nats per token over the last stretch of the run.
        held_out_loss: Loss in nats per token on the held-out examples at the end; None without any.
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
        folder: The output folder of `train_causal_lm`.
        settings: What was passed to it as ``settings``.

    Raises:
        ElmError: A run with other settings finished there.
    """
    path = Path(folder) / TRAINING_FILE
    if not path.is_file():
        return None
    content = read_json(path)
    wanted = json.loads(to_json(settings))
    started = content["settings"]
    for name in dict.fromkeys([*started, *wanted]):
        if started.get(name) != wanted.get(name):
            raise ElmError(
                f"'{folder}' holds a model trained with {name} = {started.get(name)!r}, not {wanted.get(name)!r}; "
                "choose another output folder, or delete that one to train again."
            )
    return TrainResult(**content["figures"])


def train_causal_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    output_dir: Path,
    config: TrainConfig,
    *,
    held_out: Sequence[Example] = (),
    settings: dict[str, Any] | None = None,
) -> TrainResult:
    """Trains a causal language model in place and saves it, with its tokenizer, to ``output_dir``.

    The loss covers completions only. Prompts may hold ids beyond the vocabulary (terrain prefixes) when the model's
    input embedding takes them. Python's, NumPy's and torch's global random states are left as they were.

    Args:
        model: The model, trained on CUDA when there is a device and else on the CPU in float32.
        tokenizer: Gives the padding id; saved with the model.
        examples: Pairs of prompt ids and completion ids. Those longer than the model's context are left out.
        output_dir: Also receives ``metrics.jsonl``, ``tensorboard/`` and, at the very end, ``training.json``.
        config: Stopping rule, learning rate, batch size and seed.
        held_out: Pairs to measure the held-out loss on, ten times during the run and at its end.
        settings: Recorded in ``training.json`` and compared by `load_finished`; the fields of ``config`` by default.

    Raises:
        ElmError: No example fits the context, the loss stopped being finite, or the disk is full.
        ValueError: A completion is empty or holds an id beyond the vocabulary.
    """
    output_dir = Path(output_dir)
    rows, too_long = _rows(model, tokenizer, examples)
    held_rows, _ = _rows(model, tokenizer, held_out)
    if not rows:
        raise ElmError(
            f"There is nothing to train on: {len(examples)} examples, of which {too_long} exceed the model's context; "
            "build a larger corpus or a model with a longer context."
        )
    steps = config.max_steps or math.ceil(config.max_epochs * math.ceil(len(rows) / config.batch_size))
    budget = _Budget(steps, config.max_seconds if config.max_steps is None else None)
    with explained_disk_errors(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
        (output_dir / TRAINING_FILE).unlink(missing_ok=True)  # from here on the folder is unfinished
        with _random_state_kept(), _Recorder(output_dir, budget, evaluate=bool(held_rows)) as recorder:
            trainer = _CosineTrainer(
                config=config,
                budget=budget,
                model=model,
                args=_arguments(output_dir, config, steps),
                data_collator=_Collator(int(tokenizer.pad_token_id or 0)),
                train_dataset=rows,
                eval_dataset=held_rows or None,
                callbacks=[recorder, *_tensorboard(output_dir)],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            seconds = budget.elapsed()
    model.eval()
    result = TrainResult(
        parameters=model.num_parameters(only_trainable=True),
        examples=len(rows),
        too_long=too_long,
        steps=trainer.state.global_step,
        epochs=trainer.state.global_step / math.ceil(len(rows) / config.batch_size),
        tokens=int(trainer.state.num_input_tokens_seen),
        seconds=seconds,
        train_loss=recorder.train_loss,
        held_out_loss=recorder.held_out_loss,
    )
    if not math.isfinite(result.train_loss):
        raise ElmError(f"Training diverged (the loss is {result.train_loss}); lower the learning rate and run again.")
    save_language_model(model, tokenizer, output_dir)
    write_json(output_dir / TRAINING_FILE, {"settings": settings or asdict(config), "figures": asdict(result)})
    return result


def _rows(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]
) -> tuple[list[dict[str, list[int]]], int]:
    """Input ids and labels of the examples that fit the context, and how many do not."""
    context = getattr(model.config, "max_position_embeddings", None) or 1 << 30
    rows = []
    for prompt, completion in examples:
        if not completion or max(completion) >= len(tokenizer):
            raise ValueError(
                f"A completion needs at least one token, and ids below {len(tokenizer)}; got {list(completion)}."
            )
        if len(prompt) + len(completion) <= context:
            rows.append({"input_ids": [*prompt, *completion], "labels": [_IGNORED] * len(prompt) + list(completion)})
    return rows, len(examples) - len(rows)


def _arguments(output_dir: Path, config: TrainConfig, steps: int) -> TrainingArguments:
    """The trainer's options: nothing written but what our own callbacks write, and float32 throughout."""
    return TrainingArguments(
        output_dir=str(output_dir),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        # Programs of one batch are about equally long, which leaves little padding: measured to waste less time than
        # packing programs into full contexts does on their attention to one another.
        train_sampling_strategy="group_by_length",
        include_num_input_tokens_seen="non_padding",
        logging_strategy="no",
        logging_nan_inf_filter=False,  # a loss that is not finite is to be seen
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        seed=config.seed,
    )


def _tensorboard(output_dir: Path) -> list[TrainerCallback]:
    """The TensorBoard callback, where tensorboard is installed."""
    writer = summary_writer(output_dir)
    return [] if writer is None else [TensorBoardCallback(writer)]


class _Collator:
    """Pads rows on the right to the longest of the batch."""

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

        mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
        return {
            "input_ids": padded("input_ids", self._pad_id),
            "labels": padded("labels", _IGNORED),
            "attention_mask": torch.tensor(mask),
        }


class _Budget:
    """How much of a run has passed: by steps, or by the clock where that is further."""

    def __init__(self, steps: int, seconds: float | None) -> None:
        self.steps = steps
        self.seconds = seconds
        self._start = time.monotonic()

    def start(self) -> None:
        self._start = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def progress(self, step: int) -> float:
        """Share of the run that has passed once ``step`` steps are done, at most 1."""
        by_steps = step / self.steps
        by_time = self.elapsed() / self.seconds if self.seconds is not None else 0.0
        return min(1.0, max(by_steps, by_time))


class _CosineTrainer(Trainer):
    """A Trainer whose learning rate follows the progress of a `_Budget`."""

    def __init__(self, *, config: TrainConfig, budget: _Budget, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._config = config
        self._budget = budget

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Warm-up, then a cosine to zero. The rate at a step is that of the step's middle, so no step is wasted."""

        def factor(step: int) -> float:
            progress = min(1.0, self._budget.progress(step) + 0.5 / self._budget.steps)
            if progress < self._config.warmup:
                return progress / self._config.warmup
            return 0.5 * (1 + math.cos(math.pi * (progress - self._config.warmup) / (1 - self._config.warmup)))

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler


class _Recorder(TrainerCallback):
    """Watches a run: stops it when its budget is spent, asks for logs and evaluations, writes and shows them."""

    _LOGS = 50
    _EVALUATIONS = 10

    def __init__(self, folder: Path, budget: _Budget, *, evaluate: bool) -> None:
        self.train_loss = math.nan
        self.held_out_loss: float | None = None
        self._folder = folder
        self._budget = budget
        self._evaluate = evaluate
        self._logged = self._evaluated = 0

    def __enter__(self) -> _Recorder:
        self._file = open(self._folder / METRICS_FILE, "w", encoding="utf-8")
        # None: shown on a terminal, silent where a bar would only fill a log file.
        self._bar = tqdm(total=100, desc=self._folder.name, disable=None, bar_format="{l_bar}{bar}| {elapsed}{postfix}")
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
        self._file.close()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Starts the clock here, so that loading and compiling do not count."""
        self._budget.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Logs 50 times a run, evaluates ten times, and always at the end."""
        progress = self._budget.progress(state.global_step)
        done = progress >= 1.0
        if done or int(progress * self._LOGS) > self._logged:
            self._logged = int(progress * self._LOGS)
            control.should_log = True
        if self._evaluate and (done or int(progress * self._EVALUATIONS) > self._evaluated):
            self._evaluated = int(progress * self._EVALUATIONS)
            control.should_evaluate = True
        control.should_training_stop = control.should_training_stop or done
        self._bar.update(100 * progress - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Appends one line to the metrics file and refreshes the figures beside the bar."""
        logs = logs or {}
        self.train_loss = logs.get("loss", self.train_loss)
        self.held_out_loss = logs.get("eval_loss", self.held_out_loss)
        seconds = self._budget.elapsed()
        tokens = int(state.num_input_tokens_seen)
        self._file.write(to_json({"step": state.global_step, "seconds": seconds, "tokens": tokens, **logs}) + "\n")
        self._file.flush()
        figures = {"loss": f"{self.train_loss:.3f}", "tokens/s": f"{tokens / max(seconds, 1e-9):,.0f}"}
        if self.held_out_loss is not None:
            figures["held out"] = f"{self.held_out_loss:.3f}"
        self._bar.set_postfix(figures)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Restores the global random states, which the Trainer seeds for itself."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the Trainer seeds it
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
