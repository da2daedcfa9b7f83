"""Trains a mutation model on what evolution has admitted: (parent, message) in, child out.

This is the self-improvement of Lehman et al. 2022: the children that genetic programming got into a map teach a model to write
such children. It begins from nothing, with a small model and a tokenizer of our own, or from any pretrained model, which keeps
its tokenizer and learns with all its weights or through adapters. What there is to learn from is decided before, in
`elm_rl.mutation.examples`; the training itself is in `elm_rl.models.supervised_training`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.errors import ElmError
from elm_rl.models.adapters import add_adapter, merge_adapter, save_adapter
from elm_rl.models.language_model import load_language_model, make_model
from elm_rl.models.supervised_training import Example, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, train_tokenizer
from elm_rl.mutation.examples import (
    TOKENS,
    WHOLE,
    MutationExample,
    encode_example,
    mutation_examples,
    write_completion,
)
from elm_rl.mutation.hold_out import hold_out
from elm_rl.mutation.patch import PatchError
from elm_rl.mutation.trained_format import write_mutation_format
from elm_rl.mutation.training_options import MutationModelConfig, MutationTrainingConfig
from elm_rl.runs.processes import done_once, is_main_process
from elm_rl.runs.run_directory import ADMITTED_FILE, read_jsonl, replaced_folder

__all__ = ["MutationModelConfig", "MutationTrainingConfig", "run_mutation_training", "train_mutation_model"]

ADAPTER_FOLDER = "adapter"


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
    """Trains a model on (parent, message, child) triples, from scratch with a tokenizer or on from ``config.start``.

    Args:
        triples: What to learn; those that the format cannot express or the context cannot hold are left out. One that is
            there twice counts twice.
        output_dir: Receives the model, ``mutation.json`` (format and layout) and what every training run leaves.
        config: Start, format, layout, size and training settings.

    Returns:
        Figures of the run; those of the run that finished in ``output_dir`` before, if its settings and triples were the
        same.

    Raises:
        ElmError: There is nothing to learn from, there is no such start, the disk is full, another process writes to
            ``output_dir``, or that holds a model trained otherwise.
    """
    output_dir, config = Path(output_dir), config.complete()
    settings = {**asdict(config), "triples": _fingerprint(triples)}
    for place in ("evolution", "out"):  # a run directory may move
        settings.pop(place, None)
    return done_once(
        output_dir, lambda: load_finished(output_dir, settings), lambda: _train(triples, output_dir, config, settings)
    )


def _train(
    triples: Sequence[MutationExample], output_dir: Path, config: MutationModelConfig, settings: dict[str, Any]
) -> TrainResult:
    kept = [triple for triple in triples if _expressible(triple, config.format)]
    if not kept:
        raise ElmError(
            f"None of the {len(triples)} admitted children can teach a mutation model; let evolution run for longer."
        )
    train, held_out = hold_out(kept, config.held_out, config.seed)
    model, tokenizer = _start(train, config)
    layout = str(config.layout)
    parts: list[list[Example]] = [
        [encode_example(tokenizer, triple, config.format, layout) for triple in part] for part in (train, held_out)
    ]
    if config.learn_parents:
        parts[0] = [(prompt[:1], [*prompt[1:], *completion]) for prompt, completion in parts[0]]
    if is_main_process():
        # Before the training, which marks the folder as finished when it ends.
        write_mutation_format(output_dir, config.format, layout)
    if config.lora_rank is not None:
        model = add_adapter(model, config.lora_rank, alpha=float(config.lora_alpha or 0), seed=config.seed)
    return train_causal_lm(
        model,
        tokenizer,
        parts[0],
        output_dir,
        config,
        held_out=parts[1],
        settings=settings,
        context=config.context,
        finish=None if config.lora_rank is None else lambda adapted: _merged(adapted, output_dir, config),
    )


def _start(
    triples: Sequence[MutationExample], config: MutationModelConfig
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that training begins with, and its tokenizer.

    Raises:
        ElmError: There is no such model, or it cannot be asked in the layout.
    """
    if config.start is None:
        context = int(config.context or DEFAULT_CONTEXT)
        tokenizer = train_tokenizer(_texts(triples, config.format), config.vocab_size, context=context)
        return make_model(config.size, tokenizer, context=context, seed=config.seed), tokenizer
    frozen = config.lora_rank is not None
    dtype = "bfloat16" if frozen and config.precision == "bfloat16" else "float32"
    model, tokenizer = load_language_model(config.start, dtype=dtype)
    if config.layout == TOKENS and (tokenizer.bos_token_id is None or tokenizer.sep_token_id is None):
        raise ElmError(
            f"The layout tokens is for models that were trained from scratch here, and the tokenizer of '{config.start}' lacks "
            "its marks; use the layout plain or chat."
        )
    return model, tokenizer


def _merged(adapted: Any, output_dir: Path, config: MutationModelConfig) -> PreTrainedModel:
    if config.keep_adapter:
        with replaced_folder(output_dir / ADAPTER_FOLDER) as folder:
            save_adapter(adapted, folder)
    return merge_adapter(adapted)


def _expressible(triple: MutationExample, format: str) -> bool:
    try:
        return bool(write_completion(triple.parent, triple.child, format))
    except PatchError:
        return False


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
        for text in (triple.parent, triple.message, triple.child, triple.lineage):
            digest.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]
