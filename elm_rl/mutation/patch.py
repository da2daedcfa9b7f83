"""Patches between program texts: SEARCH/REPLACE blocks and unified diffs, written exactly and applied tolerantly.

What this module writes, it applies to the very text it came from. Patches that a language model writes may have wrong
line numbers and counts, other indentation or spacing, and context that is slightly off: a block that does not match
exactly is looked for without its trailing spaces, then without its indentation, then with fewer context lines, and at
last by similarity. What is found only at some such looser level must be found in one place.

Lines end with a newline and nothing else, so that any text survives.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from elm_rl.mutation.line_matching import LineSimilarity, PatchError, find, locate, reindent, strip_blank

SEARCH_MARK = "<<<<<<< SEARCH"
MIDDLE_MARK = "======="
REPLACE_MARK = ">>>>>>> REPLACE"
NO_NEWLINE = "\\ No newline at end of file"

CONTEXT_LINES = 2

_MARKS = (re.compile(r"<{5,}\s*SEARCH\s*$"), re.compile(r"={5,}\s*$"), re.compile(r">{5,}\s*REPLACE\s*$"))
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class _Hunk:
    """One change: ``(mark, line)`` pairs, mark " " kept, "-" removed, "+" added; and where it claims to start."""

    lines: tuple[tuple[str, str], ...]
    start: int | None

    @property
    def old(self) -> list[str]:
        return [line for mark, line in self.lines if mark != "+"]


# --- SEARCH/REPLACE ---------------------------------------------------------------------------------------------------


def make_search_replace(parent: str, child: str) -> str:
    """Writes the changes from one text to another as SEARCH/REPLACE blocks, in order.

    A block takes in as many unchanged lines before the change as it needs to be found first.

    Args:
        parent: The text to change.
        child: The text that comes out.

    Returns:
        The blocks; an empty string if the texts are equal.

    Raises:
        PatchError: A line of the texts looks like one of the three markers.
    """
    old, new = parent.split("\n"), child.split("\n")
    if any(mark.match(line) for line in (*old, *new) for mark in _MARKS):
        raise PatchError(
            "A line of the program looks like a SEARCH/REPLACE marker; use the unified diff or whole format."
        )
    blocks: list[tuple[list[str], list[str]]] = []
    cursor = 0  # lines of the parent before this one belong to earlier blocks
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        before, after = i1, i2
        # An insertion needs a line to hold on to: the one before it, or at the very start the one after it.
        if before == after:
            if before > cursor:
                before -= 1
            elif after < len(old):
                after += 1
            else:
                blocks[-1][1].extend(new[j1:j2])  # nothing lies between the last block and the end
                continue
        while before > cursor and find(old, old[before:after], cursor) != before:
            before -= 1
        search = old[before:after]
        replace = old[before:i1] + new[j1:j2] + old[i2:after]
        blocks.append((search, replace))
        cursor = after
    return "\n".join(
        line for search, replace in blocks for line in (SEARCH_MARK, *search, MIDDLE_MARK, *replace, REPLACE_MARK)
    )


def apply_search_replace(parent: str, patch: str) -> str:
    """Applies SEARCH/REPLACE blocks, each after the one before it where it can be found there.

    Args:
        parent: The text to change.
        patch: The blocks; text around them is ignored.

    Returns:
        The changed text.

    Raises:
        PatchError: There is no complete block, or a block is found nowhere or in several places.
    """
    lines = parent.split("\n")
    similarity = LineSimilarity()
    cursor = 0
    for number, (search, replace) in enumerate(_read_blocks(patch), start=1):
        at, size, replace = _locate_block(lines, search, replace, cursor, f"SEARCH block {number}", similarity)
        lines[at : at + size] = replace
        cursor = at + len(replace)
    return "\n".join(lines)


def _read_blocks(patch: str) -> list[tuple[list[str], list[str]]]:
    blocks: list[tuple[list[str], list[str]]] = []
    part = -1  # -1 outside, 0 in SEARCH, 1 in REPLACE
    sides: tuple[list[str], list[str]] = ([], [])
    for line in patch.split("\n"):
        if part != 0 and _MARKS[0].match(line.strip()):
            part, sides = 0, ([], [])
        elif part == 0 and _MARKS[1].match(line.strip()):
            part = 1
        elif part == 1 and _MARKS[2].match(line.strip()):
            blocks.append(sides)
            part = -1
        elif part >= 0:
            sides[part].append(line)
    if not blocks:
        raise PatchError(f"Expected blocks between '{SEARCH_MARK}', '{MIDDLE_MARK}' and '{REPLACE_MARK}'; found none.")
    return blocks


def _locate_block(
    lines: list[str], search: list[str], replace: list[str], cursor: int, name: str, similarity: LineSimilarity
) -> tuple[int, int, list[str]]:
    """Where a block stands (index, number of lines) and what to put there, its indentation put right."""
    for begin in (cursor, 0):
        at = find(lines, search, begin)
        if at is not None and search:
            return at, len(search), replace
    search, replace = strip_blank(search), strip_blank(replace)
    if not search:
        if "".join(lines).strip():
            raise PatchError(f"{name} is empty; give the lines to replace.")
        return 0, len(lines), replace
    at = locate(lines, search, None, name, similarity)
    return at, len(search), reindent(replace, search, lines[at : at + len(search)])


# --- unified diffs ----------------------------------------------------------------------------------------------------


def make_unified_diff(parent: str, child: str) -> str:
    """Writes the changes from one text to another as a unified diff, without the lines that name files.

    Args:
        parent: The text to change.
        child: The text that comes out.

    Returns:
        The hunks; an empty string if the texts are equal.
    """
    old, new = _split(parent), _split(child)
    written: list[str] = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT_LINES):
        if all(tag == "equal" for tag, *_ in group):
            continue
        i1, i2, j1, j2 = group[0][1], group[-1][2], group[0][3], group[-1][4]
        written.append(f"@@ -{_range(i1, i2)} +{_range(j1, j2)} @@")
        for tag, a, b, c, d in group:
            sides = ((" ", old[a:b]),) if tag == "equal" else (("-", old[a:b]), ("+", new[c:d]))
            for mark, lines in sides:
                for line in lines:
                    written.append(mark + line.removesuffix("\n"))
                    if not line.endswith("\n"):
                        written.append(NO_NEWLINE)
    return "\n".join(written)


def apply_unified_diff(parent: str, patch: str) -> str:
    """Applies a unified diff by its content; its line numbers and counts are hints.

    Args:
        parent: The text to change.
        patch: The hunks, with or without lines that name files.

    Returns:
        The changed text.

    Raises:
        PatchError: There is no hunk with a change, or a hunk is found nowhere or in several places.
    """
    lines = _split(parent)
    similarity = LineSimilarity()
    shift = 0  # how much longer the text is now than the one the line numbers speak of
    for number, hunk in enumerate(_read_hunks(patch), start=1):
        at, marked = _place_hunk(lines, hunk, shift, f"Hunk {number}", similarity)
        olds = [line for mark, line in marked if mark != "+"]
        found = lines[at : at + len(olds)]
        kept, added = iter(found), iter(reindent([line for mark, line in marked if mark == "+"], olds, found))
        changed = [(mark, next(added if mark == "+" else kept)) for mark, _ in marked]
        written = [line for mark, line in changed if mark != "-"]
        lines[at : at + len(olds)] = written
        shift += len(written) - len(olds)
        # Only the last line may go without a newline, and it may be another one now.
        lines = [line if line.endswith("\n") or i == len(lines) - 1 else line + "\n" for i, line in enumerate(lines)]
    return "".join(lines)


def _place_hunk(
    lines: list[str], hunk: _Hunk, shift: int, name: str, similarity: LineSimilarity
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Where a hunk stands, and those of its lines that stand there."""
    old = hunk.old
    hint = None if hunk.start is None else hunk.start + shift
    if hint is not None and 0 <= hint <= len(lines) and lines[hint : hint + len(old)] == old:
        return hint, hunk.lines
    if any(line.strip() for line in old):
        return _locate_hunk(lines, hunk.lines, hint, name, similarity)
    if "".join(lines).strip():
        raise PatchError(f"{name} has no lines to be found by; give it unchanged lines around the change.")
    return 0, tuple((mark, line) for mark, line in hunk.lines if mark == "+")


