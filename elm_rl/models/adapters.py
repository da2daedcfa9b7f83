"""Low-rank adapters (LoRA): a large model learns through small matrices beside its own, which are merged in at the end."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from elm_rl.errors import ElmError


def add_adapter(model: PreTrainedModel, rank: int, *, alpha: float, seed: int = 0) -> Any:
    """Puts an adapter beside every linear layer of a model but the last, and freezes the model's own weights.

    Args:
        model: The model; the adapter works on it in place.
        rank: Rank of the adapter's matrices.
        alpha: The adapter's product is multiplied by ``alpha / rank``.
        seed: Seed of the adapter's initial weights; torch's global generator is left as it was.

    Returns:
        peft's wrapper of the model, which trains like a model.

    Raises:
        ElmError: peft cannot put an adapter into this kind of model.
    """
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")  # type: ignore[arg-type]
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
        )  # peft asks for it
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, settings)
        except ValueError as error:
            raise ElmError(
                f"No adapter can be put into a {type(model).__name__} ({error}); leave lora_rank out to train all weights."
            ) from error


def merge_adapter(adapted: Any) -> PreTrainedModel:
    """Adds an adapter to the weights of its model, which is then a model as it was before, without peft."""
    model: PreTrainedModel = adapted.merge_and_unload()
    return model


def save_adapter(adapted: Any, folder: Path) -> None:
    """Writes an adapter alone, as peft loads it.

    Raises:
        OSError: The folder cannot be written.
    """
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
