"""The supervised trainer behind the language model, the mutation model and the supervised start.

Examples are a prompt, which is given, and a completion, which is learnt; transformers' ``Trainer`` does the work.

A run ends after a number of steps, of epochs or of seconds, and its learning rate follows how much of that has passed,
so that a run of two minutes has the same cosine as one of two days. With ``max_steps`` no clock is read and a run
repeats exactly on the same machine type and number of threads, also when it was killed and went on from a checkpoint.
Started by ``accelerate launch`` it runs on several devices.
"""

from __future__ import annotations

import hashlib
import logging
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback

from elm_rl.errors import ElmError
from elm_rl.models.devices import AUTO, has_bfloat16
from elm_rl.models.language_model import no_progress_bars, save_language_model
from elm_rl.models.muon import MuonAndAdamW
from elm_rl.models.packed_examples import IGNORED, SharedPrompt, packed_row, segment_mask
from elm_rl.models.sampling import context_length
from elm_rl.models.training_checkpoints import CHECKPOINTS, Checkpoints
from elm_rl.models.training_options import (
    TRAINING_FILE,
    TrainConfig,
    TrainResult,
    load_finished,
)
from elm_rl.models.training_progress import Progress, Recorder
from elm_rl.runs.processes import is_main_process
from elm_rl.runs.run_directory import explained_disk_errors, write_json
from elm_rl.runs.tensorboard import summary_writer

__all__ = ["Example", "TrainConfig", "TrainResult", "load_finished", "train_causal_lm"]

Example = tuple[Sequence[int], Sequence[int]]
"""Token ids of a prompt, which is given, and of the completion to learn; the completion brings its own end token."""


