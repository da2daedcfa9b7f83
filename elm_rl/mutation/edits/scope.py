"""Which lines of a program fit the lines around them: by indentation, by the names that they use, by what must be returned.

Only the text of lines is looked at, with regular expressions: what a model has written is never parsed here. The reading is
that of programs with one statement a line, as `ast.unparse` and thus all operators of genetic programming write them;
:func:`one_statement_a_line` says which they are.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Sequence
from copy import copy
from functools import lru_cache
from typing import NamedTuple

GIVEN_NAMES = frozenset({*dir(builtins), "math", "np", "walker_creator", "query_cppn"})
"""Names that every program finds."""

_STRING = re.compile(r"""'[^'\\\n]*'|"[^"\\\n]*\"""")
# A name, but not an attribute, a part of a number, or the keyword of an argument.
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*(?!\w|\s*:?=(?!=))")
_TARGETS = re.compile(r"(?:(?!\w\s*\()[\w\s,()*])+?(?::[^=]+)?=(?!=)")
_LOOP = re.compile(r"\bfor\s+([\w\s,()*]+?)\s+in\b")
_BOUND = re.compile(r"\bas\s+(\w+)|([^\W\d]\w*)\s*:=")
_LAMBDA = re.compile(r"\blambda\b([^:]*):")
_HEAD = re.compile(r"(?:async\s+)?(def|class)\s+(\w+)\s*(?:\((.*)\))?")
_PARAMETER = re.compile(r"(?:^|,)\s*\**\s*([^\W\d]\w*)")
_IMPORT = re.compile(r"(?:from\s+\S+\s+)?import\s+(.*)")
_WORD = re.compile(r"[^\W\d]\w*")
_KEYWORDS = frozenset(keyword.kwlist)
_LONGEST = 1_000
"""Characters of a line beyond which it is not read: on some texts the expressions above take time with the square of it."""
_OPENING, _CLOSING = "([{", ")]}"


class LineFacts(NamedTuple):
    """What the text of a line says about it.

    Attributes:
        indent: Spaces before its first character; -1 for a line that is empty or a comment.
        opens: Whether an indented line must follow.
        returns: Whether it returns a value.
        binds: Names that it gives a meaning in its own block.
        parameters: Names that it gives a meaning in the block that it opens.
        uses: Names that must have a meaning.
    """

    indent: int
    opens: bool
    returns: bool
    binds: frozenset[str]
    parameters: frozenset[str]
    uses: frozenset[str]


_EMPTY = LineFacts(-1, False, False, frozenset(), frozenset(), frozenset())


@lru_cache(maxsize=20_000)
def read_line(line: str) -> LineFacts:
    """Reads a line; what is no whole statement is read as far as it goes."""
    text = _STRING.sub("''", line).split("#", 1)[0].rstrip()
    code = text.lstrip()
    if not code:
        return _EMPTY
    binds: set[str] = set()
    parameters: set[str] = set()
    local: set[str] = set()  # of lambdas and comprehensions
    used = code
    if head := _HEAD.match(code):
        binds.add(head[2])
        if head[1] == "def":
            parameters.update(_PARAMETER.findall(head[3] or ""))
        used = head[3] or ""
    elif imported := _IMPORT.match(code):
        for part in imported[1].split(","):
            words = _WORD.findall(part)
            binds.update(words[-1:] if " as " in part else words[:1])
        used = ""
    else:
        rest = code
        while target := _TARGETS.match(rest):
            binds.update(_WORD.findall(target[0].split(":")[0]))
            rest = rest[target.end() :]
        used = rest
        for found in _LOOP.findall(code):
            (binds if code.startswith(("for ", "async for ")) else local).update(_WORD.findall(found))
        for found in _BOUND.findall(code):
            binds.update(name for name in found if name)
        for found in _LAMBDA.findall(code):
            local.update(_PARAMETER.findall(found))
        if code.startswith(("global ", "nonlocal ")):
            binds.update(_WORD.findall(code)[1:])
    uses = set(_NAME.findall(used)) - _KEYWORDS - local - parameters
    if code.startswith("for "):
        uses -= binds
    return LineFacts(
        len(text) - len(code),
        code.endswith(":"),
        code.startswith("return "),
        frozenset(binds),
        frozenset(parameters),
        frozenset(uses),
    )


