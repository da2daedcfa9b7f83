"""Sampling from causal language models, ours and others': many prompts together, each with random numbers of its own.

Our own loop instead of ``model.generate`` for three reasons: rows that reached their end leave the batch, which halves
the work because programs differ in length; sample ``i`` depends on the seed and ``i`` alone and not on its neighbours in
the batch; and torch's global generator is not touched.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from elm_rl.errors import ConfigError


class Completion(NamedTuple):
    """What a model wrote.

    Attributes:
        ids: Token ids, without the prompt and without the end token.
        ended: Whether the model ended it; False where it was cut at a limit.
    """

    ids: list[int]
    ended: bool


def context_length(model: PreTrainedModel) -> int:
    """The most tokens, prompt and completion together, that a model reads."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that end a text: the tokenizer's, and the marks that the model's own settings name; there may be none."""
    named: set[Any] = set()
    for settings in (model.config, getattr(model, "generation_config", None)):
        value = getattr(settings, "eos_token_id", None)
        named.update(value if isinstance(value, list | tuple) else [value])
    # Settings that were never set name some id of another vocabulary: an ordinary word here.
    found = named & set(tokenizer.added_tokens_decoder)
    return found if tokenizer.eos_token_id is None else {*found, int(tokenizer.eos_token_id)}


