"""Finding the program or the patch in what a pretrained model answers.

The prompt ends with an opened code fence. Base models write on within it, close it and go on with something else; models
that were taught to talk open a fence of their own, before or after some prose, think aloud first, or write their end mark
as text. A whole program is also found between prose without any fence.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from elm_rl.mutation.gp.program_tree import ProgramTextError, parse_program

_THOUGHTS = re.compile(r"\A.*</think>|<think>.*?(?:</think>|\Z)", re.DOTALL)
# What ends a turn in the common chat formats, where the tokenizer does not know it as a mark.
_END_MARK = re.compile(
    r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|end|return)\|>|</s>|<eos>|<end_of_turn>|<｜end▁of▁sentence｜>"
)
_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[ \t]*([\w+.-]*)[ \t]*")
_CODE_LINE = re.compile(r"(?:def |import \w|from [\w.]+ import |@\w|[A-Za-z_][\w.]*(?:\[.*\])? *[-+*/]?=[^=])")

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


def find_answer(text: str, format: str, *, ended: bool) -> Answer:
    """Finds what was asked for in an answer to a prompt that ends with an opened fence.

    Args:
        text: What the model wrote.
        format: A key of `_TELLTALE`, which are the formats of `mutation_examples`.
        ended: Whether the model itself ended the answer, and was not cut.
    """
    text = _THOUGHTS.sub("", text.replace("\r\n", "\n"))
    if (mark := _END_MARK.search(text)) is not None:
        text, ended = text[: mark.start()], True
    telltale = _TELLTALE[format]
    inside: list[str] = []  # lines since the fence that is open: at first the prompt's
    opened_here = closed = False
    blocks: list[str] = []
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line)
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
        elif not opened_here and not fence[1] and telltale.search(block):
            return Answer(
                _without_prose(block) if format == "whole" else block, True
            )  # straight on from the prompt; what follows is another story
        else:
            opened_here = True  # what came before was prose, or a fence opened twice
    rest = "\n".join(inside)
    usable = [block for block in blocks if telltale.search(block)] or [block for block in blocks if block.strip()]
    if usable and (closed or ended):
        return Answer(usable[-1] if format == "whole" else "\n".join(usable), True)
    if format == "whole" and not opened_here:
        rest = _without_prose(rest)
    return Answer(rest, ended)


def _without_prose(text: str) -> str:
    """The part of a text that is a program, if that shows; else the text itself."""
    if _is_program(text):
        return text
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if _CODE_LINE.match(line)), None)
    if first is None:
        return text
    for last in range(len(lines), first, -1):
        # A program does not end within a line of prose: only where one begins at the margin is it worth a try.
        if (last == len(lines) or not lines[last][:1].isspace()) and _is_program(part := "\n".join(lines[first:last])):
            return part
    return text


def _is_program(text: str) -> bool:
    try:
        parse_program(text)
    except ProgramTextError:
        return False
    return _TELLTALE["whole"].search(text) is not None
