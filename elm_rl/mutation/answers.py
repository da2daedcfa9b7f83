"""Finding the program or the patch in what a pretrained model answers.

Base models are asked with an opened code fence: they write on within it, close it and go on with something else. Models that
were taught to talk open a fence of their own, before or after some prose, think aloud first, or write their end mark
as text. A whole program is also found between prose without any fence. All of this goes by the look of lines: an answer is
never parsed.
"""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

_THOUGHTS = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
# What ends a turn in the common chat formats, where the tokenizer does not know it as a mark.
_END_MARK = re.compile(
    r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|end|return)\|>|</s>|<eos>|<end_of_turn>|<｜end▁of▁sentence｜>"
)
# Behind the language there may be a file name or the like, but not a sentence.
_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[ \t]*([\w+.:/-]*)(?:[ \t]+[^\s`]+)?[ \t]*")
_CODE_LINE = re.compile(r"(?:def |import \w|from [\w.]+ import |@\w|[A-Za-z_][\w.]*(?:\[.*\])? *[-+*/]?=[^=])")
# What else stands at the margin once a program has begun.
_MORE_CODE = re.compile(
    r"[ \t#)\]}]|\Z|[A-Za-z_][\w.]*\(|class \w+.*:|for \w[\w, ]* in .*:|(?:if|elif|while) .*[=<>(].*:"
    r"|(?:else|try|finally|except\b.*):"
)
_ENTRY = re.compile(r"^[ \t]*def make_walker\b", re.MULTILINE)
_HUNK = re.compile(r"^@@ ", re.MULTILINE)

_TELLTALE = {
    "whole": re.compile(rf"^{_CODE_LINE.pattern}", re.MULTILINE),
    "search_replace": re.compile(r"^[ \t]*<{5,} *SEARCH", re.MULTILINE),
    "unified_diff": re.compile(r"^(?:@@|\+)", re.MULTILINE),
}
"""What shows that a text is what was asked for in a format, and no prose."""


class Answer(NamedTuple):
    """What is of use in an answer.

    Attributes:
        text: The program or the patch.
        complete: Whether the text itself shows that it is complete: its fence is closed, or an end mark follows.
    """

    text: str
    complete: bool


def spoken(text: str, *, ended: bool) -> tuple[str, bool]:
    """What a model says aloud, up to its end mark: without its thoughts, with plain line ends; and whether it ended there.

    Args:
        text: What the model wrote.
        ended: Whether the model itself ended the answer.
    """
    text = _THOUGHTS.sub("", text.replace("\r\n", "\n"))
    mark = _END_MARK.search(text)
    return (text, ended) if mark is None else (text[: mark.start()], True)


def find_answer(text: str, format: str, *, ended: bool, fence_open: bool = True) -> Answer:
    """Finds what was asked for in an answer.

    Args:
        text: What the model wrote.
        format: A key of `_TELLTALE`, which are the formats of `mutation_examples`.
        ended: Whether the model itself ended the answer, and was not cut.
        fence_open: Whether the prompt ends with an opened fence.
    """
    text, ended = spoken(text, ended=ended)
    telltale = _TELLTALE[format]
    lines = text.split("\n")
    straight_on = fence_open or _closes_only(lines)
    inside: list[str] = []  # lines since the fence that is open: at first the prompt's
    opened_here = closed = False
    blocks: list[str] = []
    for line in lines:
        fence = _fence(line)
        if fence is None and not closed and line.endswith("```"):  # closed behind the last line of code
            fence = _FENCE.fullmatch("```")
            inside.append(line.removesuffix("```"))
        if fence is None:
            inside.append(line)
            continue
        block, inside = "\n".join(inside), []
        if closed:  # prose between two blocks
            opened_here, closed = True, False
        elif opened_here and not fence[1]:
            blocks.append(block)
            closed = True
        elif straight_on and not opened_here and not fence[1] and telltale.search(block):
            # What follows is another story.
            return Answer(_without_prose(block, first=fence_open) if format == "whole" else block, True)
        else:
            opened_here = True  # what came before was prose, or a fence opened twice
    rest = "\n".join(inside)
    if ended and opened_here and not closed:
        blocks.append(rest)
    usable = [block for block in blocks if telltale.search(block)] or [block for block in blocks if block.strip()]
    if usable and (closed or ended):
        if format != "whole":
            return Answer("\n".join(usable), True)
        # Beside the program there may be a block that shows how it is called.
        program = ([block for block in usable if _ENTRY.search(block)] or usable)[-1]
        return Answer(textwrap.dedent(program) if program.lstrip("\n")[:1].isspace() else program, True)
    if format == "whole" and not opened_here:
        rest = _without_prose(rest, first=fence_open)
    return Answer(rest, ended)


def _fence(line: str) -> re.Match[str] | None:
    return _FENCE.fullmatch(line) if len(line) <= 200 else None


def _closes_only(lines: list[str]) -> bool:
    """Whether the only fence stands behind a program or a patch: it closes what nobody opened."""
    fences = [number for number, line in enumerate(lines) if _fence(line)]
    before = "\n".join(lines[: fences[0]]) if len(fences) == 1 else ""
    return any(sign.search(before) for sign in (_ENTRY, _TELLTALE["search_replace"], _HUNK))


def _without_prose(text: str, *, first: bool) -> str:
    """The part of a text that looks like a program: the first with make_walker or the last; the text itself if none does."""
    parts: list[list[str]] = []
    within = False
    for line in text.split("\n"):
        if within and _MORE_CODE.match(line, 0, 200):
            parts[-1].append(line)
        elif _CODE_LINE.match(line):
            if not within:
                parts.append([])
            parts[-1].append(line)
            within = True
        elif line.strip():
            within = False
            parts.append([])  # prose
    programs = ["\n".join(part).rstrip() for part in parts if part]
    if not programs or len(parts) == 1:
        return text
    entries = [program for program in programs if _ENTRY.search(program)]
    if entries:
        return entries[0 if first else -1]
    return max(programs, key=len)