def train_causal_lm(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example | SharedPrompt],
    output_dir: Path,
    config: TrainConfig,
    *,
    held_out: Sequence[Example | SharedPrompt] = (),
    settings: dict[str, Any] | None = None,
    context: int | None = None,
    by_length: bool = True,
    finish: Callable[[PreTrainedModel], PreTrainedModel] | None = None,
) -> TrainResult:
    """Trains a causal language model in place and saves it, with its tokenizer, to ``output_dir``.

    The loss covers completions only. Prompts may hold ids beyond the vocabulary (terrain prefixes) when the model's
    input embedding takes them. Python's, NumPy's and torch's global random states are left as they were. A run that was
    killed goes on from its last checkpoint when it is called again with the same settings and examples.

    Args:
        model: The model, trained on CUDA when there is a device and else on the CPU. Only what requires gradients is.
        tokenizer: Gives the padding id; saved with the model.
        examples: Pairs of prompt ids and completion ids, or prompts with several completions; all of one kind. Those
            longer than the model's context are left out.
        output_dir: Also receives ``metrics.jsonl``, ``tensorboard/`` and, at the very end, ``training.json``; while the
            run goes on, ``checkpoints/``.
        config: Stopping rule, learning rate, batch size, precision, checkpoints and seed.
        held_out: Pairs to measure the held-out loss on, ten times during the run and at its end.
        settings: Recorded in ``training.json`` and compared by `load_finished`; the fields of ``config`` by default.
        context: Longest example in tokens; by default what the model reads.
        by_length: Have batches of about equally long examples, which leaves little padding. Not where the prompt decides which
            of a few completions follows: such batches hold one completion each, and the prompt is then not learnt from.
        finish: Makes of the trained model the one to save, such as by merging adapters into it.

    Raises:
        ElmError: No example fits the context, the loss stopped being finite, the disk is full, or ``output_dir`` holds a
            checkpoint of a run with other settings or examples.
        ValueError: A completion is empty or holds an id beyond the vocabulary.
    """
    output_dir = Path(output_dir)
    settings = settings or asdict(config)
    longest = min(context or 1 << 30, context_length(model))
    rows, too_long = _rows(tokenizer, examples, longest)
    held_rows, _ = _rows(tokenizer, held_out, longest)
    if not rows:
        raise ElmError(
            f"There is nothing to train on: {len(examples)} examples, of which {too_long} exceed the context of {longest} "
            "tokens; build a larger corpus or a model with a longer context."
        )
    with explained_disk_errors(output_dir), _explained_torch_errors(output_dir), _random_state_kept():
        arguments = _arguments(output_dir, config, bfloat16=_in_bfloat16(config.precision), by_length=by_length)
        batches = math.ceil(len(rows) / (arguments.train_batch_size * arguments.world_size))
        steps_per_epoch = math.ceil(batches / config.gradient_accumulation)
        arguments.max_steps = config.max_steps or math.ceil(config.max_epochs * steps_per_epoch)
        progress = Progress(arguments.max_steps, config.max_seconds if config.max_steps is None else None)
        run = {**settings, "examples": _digest(rows + held_rows), "processes": arguments.world_size}
        recorder = Recorder(output_dir, progress, evaluate=bool(held_rows))
        checkpoints = Checkpoints(
            output_dir,
            steps=config.checkpoint_steps,
            seconds=config.checkpoint_seconds,
            run=run,
            progress=progress,
            recorder=recorder,
        )
        last = checkpoints.find()
        output_dir.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            (output_dir / TRAINING_FILE).unlink(missing_ok=True)  # from here on the folder is unfinished
        with recorder:
            trainer = _CosineTrainer(
                config=config,
                progress=progress,
                model=model,
                args=arguments,
                data_collator=_Collator(int(tokenizer.pad_token_id or 0)),
                train_dataset=rows,
                eval_dataset=held_rows or None,
                callbacks=[recorder, *_tensorboard(output_dir, last)],
            )
            trainer.remove_callback(PrinterCallback)
            checkpoints.watch(trainer)
            with no_progress_bars(), _misleading_warnings_hidden():
                trainer.train(resume_from_checkpoint=None if last is None else str(last))
            seconds = progress.elapsed()
    _unwrap(trainer, model)
    result = TrainResult(
        parameters=model.num_parameters(only_trainable=True),
        examples=len(rows),
        too_long=too_long,
        steps=trainer.state.global_step,
        epochs=trainer.state.global_step / steps_per_epoch,
        tokens=int(trainer.state.num_input_tokens_seen),
        seconds=seconds,
        train_loss=recorder.train_loss,
        held_out_loss=recorder.held_out_loss,
    )
    if not math.isfinite(result.train_loss):
        checkpoints.remove()  # or another learning rate would be refused as another run's
        raise ElmError(f"Training diverged (the loss is {result.train_loss}); lower the learning rate and run again.")
    if is_main_process():
        model = model if finish is None else finish(model)
        save_language_model(model.to(getattr(torch, config.save_dtype)), tokenizer, output_dir)
        write_json(output_dir / TRAINING_FILE, {"settings": settings, "figures": asdict(result)})
        checkpoints.remove()
    trainer.accelerator.wait_for_everyone()
    return result


def _rows(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example | SharedPrompt], longest: int
) -> tuple[list[dict[str, list[int]]], int]:
    """Input ids and labels of the examples of at most ``longest`` tokens, and how many have more."""
    rows = []
    for example in examples:
        if isinstance(example, SharedPrompt):
            if (row := packed_row(example, longest)) is not None:
                rows.append(row)
            continue
        prompt, completion = example
        if not completion or max(completion) >= len(tokenizer):
            raise ValueError(
                f"A completion needs at least one token, and ids below {len(tokenizer)}; got {list(completion)}."
            )
        if len(prompt) + len(completion) <= longest:
            rows.append({"input_ids": [*prompt, *completion], "labels": [IGNORED] * len(prompt) + list(completion)})
    return rows, len(examples) - len(rows)


