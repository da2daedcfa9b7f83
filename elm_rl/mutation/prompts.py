"""What is said to a model that talks, about one change of one program, and what is read out of its answer.

A conversation is a system message, which explains the task and what programs may use, and one request: to change the parent,
to combine several elites (`Parent.others`), or to mend a child that failed (`Parent.failed`).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from elm_rl.mutation.answers import find_answer, spoken
from elm_rl.mutation.examples import (
    SEARCH_REPLACE,
    UNIFIED_DIFF,
    WHOLE,
    check_format,
    read_completion,
)
from elm_rl.mutation.operator import CUT, NOT_APPLIED, Parent
from elm_rl.mutation.patch import MIDDLE_MARK, REPLACE_MARK, SEARCH_MARK, PatchError
from sodarace_gym.physics.constants import DRIVE_RATE, DURATION
from sodarace_gym.programs.sandbox import MAX_SOURCE_BYTES
from sodarace_gym.programs.worker_pool import PROGRAM_CPU_SECONDS
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.paper import PAPER_FAMILIES
from sodarace_gym.walkers.walker import (
    MAX_AMPLITUDE_RATIO,
    MAX_HEIGHT,
    MAX_JOINTS,
    MAX_MUSCLES,
    MAX_MUSCLES_PER_JOINT,
    MAX_WIDTH,
    MIN_JOINT_DISTANCE,
)

MAX_ANSWER_CHARACTERS = 2 * MAX_SOURCE_BYTES
"""Longer answers are not read at all: no program is as long."""
MAX_FAILED_CHARACTERS = 12_000
"""A failed program longer than this is not sent back: its parent is, with the error."""
MAX_ERROR_CHARACTERS = 500
"""What is told of an error; it may quote the program."""

SYSTEM = f"""\
You change programs that describe walkers: two-dimensional machines of joints (point masses) and muscles (springs). A walker \
is set down on a terrain, comes to rest with its muscles still, and then its muscles swing for {DURATION:g} seconds. Its \
distance is how far its centre of mass then travels along x, to the left or to the right. A program is better the further its \
walker gets; walkers of unusual height, width or mass are wanted too, each as good as it can be for its size.

A program is plain Python that defines make_walker(), without arguments. It may use:
- wc = walker_creator() begins a walker. return wc.get_walker() gives it back at the end of make_walker().
- wc.add_joint(x, y) adds a joint and returns its number. y points upwards.
- wc.add_muscle(a, b) joins the joints a and b with a stiff spring that keeps its length.
- wc.add_muscle(a, b, False, amplitude, phase) joins them with a muscle: its length swings around the distance of its joints \
by the amplitude, as a sine that begins at the phase, in radians. All muscles swing at the same pace, once in \
{math.tau / DRIVE_RATE:.2f} seconds; walking comes from phases that differ.
- query_cppn(wc, columns, rows, spacing, connect, amplitude, phase) makes a grid of joints. The three functions get the grid \
coordinates (x1, y1, x2, y2) of two joints: whether a muscle joins them, its amplitude, its phase.
- Functions, loops, lists, dictionaries, math and a small np. There are no files, no input and no other modules, and a \
program may take {PROGRAM_CPU_SECONDS:g} seconds.

Limits: {MAX_JOINTS} joints, {MAX_MUSCLES} muscles, {MAX_MUSCLES_PER_JOINT} muscles at a joint, {MAX_WIDTH:g} units of width \
and {MAX_HEIGHT:g} of height. Joints closer than {MIN_JOINT_DISTANCE:g} are merged, an amplitude above {MAX_AMPLITUDE_RATIO:g} \
of the muscle's length is lowered to that, and only the largest connected part of a walker counts."""
"""What every model is told first."""

_ASKS = {
    WHOLE: "Answer with the whole new file in one block that begins with ```python and ends with ```, and nothing else.",
    SEARCH_REPLACE: f"""\
Answer with the change alone, as one or more blocks of this form, and nothing else:
{SEARCH_MARK}
lines of the file, copied exactly
{MIDDLE_MARK}
the lines that take their place
{REPLACE_MARK}""",
    UNIFIED_DIFF: """\
Answer with the change alone, as a unified diff in one block that begins with ```diff and ends with ```, and nothing else: \
each hunk begins with a line '@@ -line,count +line,count @@', and its lines begin with ' ', '-' or '+'.""",
}

_SEARCH = re.compile(r"^[ \t]*<{5,} *SEARCH", re.MULTILINE)
_HUNK = re.compile(r"^@@|^```diff|^--- .*\n\+\+\+ ", re.MULTILINE)
_SIGNED = re.compile(r"^[-+]", re.MULTILINE)
_CODE = re.compile(r"^(?:def |import \w|from [\w.]+ import |@\w|[A-Za-z_][\w.]* *=[^=])", re.MULTILINE)


class Reading(NamedTuple):
    """What an answer comes to.

    Attributes:
        program: The child's text; None where there is none.
        failure: Why there is none: `CUT` or `NOT_APPLIED`.
        diff: The patch as the model wrote it, if it wrote one.
    """

    program: str | None
    failure: str = NOT_APPLIED
    diff: str | None = None


