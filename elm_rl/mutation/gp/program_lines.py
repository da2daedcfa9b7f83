"""Programs read and written line by line: most lines of a child stand in its parent, and in a thousand other programs.

A program in the layout of :func:`~elm_rl.mutation.gp.program_tree.write_program` has one statement on each line. So its
tree can be put together from the statements of lines met before, and only the lines that an edit has changed need to be
written and parsed again. Text that is laid out in any other way is parsed as a whole; the trees, and what is written in
the end, are the same either way.
"""

from __future__ import annotations

import ast
from collections import OrderedDict
from typing import NamedTuple

from elm_rl.mutation.gp.program_expressions import Expressions
from elm_rl.mutation.gp.program_tree import (
    MAX_CHARACTERS,
    MAX_INDENT_COLUMNS,
    MAX_LINES,
    ProgramTextError,
    check_program_text,
    parse_program,
    parse_source,
    write_program,
)

_INDENT = 4
_MAX_DEPTH = MAX_INDENT_COLUMNS // _INDENT
_BLOCKS = (ast.FunctionDef, ast.For, ast.While, ast.If)
_BLOCK_TYPES = frozenset(_BLOCKS)
_OTHER_BLOCKS = (ast.AsyncFunctionDef, ast.ClassDef, ast.AsyncFor, ast.With, ast.AsyncWith, ast.Try, ast.Match)


class _OtherLayout(Exception):
    """A program that is not in the layout of mutated programs, or has something that is not read line by line."""


class _Copy:
    """The tree of one line, which one place of a program uses at a time."""

    __slots__ = ("expressions", "node")

    def __init__(self, node: ast.stmt) -> None:
        self.node = node
        self.expressions = Expressions(node)


class _Source(NamedTuple):
    """Where a statement of a tree comes from. It keeps the statement alive, so that no other gets its ``id``."""

    node: ast.stmt
    text: str


class Program:
    """A program's tree, the caller's to edit, with what is known of the statements that are still as they were read.

    Args:
        tree: The tree.
        by_line: Whether it was read line by line, and can be written so.

    Attributes:
        tree: The tree.
        known: The expressions of statements that are still as they were read, by the ``id`` of the statement.
    """

    def __init__(self, tree: ast.Module, by_line: bool = False) -> None:
        self.tree = tree
        self.known: dict[int, Expressions] = {}
        self._by_line = by_line
        self._sources: dict[int, _Source] = {}
        self._changes: list[tuple[ast.AST, str, int, object]] = []

    def remember(self, node: ast.stmt, text: str, expressions: Expressions) -> None:
        """Notes the line that a statement is read from, and its expressions."""
        self.known[id(node)] = expressions
        self._sources[id(node)] = _Source(node, text)

    def change(self, statement: ast.stmt, holder: ast.AST, field: str, value: object, position: int = -1) -> None:
        """Changes one field, or one item of a list, of a node inside a statement (its blocks may be changed directly)."""
        if self._sources.pop(id(statement), None) is not None:
            del self.known[id(statement)]
        if position < 0:
            self._changes.append((holder, field, position, getattr(holder, field)))
            setattr(holder, field, value)
        else:
            items = getattr(holder, field)
            self._changes.append((holder, field, position, items[position]))
            items[position] = value

    def release(self) -> None:
        """Undoes all changes, so that the next program finds the lines as they were read."""
        for holder, field, position, value in reversed(self._changes):
            if position < 0:
                setattr(holder, field, value)
            else:
                getattr(holder, field)[position] = value
        self._changes.clear()

    def write(self) -> str:
        """Writes the tree in the one layout, and proves that the text parses.

        Raises:
            ProgramTextError: As :func:`~elm_rl.mutation.gp.program_tree.write_program`.
        """
        if not self._by_line:
            return write_program(self.tree)
        try:
            lines: list[str] = []
            new: list[str] = []
            self._write_block(self.tree.body, "", lines, new)
            text = "".join(lines)
            if len(text) > MAX_CHARACTERS or len(lines) > MAX_LINES:
                raise _OtherLayout
            if new:
                written = "".join(new)
                check_program_text(written)
                ast.parse(written)
        except (_OtherLayout, ProgramTextError, SyntaxError, ValueError, RecursionError, MemoryError):
            return write_program(self.tree)  # which says what is wrong
        return text

    def _write_block(self, block: list[ast.stmt], indent: str, lines: list[str], new: list[str]) -> None:
        if len(indent) > MAX_INDENT_COLUMNS or (indent and not block):
            raise _OtherLayout
        for node in block:
            source = self._sources.get(id(node))
            is_block = type(node) in _BLOCK_TYPES
            if source is not None:
                text = source.text
            else:
                text = _text_of(node)
                new.append(f"{text}\n pass\n" if is_block else f"{text}\n")
            lines.append(f"{indent}{text}\n")
            if is_block:
                self._write_inner_blocks(node, indent, lines, new)

    def _write_inner_blocks(self, node: ast.stmt, indent: str, lines: list[str], new: list[str]) -> None:
        assert isinstance(node, _BLOCKS)
        inner = indent + " " * _INDENT
        self._write_block(node.body, inner, lines, new)
        if isinstance(node, ast.FunctionDef) or not node.orelse:
            return
        if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            start = len(lines)
            self._write_block(node.orelse, indent, lines, new)
            lines[start] = f"{indent}el{lines[start][len(indent) :]}"
        else:
            lines.append(f"{indent}else:\n")
            self._write_block(node.orelse, inner, lines, new)


