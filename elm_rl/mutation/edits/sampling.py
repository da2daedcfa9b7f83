"""Samples answers of line edits, many side by side, each with random numbers of its own and within the grammar.

A loop of its own beside `elm_rl.models.sampling`, because here every row has tokens that may not follow and tokens that must.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
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
    attempts: int


def sample_edits(
    model: PreTrainedModel,
    grammar: EditGrammar,
    questions: Sequence[tuple[str, Sequence[int]]],
    sampling: EditSampling,
    *,
    seed: int,
    usable: Callable[[int, EditAnswer], bool],
) -> None:
    """Draws answers for every question until one is of use, or ``sampling.attempts`` have been drawn.

    Args:
        model: A causal language model over the grammar's vocabulary.
        grammar: What may follow.
        questions: Each parent's text, with the ids of the question.
        sampling: How to draw.
        seed: Seed of all random choices. An answer depends on it, on its place and on the attempt, but not on its neighbours.
        usable: Is given each answer with its place among the questions, and says whether it is of use. One that has not ended
            was cut at ``max_new_tokens``.
    """
    # Questions of about one length read together waste little on padding. How they are parted does not depend on the machine,
    # because in other company a row's figures may differ in their last bits.
    order = sorted(range(len(questions)), key=lambda place: len(questions[place][1]))
    parts = np.array_split(np.array(order, dtype=int), max(1, math.ceil(len(order) / sampling.batch_size)))
    batches = [[_Row(grammar, place, questions[place], sampling, seed) for place in part.tolist()] for part in parts]
    batches.reverse()  # the longest first
    with _one_thread(), ThreadPoolExecutor(cpu_count()) as threads:
        for _ in threads.map(lambda rows: _write(model, grammar, rows, sampling, usable), batches):
            pass


@contextmanager
def _one_thread() -> Iterator[None]:
    """Has torch compute each step in one thread: so small a step gains little from more.

    On a busy machine of two cores, two threads took 1.8 times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Row:
    """A question with the answer that is being written to it."""

    def __init__(
        self, grammar: EditGrammar, place: int, asked: tuple[str, Sequence[int]], sampling: EditSampling, seed: int
    ) -> None:
        self._grammar = grammar
        self._parent, self.question = asked
        self._sampling = sampling
        self._seed = seed
        self.place = place
        self.attempt = -1
        self.begin()

    def begin(self) -> None:
        """Begins the next attempt, with random numbers of its own."""
        self.attempt += 1
        draws = np.random.default_rng((self._seed, self.attempt, self.place))
        self.points = iter(draws.random(self._sampling.max_new_tokens).tolist())  # one for each token that is chosen
        self.answer = EditAnswer(self._grammar, self._parent)
        self.unread: list[int] = []  # what the model has yet to read
        self.read = len(self.question)

    @property
    def over(self) -> bool:
        """Whether the answer has ended or is cut."""
        return self.answer.ended or len(self.answer.ids) >= self._sampling.max_new_tokens


@torch.inference_mode()
def _write(
    model: PreTrainedModel,
    grammar: EditGrammar,
    rows: list[_Row],
    sampling: EditSampling,
    usable: Callable[[int, EditAnswer], bool],
) -> None:
    """Writes answers side by side.

    A model reads many tokens at once about as fast as one. So an answer that has lines to read again waits until half of the
    others have some too, and all of them read theirs in one step; in its own column of a step, a row that waits is masked.
    An attempt that comes to nothing is masked too, and the next one begins behind the question that was read before.
    """
    if not rows:
        return
    reader = _Reader(model)
    first = reader.read([row.question for row in rows], [0] * len(rows))
    waiting = {row.place: logits for row, logits in zip(rows, first, strict=True)}  # first logits, for other attempts
    logits, places = first, list(range(len(rows)))  # of the rows that have read all that there is
    while rows:
        if places:
            allowed = torch.from_numpy(grammar.allowed([rows[place].answer for place in places])).to(model.device)
            points = torch.tensor([next(rows[place].points) for place in places], dtype=torch.float64).to(model.device)
            tokens = _choose(logits, allowed, points, sampling)
            for place, token in zip(places, tokens.tolist(), strict=True):
                rows[place].unread = rows[place].answer.put_with_forced(token)
        again = []
        alive = []
        for place, row in enumerate(rows):
            if not row.over:
                alive.append(place)
            elif not usable(row.place, row.answer) and row.attempt + 1 < sampling.attempts:
                row.begin()
                alive.append(place)
                again.append(row)
        if len(alive) < len(rows):
            reader.keep(alive)
            rows = [rows[place] for place in alive]
        if again:
            fresh = set(map(id, again))
            places = [place for place, row in enumerate(rows) if id(row) in fresh]
            reader.forget_answers(places)
            logits = torch.stack([waiting[row.place] for row in again])
            continue
        if not rows:
            return
        long = [row for row in rows if len(row.unread) > 1]
        reading = set(map(id, long if 2 * len(long) >= len(rows) else [row for row in rows if len(row.unread) == 1]))
        pieces = [row.unread[:CHUNK] if id(row) in reading else [] for row in rows]
        found = reader.read(pieces, [row.read for row in rows])
        for row, piece in zip(rows, pieces, strict=True):
            row.unread = row.unread[len(piece) :]
            row.read += len(piece)
        places = [place for place, row in enumerate(rows) if id(row) in reading and not row.unread]
        logits = found[places]


class _Reader:
    """What a model has read of some rows of tokens."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._cache: Any = None
        self._mask: torch.Tensor | None = None
        self._questions = 0  # columns of the first piece

    def read(self, pieces: Sequence[Sequence[int]], begin: Sequence[int]) -> torch.Tensor:
        """Reads a piece of each row, whose first token is number ``begin`` of it; returns the last logits of each.

        Those of a row with an empty piece mean nothing.
        """
        width = max(map(len, pieces))
        step = np.zeros((3, len(pieces), width), dtype=np.int64)  # ids, mask, positions
        for row, (piece, first) in enumerate(zip(pieces, begin, strict=True)):
            if piece:
                step[0, row, width - len(piece) :] = piece
                step[1, row, width - len(piece) :] = 1
                step[2, row, width - len(piece) :] = range(first, first + len(piece))
        ids, seen, positions = torch.from_numpy(step).to(self._model.device)
        self._questions = self._questions or width
        self._mask = seen if self._mask is None else torch.cat([self._mask, seen], dim=1)
        result = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._cache = result.past_key_values
        logits: torch.Tensor = result.logits[:, -1]
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with some rows, in this order."""
        kept = torch.tensor(rows, dtype=torch.long, device=self._model.device)
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept] if self._mask is not None else None

    def forget_answers(self, rows: Sequence[int]) -> None:
        """Has some rows read nothing but their first piece."""
        if self._mask is not None:
            self._mask[rows, self._questions :] = 0


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