def _read_hunks(patch: str) -> list[_Hunk]:
    hunks: list[_Hunk] = []
    lines: list[tuple[str, str]] | None = None
    start: int | None = None

    def close() -> None:
        if lines is not None:
            while lines and lines[-1] == (" ", "\n"):
                lines.pop()  # what the end of the patch left behind
            if any(mark != " " for mark, _ in lines):
                hunks.append(_Hunk(tuple(lines), start))

    for text in patch.split("\n"):
        if text.startswith("@@"):
            close()
            lines = []
            header = _HUNK.match(text)
            start = None
            if header:
                count = 1 if header[2] is None else int(header[2])
                start = int(header[1]) - (1 if count else 0)
        elif lines is None:
            if text[:1] in "+-" and text[:1] and not text.startswith(("+++", "---")):
                lines = [(text[0], text[1:] + "\n")]  # a diff whose first header was left out
        elif text.startswith("\\"):
            if lines:
                lines[-1] = lines[-1][0], lines[-1][1].removesuffix("\n")
        elif text[:1] in ("+", "-", " "):
            lines.append((text[0], text[1:] + "\n"))
        else:
            lines.append((" ", text + "\n"))  # context whose leading space was left out
    close()
    if not hunks:
        raise PatchError(
            "Expected a unified diff with '@@' headers and lines that begin with '+' or '-'; found no change."
        )
    return hunks


def _locate_hunk(
    lines: list[str],
    marked: tuple[tuple[str, str], ...],
    hint: int | None,
    name: str,
    similarity: LineSimilarity,
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Where a hunk stands, if need be without its outermost context lines."""
    problem: PatchError | None = None
    for fuzz in range(CONTEXT_LINES + 2):
        trimmed = list(marked)
        for _ in range(fuzz):
            if trimmed and trimmed[0][0] == " ":
                trimmed.pop(0)
            if trimmed and trimmed[-1][0] == " ":
                trimmed.pop()
        old = [line for mark, line in trimmed if mark != "+"]
        if not any(line.strip() for line in old):
            break
        try:
            return locate(lines, old, hint, name, None), tuple(trimmed)
        except PatchError as error:
            problem = problem or error
    try:
        return locate(lines, [line for mark, line in marked if mark != "+"], hint, name, similarity), marked
    except PatchError as error:
        raise problem or error from None


def _split(text: str) -> list[str]:
    """Lines with their newline; the last has none if the text does not end with one."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    return lines if lines[-1] else lines[:-1]


def _range(begin: int, end: int) -> str:
    """Lines ``begin`` to ``end`` (0-based, exclusive) as a hunk header counts them."""
    return f"{begin + 1 if end > begin else begin},{end - begin}"
