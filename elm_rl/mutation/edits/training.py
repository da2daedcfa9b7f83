"""Trains a model of line edits on evolution runs: their children, and what became of them, are what it learns."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import MODEL_SIZES, load_language_model, make_model
from elm_rl.models.packed_examples import SharedPrompt
from elm_rl.models.supervised_training import TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.mutation.edits.builtin import BUILTIN_MODEL
from elm_rl.mutation.edits.lessons import Lesson, LessonConfig, find_lessons
from elm_rl.mutation.edits.line_edits import SMALLEST_VOCABULARY, EditCoder, train_edit_tokenizer
from elm_rl.mutation.edits.questions import (
    LINE_EDITS,
    encode_answer,
    encode_question,
    verdict_token,
)
from elm_rl.mutation.hold_out import hold_out
from elm_rl.mutation.trained_format import MUTATION_FILE
from elm_rl.runs.children_file import read_children
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once, is_main_process
from elm_rl.runs.run_directory import (
    ADMITTED_FILE,
    CONFIG_FILE,
    explained_disk_errors,
    read_json,
    read_jsonl,
    write_json,
)


@dataclass(frozen=True, kw_only=True)
class EditModelConfig(LessonConfig, TrainConfig):
    """How a model of line edits is built and trained."""

    start: str | None = None
    """Another model of line edits to go on from, with its tokenizer: a folder, or ``builtin``. Left out, tokenizer and model
    begin from nothing."""
    size: str = "1M"
    """Size of a model that begins from nothing: 0.1M, 1M, 2M, 5M or 21M parameters."""
    vocab_size: int = 2048
    """Tokens in the vocabulary. The larger, the shorter are programs: 147 tokens with 1,024, 99 with 2,048 (measured)."""
    context: int = 512
    """Longest question with one answer, in tokens."""
    batch_size: int = 6
    """Parents per step, each with all its answers. Small batches learn more in the same time: with 1,200 tokens a step the
    loss was 4.0 nats after 230,000 tokens, with 3,000 it was 5.3 (1M parameters)."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """What takes the steps. After 28 s of training the loss was 3.85 with muon and 4.08 with adamw (1M parameters)."""
    learn_programs: bool = True
    """Whether the lines of the parents are learnt too, and not only the answers."""
    held_out: float = 0.02
    """Share of the lessons held out, by lineage, to measure the loss on."""
    max_seconds: float | None = 75.0
    """Time budget in seconds; the learning rate reaches zero when it is spent. Not used together with max_steps."""

    def __post_init__(self) -> None:
        LessonConfig.__post_init__(self)
        TrainConfig.__post_init__(self)
        if self.size not in MODEL_SIZES:
            raise ConfigError(f"There is no model size {self.size!r}; the sizes are {', '.join(MODEL_SIZES)}.")
        if self.start is not None and (self.size, self.vocab_size) != (
            EditModelConfig.size,
            EditModelConfig.vocab_size,
        ):
            raise ConfigError("size and vocab_size are of models from scratch; leave them out with start.")
        if self.vocab_size < SMALLEST_VOCABULARY or self.context < 128 or not 0 <= self.held_out < 1:
            raise ConfigError(
                f"Expected vocab_size >= {SMALLEST_VOCABULARY}, context >= 128 and 0 <= held_out < 1; got "
                f"{self.vocab_size}, {self.context} and {self.held_out}."
            )


@dataclass(frozen=True, kw_only=True)
class EditTrainingConfig(EditModelConfig):
    """Settings of training a model of line edits on evolution runs."""

    evolution: tuple[Path, ...]
    """Folders that 'elm-rl evolve' has written."""
    out: Path
    """Folder for the model, its metrics and its figures. A finished one with the same settings is reused."""
    until_iteration: int | None = None
    """Learn only from children up to this iteration; from all when left out. A run that has gone on with the model it trained
    can then train the same one again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take_paths(self)


def run_edit_training(config: EditTrainingConfig) -> TrainResult:
    """Trains a model of line edits on the children of some evolution runs, and saves it to ``config.out``.

    Raises:
        ElmError: A run is missing, damaged or has too little in it, the disk is full, or ``out`` holds a model trained
            otherwise.
    """
    last = math.inf if config.until_iteration is None else config.until_iteration
    lessons: list[Lesson] = []
    for run, folder in enumerate(config.evolution):
        path = folder / ADMITTED_FILE
        if not path.is_file():
            raise ElmError(f"'{folder}' holds no {ADMITTED_FILE}; give a directory that 'elm-rl evolve' has written.")
        try:
            admitted = [record for record in read_jsonl(path) if record["iteration"] <= last]
            children = (line for line in read_children(folder) if line["iteration"] <= last)
            lessons += find_lessons(admitted, children, _for_run(config, folder), run=run, seed=config.seed)
        except (KeyError, TypeError) as error:
            raise ElmError(
                f"'{folder}' is damaged ({type(error).__name__}: {error}); restore it from a copy."
            ) from error
    return train_edit_model(lessons, config.out, config)


