"""Program text to syntax tree and back, for programs the sandbox has already accepted.

The host's parser recurses, so nothing is parsed before its size and nesting were capped by counting characters. Text
comes back in one layout (no blank lines, no docstrings, floats of three significant digits, a newline at the end): a
mutated program then differs from its parent only where it was mutated, and programs stay short for language models.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator

MAX_CHARACTERS = 6000
MAX_LINES = 150
MAX_STATEMENT_CHARACTERS = 1000
MAX_BRACKET_DEPTH = 24
MAX_INDENT_COLUMNS = 40

# Comments, then plain strings. An f-string stays in, because the expressions inside it are parsed too.
_QUIET = re.compile(
    r"""\#[^\n]*
    | (?<![fF])(?<![fF][rR]) (?:
        '''(?:\\.|[^\\])*?''' | \"\"\"(?:\\.|[^\\])*?\"\"\" | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*"
      )
    """,
    re.VERBOSE | re.DOTALL,
)
_LEAVES = frozenset(
    ("ctx", "op", "ops", "id", "attr", "arg", "n", "s", "kind", "name", "asname", "type_comment", "type_ignores")
)
_FIELDS: dict[type, tuple[str, ...]] = {}
_BRACKET = re.compile(r"[()\[\]{}]")


class ProgramTextError(ValueError):
    """A program that is not parsed on the host (too long, too deeply nested) or does not parse."""


def check_program_text(text: str) -> None:
    """Refuses text that the host's recursive parser should not see; costs one pass over the characters.

    A bound on the characters of one logical line bounds every kind of nesting that needs no bracket (unary operators,
    lambdas, conditional expressions, attribute chains), and a bound on the lines bounds ``elif`` chains.

    Args:
        text: Program text.

    Raises:
        ProgramTextError: The text passes one of the caps of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProgramTextError(f"The program has {len(text)} characters; at most {MAX_CHARACTERS} are mutated.")
    if text.count("\n") > MAX_LINES:
        raise ProgramTextError(f"The program has {text.count(chr(10))} lines; at most {MAX_LINES} are mutated.")
    depth = statement = 0
    for line in _QUIET.sub("''", text).split("\n"):
        continued = depth > 0 or statement > 0
        body = line.lstrip()
        if not continued and len(line) - len(body) > MAX_INDENT_COLUMNS:
            raise ProgramTextError(f"A line is indented by more than {MAX_INDENT_COLUMNS} columns.")
        statement += len(body)
        for bracket in _BRACKET.findall(body):
            depth = depth + 1 if bracket in "([{" else max(depth - 1, 0)
            if depth > MAX_BRACKET_DEPTH:
                raise ProgramTextError(f"More than {MAX_BRACKET_DEPTH} brackets are open at once.")
        if statement > MAX_STATEMENT_CHARACTERS:
            raise ProgramTextError(f"A statement is longer than {MAX_STATEMENT_CHARACTERS} characters.")
        if depth == 0 and not body.endswith("\\"):
            statement = 0


def parse_program(text: str) -> ast.Module:
    """Parses an admitted program and tidies its tree (short floats, no docstrings).

    Args:
        text: Program text, trusted as far as the sandbox accepted it.

    Returns:
        A fresh tree, the caller's to change.

    Raises:
        ProgramTextError: The text passes a cap or does not parse.
    """
    check_program_text(text)
    try:
        return parse_source(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProgramTextError(f"The program does not parse: {error}") from error


def parse_source(text: str) -> ast.Module:
    """Parses text that `check_program_text` has passed, and tidies its tree.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: As the parser reports it.
    """
    tree = ast.parse(text)
    _tidy(tree)
    return tree


def write_program(tree: ast.Module) -> str:
    """Writes a tree in the one layout of mutated programs, and proves that the text parses.

    Args:
        tree: A tree, as it comes out of an edit.

    Returns:
        The program text.

    Raises:
        ProgramTextError: The text passes a cap or does not parse, so the edit must be thrown away.
    """
    try:
        text = "".join(line + "\n" for line in ast.unparse(tree).split("\n") if line.strip())
        check_program_text(text)
        ast.parse(text)
    except ProgramTextError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProgramTextError(f"The edited program cannot be written: {error}") from error
    return text


def normalise_program(text: str) -> str:
    """Brings program text into the layout of mutated programs; doing it twice changes nothing more.

    Args:
        text: Program text that the sandbox accepts.

    Returns:
        The same program without blank lines, comments and docstrings, with floats of three significant digits and one
        newline at the end.

    Raises:
        ProgramTextError: The text passes a cap or does not parse.
    """
    return write_program(parse_program(text))


def short_float(value: float) -> float:
    """Rounds to three significant digits (infinities and NaN stay as they are)."""
    return float(f"{value:.3g}") if math.isfinite(value) else value


def walk(*roots: ast.AST, into_functions: bool = True) -> Iterator[ast.AST]:
    """Yields nodes and all below them in the order of the text, without operators and contexts.

    It does the work of ``ast.walk`` in a fraction of the time, which is most of the time of a mutation.

    Args:
        roots: Where to begin.
        into_functions: Whether to enter function definitions and lambdas below the roots.
    """
    stack: list[ast.AST] = list(reversed(roots))
    while stack:
        node = stack.pop()
        if not isinstance(node, ast.AST):
            continue  # some lists hold None or plain names
        yield node
        fields = _FIELDS.get(type(node))
        if fields is None:
            fields = _FIELDS[type(node)] = tuple(reversed([name for name in node._fields if name not in _LEAVES]))
        if not into_functions and isinstance(node, (ast.FunctionDef, ast.Lambda)):
            continue
        for name in fields:
            value = getattr(node, name, None)
            if type(value) is list:
                stack.extend(reversed(value) if len(value) > 1 else value)
            elif isinstance(value, ast.AST):
                stack.append(value)


def _tidy(tree: ast.Module) -> None:
    for node in walk(tree):
        if isinstance(node, ast.Constant):
            if type(node.value) is float:
                node.value = short_float(node.value)
        elif isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node, clean=False):
            del node.body[0]
            if not node.body and not isinstance(node, ast.Module):
                node.body.append(ast.Pass())
