"""Finding a block of lines in a text, exactly or as nearly as can be done without a doubt."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable

MIN_SIMILARITY = 0.75
"""Mean similarity of lines at which a block counts as found, 0 to 1."""
MIN_LEAD = 0.03
"""By how much the most similar place must beat any other that does not overlap it."""


class PatchError(ValueError):
    """A patch that cannot be read or does not fit the text."""


def locate(lines: list[str], wanted: list[str], hint: int | None, name: str, similar: bool = True) -> int:
    """Index of the one place where ``wanted`` stands, at the strictest level at which it stands anywhere."""
    levels: tuple[Callable[[str], str], ...] = (lambda line: line.removesuffix("\n"), str.rstrip, str.strip)
    for level in levels:
        key = [level(line) for line in wanted]
        text = [level(line) for line in lines]
        places = [at for at in range(len(text) - len(key) + 1) if text[at : at + len(key)] == key]
        if len(places) > 1 and hint is not None:
            return min(places, key=lambda at: abs(at - hint))
        if len(places) > 1:
            raise PatchError(f"{name} fits in {len(places)} places; give it more lines around the change.")
        if places:
            return places[0]
    if similar:
        scores = [(_similarity(lines[at : at + len(wanted)], wanted), at) for at in range(len(lines) - len(wanted) + 1)]
        best, at = max(scores, default=(0.0, 0))
        rival = max((score for score, other in scores if abs(other - at) >= len(wanted)), default=0.0)
        if best >= MIN_SIMILARITY and best >= rival + MIN_LEAD:
            return at
    raise PatchError(f"{name} is not in the program; copy the lines to be changed from it.")


def _similarity(lines: list[str], wanted: list[str]) -> float:
    """Mean similarity of the lines of two blocks, 0 to 1, of which each line must have its half."""
    ratios = [
        difflib.SequenceMatcher(None, line.strip(), other.strip(), autojunk=False).ratio()
        for line, other in zip(lines, wanted, strict=True)
    ]
    return sum(ratios) / len(ratios) if ratios and min(ratios) >= 0.5 else 0.0


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