class Scope:
    """What the lines before a place say about the next one.

    Args:
        program: The lines of the program to begin with: a valid one, of one statement a line. Where each of its functions
            ends by returning a value, so must those of what becomes of it.

    Attributes:
        everywhere: Names that are known in all functions; to be set anew where functions are added or removed.
        indent: Indentation of the last line.
        opened: Whether the last line must be followed by an indented one.
    """

    def __init__(self, program: Sequence[str]) -> None:
        self.everywhere = names_everywhere(program)
        self.indent, self.opened = 0, False
        self._indents: tuple[int, ...] = (0,)
        self._returned = True  # or outside of functions
        self._outside: frozenset[str] = frozenset()
        self._inside: frozenset[str] = frozenset()
        self._must_return, self._must_define = False, frozenset[str]()
        after = copy(self)
        returned = []
        for line in program:
            if read_line(line).indent == 0:
                returned.append(after._returned)
            after.add(line)
        self._must_return = all(returned) and after._returned
        self._must_define = after._outside & {"make_walker"}

    def fits(self, line: str) -> bool:
        """Whether a line may stand here."""
        facts = read_line(line)
        return facts.indent < 0 or (self.fits_indent(facts.indent) and facts.uses <= self.names(facts.indent))

    def fits_indent(self, indent: int) -> bool:
        """Whether a line that is indented so may stand here."""
        if self.opened:
            return indent > self.indent
        return indent in self._indents and (indent > 0 or self._may_leave())

    @property
    def next_indents(self) -> tuple[int, ...]:
        """Indentations that the next line may have where the last line opens nothing."""
        return self._indents if self._may_leave() else self._indents[1:]

    def _may_leave(self) -> bool:
        return self._returned or not self._must_return

    def complete(self) -> bool:
        """Whether the program may end here."""
        return not self.opened and self._may_leave() and self._must_define <= self._outside

    def names(self, indent: int) -> frozenset[str]:
        """The names that have a meaning in a line that is indented so."""
        names = self.everywhere | self._outside
        return names | self._inside if indent else names

    def add(self, line: str) -> None:
        """Goes past a line."""
        facts = read_line(line)
        if facts.indent < 0:
            return
        if facts.indent == 0:
            self._outside |= facts.binds
            self._inside = facts.parameters
        else:
            self._inside |= facts.binds | facts.parameters
        self._indents = (*(indent for indent in self._indents if indent < facts.indent), facts.indent)
        self.indent, self.opened = facts.indent, facts.opens
        self._returned = facts.returns or (facts.indent == 0 and not facts.opens)

    def add_all(self, lines: Iterable[str]) -> None:
        """Goes past some lines."""
        for line in lines:
            self.add(line)

    def first_unfit(self, lines: Sequence[str], start: int = 0) -> int | None:
        """The first of some lines from ``start`` on that does not fit here after those before it.

        Returns:
            Its number; ``len(lines)`` where one must be added; None where all fit.
        """
        scope = copy(self)
        for number in range(start, len(lines)):
            if not scope.fits(lines[number]):
                return number
            scope.add(lines[number])
        return None if scope.complete() else len(lines)


def one_statement_a_line(lines: Iterable[str]) -> bool:
    """Whether no statement of a program goes over several lines, so that its lines can be read one by one."""
    return all(map(_whole, lines))


def names_everywhere(lines: Iterable[str]) -> frozenset[str]:
    """The names that every function of a program knows: those of its functions, and what is given."""
    facts = map(read_line, lines)
    return GIVEN_NAMES.union(*(fact.binds for fact in facts if fact.indent == 0))


def _balanced(text: str) -> bool:
    expected: list[str] = []
    for sign in text:
        if sign in _OPENING:
            expected.append(_CLOSING[_OPENING.index(sign)])
        elif sign in _CLOSING and (not expected or expected.pop() != sign):
            return False
    return not expected


@lru_cache(maxsize=20_000)
def _whole(line: str) -> bool:
    """Whether no statement goes on in the next line, and the line is not too long to be read."""
    if len(line) > _LONGEST:
        return False
    text = _STRING.sub("''", line).split("#", 1)[0].rstrip()
    return '"""' not in line and "'''" not in line and not text.endswith("\\") and _balanced(text)