def _for_run(config: EditTrainingConfig, folder: Path) -> EditTrainingConfig:
    """The settings without leaps where niches move: what a leap would have been worth cannot be told from records there."""
    run = read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).exists() else {}
    kind = (run.get("archive") or {}).get("kind", "grid")
    return config if kind in ("grid", "cvt") else replace(config, leaps=0)


def train_edit_model(lessons: Sequence[Lesson], output_dir: Path, config: EditModelConfig) -> TrainResult:
    """Trains tokenizer and model on lessons.

    Args:
        lessons: What to learn; programs and answers too long for the context are left out.
        output_dir: Receives the model, ``mutation.json`` (the format) and what every training run leaves.
        config: Size and training settings.

    Returns:
        Figures of the run; those of the run that finished in ``output_dir`` before, if its settings and lessons were the
        same.

    Raises:
        ElmError: There is nothing to learn from, the disk is full, another process writes to ``output_dir``, or that holds a
            model trained otherwise.
    """
    output_dir = Path(output_dir)
    settings = {**asdict(config), "lessons": _fingerprint(lessons)}
    for place in ("evolution", "out"):  # a run directory may move
        settings.pop(place, None)
    return done_once(
        output_dir, lambda: load_finished(output_dir, settings), lambda: _train(lessons, output_dir, config, settings)
    )


def _train(
    lessons: Sequence[Lesson], output_dir: Path, config: EditModelConfig, settings: dict[str, Any]
) -> TrainResult:
    if not lessons:
        raise ElmError(
            "There are no children to learn from after iteration "
            f"{config.after_iteration}; let evolution run for longer, or learn from earlier ones."
        )
    train, held_out = hold_out(lessons, config.held_out, config.seed)
    if config.start is None:
        tokenizer = train_edit_tokenizer(
            dict.fromkeys(lesson.parent for lesson in train), config.vocab_size, context=config.context
        )
        model: PreTrainedModel = make_model(config.size, tokenizer, context=config.context, seed=config.seed)
    else:
        model, tokenizer = load_language_model(start_folder(config.start), dtype="float32")
    coder = EditCoder(tokenizer)
    learnt = _examples(coder, train, learn_programs=config.learn_programs)
    tested = _examples(coder, held_out, learn_programs=False)
    if is_main_process():
        with explained_disk_errors(output_dir):
            output_dir.mkdir(parents=True, exist_ok=True)
        # Before the training, which marks the folder as finished when it ends.
        write_json(output_dir / MUTATION_FILE, {"format": LINE_EDITS})
    return train_causal_lm(model, tokenizer, learnt, output_dir, config, held_out=tested, settings=settings)


def start_folder(start: str) -> Path:
    """The folder of a model to go on from."""
    return BUILTIN_MODEL if start == "builtin" else Path(start)


def _examples(coder: EditCoder, lessons: Sequence[Lesson], *, learn_programs: bool) -> list[SharedPrompt]:
    """Each lesson as one prompt with its changes, each behind its verdict."""
    examples = []
    for lesson in lessons:
        prompt = encode_question(coder, lesson.parent, lesson.fitness, lesson.measures)
        if prompt is None:
            continue
        answers: list[list[int]] = []
        for answer in lesson.answers:
            ids = encode_answer(coder, lesson.parent, answer.child, answer.message)
            if ids is not None:
                answers.append([verdict_token(coder, answer.verdict), *ids])
        if answers:
            # Marks come in order and notes are what is told, so that there is nothing to learn in them.
            text = tuple(learn_programs and identifier in coder.text for identifier in prompt)
            examples.append(SharedPrompt(tuple(prompt), tuple(map(tuple, answers)), text))
    return examples


def _fingerprint(lessons: Sequence[Lesson]) -> str:
    digest = hashlib.sha256()
    for lesson in lessons:
        told = (lesson.parent, lesson.lineage, repr(lesson.fitness), repr(dict(lesson.measures)))
        for text in (
            *told,
            *(part for each in lesson.answers for part in (each.child, each.message, each.verdict.name)),
        ):
            digest.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
