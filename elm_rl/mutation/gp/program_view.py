"""A flat view of a program's tree: its statements, its expressions, and what the names in reach of each stand for.

Programs carry no types, so the view guesses what a name is from how the program uses it (``wc.add_joint`` makes ``wc``
a creator, what is handed to ``add_muscle`` is a joint, what is indexed is a list). Edits that respect these guesses
mostly give programs that run; nothing depends on the guesses being right.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from elm_rl.mutation.gp.program_tree import walk

# What a name or an expression stands for, weakest evidence first: stronger evidence wins.
NUMBER = "number"
OTHER = "other"
JOINT = "joint"
SEQUENCE = "sequence"
JOINTS = "joints"
FUNCTION = "function"
CREATOR = "creator"
_STRENGTH = {kind: rank for rank, kind in enumerate((NUMBER, OTHER, JOINT, SEQUENCE, JOINTS, FUNCTION, CREATOR))}

JOINT_ROLES = ("x", "y")
MUSCLE_ROLES = ("joint", "joint", "flag", "amplitude", "phase")
_MUSCLE_KEYWORDS = {"distance_only": "flag", "amplitude": "amplitude", "phase": "phase"}
_RIGHT_ROLES: dict[type, str] = {ast.Mod: "modulus", ast.FloorDiv: "modulus", ast.Pow: "exponent"}


@dataclass(slots=True)
class Statement:
    """One statement where it stands.

    Attributes:
        node: The statement.
        body: The list that holds it.
        function: The function it belongs to; None at module level.
        names: Names bound before it, in its function and around it, and what they stand for.
        loops: Enclosing ``for`` loops of the same function, outermost first.
    """

    node: ast.stmt
    body: list[ast.stmt]
    function: ast.FunctionDef | None
    names: dict[str, str]
    loops: tuple[ast.For, ...]

    @property
    def index(self) -> int:
        """Where the statement stands in its body."""
        return next(i for i, node in enumerate(self.body) if node is self.node)


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
        if self.position < 0:
            setattr(self.holder, self.field, node)
        else:
            getattr(self.holder, self.field)[self.position] = node
        self.node = node


class ProgramView:
    """Every statement and every expression of a program; stale as soon as the tree changes.

    Args:
        tree: The program; the view refers to its nodes.

    Attributes:
        tree: The program.
        statements: All statements in the order of the text.
        slots: All expressions that are read (not assigned to), outer before inner.
        returns: Kind of what each function of the program returns, by its name.
        count_parameters: Positions of each function's parameters that bound a ``range``, by the function's name.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.statements: list[Statement] = []
        self.slots: list[Slot] = []
        self.returns: dict[str, str] = {"query_cppn": JOINTS}
        self.count_parameters: dict[str, set[int]] = {"query_cppn": {1, 2}}
        self._filled: set[str] = set()  # lists that the function being visited has appended to so far
        self._visit_body(tree.body, None, {}, {}, ())

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
            statement = Statement(node, body, function, names, loops)
            self.statements.append(statement)
            if isinstance(node, ast.FunctionDef):
                names = {**names, node.name: FUNCTION}
                self._visit_function(node, kinds, names)
            elif isinstance(node, ast.For):
                self._visit_expr(node.iter, node, "iter", -1, "value", statement, names)
                inner = {**names, **{name: kinds.get(name, OTHER) for name in bound_names(node.target)}}
                # What a loop binds is not in reach after it, because the loop may run no time at all.
                self._visit_body(node.body, function, kinds, inner, (*loops, node))
                self._visit_body(node.orelse, function, kinds, inner, loops)
            elif isinstance(node, (ast.While, ast.If)):
                self._visit_expr(node.test, node, "test", -1, "test", statement, names)
                self._visit_body(node.body, function, kinds, names, loops)
                self._visit_body(node.orelse, function, kinds, names, loops)
            elif isinstance(node, (ast.With, ast.Try, ast.ClassDef)):
                continue  # rare in walker programs: left as they are
            else:
                self._visit_simple(node, statement, names)
                bound = [name for target in _targets(node) for name in bound_names(target)]
                if bound:
                    names = {**names, **{name: kinds.get(name, OTHER) for name in bound}}
                    if isinstance(node, ast.Assign) and isinstance(node.value, ast.List) and not node.value.elts:
                        names.update(dict.fromkeys(bound, SEQUENCE))
            filled = [name for name in self._filled if names.get(name) == SEQUENCE and kinds.get(name) == JOINTS]
            if filled and not loops:
                # Only once the loop that fills it is done can a list of joints be indexed.
                names = {**names, **dict.fromkeys(filled, JOINTS)}

    def _visit_function(self, node: ast.FunctionDef, outer: dict[str, str], names: dict[str, str]) -> None:
        kinds = dict(outer)
        parameters = {argument.arg: NUMBER for argument in node.args.args}
        kinds.update(parameters)
        self._collect_kinds(node, kinds)
        inner = {**names, **{name: kinds[name] for name in parameters}}
        self._filled = set()
        self._visit_body(node.body, node, kinds, inner, ())

    def _collect_kinds(self, function: ast.FunctionDef, kinds: dict[str, str]) -> None:
        """Gathers what the names of one function stand for, from how they are bound and used."""

        def note(node: ast.expr | None, kind: str) -> None:
            if isinstance(node, ast.Name) and _STRENGTH[kind] >= _STRENGTH[kinds.get(node.id, NUMBER)]:
                kinds[node.id] = kind

        for node in walk(*function.body, into_functions=False):
            if isinstance(node, ast.Name):
                continue  # the most frequent kind of node
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    note(target, self.kind_of(node.value, kinds))
            elif isinstance(node, ast.For):
                note(node.target, JOINT if self.kind_of(node.iter, kinds) == JOINTS else NUMBER)
            elif isinstance(node, ast.Subscript):
                # A dictionary keyed by tuples must not be indexed with a number.
                note(node.value, OTHER if isinstance(node.slice, ast.Tuple) else SEQUENCE)
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute):
                    receiver = node.func.value
                    if node.func.attr in ("add_joint", "add_muscle", "get_walker"):
                        note(receiver, CREATOR)
                    if node.func.attr == "add_muscle":
                        for argument in node.args[:2]:
                            note(argument, JOINT)
                            if isinstance(argument, ast.Subscript) and not isinstance(argument.slice, ast.Tuple):
                                note(argument.value, JOINTS)
                    elif node.func.attr == "append" and node.args:
                        joints = self.kind_of(node.args[0], kinds) == JOINT
                        note(receiver, JOINTS if joints else SEQUENCE)
                else:
                    note(node.func, FUNCTION)
                    if isinstance(node.func, ast.Name) and node.func.id in ("len", "enumerate", "zip", "sum"):
                        for argument in node.args:
                            note(argument, SEQUENCE)
            elif isinstance(node, ast.Return) and node.value is not None:
                self.returns[function.name] = self.kind_of(node.value, kinds)

    def _visit_simple(self, node: ast.stmt, statement: Statement, names: dict[str, str]) -> None:
        for name in ("value", "test", "exc"):
            value = getattr(node, name, None)
            if isinstance(value, ast.expr):
                self._visit_expr(value, node, name, -1, "value", statement, names)

    def _visit_expr(
        self,
        node: ast.expr,
        holder: ast.AST,
        name: str,
        position: int,
        role: str,
        statement: Statement,
        names: dict[str, str],
    ) -> None:
        self.slots.append(Slot(node, holder, name, position, role, statement, names))
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
            for generator in node.generators:
                self._visit_expr(generator.iter, generator, "iter", -1, "value", statement, names)
                joints = self.kind_of(generator.iter, names) == JOINTS
                names = {**names, **{bound: JOINT if joints else NUMBER for bound in bound_names(generator.target)}}
        elif isinstance(node, ast.Attribute) and node.attr == "append" and isinstance(node.value, ast.Name):
            self._filled.add(node.value.id)
        elif isinstance(node, ast.Name) and role == "count" and statement.function is not None:
            for index, argument in enumerate(statement.function.args.args):
                if argument.arg == node.id:
                    self.count_parameters.setdefault(statement.function.name, set()).add(index)
        elif isinstance(node, ast.Lambda):
            names = {**names, **{argument.arg: NUMBER for argument in node.args.args}}
        for child, its_holder, its_name, index, its_role in self._children(node, role):
            self._visit_expr(child, its_holder, its_name, index, its_role, statement, names)

    def _children(self, node: ast.expr, role: str) -> Iterator[tuple[ast.expr, ast.AST, str, int, str]]:
        """Yields the expressions directly below one: each with what holds it, its field, its index there, its role."""
        if isinstance(node, ast.Call):
            yield node.func, node, "func", -1, "callee"
            roles = self._argument_roles(node, role)
            for index, argument in enumerate(node.args):
                yield argument, node, "args", index, roles[index] if index < len(roles) else "argument"
            for keyword in node.keywords:
                yield keyword.value, keyword, "value", -1, _MUSCLE_KEYWORDS.get(keyword.arg or "", "argument")
        elif isinstance(node, ast.BinOp):
            yield node.left, node, "left", -1, role
            yield node.right, node, "right", -1, _RIGHT_ROLES.get(type(node.op), role)
        elif isinstance(node, ast.Subscript):
            yield node.value, node, "value", -1, "value"
            yield node.slice, node, "slice", -1, "index"
        elif isinstance(node, ast.IfExp):
            yield node.body, node, "body", -1, role
            yield node.test, node, "test", -1, "test"
            yield node.orelse, node, "orelse", -1, role
        elif isinstance(node, ast.UnaryOp):
            yield node.operand, node, "operand", -1, role
        else:
            inner = "test" if isinstance(node, (ast.Compare, ast.BoolOp)) else "value"
            for name in node._fields:
                value = getattr(node, name, None)
                if isinstance(value, ast.expr):
                    yield value, node, name, -1, "index" if isinstance(node, ast.Slice) else inner
                elif isinstance(value, list):
                    for index, item in enumerate(value):
                        if isinstance(item, ast.expr):
                            yield item, node, name, index, inner

    def _argument_roles(self, call: ast.Call, role: str) -> tuple[str, ...]:
        if is_call_of(call, "add_joint"):
            return JOINT_ROLES
        if is_call_of(call, "add_muscle"):
            return MUSCLE_ROLES
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name == "range":
            return ("count",) * len(call.args)
        # math.sin(k) in an amplitude is part of it; what a program's own function makes of a number is unknown.
        if isinstance(call.func, ast.Attribute) or name in ("abs", "max", "min"):
            return (role,) * len(call.args)
        counts = self.count_parameters.get(name, ())
        return tuple("count" if index in counts else "argument" for index in range(len(call.args)))


def is_call_of(node: ast.AST | None, method: str) -> bool:
    """Whether a node is a call of the method ``method`` (of whatever object), as in ``wc.add_joint(...)``."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def bound_names(target: ast.AST) -> list[str]:
    """Names that an assignment target, a loop target or an argument list binds."""
    return [node.id for node in walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def used_names(node: ast.AST) -> set[str]:
    """Names read anywhere in a node."""
    return {child.id for child in walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load)}


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else []
