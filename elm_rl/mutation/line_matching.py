"""Finding a block of lines in a text, exactly or as nearly as can be done without a doubt."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable

MIN_SIMILARITY = 0.75
"""Mean similarity of lines at which a block counts as found, 0 to 1."""
MIN_LEAD = 0.03
"""By how much the most similar place must beat any other that does not overlap it."""

MAX_COMPARED = 5_000_000
"""How much one patch may cost to be looked for by similarity: products of line lengths, summed over the lines compared. Three
pages of code take a tenth of it; an answer may be as long as its model likes."""


class PatchError(ValueError):
    """A patch that cannot be read or does not fit the text."""


class LineSimilarity:
    """How alike lines are, for the blocks of one patch: lines compared once are remembered, and the cost is bounded."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}
        self._left = MAX_COMPARED

    def blocks(self, lines: list[str], wanted: list[str]) -> float:
        """Mean similarity of the lines of two blocks, 0 to 1, of which each line must have its half."""
        total = 0.0
        for line, other in zip(lines, wanted, strict=True):
            ratio = self._lines(line.strip(), other.strip())
            if ratio < 0.5:
                return 0.0
            total += ratio
        return total / len(wanted) if wanted else 0.0

    def _lines(self, line: str, other: str) -> float:
        if line == other:
            return 1.0
        if (line, other) not in self._known:
            longer, shorter = max(len(line), len(other)), min(len(line), len(other))
            ratio = 0.0
            if 3 * shorter >= longer:  # else the ratio cannot be a half
                self._left -= longer * shorter
                if self._left >= 0:
                    ratio = difflib.SequenceMatcher(None, line, other, autojunk=False).ratio()
            self._known[line, other] = ratio
        return self._known[line, other]


def locate(lines: list[str], wanted: list[str], hint: int | None, name: str, similarity: LineSimilarity | None) -> int:
    """Index of the one place where ``wanted`` stands, at the strictest level at which it stands anywhere.

    Without ``similarity`` only spaces may differ.
    """
    levels: tuple[Callable[[str], str], ...] = (lambda line: line.removesuffix("\n"), str.rstrip, str.strip)
    for level in levels:
        key = [level(line) for line in wanted]
        text = [level(line) for line in lines]
        places = [
            at
            for at in range(len(text) - len(key) + 1)
            # Most places differ in one of these two lines: to cut out all lines there first takes long in long programs.
            if not key
            or (text[at] == key[0] and text[at + len(key) - 1] == key[-1] and text[at : at + len(key)] == key)
        ]
        if len(places) > 1 and hint is not None:
            return min(places, key=lambda at: abs(at - hint))
        if len(places) > 1:
            raise PatchError(f"{name} fits in {len(places)} places; give it more lines around the change.")
        if places:
            return places[0]
    if similarity is not None:
        scores = [
            (similarity.blocks(lines[at : at + len(wanted)], wanted), at) for at in range(len(lines) - len(wanted) + 1)
        ]
        best, at = max(scores, default=(0.0, 0))
        rival = max((score for score, other in scores if abs(other - at) >= len(wanted)), default=0.0)
        if best >= MIN_SIMILARITY and best >= rival + MIN_LEAD:
            return at
    raise PatchError(f"{name} is not in the program; copy the lines to be changed from it.")


def find(lines: list[str], wanted: list[str], begin: int) -> int | None:
    """First index from ``begin`` on where ``wanted`` stands exactly."""
    for at in range(begin, len(lines) - len(wanted) + 1):
        if lines[at : at + len(wanted)] == wanted:
            return at
    return None


def reindent(lines: list[str], wanted: list[str], found: list[str]) -> list[str]:
    """Shifts new lines by as much as most lines of a block are indented otherwise than they claimed."""
    pairs = zip(wanted, found, strict=True)
    shifts = Counter(_indent(fact) - _indent(claim) for claim, fact in pairs if claim.strip() and fact.strip())
    shift = shifts.most_common(1)[0][0] if shifts else 0
    if shift > 0:
        return [" " * shift + line if line.strip() else line for line in lines]
    return [line[min(-shift, _indent(line)) :] for line in lines]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def strip_blank(lines: list[str]) -> list[str]:
    """Without blank lines at the ends."""
    first = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    last = next((i for i, line in enumerate(reversed(lines)) if line.strip()), 0)
    return lines[first : len(lines) - last]
