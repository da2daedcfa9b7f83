"""Which tokens may follow in an answer of line edits, so that whatever a model writes can be read and fits the parent.

An answer is a message and then edits: two marks in order, lines that are read again (given, not chosen), and new lines, each
with as many numbers behind it as it has holes. A small model that counts wrongly would otherwise lose a fifth of its answers.

A new line must also fit the lines before it, by its indentation and its names, and an edit may only end where what follows
fits (`elm_rl.mutation.edits.scope`). Most lines are a single token, of which those that do not fit are ruled out; one of
several tokens is looked at when it is complete, and breaks the answer off where it does not fit.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from elm_rl.mutation.edits.line_edits import HOLE, STOP, EditCoder, split_lines
from elm_rl.mutation.edits.scope import Scope, names_everywhere, one_statement_a_line, read_line
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
        self.texts = texts
        facts = [read_line(text.removesuffix("\n")) if line[i] else read_line("") for i, text in enumerate(texts)]
        self._indents = np.array([fact.indent for fact in facts])
        self._indents[~line] = -1
        # Tokens of nothing but spaces, with which longer lines begin.
        self._spaces = np.array([len(text) if line[i] and not text.strip(" ") else 0 for i, text in enumerate(texts)])
        uses = [fact.uses if self.ends_line[i] else frozenset() for i, fact in enumerate(facts)]
        self._names = sorted(frozenset().union(*uses))
        self._uses = np.array([[name in used for name in self._names] for used in uses], dtype=np.float32)

    def fitting(self, scope: Scope) -> NDArray[np.bool_]:
        """Which tokens may begin a line at a place, shape (vocabulary,); those that are no text may."""
        indents = self._indents
        known = [scope.names(indent) for indent in (0, 1)]
        unknown = np.array([[name not in names for name in self._names] for names in known], dtype=np.float32)
        missing = self._uses @ unknown.T.reshape(len(self._names), 2) > 0
        fits = indents > scope.indent if scope.opened else np.isin(indents, scope.next_indents)
        fits &= ~np.where(indents > 0, missing[:, 1], missing[:, 0])
        deepest = np.inf if scope.opened else scope.next_indents[-1]
        spaces = self._spaces
        result: NDArray[np.bool_] = np.where(spaces > 0, spaces <= deepest, fits | (indents < 0))
        return result

    def allowed(self, answers: Sequence[EditAnswer]) -> NDArray[np.bool_]:
        """For each answer, which tokens may follow, shape (answers, vocabulary)."""
        allowed = self._kinds[[answer.expected for answer in answers]]
        for row, answer in zip(allowed, answers, strict=True):
            if answer.forced:
                row[:] = False
                row[answer.forced[0]] = True
                continue
            last = len(answer.lines)
            if answer.expected == _Expected.LINE and answer.scope is not None:
                row &= self.fitting(answer.scope)
                unfit = answer.scope.first_unfit(answer.lines, answer.low)
                if unfit is not None:
                    row[self.coder.end] = False
                    last = unfit
            if answer.expected in (_Expected.FIRST_MARK, _Expected.LAST_MARK, _Expected.LINE):
                row[self.coder.mark(answer.low) : self.coder.mark(last) + 1] = True
        return allowed


class EditAnswer:
    """An answer while it is written.

    Args:
        grammar: The vocabulary's grammar.
        parent: The program that is edited.

    Attributes:
        ids: Tokens so far, without the end token.
        ended: Whether the end token was written, or the answer was broken off.
        broken: Whether a line was written that does not fit; the answer is then of no use.
        forced: Tokens that follow whatever the model says.
        expected: What may follow.
        low: The first line that may be named next.
        lines: The parent's lines.
        scope: The place where the next new line will stand; None where the parent's lines cannot be read one by one.
    """

    def __init__(self, grammar: EditGrammar, parent: str) -> None:
        self._grammar = grammar
        self.lines = split_lines(parent)
        self.ids: list[int] = []
        self.ended = self.broken = False
        self.forced: deque[int] = deque()
        self.expected = _Expected.MESSAGE
        self.low = 0
        self.scope = Scope(self.lines) if one_statement_a_line(self.lines) else None
        self._line = ""
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
                self._forget(self.lines[self.low : line], self.lines[line:])
            else:
                self.expected = _Expected.LAST_MARK
                if self.scope is not None:
                    self.scope.add_all(self.lines[self.low : line])
            self.low = line
        elif self.expected in (_Expected.NUMBER, _Expected.REST_OF_NUMBER):
            ended = grammar.ends_number[token]
            self._holes -= ended
            self.expected = self._after_line() if ended else _Expected.REST_OF_NUMBER
        else:
            self._holes += grammar.holes[token]
            self._line += grammar.texts[token]
            self.expected = _Expected.REST_OF_LINE
            if grammar.ends_line[token]:
                self.expected = self._after_line()
                self._end_line()

    def put_with_forced(self, token: int) -> list[int]:
        """Writes a token that may follow, and those that must follow it; returns all of them."""
        written = [token]
        self.put(token)
        while self.forced:
            written.append(self.forced[0])
            self.put(self.forced[0])
        return written

    def _end_line(self) -> None:
        """Takes a line that is complete, but for its numbers, into the scope."""
        line, self._line = self._line.removesuffix("\n"), ""
        if self.scope is not None:
            if one_statement_a_line([line]) and self.scope.fits(line):
                self.scope.add(line)
            else:
                self.ended = self.broken = True

    def _forget(self, removed: Sequence[str], rest: Sequence[str]) -> None:
        """Takes the names of lines that are removed out of the scope."""
        if self.scope is not None and any(read_line(line).indent == 0 for line in removed):
            self.scope.everywhere = names_everywhere(rest)

    def _after_line(self) -> _Expected:
        return _Expected.NUMBER if self._holes else _Expected.LINE