def chat_messages(parent: Parent, message: str, format: str = WHOLE, *, memory: str = "") -> list[dict[str, str]]:
    """What a model that talks is asked.

    Args:
        parent: What is to be changed; with ``failed`` it is asked to mend that, and else with ``others`` to combine them all.
        message: The commit message, which says what kind of change is wanted.
        format: How the answer gives the child, one of `FORMATS`. Programs that are combined are always asked for whole.
        memory: What is known from earlier changes; left out when empty.

    Returns:
        The messages, each with ``role`` and ``content``: a system message and a user's.

    Raises:
        ValueError: There is no such format.
    """
    check_format(format)
    system = f"{SYSTEM}\n\n{memory.strip()}" if memory.strip() else SYSTEM
    if parent.failed is not None:
        request = _repair(parent, format)
    elif parent.others:
        request = _combination(parent)
    else:
        request = (
            f"{_terrain(parent.terrain)}\n\nThe file walker.py{_figures(parent)}:\n{_fenced(parent.program)}\n\n"
            f"Commit message: {message}\n\nMake this commit, so that the walker gets further. The walker must become another "
            f"one: the same program again is of no use. {_ASKS[format]}"
        )
    return [{"role": "system", "content": system}, {"role": "user", "content": request}]


def without_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same messages for a model that knows no system message: its text stands before the user's."""
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def patched_text(parent: Parent) -> str:
    """The text that a patch in the answer changes: the failed child that was shown, or else the parent."""
    return parent.program if parent.failed is None or not _shown(parent) else parent.failed.program


def read_answer(parent: Parent, text: str, format: str, *, ended: bool) -> Reading:
    """Finds the child in what a model answered, whether or not that is in the format it was asked for.

    Nothing of the answer is parsed: whether it is a program, the sandbox decides.

    Args:
        parent: The parent that `chat_messages` was given.
        text: What the model wrote.
        format: The format that it was asked for.
        ended: Whether the model ended its answer, and was not cut at a limit.

    Returns:
        The program, or why there is none.

    Raises:
        ValueError: There is no such format.
    """
    check_format(format)
    if len(text) > MAX_ANSWER_CHARACTERS:
        return Reading(None, NOT_APPLIED if ended else CUT)
    text, ended = spoken(text, ended=ended)
    failures: list[Reading] = []
    for found in _formats_in(text, format):
        reading = _read(patched_text(parent), text, found, ended)
        if reading.program is not None:
            return reading
        failures.append(reading)
    return failures[0]


def read_program(text: str, *, ended: bool) -> Reading:
    """Finds the program in what a model wrote that was asked to go on with a text, and for nothing else.

    Args:
        text: What the model wrote.
        ended: Whether the model ended it, or a mark that was agreed upon did.
    """
    if len(text) > MAX_ANSWER_CHARACTERS:
        return Reading(None, NOT_APPLIED if ended else CUT)
    return _read("", text, WHOLE, ended, fence_open=True)


def _formats_in(text: str, format: str) -> list[str]:
    """The formats an answer may be in, the likeliest first."""
    found = []
    if _SEARCH.search(text):
        found.append(SEARCH_REPLACE)
    if _HUNK.search(text) or (format == UNIFIED_DIFF and _SIGNED.search(text)):
        found.append(UNIFIED_DIFF)
    return [*found, WHOLE]


def _read(base: str, text: str, format: str, ended: bool, fence_open: bool = False) -> Reading:
    answer, complete = find_answer(text, format, ended=ended, fence_open=fence_open)
    diff = None if format == WHOLE else answer
    if not complete:
        return Reading(None, CUT, diff)
    if format == WHOLE and (_SEARCH.search(answer) or _HUNK.search(answer) or not _CODE.search(answer)):
        return Reading(None)  # prose, or a patch that did not fit
    try:
        return Reading(read_completion(base, answer, format), diff=diff)
    except PatchError:
        return Reading(None, NOT_APPLIED, diff)


def _repair(parent: Parent, format: str) -> str:
    failed = parent.failed
    assert failed is not None
    error = " ".join(failed.error.split())[:MAX_ERROR_CHARACTERS]
    about = f"{_terrain(parent.terrain)}\n\n"
    if not _shown(parent):
        return (
            f"{about}The file walker.py{_figures(parent)}:\n{_fenced(parent.program)}\n\nA change of it failed: {error}\n\n"
            f"Make another change, so that the walker gets further and this does not happen. {_ASKS[format]}"
        )
    return (
        f"{about}The file walker.py before the last change{_figures(parent)}:\n{_fenced(parent.program)}\n\n"
        f"The file walker.py now:\n{_fenced(failed.program)}\n\nIt fails: {error}\n\n"
        f"Mend the file as it is now, and keep what the last change was about. {_ASKS[format]}"
    )


def _combination(parent: Parent) -> str:
    programs = [
        f"Program {number}{_figures(elite)}:\n{_fenced(elite.program)}"
        for number, elite in enumerate((parent, *parent.others), start=1)
    ]
    shown = "\n\n".join(programs)
    return (
        f"{_terrain(parent.terrain)}\n\n{shown}\n\nWrite a new program that combines what is good in these, so that its walker "
        f"gets further than theirs. A copy of one of them is of no use. {_ASKS[WHOLE]}"
    )


def _shown(parent: Parent) -> bool:
    """Whether there is a failed program, short enough to be shown."""
    return parent.failed is not None and 0 < len(parent.failed.program.strip()) <= MAX_FAILED_CHARACTERS


def _terrain(name: str) -> str:
    """One sentence about a terrain, with what its family's docstring says."""
    word = re.match(r"\w*", name)
    family = PAPER_FAMILIES.get(word[0]) or FAMILIES.get(word[0]) if word else None
    about = (family.__doc__ or "").strip().split("\n")[0] if family is not None else ""
    return f"The terrain is {name}. {about}".strip()


def _figures(parent: Parent) -> str:
    """What is known of a scored program, in brackets; nothing outside of runs, where nothing is known."""
    if not parent.measures:
        return ""
    known = [f"distance {parent.fitness:.4g}", *(f"{name} {value:.4g}" for name, value in parent.measures.items())]
    return f" ({', '.join(known)})"


def _fenced(text: str, language: str = "python") -> str:
    """A program in a code fence longer than any that it holds itself."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
