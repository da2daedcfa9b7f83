"""Which tokens may follow in an answer of line edits, so that whatever a model writes can be read and fits the parent.

An answer is a message and then edits: two marks in order, lines that are read again (given, not chosen), and new lines, each
with as many numbers behind it as it has holes. A small model that counts wrongly would otherwise lose a fifth of its answers.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from elm_rl.mutation.edits.line_edits import HOLE, STOP, EditCoder, split_lines
from elm_rl.mutation.operator import COMMIT_MESSAGES

_NUMBER = re.compile(rf"[-+.e\d]*\d{STOP}?|[-+.e\d]+")


class _Expected(IntEnum):
    """What may follow."""

    MESSAGE = 0
    FIRST_MARK = 1
    LAST_MARK = 2
    LINE = 3
    REST_OF_LINE = 4
    NUMBER = 5
    REST_OF_NUMBER = 6


class EditGrammar:
    """What the tokens of a vocabulary are in an answer.

    Args:
        coder: The vocabulary.
        first_message: Token of the first commit message; the others follow it.
    """

    def __init__(self, coder: EditCoder, first_message: int) -> None:
        self.coder = coder
        texts = [coder.text_of(i) if i in coder.text else "" for i in range(coder.vocabulary)]
        self.ends_line = [text.endswith("\n") for text in texts]
        self.ends_number = [text.endswith(STOP) for text in texts]
        self.holes = [text.count(HOLE) for text in texts]
        tokens = np.arange(coder.vocabulary)
        is_text = (tokens >= coder.text.start) & (tokens < coder.text.stop)
        line = is_text & ~np.array([STOP in text for text in texts])
        kinds = np.zeros((len(_Expected), coder.vocabulary), dtype=bool)
        kinds[_Expected.MESSAGE, first_message : first_message + len(COMMIT_MESSAGES)] = True
        kinds[_Expected.LINE] = line
        kinds[_Expected.LINE, coder.end] = True
        kinds[_Expected.REST_OF_LINE] = line
        kinds[_Expected.NUMBER] = [_NUMBER.fullmatch(text) is not None for text in texts]
        kinds[_Expected.REST_OF_NUMBER] = kinds[_Expected.NUMBER] | np.array([text == STOP for text in texts])
        self._kinds = kinds

    def allowed(self, answers: Sequence[EditAnswer]) -> NDArray[np.bool_]:
        """For each answer, which tokens may follow, shape (answers, vocabulary)."""
        allowed = self._kinds[[answer.expected for answer in answers]]
        for row, answer in zip(allowed, answers, strict=True):
            if answer.forced:
                row[:] = False
                row[answer.forced[0]] = True
            elif answer.expected in (_Expected.FIRST_MARK, _Expected.LAST_MARK, _Expected.LINE):
                row[self.coder.mark(answer.low) : self.coder.mark(len(answer.lines)) + 1] = True
        return allowed


class EditAnswer:
    """An answer while it is written.

    Args:
        grammar: The vocabulary's grammar.
        parent: The program that is edited.

    Attributes:
        ids: Tokens so far, without the end token.
        ended: Whether the end token was written.
        forced: Tokens that follow whatever the model says.
        expected: What may follow.
        low: The first line that may be named next.
        lines: The parent's lines.
    """

    def __init__(self, grammar: EditGrammar, parent: str) -> None:
        self._grammar = grammar
        self.lines = split_lines(parent)
        self.ids: list[int] = []
        self.ended = False
        self.forced: deque[int] = deque()
        self.expected = _Expected.MESSAGE
        self.low = 0
        self._holes = 0

    def put(self, token: int) -> None:
        """Writes a token that may follow."""
        grammar = self._grammar
        if token == grammar.coder.end:
            self.ended = True
            return
        self.ids.append(token)
        if self.forced:
            self.forced.popleft()
        elif self.expected == _Expected.MESSAGE:
            self.expected = _Expected.FIRST_MARK
        elif token in grammar.coder.marks:
            line = token - grammar.coder.mark(0)
            if self.expected == _Expected.LAST_MARK:
                self.forced.extend(grammar.coder.read_again(self.lines, self.low, line))
                self.expected = _Expected.LINE
            else:
                self.expected = _Expected.LAST_MARK
            self.low = line
        elif self.expected in (_Expected.NUMBER, _Expected.REST_OF_NUMBER):
            ended = grammar.ends_number[token]
            self._holes -= ended
            self.expected = self._after_line() if ended else _Expected.REST_OF_NUMBER
        else:
            self._holes += grammar.holes[token]
            ended = grammar.ends_line[token]
            self.expected = self._after_line() if ended else _Expected.REST_OF_LINE

    def put_with_forced(self, token: int) -> list[int]:
        """Writes a token that may follow, and those that must follow it; returns all of them."""
        written = [token]
        self.put(token)
        while self.forced:
            written.append(self.forced[0])
            self.put(self.forced[0])
        return written

    def _after_line(self) -> _Expected:
        return _Expected.NUMBER if self._holes else _Expected.LINE
