"""In-place operators of a program's text, rewritten for the sandbox's interpreter, which has none for arrays."""

from __future__ import annotations

import re

# A name, an attribute or a simple item, where a statement may begin, and an operator with '='.
_INPLACE = re.compile(r"(^[ \t]*|[:;][ \t]*)([A-Za-z_][\w.]*(?:\[[\w.+\-* ]*\])?)[ \t]*(\*\*|//|[-+*/%])=(?!=)[ \t]*")
_SIMPLE_VALUE = re.compile(r"[^'\"\\;#]+")


def rewrite_inplace(program: str) -> str:
    """Makes ``a += b`` a call that changes an array itself, as numpy does; the interpreter would make a new one.

    Where the value is not plainly on the same line, a check is put before the statement that refuses arrays. Line
    numbers stay. A line that merely looks like a statement (in a string, say) is changed too.

    Args:
        program: The program, with newlines as line ends.
    """
    if "=" not in program:
        return program
    return "\n".join(_rewritten(line) if "=" in line else line for line in program.split("\n"))


def _rewritten(line: str) -> str:
    found = _INPLACE.search(line)
    if found is None:
        return line
    lead, target, operator = found.groups()
    value = line[found.end() :]
    code = value.partition("#")[0].rstrip()
    if _SIMPLE_VALUE.fullmatch(code) and "'" not in value and '"' not in value and _balanced(code):
        return f'{line[: found.start()]}{lead}{target} = _sodarace_inplace({target}, "{operator}", ({code}))'
    return _INPLACE.sub(r"\1_sodarace_no_array(\2); \2 \3= ", line)


def _balanced(code: str) -> bool:
    """Whether every bracket that opens in a piece of code closes in it."""
    depth = 0
    for character in code:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0
