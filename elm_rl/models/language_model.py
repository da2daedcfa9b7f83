"""The small language model over walker programs: its sizes, how it is saved, loaded and sampled.

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

import numpy as np
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
from elm_rl.models.tokenizer import DEFAULT_CONTEXT, start_id
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
        ElmError: The folder or a file in it is missing or damaged, or the weights do not fit the configuration.
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


@torch.inference_mode()
def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
) -> list[list[int]]:
    """Samples one continuation for every prompt.

    Our own loop instead of ``model.generate`` for three reasons: rows that reached their end leave the batch, which
    halves the work because programs differ in length; sample ``i`` depends on ``seed`` and ``i`` alone and not on its
    neighbours in the batch; and torch's global generator is not touched.

    Args:
        model: Any causal language model.
        tokenizer: Gives the end, padding and beginning tokens; the latter two and ``<sep>`` are never sampled.
        prompts: Token ids of each prompt, at least one each; they may differ in length and hold terrain ids.
        max_new_tokens: A continuation that has not ended by then is cut there. Prompt and continuation together stop
            at the model's context length.
        temperature: Divides the logits; 0 always takes the likeliest token.
        top_p: Samples from the likeliest tokens whose probabilities first reach this sum.
        seed: Seed of all random choices.
        batch_size: Prompts that run together.

    Returns:
        One list of token ids per prompt, in order, without the prompt and without the end token.

    Raises:
        ConfigError: A setting is out of range, or a prompt is empty or fills the model's context.
    """
    if temperature < 0 or not 0 < top_p <= 1 or batch_size < 1 or max_new_tokens < 1:
        raise ConfigError(
            "Sampling needs temperature >= 0, 0 < top_p <= 1, batch_size >= 1 and max_new_tokens >= 1, but got "
            f"{temperature}, {top_p}, {batch_size} and {max_new_tokens}."
        )
    context = getattr(model.config, "max_position_embeddings", None) or 1 << 30
    longest = max((len(prompt) for prompt in prompts), default=1)
    if any(len(prompt) == 0 for prompt in prompts) or longest >= context:
        raise ConfigError(f"Every prompt needs between 1 and {context - 1} tokens for this model; shorten the prompts.")
    was_training = model.training
    model.eval()
    # One row of random numbers per sample, drawn before any batching, makes a sample independent of the batch size.
    noise = np.random.default_rng(seed).random((len(prompts), max_new_tokens))
    completions: list[list[int]] = []
    for begin in range(0, len(prompts), batch_size):
        batch = [list(prompt) for prompt in prompts[begin : begin + batch_size]]
        steps = min(max_new_tokens, context - max(map(len, batch)))
        draws = torch.from_numpy(noise[begin : begin + batch_size, :steps])
        completions += _sample_batch(model, tokenizer, batch, draws, temperature, top_p)
    model.train(was_training)
    return completions


def _sample_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    draws: torch.Tensor,
    temperature: float,
    top_p: float,
) -> list[list[int]]:
    """Continues ``prompts`` together; ``draws`` is (batch, steps) uniform numbers, one per token to sample."""
    device = model.device
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else start_id(tokenizer)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    specials = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id} - {None, tokenizer.eos_token_id}
    banned = torch.tensor(sorted(specials), dtype=torch.long, device=device)
    draws = draws.to(device)
    rows = torch.arange(len(prompts), device=device)  # which prompt each row still in the batch belongs to
    output = torch.full((len(prompts), draws.shape[1]), -1, dtype=torch.long, device=device)
    cache = None
    for step in range(draws.shape[1]):
        result = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = result.past_key_values
        logits = result.logits[:, -1].float()
        logits[:, banned] = -torch.inf
        ids = _choose(logits, draws[rows, step], temperature, top_p)
        alive = ids != tokenizer.eos_token_id
        output[rows[alive], step] = ids[alive]
        ids, positions = ids[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        if not bool(alive.all()):
            keep = alive.nonzero()[:, 0]
            if len(keep) == 0:
                break
            rows, ids, positions, mask = rows[keep], ids[keep], positions[keep], mask[keep]
            cache.batch_select_indices(keep)
    return [[token for token in row if token >= 0] for row in output.tolist()]


def _choose(logits: torch.Tensor, draws: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One token per row, by inverting the cumulative distribution of (batch, vocabulary) logits at (batch,) draws."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    # Sorted, so that top_p is a cut; in float64, so that the last tokens of a large vocabulary keep their share.
    probabilities, order = torch.softmax(logits.double() / temperature, dim=-1).sort(
        dim=-1, descending=True, stable=True
    )
    cumulative = probabilities.cumsum(dim=-1)
    kept = (cumulative - probabilities < top_p).sum(dim=-1, keepdim=True)
    target = draws[:, None] * cumulative.gather(1, kept - 1)
    index = torch.searchsorted(cumulative, target, right=True).clamp(max=kept - 1)
    return order.gather(1, index)[:, 0]


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
