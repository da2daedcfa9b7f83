"""Samples answers of line edits, many side by side, each with random numbers of its own, within the grammar.

A loop of its own beside `elm_rl.models.sampling`, because here every row has tokens that may not follow and tokens that must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from joblib import cpu_count
from transformers import PreTrainedModel

from elm_rl.mutation.edits.grammar import EditAnswer, EditGrammar
from elm_rl.mutation.edits.questions import Verdict, verdict_token
from elm_rl.mutation.edits.reading import Reader

CHUNK = 16
"""Most tokens that a row reads in one step after the question: rows have few or many to read, and the few wait for the many."""

_KEPT = 0.75
"""Rows that are done are dropped when no more than this share is not."""


@dataclass(frozen=True)
class EditSampling:
    """How answers are drawn; see `elm_rl.mutation.edits.operator.EditModelOptions`."""

    temperature: float
    min_p: float
    max_new_tokens: int
    batch_size: int
    attempts: int
    verdict: Verdict


def sample_edits(
    model: PreTrainedModel,
    grammar: EditGrammar,
    questions: Sequence[tuple[str, Sequence[int]]],
    sampling: EditSampling,
    *,
    seed: int,
    take: Callable[[int, EditAnswer], bool],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Draws answers to every question until one is taken.

    Args:
        model: A causal language model over the grammar's vocabulary.
        grammar: What may follow.
        questions: Each parent's text, with the ids of the question. The model reads one that comes several times in a row once.
        sampling: How to draw.
        seed: Seed of all random choices. An answer depends on it, on its place and the attempt, but not on its neighbours.
        take: Is given each answer with its place among the questions, from several threads, and says whether it is of use; if
            not, another is drawn, until ``sampling.attempts`` have been. One that has not ended was cut at ``max_new_tokens``.
        stopped: Asked at every token whether nobody waits for the answers any more.
    """
    # Questions of about one length read together waste little on padding. How they are parted does not depend on the machine,
    # because in other company a row's figures may differ in their last bits.
    asked = [
        _Question(text, ids, [place for place, _ in same])
        for (text, ids), same in groupby(enumerate(questions), key=lambda each: each[1])
    ]
    asked.sort(key=lambda question: len(question.ids))
    ends = np.cumsum([len(question.places) for question in asked])
    batches = [
        [question for _, question in part]
        for _, part in groupby(zip(ends, asked, strict=True), key=lambda each: int(each[0] - 1) // sampling.batch_size)
    ]
    batches.reverse()  # the longest first
    # Torch computes each step in one thread: so small a step gains little from more. On a busy machine of two cores, two
    # threads took 1.8 times as long. Each thread sets that for itself; what it sets for threads to come is taken back.
    count = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(cpu_count(), initializer=torch.set_num_threads, initargs=(1,)) as threads:
            # To ask for the results raises here what a thread raised.
            list(threads.map(lambda batch: _answer(model, grammar, batch, sampling, seed, take, stopped), batches))
    finally:
        torch.set_num_threads(count)


class _Question(NamedTuple):
    """A parent that is asked about: its text, the ids of the question, and the places of the answers that it gets."""

    parent: str
    ids: Sequence[int]
    places: Sequence[int]


class _Row:
    """An answer that is being written to a question."""

    def __init__(
        self, grammar: EditGrammar, question: _Question, place: int, sampling: EditSampling, seed: int
    ) -> None:
        self.place = place
        self._question = question
        self._grammar = grammar
        self._longest = sampling.max_new_tokens
        self._seed = (seed, place)
        self.attempt = -1
        self.done = False
        self.begin()

    def begin(self) -> None:
        """Begins the next attempt, with random numbers of its own."""
        self.attempt += 1
        draws = np.random.default_rng((*self._seed, self.attempt))
        self.points = iter(draws.random(self._longest).tolist())  # one for each token that is chosen
        self.answer = EditAnswer(self._grammar, self._question.parent)
        self.unread: list[int] = []  # what the model has yet to read
        self.read = len(self._question.ids) + 1

    @property
    def over(self) -> bool:
        """Whether the answer has ended or is cut."""
        return self.answer.ended or len(self.answer.ids) >= self._longest


@torch.inference_mode()
def _answer(
    model: PreTrainedModel,
    grammar: EditGrammar,
    questions: Sequence[_Question],
    sampling: EditSampling,
    seed: int,
    take: Callable[[int, EditAnswer], bool],
    stopped: Callable[[], bool],
) -> None:
    """Writes answers to some questions side by side."""
    if stopped():
        return
    reader = Reader(model)
    reader.read([question.ids for question in questions], [0] * len(questions))
    first = reader.read(
        [[verdict_token(grammar.coder, sampling.verdict)] for _ in questions], [len(each.ids) for each in questions]
    )
    owners = [number for number, question in enumerate(questions) for _ in question.places]
    rows = [_Row(grammar, question, place, sampling, seed) for question in questions for place in question.places]
    reader.keep(owners)
    _write(reader, grammar, rows, first[owners], sampling, take, stopped)


def _write(
    reader: Reader,
    grammar: EditGrammar,
    rows: Sequence[_Row],
    first: torch.Tensor,
    sampling: EditSampling,
    take: Callable[[int, EditAnswer], bool],
    stopped: Callable[[], bool],
) -> None:
    """Writes answers side by side; ``first`` are the logits of their first tokens.

    A model reads many tokens at once about as fast as one. So an answer that has lines to read again waits until half of the
    others have some too, and all of them read theirs in one step; in its own column of a step, a row that waits is masked.
    An attempt that comes to nothing is masked too, and the next one begins behind the question that was read before.
    """
    asked = reader.columns
    waiting = {id(row): logits for row, logits in zip(rows, first, strict=True)}  # for other attempts
    rows = list(rows)
    logits, places = first, list(range(len(rows)))  # of the rows that have read all that there is
    while rows and not stopped():
        if places:
            allowed = torch.from_numpy(grammar.allowed([rows[place].answer for place in places])).to(logits.device)
            points = torch.tensor([next(rows[place].points) for place in places], dtype=torch.float64).to(logits.device)
            tokens = _choose(logits, allowed, points, sampling)
            for place, token in zip(places, tokens.tolist(), strict=True):
                rows[place].unread = rows[place].answer.put_with_forced(token)
        again = []
        for row in rows:
            if row.over and not row.done:
                if take(row.place, row.answer) or row.attempt + 1 >= sampling.attempts:
                    row.done, row.unread = True, []
                else:
                    row.begin()
                    again.append(row)
        unfinished = [place for place, row in enumerate(rows) if not row.done]
        # To drop rows copies all that was read, so some that are done are carried along.
        if len(unfinished) <= _KEPT * len(rows):
            reader.keep(unfinished)
            rows = [rows[place] for place in unfinished]
        if again:
            fresh = set(map(id, again))
            places = [place for place, row in enumerate(rows) if id(row) in fresh]
            reader.forget(places, asked)
            logits = torch.stack([waiting[id(row)] for row in again])
            continue
        if not rows:
            return
        long = [row for row in rows if len(row.unread) > 1]
        reading = set(
            map(id, long if 2 * len(long) >= len(unfinished) else [row for row in rows if len(row.unread) == 1])
        )
        pieces = [row.unread[:CHUNK] if id(row) in reading else [] for row in rows]
        found = reader.read(pieces, [row.read for row in rows])
        for row, piece in zip(rows, pieces, strict=True):
            row.unread = row.unread[len(piece) :]
            row.read += len(piece)
        places = [place for place, row in enumerate(rows) if id(row) in reading and not row.unread]
        logits = found[places]


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
