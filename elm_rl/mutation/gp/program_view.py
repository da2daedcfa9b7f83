"""A flat view of a program's tree: its statements, its expressions, and what the names in reach of each stand for.

Programs carry no types, so the view guesses what a name is from how the program uses it (``wc.add_joint`` makes ``wc``
a creator, what is handed to ``add_muscle`` is a joint, what is indexed is a list). Edits that respect these guesses
mostly give programs that run; nothing depends on the guesses being right.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from elm_rl.mutation.gp.program_expressions import (
    CREATOR,
    FUNCTION,
    JOINT,
    JOINTS,
    NUMBER,
    OTHER,
    SEQUENCE,
    STRENGTH,
    Binder,
    Clue,
    Expressions,
    Place,
    bound_names,
    is_call_of,
)
from elm_rl.mutation.gp.program_lines import Program

_LEFT_ALONE = (ast.With, ast.Try, ast.ClassDef)


@dataclass(slots=True)
class Statement:
    """One statement where it stands.

    Attributes:
        node: The statement.
        body: The list that holds it.
        function: The function it belongs to; None at module level.
        names: Names bound before it, in its function and around it, and what they stand for.
        loops: Enclosing ``for`` loops of the same function, outermost first.
        expressions: Its own expressions, without those of the statements inside it.
        program: The program it is part of.
        place: Its place among the statements of the view.
        end: The place after the last statement inside it.
    """

    node: ast.stmt
    body: list[ast.stmt]
    function: ast.FunctionDef | None
    names: dict[str, str]
    loops: tuple[ast.For, ...]
    expressions: Expressions = dataclasses.field(repr=False)
    program: Program = dataclasses.field(repr=False)
    place: int
    end: int = 0

    @property
    def index(self) -> int:
        """Where the statement stands in its body."""
        return next(i for i, node in enumerate(self.body) if node is self.node)

    def change(self, holder: ast.AST, field: str, value: object) -> None:
        """Changes a field of a node inside the statement."""
        self.program.change(self.node, holder, field, value)


@dataclass(slots=True)
class Slot:
    """One expression and the place that holds it, so that an edit can put another there.

    Attributes:
        node: The expression.
        holder: The node whose field holds it.
        field: That field's name.
        position: Index in the field if it is a list, else -1.
        role: What the expression is for: ``x``, ``y``, ``joint``, ``flag``, ``amplitude``, ``phase`` (arguments of
            ``add_joint`` and ``add_muscle``), ``count`` (of ``range``), ``index``, ``modulus``, ``exponent``, ``test``,
            ``callee``, ``argument`` or ``value``. Operands inherit the role of the whole.
        statement: The statement it is part of.
        names: Names in reach, with those that comprehensions and lambdas bind.
    """

    node: ast.expr
    holder: ast.AST
    field: str
    position: int
    role: str
    statement: Statement
    names: dict[str, str] = dataclasses.field(repr=False)

    def put(self, node: ast.expr) -> None:
        """Puts another expression in place of this one."""
        self.statement.program.change(self.statement.node, self.holder, self.field, node, self.position)
        self.node = node


class ProgramView:
    """Every statement and every expression of a program; stale as soon as the tree changes.

    Args:
        program: The program, or a tree that nothing else is known of; the view refers to its nodes.
        block: The statements to view; those of the whole program when left out.

    Attributes:
        program: The program.
        tree: Its tree.
        statements: All statements in the order of the text.
        returns: Kind of what each function of the program returns, by its name.
        count_parameters: Positions of each function's parameters that bound a ``range``, by the function's name.
    """

    def __init__(self, program: Program | ast.Module, block: list[ast.stmt] | None = None) -> None:
        self.program = program if isinstance(program, Program) else Program(program)
        self.tree = self.program.tree
        self.statements: list[Statement] = []
        self.returns: dict[str, str] = {"query_cppn": JOINTS}
        self.count_parameters: dict[str, set[int]] = {"query_cppn": {1, 2}}
        self._filled: set[str] = set()  # lists that the function being visited has appended to so far
        self._expressions: dict[int, Expressions] = {}  # of statements that are new
        self._visit_body(self.tree.body if block is None else block, None, {}, {}, ())

    @property
    def slots(self) -> list[Slot]:
        """All expressions that are read (not assigned to), outer before inner."""
        return self.find(_any_place)

    def find(self, test: Callable[[Place], bool]) -> list[Slot]:
        """The expressions whose place passes a test, in the order of `slots`.

        Args:
            test: A function of the place alone; for lines met before its answers are remembered.
        """
        return [self._slot(s, place) for s in self.statements for place in s.expressions.find(test)]

    def draw(self, test: Callable[[Place], bool], rng: np.random.Generator) -> Slot | None:
        """Draws one of the expressions that `find` finds, all equally likely; None where there is none."""
        found = [(statement, places) for statement in self.statements if (places := statement.expressions.find(test))]
        if not found:
            return None
        number = int(rng.integers(sum(len(places) for _, places in found)))
        for statement, places in found:
            if number < len(places):
                return self._slot(statement, places[number])
            number -= len(places)
        raise AssertionError("the number drawn is below the sum of the lengths")

    def _slot(self, statement: Statement, place: Place) -> Slot:
        node, holder, field, position, role, scope = place
        names = self._inner_names(statement.names, scope) if scope else statement.names
        return Slot(node, holder or statement.node, field, position, role, statement, names)

    def inside(self, statement: Statement) -> list[Statement]:
        """A statement and all statements inside it."""
        return self.statements[statement.place : statement.end]

    def reads(self, statement: Statement) -> set[str]:
        """Names that a statement reads, at any depth."""
        return set().union(*(inner.expressions.names.reads for inner in self.inside(statement)))

    def binds(self, statement: Statement) -> set[str]:
        """Names that a statement binds, at any depth, and lists it appends to."""
        return set().union(*(inner.expressions.names.binds for inner in self.inside(statement)))

    def mentions(self) -> set[str]:
        """All names of the program but those of its functions."""
        return set().union(*(statement.expressions.names.mentions for statement in self.statements))

    def kind_of(self, node: ast.expr, names: dict[str, str]) -> str:
        """Guesses what an expression stands for."""
        if isinstance(node, ast.Name):
            return names.get(node.id, OTHER)
        if isinstance(node, ast.Constant):
            return NUMBER if type(node.value) in (int, float) else OTHER
        if isinstance(node, (ast.BinOp, ast.UnaryOp)):
            operand = node.left if isinstance(node, ast.BinOp) else node.operand
            kind = self.kind_of(operand, names)
            return kind if kind in (SEQUENCE, JOINTS) else NUMBER
        if isinstance(node, (ast.List, ast.Tuple)):
            joints = bool(node.elts) and all(self.kind_of(element, names) == JOINT for element in node.elts)
            return JOINTS if joints else SEQUENCE
        if isinstance(node, ast.ListComp):
            return JOINTS if is_call_of(node.elt, "add_joint") else SEQUENCE
        if isinstance(node, ast.Subscript):
            kind = self.kind_of(node.value, names)
            if isinstance(node.slice, ast.Slice):
                return kind
            return JOINT if kind == JOINTS else OTHER
        if isinstance(node, ast.IfExp):
            return self.kind_of(node.body, names)
        if isinstance(node, ast.Call):
            return self._kind_of_call(node)
        return OTHER

    def _kind_of_call(self, node: ast.Call) -> str:
        if isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "math":
                return NUMBER
            return JOINT if node.func.attr == "add_joint" else OTHER
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in self.returns:
                return self.returns[name]
            if name in ("abs", "max", "min", "len", "float", "int", "round"):
                return NUMBER
            return {"walker_creator": CREATOR, "list": SEQUENCE, "range": SEQUENCE}.get(name, OTHER)
        return OTHER

    def _visit_body(
        self,
        body: list[ast.stmt],
        function: ast.FunctionDef | None,
        kinds: dict[str, str],
        names: dict[str, str],
        loops: tuple[ast.For, ...],
    ) -> None:
        """Visits a block; ``kinds`` holds all names of the function, ``names`` those bound before the block."""
        for node in body:
            expressions = self._expressions_of(node)
            if expressions.calls:
                expressions = expressions.given(self.count_parameters)
            place = len(self.statements)
            statement = Statement(node, body, function, names, loops, expressions, self.program, place)
            self.statements.append(statement)
            self._filled.update(expressions.filled)
            if expressions.counted and function is not None:
                self._note_counts(function, expressions.counted)
            left_alone = isinstance(node, _LEFT_ALONE)
            if isinstance(node, ast.Expr) or left_alone:
                pass  # the most frequent kind, and what is rare in walker programs
            elif isinstance(node, ast.FunctionDef):
                names = {**names, node.name: FUNCTION}
                self._visit_function(node, kinds, names)
            elif isinstance(node, ast.For):
                inner = {**names, **{name: kinds.get(name, OTHER) for name in bound_names(node.target)}}
                # What a loop binds is not in reach after it, because the loop may run no time at all.
                self._visit_body(node.body, function, kinds, inner, (*loops, node))
                self._visit_body(node.orelse, function, kinds, inner, loops)
            elif isinstance(node, (ast.While, ast.If)):
                self._visit_body(node.body, function, kinds, names, loops)
                self._visit_body(node.orelse, function, kinds, names, loops)
            elif expressions.targets:
                names = names.copy()
                for name in expressions.targets:
                    names[name] = kinds.get(name, OTHER)
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.List) and not node.value.elts:
                    names.update(dict.fromkeys(expressions.targets, SEQUENCE))
            statement.end = len(self.statements)
            if loops or left_alone or not self._filled:
                continue
            filled = [name for name in self._filled if names.get(name) == SEQUENCE and kinds.get(name) == JOINTS]
            if filled:
                # Only once the loop that fills it is done can a list of joints be indexed.
                names = {**names, **dict.fromkeys(filled, JOINTS)}

    def _expressions_of(self, node: ast.stmt) -> Expressions:
        expressions = self.program.known.get(id(node)) or self._expressions.get(id(node))
        if expressions is None:
            expressions = self._expressions[id(node)] = Expressions(node)
        return expressions

    def _note_counts(self, function: ast.FunctionDef, counted: list[str]) -> None:
        for index, argument in enumerate(function.args.args):
            if argument.arg in counted:
                self.count_parameters.setdefault(function.name, set()).add(index)

    def _inner_names(self, names: dict[str, str], scope: tuple[Binder, ...]) -> dict[str, str]:
        """Names in reach, with those that comprehensions and lambdas bind."""
        for binder in scope:
            if isinstance(binder, ast.Lambda):
                names = {**names, **{argument.arg: NUMBER for argument in binder.args.args}}
            else:
                kind = JOINT if self.kind_of(binder.iter, names) == JOINTS else NUMBER
                names = {**names, **dict.fromkeys(bound_names(binder.target), kind)}
        return names

    def _visit_function(self, node: ast.FunctionDef, outer: dict[str, str], names: dict[str, str]) -> None:
        kinds = dict(outer)
        parameters = {argument.arg: NUMBER for argument in node.args.args}
        kinds.update(parameters)
        self._collect_kinds(node, kinds)
        inner = {**names, **{name: kinds[name] for name in parameters}}
        self._filled = set()
        self._visit_body(node.body, node, kinds, inner, ())

    def _clues(self, body: list[ast.stmt]) -> list[Clue]:
        """The clues of a block and of the blocks inside it, in the order of the text."""
        clues: list[Clue] = []
        for node in body:
            clues += self._expressions_of(node).clues
            if isinstance(node, (ast.For, ast.While, ast.If)):
                clues += self._clues(node.body)
                clues += self._clues(node.orelse)
        return clues

    def _collect_kinds(self, function: ast.FunctionDef, kinds: dict[str, str]) -> None:
        """Gathers what the names of one function stand for, from how they are bound and used."""
        for clue in self._clues(function.body):
            if isinstance(clue, tuple):
                name, kind = clue
                if STRENGTH[kind] >= STRENGTH[kinds.get(name, NUMBER)]:
                    kinds[name] = kind
            elif isinstance(clue, ast.Return):
                assert clue.value is not None
                self.returns[function.name] = self.kind_of(clue.value, kinds)
            else:
                if isinstance(clue, ast.Assign):
                    targets, kind = clue.targets, self.kind_of(clue.value, kinds)
                elif isinstance(clue, ast.For):
                    targets, kind = [clue.target], JOINT if self.kind_of(clue.iter, kinds) == JOINTS else NUMBER
                else:  # a call of append
                    assert isinstance(clue.func, ast.Attribute)
                    targets = [clue.func.value]
                    kind = JOINTS if self.kind_of(clue.args[0], kinds) == JOINT else SEQUENCE
                for target in targets:
                    if isinstance(target, ast.Name) and STRENGTH[kind] >= STRENGTH[kinds.get(target.id, NUMBER)]:
                        kinds[target.id] = kind


def _any_place(place: Place) -> bool:
    return True
