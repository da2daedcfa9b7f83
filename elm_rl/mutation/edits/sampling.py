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

CHUNK = 16
"""Most tokens that a row reads in one step after the question: rows have few or many to read, and the few wait for the many."""


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
    """Writes answers side by side; ``draws`` is (answers, tokens) uniform numbers, one for each token that is chosen.

    A model reads many tokens at once about as fast as one. So an answer that has lines to read again waits until half of the
    others have some too, and all of them read theirs in one step; in its own column of a step, a row that waits is masked.
    """
    rows = list(range(len(answers)))  # those that still write
    unread = [list(question) for question in questions]  # what the model has yet to read of each
    read, chosen = [0] * len(answers), [0] * len(answers)
    mask = torch.zeros((len(rows), 0), dtype=torch.long, device=model.device)
    cache: Any = None
    while rows:
        long = [row for row in rows if len(unread[row]) > 1]
        going = long if 2 * len(long) >= len(rows) else [row for row in rows if len(unread[row]) == 1]
        width = max(len(unread[row]) for row in going)
        if cache is not None:
            width = min(width, CHUNK)
        reading = set(going)
        step = np.zeros((3, len(rows), width), dtype=np.int64)  # ids, mask, positions
        for place, row in enumerate(rows):
            if row in reading:
                count = min(len(unread[row]), width)
                step[0, place, width - count :] = unread[row][:count]
                unread[row] = unread[row][count:]
                step[1, place, width - count :] = 1
                step[2, place, width - count :] = range(read[row], read[row] + count)
                read[row] += count
        ids, seen, positions = torch.from_numpy(step).to(model.device)
        mask = torch.cat([mask, seen], dim=1)
        result = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = result.past_key_values
        places = [place for place, row in enumerate(rows) if row in reading and not unread[row]]
        going = [rows[place] for place in places]
        if not going:
            continue
        allowed = torch.from_numpy(grammar.allowed([answers[row] for row in going])).to(model.device)
        points = torch.from_numpy(draws[going, [chosen[row] for row in going]]).to(model.device)
        tokens = _choose(result.logits[places, -1], allowed, points, sampling)
        for row, token in zip(going, tokens.tolist(), strict=True):
            chosen[row] += 1
            unread[row] = answers[row].put_with_forced(token)
        alive = [
            place
            for place, row in enumerate(rows)
            if not answers[row].ended and len(answers[row].ids) < sampling.max_new_tokens
        ]
        if len(alive) < len(rows):
            if not alive:
                return
            kept = torch.tensor(alive, device=model.device)
            cache.batch_select_indices(kept)
            mask = mask[kept]
            rows = [rows[place] for place in alive]


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