def _digest(rows: Sequence[dict[str, list[int]]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        for part in ("input_ids", "labels"):
            digest.update(np.array([len(row[part]), *row[part]], dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


def _in_bfloat16(precision: str) -> bool:
    """Whether a model computes in bfloat16 while it learns. On CPUs that have it, models of every size learn faster in it."""
    if precision != AUTO:
        return precision == "bfloat16"
    return has_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _arguments(output_dir: Path, config: TrainConfig, *, bfloat16: bool, by_length: bool) -> TrainingArguments:
    """The trainer's options: nothing is written but checkpoints and what our own callbacks write."""
    return TrainingArguments(
        output_dir=str(output_dir / CHECKPOINTS),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        # Little padding, measured to waste less time than packing programs into full contexts does on their attention to one
        # another.
        train_sampling_strategy="group_by_length" if by_length else "random",
        include_num_input_tokens_seen="non_padding",
        logging_strategy="no",
        logging_nan_inf_filter=False,  # a loss that is not finite is to be seen
        save_strategy="no",  # Checkpoints says when
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        bf16=bfloat16,
        ddp_find_unused_parameters=False,
        seed=config.seed,
    )


def _tensorboard(output_dir: Path, checkpoint: Path | None) -> list[TrainerCallback]:
    """The TensorBoard callback, where tensorboard is installed."""
    after = None if checkpoint is None else int(checkpoint.name.rpartition("-")[2]) + 1
    writer = summary_writer(output_dir, after) if is_main_process() else None
    return [] if writer is None else [TensorBoardCallback(writer)]


def _unwrap(trainer: Trainer, model: PreTrainedModel) -> None:
    """Makes a trained model what it was before: no autocast around its ``forward``, and ready to be asked."""
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    vars(model).pop("forward", None)
    model.eval()


class _Collator:
    """Pads rows on the right to the longest of the batch."""

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)

        def padded(name: str, value: int) -> torch.Tensor:
            return torch.tensor([row[name] + [value] * (width - len(row[name])) for row in rows])

        mask = [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
        batch = {
            "input_ids": padded("input_ids", self._pad_id),
            "labels": padded("labels", IGNORED),
            "attention_mask": torch.tensor(mask),
        }
        if "segments" in rows[0]:
            batch |= {"position_ids": padded("position_ids", 0), "segments": padded("segments", -1)}
        return batch


class _CosineTrainer(Trainer):
    """A Trainer whose learning rate follows the `Progress` of the run."""

    def __init__(self, *, config: TrainConfig, progress: Progress, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._config = config
        self._progress = progress

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimiser that the settings name."""
        if self._config.optimizer == "adamw":
            return super().create_optimizer(model)
        self.optimizer: torch.optim.Optimizer = MuonAndAdamW(
            self.model if model is None else model, self._config.learning_rate, self._config.weight_decay
        )
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **settings: Any) -> Any:
        """The loss of a batch; completions that share a prompt do not see one another."""
        # Until here the mask was the plain one, by which the Trainer counts tokens.
        if "segments" in inputs:
            inputs["attention_mask"] = segment_mask(inputs.pop("segments"))
        return super().compute_loss(model, inputs, *args, **settings)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Warm-up, then a cosine to zero. The rate at a step is that of the step's middle, so no step is wasted."""

        def factor(step: int) -> float:
            share = min(1.0, self._progress.share(step) + 0.5 / self._progress.steps)
            if share < self._config.warmup:
                return share / self._config.warmup
            return 0.5 * (1 + math.cos(math.pi * (share - self._config.warmup) / (1 - self._config.warmup)))

        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler


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


@contextmanager
def _misleading_warnings_hidden() -> Iterator[None]:
    """Hides two warnings about checkpoints.

    An output layer that shares the weights of the input is saved once, and is not missing; and a model from a GGUF file has no
    ``config.json`` in which peft could see that no adapter changes the vocabulary.
    """

    def worth_saying(record: logging.LogRecord) -> bool:
        return "missing keys in the checkpoint model loaded: ['lm_head.weight']" not in record.getMessage()

    logger = logging.getLogger("transformers.trainer")
    logger.addFilter(worth_saying)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Could not find a config file in")
            yield
    finally:
        logger.removeFilter(worth_saying)


@contextmanager
def _explained_torch_errors(folder: Path) -> Iterator[None]:
    """Torch reports a file that could not be written in words and a class of its own."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in ("PytorchStreamWriter", "unexpected pos", "iostream error")):
            raise ElmError(
                f"A checkpoint in '{folder / CHECKPOINTS}' could not be written; is the disk full? Make some room and run "
                "the same command again: it goes on from the checkpoint before."
            ) from error
        raise
