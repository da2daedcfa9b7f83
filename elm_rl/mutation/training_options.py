"""Settings of training a mutation model: from scratch, or on from any pretrained one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elm_rl.errors import ConfigError
from elm_rl.models.language_model import MODEL_SIZES
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, DEFAULT_VOCABULARY
from elm_rl.models.training_options import TrainConfig
from elm_rl.mutation.examples import FORMATS, LAYOUTS, PLAIN, TOKENS, WHOLE
from elm_rl.runs.path_settings import take_paths

_SCRATCH: dict[str, Any] = {
    "learning_rate": 3e-3,
    "max_epochs": 30.0,
    "max_seconds": 75.0,
    "learn_parents": True,
    "layout": TOKENS,
    "context": DEFAULT_CONTEXT,
    "precision": "float32",
}
_PRETRAINED: dict[str, Any] = {
    "learning_rate": 3e-4,
    "max_epochs": 3.0,
    "learn_parents": False,
    "layout": PLAIN,
    "precision": "auto",
}
_ADAPTER: dict[str, Any] = {**_PRETRAINED, "learning_rate": 1e-3}


@dataclass(frozen=True, kw_only=True)
class MutationModelConfig(TrainConfig):
    """How a mutation model is built and trained."""

    start: str | None = None
    """A pretrained causal language model to train on, with its own tokenizer: a folder, a GGUF file or a name on the Hugging
    Face hub. Left out, a small model and a tokenizer are trained from scratch."""
    format: str = WHOLE
    """How the model writes a child: whole, search_replace or unified_diff."""
    layout: str | None = None
    """How the model is asked. plain: code fences and a commit message; chat: the same in the model's own chat template;
    tokens: marks that only models trained from scratch here know. By default tokens for these, else plain."""
    lora_rank: int | None = None
    """Rank of the matrices (LoRA) that are trained beside the weights of ``start`` and then merged into them, so that the
    result loads like any model. They take far less memory than training all weights, which is what None does."""
    lora_alpha: float | None = None
    """The product of these matrices is multiplied by lora_alpha / lora_rank; by default 2 x lora_rank."""
    keep_adapter: bool = False
    """Also save the matrices alone, in the folder adapter."""
    size: str = "1M"
    """Size of a model from scratch: 0.1M, 1M, 2M, 5M or 21M parameters."""
    vocab_size: int = DEFAULT_VOCABULARY
    """Tokens in the vocabulary of a model from scratch, at least 260."""
    context: int | None = None
    """Longest sequence in tokens: parent, message and child; longer examples are left out. By default 512 from scratch, else
    what ``start`` reads."""
    batch_size: int = 8
    """Examples that go through the model together, on each device. Small batches learn far more in the same time at 1M
    parameters: with 32, half as many children were valid."""
    learn_parents: bool | None = None
    """Whether parent and message are learnt too, and not only the child; by default only from scratch. There a parent is as
    good a lesson in what programs look like: with the same number of steps, about a fifth more children were valid. Held-out
    figures are of the child."""
    held_out: float = 0.05
    """Share of the examples held out, by lineage, to measure the loss on."""
    learning_rate: float | None = None  # type: ignore[assignment]
    """Peak of the learning rate; by default 3e-3 from scratch, 3e-4 for a pretrained model of about 100M parameters (larger
    ones need less) and 1e-3 with LoRA."""
    max_epochs: float | None = None  # type: ignore[assignment]
    """Passes over the examples, unless the time is up first; by default 30 from scratch, else 3."""
    max_seconds: float | None = None
    """Time budget in seconds; the learning rate reaches zero when it is spent. Not used together with max_steps. By default 75
    from scratch, else none."""
    precision: str | None = None  # type: ignore[assignment]
    """What the model computes in while it learns: float32, bfloat16, or auto for bfloat16 where that is faster; by default
    float32 from scratch, else auto. bfloat16 with LoRA also holds the frozen weights in it, in half the memory."""

    def __post_init__(self) -> None:
        if self.precision is None:
            object.__setattr__(self, "precision", self._defaults()["precision"])
        super().__post_init__()
        for name, known in (("format", FORMATS), ("layout", (*LAYOUTS, None))):
            if getattr(self, name) not in known:
                names = ", ".join(each for each in known if each)
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {names}.")
        if self.size not in MODEL_SIZES:
            raise ConfigError(f"There is no model size {self.size!r}; the sizes are {', '.join(MODEL_SIZES)}.")
        if self.vocab_size < 260 or (self.context is not None and self.context < 16) or not 0 <= self.held_out < 1:
            raise ConfigError(
                "Expected vocab_size >= 260, context >= 16 and 0 <= held_out < 1; got "
                f"{self.vocab_size}, {self.context} and {self.held_out}."
            )
        self._check_start()

    def _check_start(self) -> None:
        if self.start is not None:
            if (self.size, self.vocab_size) != ("1M", DEFAULT_VOCABULARY):
                raise ConfigError("size and vocab_size are of models from scratch; leave them out with start.")
        elif self.lora_rank is not None or (self.layout or TOKENS) != TOKENS:
            raise ConfigError("lora_rank and the layouts plain and chat need a pretrained model; name it with start.")
        if self.lora_rank is None and (self.lora_alpha is not None or self.keep_adapter):
            raise ConfigError("lora_alpha and keep_adapter say more about LoRA; set lora_rank too.")
        if any(value is not None and value <= 0 for value in (self.lora_rank, self.lora_alpha)):
            raise ConfigError(
                f"lora_rank must be at least 1 and lora_alpha positive; got {self.lora_rank} and {self.lora_alpha}."
            )

    def _defaults(self) -> dict[str, Any]:
        if self.start is None:
            return _SCRATCH
        if self.lora_rank is None:
            return _PRETRAINED
        return {**_ADAPTER, "lora_alpha": 2.0 * self.lora_rank}

    def complete(self) -> MutationModelConfig:
        """The same settings with the defaults that depend on ``start`` and ``lora_rank`` filled in."""
        missing = {name: value for name, value in self._defaults().items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)


@dataclass(frozen=True, kw_only=True)
class MutationTrainingConfig(MutationModelConfig):
    """Settings of ``elm-rl mutation-model``: training a mutation model on evolution runs."""

    evolution: tuple[Path, ...]
    """Folders that 'elm-rl evolve' has written."""
    out: Path
    """Folder for the model, its metrics and its figures. A finished one with the same settings is reused, and one whose
    training was killed is continued from its last checkpoint."""
    until_iteration: int | None = None
    """Learn only from what was admitted up to this iteration; all of it when left out. A run that has gone on with the
    model it trained can then train the same one again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take_paths(self)
