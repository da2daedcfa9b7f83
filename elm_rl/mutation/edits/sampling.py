"""Samples answers of line edits, many side by side, each with random numbers of its own and within the grammar.

A loop of its own beside `elm_rl.models.sampling`, because here every row has tokens that may not follow and tokens that must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from elm_rl.mutation.edits.grammar import EditAnswer, EditGrammar


@dataclass(frozen=True)
class EditSampling:
    """How answers are drawn; see `elm_rl.mutation.edits.operator.EditModelOptions`."""

    temperature: float
    min_p: float
    max_new_tokens: int
    batch_size: int


@torch.inference_mode()
def sample_edits(
    model: PreTrainedModel,
    grammar: EditGrammar,
    questions: Sequence[tuple[str, Sequence[int]]],
    sampling: EditSampling,
    *,
    seed: tuple[int, ...],
) -> list[EditAnswer]:
    """Draws one answer for every question.

    Args:
        model: A causal language model over the grammar's vocabulary.
        grammar: What may follow.
        questions: Each parent's text, with the ids of the question.
        sampling: How to draw.
        seed: Seed of all random choices. An answer depends on it and on its place, but not on its neighbours.

    Returns:
        The answers in order. One that has not ended was cut at ``max_new_tokens``.
    """
    answers = [EditAnswer(grammar, parent) for parent, _ in questions]
    # Questions of about one length read together waste little on padding.
    order = sorted(range(len(questions)), key=lambda i: len(questions[i][1]))
    for begin in range(0, len(order), sampling.batch_size):
        batch = order[begin : begin + sampling.batch_size]
        draws = np.stack([np.random.default_rng((*seed, i)).random(sampling.max_new_tokens) for i in batch])
        asked = [list(questions[i][1]) for i in batch]
        _write(model, grammar, asked, [answers[i] for i in batch], draws, sampling)
    return answers


def _write(
    model: PreTrainedModel,
    grammar: EditGrammar,
    questions: list[list[int]],
    answers: list[EditAnswer],
    draws: NDArray[np.float64],
    sampling: EditSampling,
) -> None:
    """Writes answers side by side; ``draws`` is (answers, steps) uniform numbers, one per token."""
    device = model.device
    width = max(map(len, questions))
    ids = torch.tensor([[0] * (width - len(q)) + q for q in questions], device=device)
    mask = torch.tensor([[0] * (width - len(q)) + [1] * len(q) for q in questions], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache: Any = None
    points = torch.from_numpy(draws).to(device)
    rows = list(range(len(answers)))  # which answer each row still in the batch belongs to
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
        allowed = torch.from_numpy(grammar.allowed([answers[row] for row in rows])).to(device)
        chosen = _choose(result.logits[:, -1], allowed, points[rows, step], sampling)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            answers[row].put(token)
        alive = [place for place, row in enumerate(rows) if not answers[row].ended]
        if not alive:
            return
        if len(alive) < len(rows):
            kept = torch.tensor(alive, device=device)
            cache.batch_select_indices(kept)
            mask, positions, chosen = mask[kept], positions[kept], chosen[kept]
            rows = [rows[place] for place in alive]
        ids = chosen[:, None]
        mask, positions = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1), positions[:, -1:] + 1


def _choose(logits: torch.Tensor, allowed: torch.Tensor, points: torch.Tensor, sampling: EditSampling) -> torch.Tensor:
    """One allowed token a row, by inverting the cumulative distribution at (rows,) points."""
    logits = logits.double().masked_fill(~allowed, -torch.inf)
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    odds = torch.softmax(logits / sampling.temperature, dim=-1)
    odds = odds.masked_fill(odds < sampling.min_p * odds.max(dim=-1, keepdim=True).values, 0.0)
    sums = odds.cumsum(dim=-1)
    chosen = torch.searchsorted(sums, points[:, None] * sums[:, -1:], right=True)[:, 0]
    # Past the last likely token only by rounding.
    last = odds.shape[-1] - 1 - (odds > 0).flip(-1).int().argmax(dim=-1)
    return torch.minimum(chosen, last)
