"""The small language model over walker programs: its sizes, how it is saved and loaded.

Everything is a plain ``transformers`` object: a saved folder loads with ``AutoModelForCausalLM.from_pretrained`` and
``AutoTokenizer.from_pretrained``, without this package unless the model is conditioned on terrains.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.terrain_conditioning import TerrainLlamaForCausalLM  # importing it also tells transformers of it
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, encode_text
from elm_rl.runs.run_directory import explained_disk_errors


@dataclass(frozen=True)
class ModelSize:
    """One rung of the size ladder: a Llama with tied embeddings.

    Attributes:
        hidden: Width of the residual stream.
        intermediate: Width inside the gated feed-forward block.
        layers: Number of blocks.
        heads: Number of attention heads; divides ``hidden`` into an even head width (rotary embeddings rotate pairs).
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int


# Parameter counts hold for the default vocabulary of 1,024 tokens.
MODEL_SIZES: dict[str, ModelSize] = {
    "0.1M": ModelSize(hidden=40, intermediate=112, layers=3, heads=2),
    "1M": ModelSize(hidden=128, intermediate=384, layers=4, heads=4),
    "5M": ModelSize(hidden=256, intermediate=688, layers=6, heads=8),
    "21M": ModelSize(hidden=512, intermediate=1536, layers=6, heads=8),
}


def make_model(
    config: str | LlamaConfig, tokenizer: PreTrainedTokenizerBase, *, context: int = DEFAULT_CONTEXT, seed: int = 0
) -> LlamaForCausalLM:
    """Builds an untrained model.

    Args:
        config: A size of `MODEL_SIZES`, or a complete ``LlamaConfig``.
        tokenizer: Gives the vocabulary size and the special ids.
        context: Longest sequence in tokens (ignored when ``config`` is a ``LlamaConfig``).
        seed: Seed of the initial weights; torch's global generator is left as it was.

    Raises:
        ConfigError: The size is not on the ladder.
    """
    if isinstance(config, str):
        size = MODEL_SIZES.get(config)
        if size is None:
            raise ConfigError(f"Unknown model size {config!r}; the sizes are {', '.join(MODEL_SIZES)}.")
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def save_language_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes model and tokenizer as a safetensors folder; other files already in ``folder`` stay.

    Every file is written in full beside its place and then moved there, so a full disk leaves an older model readable.

    Raises:
        ElmError: The folder cannot be written.
    """
    folder = Path(folder)
    with explained_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-", suffix=".tmp") as name:
            with _no_progress_bars():
                model.save_pretrained(name)
            tokenizer.save_pretrained(name)
            usual_mode = (Path(name) / "config.json").stat().st_mode
            for file in sorted(Path(name).iterdir()):
                file.chmod(usual_mode)  # safetensors writes for the owner's eyes only
                os.replace(file, folder / file.name)


def load_language_model(name_or_path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a causal language model and its tokenizer, in float32, from a folder or from the Hugging Face hub by name.

    Only safetensors weights are read and no code of the model's repository is run, so a downloaded model cannot take
    over the machine.

    Returns:
        The model in evaluation mode, and its tokenizer with a padding token.

    Raises:
        ElmError: The folder or a file in it is missing or damaged, there is no tokenizer, or the weights do
            not fit the configuration.
    """
    name = str(name_or_path)
    folder = Path(name).expanduser()
    # "owner/model" can be a hub name; anything else that is not on disk can only be a mistyped path.
    hub_name = not isinstance(name_or_path, Path) and name.count("/") <= 1 and not name.startswith((".", "/", "~"))
    if folder.exists():
        if not (folder / "config.json").is_file():
            raise ElmError(
                f"'{folder}' holds no model (config.json is missing); give a folder written by 'elm-rl pretrain'."
            )
        name = str(folder)
    elif not hub_name:
        raise ElmError(f"There is no model folder '{folder}'; check the path, or train one with 'elm-rl pretrain'.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        with _no_progress_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    # A damaged file surfaces as whatever its parser raises: json, safetensors and tokenizers share no base class.
    except Exception as error:
        place = (
            f"The model folder '{folder}' cannot be read" if folder.exists() else f"No model {name!r} could be loaded"
        )
        raise ElmError(
            f"{place}: {_first_line(error)}; restore it from a copy, train it again or give another."
        ) from error
    model, info = loaded
    if info["missing_keys"]:
        # transformers would fill these with random numbers and only log a warning.
        missing = sorted(info["missing_keys"])
        raise ElmError(f"The model '{name}' lacks {len(missing)} tensors, such as {missing[0]}; train it again.")
    if not encode_text(tokenizer, "x = 1\n"):
        # Without its files transformers makes a tokenizer that knows no word, and says nothing.
        raise ElmError(
            f"There is no tokenizer with the model '{name}' (tokenizer.json or the like): a program gives no tokens; put "
            "its files beside the weights."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.eval()
    return model, tokenizer


def load_policy(
    folder: Path, terrains: Sequence[str] | None = None
) -> tuple[TerrainLlamaForCausalLM, PreTrainedTokenizerBase]:
    """Loads a conditioned policy and its tokenizer.

    Raises:
        ElmError: The folder holds no such model, or one for other terrains than ``terrains``.
    """
    policy, tokenizer = load_language_model(folder)
    if not isinstance(policy, TerrainLlamaForCausalLM):
        raise ElmError(
            f"'{folder}' holds a {type(policy).__name__}, but a policy with terrain codes was expected; give the "
            "folder of a warm start or of a fine-tuned policy."
        )
    if terrains is not None and list(terrains) != list(policy.config.terrains or []):
        raise ElmError(
            f"The policy in '{folder}' knows the terrains {policy.config.terrains}, but {list(terrains)} were asked "
            "for; use the same terrains in the same order."
        )
    return policy, tokenizer


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Silences transformers' bars, which for small models only flash past between our own."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    """The first line of an error's text, short enough for one sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".:;, ")[:200]
