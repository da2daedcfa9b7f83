"""Stage 2: a causal language model learns the corpus of walker programs, from scratch with a tokenizer or on from another one.

One sequence is ``<bos> program <eos>`` and the loss is on the program and its end. How the training itself goes (time
budget, schedule, metrics) is in `elm_rl.models.supervised_training`, which the other supervised stages share.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, DatasetDict

from elm_rl.corpus.corpus import CORPUS_FILE, HELD_OUT, TRAIN, load_corpus
from elm_rl.corpus.descriptions import Description
from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.adapters import add_adapter, merge_adapter
from elm_rl.models.language_model import MODEL_SIZES, load_language_model, make_model
from elm_rl.models.supervised_training import Example, TrainConfig, TrainResult, load_finished, train_causal_lm
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, DEFAULT_VOCABULARY, encode_text, start_id, train_tokenizer
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.run_directory import read_json

__all__ = [
    "Example",
    "PretrainConfig",
    "TrainConfig",
    "TrainResult",
    "load_finished",
    "run_pretrain",
    "train_causal_lm",
]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainConfig):
    """Settings of ``elm-rl pretrain``."""

    corpus: Path
    """Corpus folder that 'elm-rl corpus' has written."""
    out: Path
    """Folder for the model, its metrics and its figures. A finished one with the same settings is reused."""
    start: str | None = None
    """A pretrained causal language model to train on, with its own tokenizer: a folder, a GGUF file or a name on the Hugging
    Face hub. Left out, a small model and a tokenizer are trained from scratch."""
    lora_rank: int | None = None
    """Rank of the matrices (LoRA) that are trained beside the weights of ``start`` and then merged into them; None trains all
    weights."""
    size: str = "1M"
    """Size of a model from scratch: 0.1M, 1M, 2M, 5M or 21M parameters."""
    vocab_size: int = DEFAULT_VOCABULARY
    """Tokens in the vocabulary of a model from scratch, at least 260."""
    context: int = DEFAULT_CONTEXT
    """Longest sequence in tokens; longer programs are left out."""
    describe: Literal["no", "ahead", "behind"] = "no"
    """Whether each program has a comment with its walker's height, width, mass and distance: ahead of it the model learns to
    write to order (elm-rl sample --order), behind it to predict."""

    def __post_init__(self) -> None:
        take_paths(self)
        super().__post_init__()
        if self.start is None and self.lora_rank is not None:
            raise ConfigError("lora_rank is for pretrained models; name one with start, or leave it out.")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ConfigError(f"lora_rank is {self.lora_rank}; expected 1 or more, or none to train all weights.")
        if self.start is not None and (self.size, self.vocab_size) != ("1M", DEFAULT_VOCABULARY):
            raise ConfigError(
                f"size and vocab_size are those of a model from scratch; leave them out, or leave out start ({self.start})."
            )
        if self.describe not in ("no", "ahead", "behind"):
            raise ConfigError(f"describe is {self.describe!r}; expected no, ahead or behind.")
        if self.size not in MODEL_SIZES:
            raise ConfigError(f"There is no model size {self.size!r}; the sizes are {', '.join(MODEL_SIZES)}.")
        if self.context < 16:
            raise ConfigError(f"context must be at least 16 tokens, got {self.context}.")
        if self.vocab_size < 260:
            raise ConfigError(f"vocab_size must be at least 260 (256 bytes, 4 special tokens), got {self.vocab_size}.")


def run_pretrain(config: PretrainConfig) -> TrainResult:
    """Trains a model on a corpus, from scratch with a tokenizer or on from a pretrained one, and saves both to ``config.out``.

    Beside the model the folder holds ``metrics.jsonl``, ``tensorboard/`` and ``training.json`` (settings and figures).

    Raises:
        ElmError: The corpus is missing, damaged or empty, the disk is full, another process writes to ``out``, or
            ``out`` holds a model trained otherwise.
    """
    corpus = load_corpus(config.corpus)
    settings = {**asdict(config), "corpus_fingerprint": read_json(config.corpus / CORPUS_FILE).get("fingerprint")}
    for place in ("corpus", "out"):  # a run directory may move
        del settings[place]
    return done_once(config.out, lambda: load_finished(config.out, settings), lambda: _train(config, corpus, settings))


def _train(config: PretrainConfig, corpus: DatasetDict, settings: dict[str, Any]) -> TrainResult:
    texts = {name: _texts(corpus[name], config.describe) for name in (TRAIN, HELD_OUT)}
    if config.start is None:
        tokenizer = train_tokenizer(texts[TRAIN], config.vocab_size, context=config.context)
        model: Any = make_model(config.size, tokenizer, context=config.context, seed=config.seed)
    else:
        model, tokenizer = load_language_model(config.start, dtype="float32")
        if tokenizer.eos_token_id is None:
            raise ElmError(
                f"The tokenizer of '{config.start}' has no end token, so its model cannot learn where a program ends; use "
                "another model."
            )
    if config.lora_rank is not None:
        model = add_adapter(model, config.lora_rank, alpha=2.0 * config.lora_rank, seed=config.seed)
    examples = {
        name: [([start_id(tokenizer)], [*encode_text(tokenizer, text), tokenizer.eos_token_id]) for text in part]
        for name, part in texts.items()
    }
    return train_causal_lm(
        model,
        tokenizer,
        examples[TRAIN],
        config.out,
        config,
        held_out=examples[HELD_OUT],
        settings=settings,
        context=config.context,
        finish=None if config.lora_rank is None else merge_adapter,
    )


def _texts(programs: Dataset, describe: str) -> list[str]:
    """The programs of a split, with their comments if there are to be any."""
    texts = list(programs["program"])
    if describe == "no":
        return texts
    figures = (programs[name] for name in ("height", "width", "mass", "fitness"))
    lines = [Description.of(*row).line for row in zip(*figures, strict=True)]
    pairs = zip(texts, lines, strict=True)
    return [line + text if describe == "ahead" else text + line for text, line in pairs]
