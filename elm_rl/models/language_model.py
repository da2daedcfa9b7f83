"""The small language model over walker programs: its sizes, how it is saved and loaded.

Everything is a plain ``transformers`` object: a saved folder loads with ``AutoModelForCausalLM.from_pretrained`` and
``AutoTokenizer.from_pretrained``, without this package unless the model is conditioned on terrains.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.conditioning.policy import TerrainPolicy  # importing it also tells transformers of it
from elm_rl.models.devices import check_dtype, choose_device, choose_dtype
from elm_rl.models.sources import ModelSource, find_model
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, encode_text, known_tokens_only
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
    "2M": ModelSize(hidden=192, intermediate=512, layers=4, heads=6),
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
            with no_progress_bars():
                model.save_pretrained(name)
            tokenizer.save_pretrained(name)
            usual_mode = (Path(name) / "config.json").stat().st_mode
            for file in sorted(Path(name).iterdir()):
                file.chmod(usual_mode)  # safetensors writes for the owner's eyes only
                os.replace(file, folder / file.name)


def load_language_model(
    name_or_path: str | Path, *, device: str = "cpu", dtype: str = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a causal language model and its tokenizer from a folder, a GGUF file or the Hugging Face hub.

    Only safetensors and GGUF weights are read and no code of the model's repository is run, so a downloaded model cannot
    take over the machine. A model from a GGUF file is unpacked: it can be trained and saved like any other.

    Args:
        name_or_path: What `find_model` takes.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the best there is.
        dtype: ``float32``, ``bfloat16``, ``float16``, or ``auto`` for what is fast on the device.

    Returns:
        The model in evaluation mode, and its tokenizer with a padding token.

    Raises:
        ConfigError: There is no such device or dtype.
        ElmError: There is no such model, a file of it is missing or damaged, it has no tokenizer, it is not a causal
            language model, its weights do not fit its configuration, or it does not fit the device.
    """
    place = choose_device(device)
    check_dtype(dtype)
    source = find_model(name_or_path)
    with _explained(source), _no_retry_messages():
        config = AutoConfig.from_pretrained(source.name, **source.arguments())
    _check_language_model(source, config)
    tokenizer = _load_tokenizer(source, config)
    with _explained(source), no_progress_bars():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.name,
            config=config,
            dtype=choose_dtype(dtype, place, config),
            output_loading_info=True,
            **source.arguments(),
            **source.weight_arguments(),
        )
    model, info = loaded
    if info["missing_keys"]:
        # transformers would fill these with random numbers and only log a warning.
        missing = sorted(info["missing_keys"])
        raise ElmError(
            f"The model '{source.label}' lacks {len(missing)} tensors, such as {missing[0]}; train it again or give another."
        )
    if isinstance(model, TerrainPolicy) and info["unexpected_keys"]:
        # Left out in silence, they would make another policy of it.
        unknown = sorted(info["unexpected_keys"])
        raise ElmError(
            f"The policy '{source.label}' has {len(unknown)} tensors that this version does not know, such as {unknown[0]}; "
            "train it again."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        model.to(place)
    except torch.OutOfMemoryError as error:
        raise ElmError(
            f"The model '{source.label}' does not fit the memory of {place}; set dtype to bfloat16, device to cpu, or use a "
            "smaller model."
        ) from error
    if place.type == "cpu":
        for weights in (*model.parameters(), *model.buffers()):
            # Where a file has them they may lie at addresses for which kernels round differently.
            weights.data = weights.data.clone()
    model.eval()
    return model, tokenizer


def _check_language_model(source: ModelSource, config: PretrainedConfig) -> None:
    """Whether a configuration is that of a causal language model.

    Raises:
        ElmError: It is not.
    """
    # Some architectures that fill gaps or classify can be loaded as causal models: their weights then say nonsense.
    named = config.architectures or []
    classes = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), ())
    known = {kind.__name__ for kind in (classes if isinstance(classes, tuple) else (classes,))}
    writes = not named or any(name in known or name.endswith(("ForCausalLM", "LMHeadModel")) for name in named)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or not writes:
        kind = named[0] if named else config.model_type
        raise ElmError(
            f"'{source.label}' holds a {kind}, which is no causal language model and cannot write programs; give one that "
            "continues text, such as a Llama or a GPT."
        )


def _load_tokenizer(source: ModelSource, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a model.

    Raises:
        ElmError: There is none, or its files are damaged.
    """
    tokenizer: PreTrainedTokenizerBase | None = None
    if source.has_tokenizer_files():
        with _explained(source):
            tokenizer = AutoTokenizer.from_pretrained(source.name, **source.arguments())
            if source.gguf_file is not None:
                tokenizer = known_tokens_only(tokenizer, config.get_text_config().vocab_size)
    # Where files are missing transformers may make a tokenizer that knows no word, and says nothing.
    if tokenizer is None or not encode_text(tokenizer, "x = 1\n"):
        raise ElmError(
            f"There is no tokenizer with the model '{source.label}' (tokenizer.json or the like): a program gives no tokens; "
            "put its files beside the weights."
        )
    return tokenizer


def load_policy(folder: Path, terrains: Sequence[str] | None = None) -> tuple[TerrainPolicy, PreTrainedTokenizerBase]:
    """Loads a conditioned policy and its tokenizer.

    Raises:
        ElmError: The folder holds no such model, or one for other terrains than ``terrains``.
    """
    policy, tokenizer = load_language_model(folder)
    if not isinstance(policy, TerrainPolicy):
        raise ElmError(
            f"'{folder}' holds a {type(policy).__name__}, but a policy that is told the terrain was expected; give the "
            "folder of a policy that 'elm-rl supervised' or a later stage has written."
        )
    known = policy.config.terrain_texts
    if terrains is not None and known and list(terrains) != known:
        raise ElmError(
            f"The policy in '{folder}' knows the terrains {known}, but {list(terrains)} were asked for; use the same terrains "
            "in the same order."
        )
    for terrain in terrains or ():
        policy.book.number(terrain)
    return policy, tokenizer


def weights_digest(folder: Path) -> str:
    """SHA-256 of a model's weights, by which a stage notices that the model it started from has changed.

    Raises:
        ElmError: The folder holds no model.
    """
    try:
        return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    except OSError as error:
        raise ElmError(
            f"'{folder}' holds no model (model.safetensors: {error.strerror}); give the folder of a trained model."
        ) from error


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Silences transformers' bars, which for small models only flash past between our own."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def _no_retry_messages() -> Iterator[None]:
    """Silences the hub's client while it finds out whether the hub can be reached: what it cannot do is said in a sentence."""
    client = getLogger("huggingface_hub")
    level = client.level
    client.setLevel(ERROR)
    try:
        yield
    finally:
        client.setLevel(level)


@contextmanager
def _explained(source: ModelSource) -> Iterator[None]:
    """Turns what reading a model raises into one sentence."""
    try:
        yield
    except ElmError:
        raise
    # A damaged file surfaces as whatever its parser raises: json, safetensors, gguf and tokenizers share no base class.
    except Exception as error:
        raise ElmError(f"{source.place()}: {_first_line(error)}; {source.remedy()}.") from error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text, short enough for one sentence."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".:;, ")[:200]
