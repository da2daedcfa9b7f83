"""What one statement says taken alone: its expressions, what they are for, and what they tell about names.

Nothing here depends on the rest of the program, so it is read once for a line that many programs share
(:mod:`elm_rl.mutation.gp.program_lines`). :mod:`elm_rl.mutation.gp.program_view` puts the statements of a program together.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import NamedTuple

from elm_rl.mutation.gp.program_tree import walk

# What a name or an expression stands for, weakest evidence first: stronger evidence wins.
NUMBER = "number"
OTHER = "other"
JOINT = "joint"
SEQUENCE = "sequence"
JOINTS = "joints"
FUNCTION = "function"
CREATOR = "creator"
STRENGTH = {kind: rank for rank, kind in enumerate((NUMBER, OTHER, JOINT, SEQUENCE, JOINTS, FUNCTION, CREATOR))}

JOINT_ROLES = ("x", "y")
MUSCLE_ROLES = ("joint", "joint", "flag", "amplitude", "phase")
_MUSCLE_KEYWORDS = {"distance_only": "flag", "amplitude": "amplitude", "phase": "phase"}
_RIGHT_ROLES: dict[type, str] = {ast.Mod: "modulus", ast.FloorDiv: "modulus", ast.Pow: "exponent"}
_COMPREHENSIONS = (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)

Binder = ast.comprehension | ast.Lambda
Clue = tuple[str, str] | ast.Assign | ast.For | ast.Call | ast.Return
"""A name and what it stands for, or a node that tells it once it is known what other names stand for."""
Counts = Mapping[str, AbstractSet[int]]
"""Positions of each function's parameters that bound a ``range``, by the function's name."""


class Place(NamedTuple):
    """One expression that is read (not assigned to), and where it stands in its statement.

    Attributes:
        node: The expression.
        holder: The node whose field holds it; None for the statement itself.
        field: That field's name.
        position: Index in the field if it is a list, else -1.
        role: What the expression is for, see :class:`~elm_rl.mutation.gp.program_view.Slot`.
        scope: The parts of comprehensions and the lambdas around it that bind names, outermost first.
    """

    node: ast.expr
    holder: ast.AST | None
    field: str
    position: int
    role: str
    scope: tuple[Binder, ...]


class Names(NamedTuple):
    """Names that stand in a statement.

    Attributes:
        reads: Those that are read.
        binds: Those that are bound, and lists that are appended to.
        mentions: All of them, parameters included.
        makes_muscles: Whether the statement adds muscles, or a whole grid of joints and muscles.
    """

    reads: set[str]
    binds: set[str]
    mentions: set[str]
    makes_muscles: bool


class Expressions:
    """The expressions of one statement; those of the statements inside it are theirs. Stale once the statement changes.

    Args:
        node: The statement.
        counts: What is known of the program's functions: an argument that ends up in a ``range`` has the role ``count``.

    Attributes:
        places: All expressions that are read, outer before inner.
        targets: Names that an assignment binds.
        calls: Names of functions whose arguments' roles depend on ``counts``.
        filled: Names of lists that the statement appends to.
        counted: Names that bound a ``range``.
    """

    def __init__(self, node: ast.stmt, counts: Counts | None = None) -> None:
        self._node = node
        self.places: list[Place] = []
        self.targets = [name for target in _targets(node) for name in bound_names(target)]
        self.calls: set[str] = set()
        self.filled: list[str] = []
        self.counted: list[str] = []
        self._counts = counts or {}
        self._found: dict[Callable[[Place], bool], list[Place]] = {}
        self._variants: dict[tuple[object, ...], Expressions] = {}
        if isinstance(node, ast.For):
            self._add(node.iter, None, "iter", -1, "value", ())
        elif isinstance(node, (ast.While, ast.If)):
            self._add(node.test, None, "test", -1, "test", ())
        elif not isinstance(node, (ast.FunctionDef, ast.With, ast.Try, ast.ClassDef)):
            for name in ("value", "test", "exc"):
                value = getattr(node, name, None)
                if isinstance(value, ast.expr):
                    self._add(value, None, name, -1, "value", ())

    def given(self, counts: Counts) -> Expressions:
        """The same statement in a program about whose functions so much is known."""
        known = [(name, tuple(sorted(counts[name]))) for name in sorted(self.calls) if name in counts]
        if not known:
            return self
        key = tuple(known)
        if key not in self._variants:
            self._variants[key] = Expressions(self._node, {name: set(places) for name, places in known})
        return self._variants[key]

    def find(self, test: Callable[[Place], bool]) -> list[Place]:
        """The places that pass a test, which must depend on the place alone: the answer is kept."""
        found = self._found.get(test)
        if found is None:
            found = self._found[test] = [place for place in self.places if test(place)]
        return found

    @cached_property
    def clues(self) -> list[Clue]:
        """What tells what names stand for, in the order of the text."""
        node = self._node
        if isinstance(node, ast.FunctionDef):
            return []  # what its names stand for is its own
        clues: list[Clue] = [node] if isinstance(node, ast.For) else []
        for part in walk(*_own_parts(node), into_functions=False):
            if isinstance(part, ast.Subscript):
                # A dictionary keyed by tuples must not be indexed with a number.
                clues += _note(part.value, OTHER if isinstance(part.slice, ast.Tuple) else SEQUENCE)
            elif isinstance(part, ast.Call):
                clues += _clues_of_call(part)
            elif isinstance(part, (ast.Assign, ast.For)) or (isinstance(part, ast.Return) and part.value is not None):
                clues.append(part)
        return clues

    @cached_property
    def names(self) -> Names:
        """The names that stand in the statement, by what is done with them."""
        reads: set[str] = set()
        binds: set[str] = set()
        parameters: set[str] = set()
        makes_muscles = False
        for node in walk(*_own_parts(self._node)):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    reads.add(node.id)
                elif isinstance(node.ctx, ast.Store):
                    binds.add(node.id)
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute):
                    makes_muscles |= node.func.attr == "add_muscle"
                    if node.func.attr == "append":
                        binds |= used_names(node.func.value)
                elif isinstance(node.func, ast.Name):
                    makes_muscles |= node.func.id == "query_cppn"
            elif isinstance(node, ast.arg):
                parameters.add(node.arg)
        return Names(reads, binds, reads | binds | parameters, makes_muscles)

    def _add(
        self,
        node: ast.expr,
        holder: ast.AST | None,
        field: str,
        position: int,
        role: str,
        scope: tuple[Binder, ...],
    ) -> None:
        """Adds an expression and all below it."""
        add = self._add
        self.places.append(Place(node, holder, field, position, role, scope))
        if isinstance(node, ast.Constant):
            return
        if isinstance(node, ast.Name):
            if role == "count":
                self.counted.append(node.id)
        elif isinstance(node, ast.Call):
            add(node.func, node, "func", -1, "callee", scope)
            roles = self._argument_roles(node, role)
            for index, argument in enumerate(node.args):
                add(argument, node, "args", index, roles[index] if index < len(roles) else "argument", scope)
            for keyword in node.keywords:
                its_role = _MUSCLE_KEYWORDS.get(keyword.arg or "", "argument")
                add(keyword.value, keyword, "value", -1, its_role, scope)
        elif isinstance(node, ast.BinOp):
            add(node.left, node, "left", -1, role, scope)
            add(node.right, node, "right", -1, _RIGHT_ROLES.get(type(node.op), role), scope)
        elif isinstance(node, ast.Subscript):
            add(node.value, node, "value", -1, "value", scope)
            add(node.slice, node, "slice", -1, "index", scope)
        elif isinstance(node, ast.IfExp):
            add(node.body, node, "body", -1, role, scope)
            add(node.test, node, "test", -1, "test", scope)
            add(node.orelse, node, "orelse", -1, role, scope)
        elif isinstance(node, ast.UnaryOp):
            add(node.operand, node, "operand", -1, role, scope)
        else:
            self._add_others(node, scope)

    def _add_others(self, node: ast.expr, scope: tuple[Binder, ...]) -> None:
        """Adds what is below the rarer kinds of expression."""
        if isinstance(node, _COMPREHENSIONS):
            for generator in node.generators:
                self._add(generator.iter, generator, "iter", -1, "value", scope)
                scope = (*scope, generator)
        elif isinstance(node, ast.Lambda):
            scope = (*scope, node)
        elif isinstance(node, ast.Attribute) and node.attr == "append" and isinstance(node.value, ast.Name):
            self.filled.append(node.value.id)
        role = "index" if isinstance(node, ast.Slice) else "value"
        in_list = "test" if isinstance(node, (ast.Compare, ast.BoolOp)) else "value"
        role = in_list if in_list == "test" else role
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.expr):
                self._add(value, node, name, -1, role, scope)
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.expr):
                        self._add(item, node, name, index, in_list, scope)

    def _argument_roles(self, call: ast.Call, role: str) -> tuple[str, ...]:
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name == "range":
            return ("count",) * len(call.args)
        if isinstance(call.func, ast.Attribute):
            if call.func.attr == "add_joint":
                return JOINT_ROLES
            if call.func.attr == "add_muscle":
                return MUSCLE_ROLES
        # math.sin(k) in an amplitude is part of it; what a program's own function makes of a number is unknown.
        if isinstance(call.func, ast.Attribute) or name in ("abs", "max", "min"):
            return (role,) * len(call.args)
        self.calls.add(name)
        counts = self._counts.get(name, ())
        return tuple("count" if index in counts else "argument" for index in range(len(call.args)))


def _clues_of_call(call: ast.Call) -> list[Clue]:
    clues: list[Clue] = []
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in ("add_joint", "add_muscle", "get_walker"):
            clues += _note(call.func.value, CREATOR)
        if call.func.attr == "add_muscle":
            for argument in call.args[:2]:
                clues += _note(argument, JOINT)
                if isinstance(argument, ast.Subscript) and not isinstance(argument.slice, ast.Tuple):
                    clues += _note(argument.value, JOINTS)
        elif call.func.attr == "append" and call.args and isinstance(call.func.value, ast.Name):
            clues.append(call)
        return clues
    clues += _note(call.func, FUNCTION)
    if isinstance(call.func, ast.Name) and call.func.id in ("len", "enumerate", "zip", "sum"):
        for argument in call.args:
            clues += _note(argument, SEQUENCE)
    return clues


def _note(node: ast.expr, kind: str) -> list[tuple[str, str]]:
    return [(node.id, kind)] if isinstance(node, ast.Name) else []


def is_call_of(node: ast.AST | None, method: str) -> bool:
    """Whether a node is a call of the method ``method`` (of whatever object), as in ``wc.add_joint(...)``."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def bound_names(target: ast.AST) -> list[str]:
    """Names that an assignment target, a loop target or an argument list binds."""
    if isinstance(target, ast.Name):
        return [target.id] if isinstance(target.ctx, ast.Store) else []
    return [node.id for node in walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def used_names(node: ast.AST) -> set[str]:
    """Names read anywhere in a node."""
    return {child.id for child in walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load)}


def _own_parts(node: ast.stmt) -> list[ast.AST]:
    """The parts of a statement without the statements inside it, where a view lists those by themselves."""
    if isinstance(node, ast.For):
        return [node.target, node.iter]
    if isinstance(node, (ast.While, ast.If)):
        return [node.test]
    if isinstance(node, ast.FunctionDef):
        return [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
    return [node]


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else []