@dataclass(frozen=True)
class SamplingSettings:
    """How a token is drawn from what a model holds likely.

    Attributes:
        temperature: Divides the logits; 0 always takes the likeliest token.
        top_p: Samples from the likeliest tokens whose probabilities first reach this sum.
        min_p: Samples from the tokens that are at least this many times as likely as the likeliest one, after the
            temperature. Both cuts hold where both are given.

    Raises:
        ConfigError: A setting is out of range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf") and 0 < self.top_p <= 1 and 0 <= self.min_p <= 1):
            raise ConfigError(
                "Sampling needs temperature >= 0, 0 < top_p <= 1 and 0 <= min_p <= 1, but got "
                f"{self.temperature}, {self.top_p} and {self.min_p}."
            )


def sample_completions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], **settings: Any
) -> list[list[int]]:
    """The token ids of `sample_answers`, which explains the arguments and errors, whether ended or cut."""
    return [answer.ids for answer in sample_answers(model, tokenizer, prompts, **settings)]


@torch.inference_mode()
def sample_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | Sequence[int],
    temperature: float = 1.0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    seed: int = 0,
    batch_size: int = 64,
    complete: Callable[[Sequence[int]], bool] | None = None,
    stopped: Callable[[], bool] | None = None,
) -> list[Completion]:
    """Samples one continuation for every prompt, on the model's device and in its number format.

    Args:
        model: Any causal language model; one that keeps no keys and values between its steps reads all anew at each.
        tokenizer: Gives the end, padding and beginning tokens; the latter two and ``<sep>`` are never sampled.
        prompts: Token ids of each prompt, at least one each; they may differ in length and hold terrain ids.
        max_new_tokens: A continuation that has not ended by then is cut there; one limit for all, or one a prompt. Prompt
            and continuation together stop at the model's context length.
        temperature: See `SamplingSettings`, as for the next two.
        top_p: See there.
        min_p: See there.
        seed: Seed of all random choices.
        batch_size: Prompts that run together.
        complete: Asked every few tokens whether what a row has written so far will do; such a row goes no further, and
            counts as not ended by the model.
        stopped: Asked at every token whether nobody waits for the rest any more; then all is cut where it is.

    Returns:
        One completion per prompt, in order. Where neither tokenizer nor model has an end token, all are cut.

    Raises:
        ConfigError: A setting is out of range, or a prompt is empty or fills the model's context.
    """
    settings = SamplingSettings(temperature, top_p, min_p)
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if batch_size < 1 or min(limits, default=1) < 1 or len(limits) != len(prompts):
        raise ConfigError(
            "Sampling needs batch_size >= 1 and max_new_tokens >= 1, one for all prompts or one for each, but got "
            f"{batch_size} and {max_new_tokens} for {len(prompts)} prompts."
        )
    context = context_length(model)
    longest = max((len(prompt) for prompt in prompts), default=1)
    if any(len(prompt) == 0 for prompt in prompts) or longest >= context:
        raise ConfigError(f"Every prompt needs between 1 and {context - 1} tokens for this model; shorten the prompts.")
    was_training = model.training
    model.eval()
    completions: list[Completion] = []
    for begin in range(0, len(prompts), batch_size):
        batch = [list(prompt) for prompt in prompts[begin : begin + batch_size]]
        steps = [
            min(limit, context - len(prompt))
            for limit, prompt in zip(limits[begin : begin + batch_size], batch, strict=True)
        ]
        # Random numbers of its own for each sample, whatever the limits of the others and the size of the batch.
        draws = np.zeros((len(batch), max(steps)))
        for row, count in enumerate(steps):
            draws[row, :count] = np.random.default_rng((seed, begin + row)).random(count)
        completions += _sample_batch(model, tokenizer, batch, steps, draws, settings, complete, stopped)
    model.train(was_training)
    return completions


_ASK_EVERY = 8
"""Tokens between two questions whether a row is complete: asking costs a decoding, not asking up to so many tokens."""


def _sample_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    limits: list[int],
    draws: NDArray[np.float64],
    settings: SamplingSettings,
    complete: Callable[[Sequence[int]], bool] | None,
    stopped: Callable[[], bool] | None,
) -> list[Completion]:
    """Continues ``prompts`` together; ``draws`` is (batch, steps) uniform numbers, one per token to sample."""
    device = model.device
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id or 0  # masked, so any token will do
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    ends = end_ids(model, tokenizer)
    ending = torch.tensor(sorted(ends), dtype=torch.long, device=device)
    specials = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id} - {None, *ends}
    banned = torch.tensor(sorted(specials), dtype=torch.long, device=device)
    points = torch.from_numpy(draws).to(_precision(device)).to(device)
    last = torch.tensor(limits, device=device) - 1
    rows = torch.arange(len(prompts), device=device)  # which prompt each row still in the batch belongs to
    output = torch.full((len(prompts), max(limits)), -1, dtype=torch.long, device=device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    reader = _Reader(model)
    for step in range(max(limits)):
        if stopped is not None and stopped():
            break
        logits = reader.next_logits(ids, mask)
        logits[:, banned] = -torch.inf
        chosen = _choose(logits, points[rows, step], settings)
        alive = ~torch.isin(chosen, ending)
        ended[rows[~alive]] = True
        output[rows[alive], step] = chosen[alive]
        alive &= step < last[rows]
        if complete is not None and (step + 1) % _ASK_EVERY == 0:
            for place in alive.nonzero()[:, 0].tolist():
                alive[place] = not complete(output[rows[place], : step + 1].tolist())
        ids = torch.cat([ids, chosen[:, None]], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        if not bool(alive.all()):
            keep = alive.nonzero()[:, 0]
            if len(keep) == 0:
                break
            rows, ids, mask = rows[keep], ids[keep], mask[keep]
            reader.keep(keep)
    lists = [[token for token in row if token >= 0] for row in output.tolist()]
    return [Completion(tokens, done) for tokens, done in zip(lists, ended.tolist(), strict=True)]


class _Reader:
    """Asks a model for the next token, with its key-value cache where it has one that rows can be taken out of."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._cache: Any = None
        # Architectures differ in what they take; what only saves work is left out where they do not know it.
        self._known = set(inspect.signature(type(model).forward).parameters)
        self._cached = {"past_key_values", "use_cache"} <= self._known

    def next_logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, vocabulary) of what follows ``ids`` (batch, length), which are all tokens so far."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        arguments = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": 1}
        if self._cached:
            arguments |= {"past_key_values": self._cache, "use_cache": True}
            if self._cache is not None:
                ids, arguments["position_ids"] = ids[:, -1:], positions[:, -1:]
        result = self._model(input_ids=ids, **{name: arguments[name] for name in arguments if name in self._known})
        if self._cached:
            self._cache = getattr(result, "past_key_values", None)
            self._cached = hasattr(self._cache, "batch_select_indices")
        return result.logits[:, -1].float()

    def keep(self, rows: torch.Tensor) -> None:
        """Leaves out the rows of a batch that have ended."""
        if self._cached:
            self._cache.batch_select_indices(rows)


def _precision(device: torch.device) -> torch.dtype:
    """In float64 the last tokens of a large vocabulary keep their share; Apple's GPUs do not know it."""
    return torch.float32 if device.type == "mps" else torch.float64


def _choose(logits: torch.Tensor, points: torch.Tensor, settings: SamplingSettings) -> torch.Tensor:
    """One token per row, by inverting the cumulative distribution of (batch, vocabulary) logits at (batch,) points."""
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    scaled = logits.to(points.dtype) / settings.temperature
    # Sorted, so that both cuts leave the first so many.
    probabilities, order = torch.softmax(scaled, dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = probabilities.cumsum(dim=-1)
    likely = (cumulative - probabilities < settings.top_p) & (probabilities >= settings.min_p * probabilities[:, :1])
    kept = likely.sum(dim=-1, keepdim=True)
    target = points[:, None] * cumulative.gather(1, kept - 1)
    index = torch.searchsorted(cumulative, target, right=True).clamp(max=kept - 1)
    return order.gather(1, index)[:, 0]