class ProgramReader:
    """Reads programs, and remembers the lines they have in common. A program must be released before the next is read.

    Args:
        size: Lines to remember; 0 reads every program as a whole. A line takes about 8 KB.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # By text without indentation; a tree for each time that a program has had the line.
        self._lines: OrderedDict[str, list[_Copy]] = OrderedDict()

    def read(self, text: str) -> Program:
        """Parses an admitted program, as :func:`~elm_rl.mutation.gp.program_tree.parse_program` does.

        Raises:
            ProgramTextError: The text passes a cap or does not parse.
        """
        if self._size:
            try:
                return self._read_lines(text)
            except (_OtherLayout, ProgramTextError, SyntaxError, ValueError, RecursionError, MemoryError):
                pass  # read as a whole it may be a program still, or gets a proper error
        return Program(parse_program(text))

    def _read_lines(self, text: str) -> Program:
        if len(text) > MAX_CHARACTERS or not text.endswith("\n") or '"""' in text or "'''" in text:
            raise _OtherLayout
        lines = text[:-1].split("\n")
        bodies = [line.lstrip(" ") for line in lines]
        if len(lines) > MAX_LINES:
            raise _OtherLayout
        if not all(body in self._lines for body in bodies):
            check_program_text(text)  # before the parser sees any of it
        program = Program(ast.Module([], []), by_line=True)
        met: dict[str, int] = {}
        blocks: list[list[ast.stmt]] = [program.tree.body]  # the block at each depth that the next line may belong to
        heads: list[ast.stmt | None] = [None]  # the statement at each depth that an else may belong to
        branches: list[list[ast.stmt]] = []
        opened = False  # whether the line before needs a block
        for line, body in zip(lines, bodies, strict=True):
            depth, rest = divmod(len(line) - len(body), _INDENT)
            last = len(blocks) - 1
            if rest or not body or depth > min(last, _MAX_DEPTH) or (opened and depth != last):
                raise _OtherLayout
            if depth < last:
                del blocks[depth + 1 :], heads[depth + 1 :]
            head = heads[depth]
            if body == "else:":
                if not isinstance(head, (ast.If, ast.For, ast.While)):
                    raise _OtherLayout
                heads[depth] = None
                blocks.append(head.orelse)
                heads.append(None)
                branches.append(head.orelse)
                opened = True
                continue
            if body.startswith("elif "):
                if not isinstance(head, ast.If):
                    raise _OtherLayout
                node = self._statement(body[2:], program, met)
                head.orelse.append(node)
            else:
                node = self._statement(body, program, met)
                blocks[depth].append(node)
            opened = type(node) in _BLOCK_TYPES
            heads[depth] = node
            if opened:
                assert isinstance(node, _BLOCKS)
                blocks.append(node.body)
                heads.append(None)
        if opened or any(len(branch) == 1 and isinstance(branch[0], ast.If) for branch in branches):
            raise _OtherLayout  # the one layout writes the latter as elif
        return program

    def _statement(self, text: str, program: Program, met: dict[str, int]) -> ast.stmt:
        """The statement of a line; a program that has the line several times gets a tree for each."""
        copies = self._lines.get(text)
        if copies is None:
            copies = self._lines[text] = [_Copy(_parse_line(text, check=True))]
            if len(self._lines) > self._size:
                self._lines.popitem(last=False)
        else:
            self._lines.move_to_end(text)
        number = met[text] = met.get(text, -1) + 1
        if number >= len(copies):
            copies.append(_Copy(_parse_line(text, check=False)))
        copy = copies[number]
        node = _head(copy.node) if type(copy.node) in _BLOCK_TYPES else copy.node
        program.remember(node, text, copy.expressions)
        return node


def _parse_line(text: str, check: bool) -> ast.stmt:
    """Parses one line.

    Args:
        text: The line without its indentation.
        check: Whether to make sure that it is in the one layout, and needs no look at the lines around it.
    """
    block = text.endswith(":")
    if check:
        check_program_text(text)
    body = parse_source(f"{text}\n pass\n" if block else text).body
    if check:
        if len(body) != 1 or isinstance(body[0], _BLOCKS) is not block or _text_of(body[0]) != text:
            raise _OtherLayout
        # An f-string may be written over several lines, and its brackets count.
        if ("'" in text or '"' in text) and any(isinstance(node, ast.JoinedStr) for node in ast.walk(body[0])):
            raise _OtherLayout
    return body[0]


def _head(node: ast.stmt) -> ast.stmt:
    """A statement of a program's own, with blocks of its own if it has blocks; what else is in it is shared."""
    if isinstance(node, ast.For):
        return ast.For(node.target, node.iter, [], [], None, lineno=1)
    if isinstance(node, ast.If):
        return ast.If(node.test, [], [])
    if isinstance(node, ast.While):
        return ast.While(node.test, [], [])
    if isinstance(node, ast.FunctionDef):
        fields = {name: getattr(node, name) for name in node._fields}
        return ast.FunctionDef(**{**fields, "body": []}, lineno=1)
    return node


def _text_of(node: ast.stmt) -> str:
    """Writes a statement without its blocks, on one line."""
    if isinstance(node, _BLOCKS):
        head = _head(node)
        assert isinstance(head, _BLOCKS)
        head.body.append(ast.Pass())
        text = ast.unparse(head).strip("\n")
        text, _, rest = text.partition("\n")
        if rest.strip() != "pass":
            raise _OtherLayout
    elif isinstance(node, _OTHER_BLOCKS) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        raise _OtherLayout  # the latter may come to be a docstring
    else:
        text = ast.unparse(node)
    if "\n" in text:
        raise _OtherLayout
    return text
