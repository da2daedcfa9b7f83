"""What a model of line edits is asked and answers, as token ids; training and use share every function here.

A question is ``<bos> notes program <sep> verdict``: notes of how far the parent walks and how large it is, its marked lines,
and the verdict that its child is to get. The answer is ``message edits <eos>``: the model itself chooses which of the commit
messages its change goes by. Outcomes make failures worth learning from: a model that has read what becomes of bad changes is
asked for good ones, as in decision transformers (Chen et al. 2021) and, with programs, SOAR (Pourcel et al. 2025).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import IntEnum

from elm_rl.mutation.edits.line_edits import EditCoder, LineEdit, LineEditError, apply_edits, make_edits
from elm_rl.mutation.operator import COMMIT_MESSAGES

LINE_EDITS = "line_edits"
"""Name of the format, as ``mutation.json`` beside a model says it."""

GAINS = (2.0, 8.0)
"""Where a small gain ends and where a large one begins, in walker units of distance. Of the children that enter maps 15,000
evaluations old and older, four in ten gain less than 2 and a quarter gains more than 8."""


class Verdict(IntEnum):
    """What became of a child, from worst to best."""

    INVALID = 0
    """It could not be scored."""
    KNOWN = 1
    """Its walker had been seen before."""
    REFUSED = 2
    """It was no better than what its niche held."""
    SMALL_GAIN = 3
    """It entered the map and raised its QD score a little."""
    FAIR_GAIN = 4
    """It entered the map and raised its QD score, by an amount between :data:`GAINS`."""
    LARGE_GAIN = 5
    """It entered the map and raised its QD score a lot."""


# Where each kind of note begins among the notes of the vocabulary.
_VERDICTS, _MESSAGES, _FITNESS, _HEIGHT, _WIDTH = 0, 8, 12, 24, 36
_BANDS = 11  # the last note of the vocabulary is taken
_HEIGHT_STEP, _WIDTH_STEP = 2.0, 2.5  # walker units; the bins of the default map
_MESSAGE_ORDER = tuple(message for message, _ in COMMIT_MESSAGES)


def verdict_of_gain(gain: float) -> Verdict:
    """The verdict on a valid new child that raises the QD score by ``gain`` walker units; 0 where it was not admitted."""
    return Verdict.REFUSED if gain <= 0 else Verdict(Verdict.SMALL_GAIN + bisect_right(GAINS, gain))


def encode_question(coder: EditCoder, program: str, fitness: float, measures: Mapping[str, float]) -> list[int] | None:
    """The ids of a question, without the verdict; None where the program is too long for the marks, or no program's text.

    Args:
        coder: Program text as ids.
        program: The parent's text.
        fitness: How far it walks, walker units.
        measures: Its height and width among others; what is missing is not noted.
    """
    lines = coder.encode_program(program)
    if lines is None:
        return None
    notes = [_FITNESS + _band(2 * math.log2(1 + max(fitness, 0.0) / 2))]
    for name, first, step in (("height", _HEIGHT, _HEIGHT_STEP), ("width", _WIDTH, _WIDTH_STEP)):
        if name in measures:
            notes.append(first + _band(measures[name] / step))
    return [coder.begin, *map(coder.note, notes), *lines, coder.separator]


def verdict_token(coder: EditCoder, verdict: Verdict) -> int:
    """The token that asks for a child with a verdict."""
    return coder.note(_VERDICTS + verdict)


def first_message(coder: EditCoder) -> int:
    """The token of the first of the commit messages; those of the others follow it."""
    return coder.note(_MESSAGES)


def encode_answer(coder: EditCoder, parent: str, child: str, message: str) -> list[int] | None:
    """The ids of the answer that makes ``child`` of ``parent``; None where they are equal or the child is unreadable."""
    edits = make_edits(parent, child)
    if not edits or coder.encode_program(child) is None:
        return None
    return [first_message(coder) + _MESSAGE_ORDER.index(message), *coder.encode_edits(parent, edits), coder.end]


def read_answer(coder: EditCoder, parent: str, ids: Sequence[int]) -> tuple[str, list[LineEdit], str]:
    """Message, edits and child of an answer without its end token.

    Raises:
        LineEditError: It is not well-formed, or does not fit the parent.
    """
    number = ids[0] - first_message(coder) if ids else -1
    if not 0 <= number < len(_MESSAGE_ORDER):
        raise LineEditError("Expected a message first.")
    edits = coder.decode_edits(ids[1:])
    return _MESSAGE_ORDER[number], edits, apply_edits(parent, edits)


def _band(value: float) -> int:
    return min(_BANDS - 1, max(0, int(value))) if math.isfinite(value) else _BANDS - 1
