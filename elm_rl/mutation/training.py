"""Trains a small mutation model on what evolution has admitted: (parent, message) in, child out.

This is the self-improvement of Lehman et al. 2022, begun from nothing: the children that genetic programming got into a map
teach a model to write such children.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import MODEL_SIZES, make_model
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, DEFAULT_VOCABULARY, train_tokenizer
from elm_rl.mutation.examples import (
    FORMATS,
    WHOLE,
    MutationExample,
    encode_example,
    mutation_examples,
    write_completion,
)
from elm_rl.mutation.language_model import write_mutation_format
from elm_rl.mutation.patch import PatchError
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl
from elm_rl.runs.run_lock import run_lock


@dataclass(frozen=True, kw_only=True)
class MutationModelConfig(TrainConfig):
    """How a mutation model is built and trained."""

    format: str = WHOLE
    """How the model writes a child: whole, search_replace or unified_diff."""
    size: str = "1M"
    """Size of the model: 0.1M, 1M, 5M or 21M parameters."""
    vocab_size: int = DEFAULT_VOCABULARY
    """Tokens in the vocabulary, at least 260."""
    context: int = DEFAULT_CONTEXT
    """Longest sequence in tokens: parent, message and child; longer examples are left out."""
    batch_size: int = 8
    """Examples per step. Small batches learn far more in the same time at this size: with 32, half as many children of a
    model of 1M parameters were valid."""
    learn_parents: bool = True
    """Whether parent and message are learnt too, and not only the child. A parent is as good a lesson in what programs
    look like: with the same number of steps, about a fifth more children were valid. Held-out figures are of the child."""
    held_out: float = 0.05
    """Share of the examples held out, by lineage, to measure the loss on."""
    max_seconds: float | None = 75.0
    """Time budget in seconds; the learning rate reaches zero when it is spent. Not used together with max_steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}.")
        if self.size not in MODEL_SIZES:
            raise ConfigError(f"There is no model size {self.size!r}; the sizes are {', '.join(MODEL_SIZES)}.")
        if self.vocab_size < 260 or self.context < 16 or not 0 <= self.held_out < 1:
            raise ConfigError(
                "Expected vocab_size >= 260, context >= 16 and 0 <= held_out < 1; got "
                f"{self.vocab_size}, {self.context} and {self.held_out}."
            )


@dataclass(frozen=True, kw_only=True)
class MutationTrainingConfig(MutationModelConfig):
    """Settings of training a mutation model on evolution runs."""

    evolution: tuple[Path, ...]
    """Folders that 'elm-rl evolve' has written."""
    out: Path
    """Folder for the model, its metrics and its figures. A finished one with the same settings is reused."""
    until_iteration: int | None = None
    """Learn only from what was admitted up to this iteration; all of it when left out. A run that has gone on with the
    model it trained can then train the same one again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take_paths(self)


def run_mutation_training(config: MutationTrainingConfig) -> TrainResult:
    """Trains a mutation model on all triples of some evolution runs, and saves it to ``config.out``.

    Raises:
        ElmError: A run is missing, damaged or has too little in it, the disk is full, or ``out`` holds a model trained
            otherwise.
    """
    examples: list[MutationExample] = []
    for run, folder in enumerate(config.evolution):
        path = folder / ADMITTED_FILE
        if not path.is_file():
            raise ElmError(f"'{folder}' holds no {ADMITTED_FILE}; give a directory that 'elm-rl evolve' has written.")
        try:
            last = math.inf if config.until_iteration is None else config.until_iteration
            records = [record for record in read_jsonl(path) if record["iteration"] <= last]
            examples += mutation_examples(records, run)
        except (KeyError, TypeError) as error:
            raise ElmError(f"'{path}' is damaged ({type(error).__name__}: {error}); restore it from a copy.") from error
    return train_mutation_model(examples, config.out, config)


def train_mutation_model(
    triples: Sequence[MutationExample], output_dir: Path, config: MutationModelConfig
) -> TrainResult:
    """Trains tokenizer and model on (parent, message, child) triples.

    Args:
        triples: What to learn; those that the format cannot express or the context cannot hold are left out.
        output_dir: Receives the model, ``mutation.json`` (the format) and what every training run leaves.
        config: Format, size and training settings.

    Returns:
        Figures of the run; those of the run that finished in ``output_dir`` before, if its settings and triples were the
        same.

    Raises:
        ElmError: There is nothing to learn from, the disk is full, another process writes to ``output_dir``, or that holds a
            model trained otherwise.
    """
    output_dir = Path(output_dir)
    settings = {**asdict(config), "triples": _fingerprint(triples)}
    for place in ("evolution", "out"):  # a run directory may move
        settings.pop(place, None)
    if (finished := load_finished(output_dir, settings)) is not None:
        return finished
    with run_lock(output_dir):
        # Asked again: the process that had the lock until now may have done the work.
        return load_finished(output_dir, settings) or _train(triples, output_dir, config, settings)


def _train(
    triples: Sequence[MutationExample], output_dir: Path, config: MutationModelConfig, settings: dict[str, Any]
) -> TrainResult:
    kept = [triple for triple in triples if _expressible(triple, config.format)]
    if not kept:
        raise ElmError(
            f"None of the {len(triples)} admitted children can teach a mutation model; let evolution run for longer."
        )
    train, held_out = _hold_out(kept, config.held_out, config.seed)
    tokenizer = train_tokenizer(_texts(train, config.format), config.vocab_size, context=config.context)
    model = make_model(config.size, tokenizer, context=config.context, seed=config.seed)
    parts: list[list[Example]] = [
        [encode_example(tokenizer, triple, config.format) for triple in part] for part in (train, held_out)
    ]
    if config.learn_parents:
        parts[0] = [(prompt[:1], [*prompt[1:], *completion]) for prompt, completion in parts[0]]
    # Before the training, which marks the folder as finished when it ends.
    write_mutation_format(output_dir, config.format)
    return train_causal_lm(model, tokenizer, parts[0], output_dir, config, held_out=parts[1], settings=settings)


def _expressible(triple: MutationExample, format: str) -> bool:
    try:
        return bool(write_completion(triple.parent, triple.child, format))
    except PatchError:
        return False


def _hold_out(
    triples: Sequence[MutationExample], share: float, seed: int
) -> tuple[list[MutationExample], list[MutationExample]]:
    """Splits by lineage, because kin are near copies: whole lineages go, the smaller ones first to be tried."""
    sizes = Counter(triple.lineage for triple in triples)
    order = np.random.default_rng(seed).permutation(sorted(sizes))
    chosen: set[str] = set()
    room = share * len(triples)
    for lineage in order:
        if sizes[lineage] <= room:
            chosen.add(str(lineage))
            room -= sizes[lineage]
    return [t for t in triples if t.lineage not in chosen], [t for t in triples if t.lineage in chosen]


def _texts(triples: Sequence[MutationExample], format: str) -> list[str]:
    """What the tokenizer learns merges from: every program once, every message as often as it is used, the patches."""
    programs = dict.fromkeys(text for triple in triples for text in (triple.parent, triple.child))
    texts = [*programs, *(triple.message for triple in triples)]
    if format != WHOLE:
        texts += [write_completion(triple.parent, triple.child, format) for triple in triples]
    return texts


def _fingerprint(triples: Sequence[MutationExample]) -> str:
    digest = hashlib.sha256()
    for triple in triples:
        for text in (triple.parent, triple.message, triple.child):
            digest.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
