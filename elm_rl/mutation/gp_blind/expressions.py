"""Edits inside expressions: subtrees, numbers, operators and names, whatever they are for.

Edits have the form described in :mod:`elm_rl.mutation.gp.constants`.
"""

from __future__ import annotations

import ast
import copy

import numpy as np

from elm_rl.mutation.gp.constants import new_number, number_node, number_of, pick
from elm_rl.mutation.gp.program_expressions import FUNCTION, Place
from elm_rl.mutation.gp.program_tree import walk
from elm_rl.mutation.gp.program_view import ProgramView, Slot, Statement
from elm_rl.mutation.gp_blind.growth import ARITHMETIC, COMPARISONS, grow, grow_comparison, in_reach, is_call, variables

_LARGE = 1e6
_NOT_FREE = (ast.Starred, ast.Slice, ast.FormattedValue, ast.JoinedStr)


def is_subtree(place: Place) -> bool:
    """Whether another expression may stand in a place: not before a dot or a call's brackets, nor in an f-string."""
    return (
        place.role != "callee"
        and not isinstance(place.holder, (ast.Attribute, ast.JoinedStr, ast.FormattedValue))
        and not isinstance(place.node, _NOT_FREE)
    )


def is_whole_statement(slot: Slot) -> bool:
    """Whether an expression is all that its statement consists of, so that a value in its place would do nothing."""
    return isinstance(slot.statement.node, ast.Expr) and slot.holder is slot.statement.node


def replace_subtree(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a newly grown expression in place of one."""
    slot = view.draw(is_subtree, rng)
    if slot is None or is_whole_statement(slot):
        return False
    if isinstance(slot.node, (ast.Compare, ast.BoolOp)):
        slot.put(grow_comparison(view, slot.names, rng))
    else:
        slot.put(grow(view, slot.names, rng))
    return True


def hoist_subtree(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a part of an expression in place of the whole, which keeps programs from growing without end."""
    slot = view.draw(_has_parts, rng)
    if slot is None or is_whole_statement(slot):
        return False
    parts = [node for node in walk(slot.node) if node is not slot.node and _may_stand_alone(node, slot)]
    if not parts:
        return False
    part = pick(parts, rng)
    assert isinstance(part, ast.expr)
    slot.put(copy.deepcopy(part))
    return True


def change_constant(view: ProgramView, rng: np.random.Generator) -> bool:
    """Changes a number, or turns True into False."""
    slot = view.draw(_is_constant, rng)
    if slot is None:
        return False
    value = number_of(slot.node)
    if value is None:
        assert isinstance(slot.node, ast.Constant)
        slot.put(ast.Constant(not slot.node.value))
    else:
        # "value" is what gp calls an expression of which it knows nothing.
        slot.put(number_node(new_number(value, "value", rng)))
    return True


def change_operator(view: ProgramView, rng: np.random.Generator) -> bool:
    """Changes one arithmetic, comparison or boolean operator, or drops a minus or a not."""
    places: list[Slot | Statement] = [*view.find(_has_operator)]
    places += [statement for statement in view.statements if isinstance(statement.node, ast.AugAssign)]
    if not places:
        return False
    place = pick(places, rng)
    statement = place.statement if isinstance(place, Slot) else place
    node = place.node
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        statement.change(node, "op", pick([op for op in ARITHMETIC if not isinstance(node.op, op)], rng)())
    elif isinstance(node, ast.Compare):
        at = int(rng.integers(len(node.ops)))
        other = pick([op for op in COMPARISONS if not isinstance(node.ops[at], op)], rng)()
        statement.change(node, "ops", [*node.ops[:at], other, *node.ops[at + 1 :]])
    elif isinstance(node, ast.BoolOp):
        statement.change(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(place, Slot) and isinstance(node, ast.UnaryOp):
        place.put(node.operand)
    return True


def change_name(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts another name in reach in place of one: of a function for a function, of anything else for anything else."""
    slot = view.draw(_is_name, rng)
    if slot is None:
        return False
    assert isinstance(slot.node, ast.Name)
    name = slot.node.id
    if isinstance(slot.holder, ast.Attribute) and name not in slot.names:
        return False  # a module
    if slot.names.get(name) == FUNCTION:
        others = [other for other, kind in slot.names.items() if kind == FUNCTION and other != name]
    else:
        others = [other for other in variables(slot.names) if other != name]
    if not others:
        return False
    slot.put(ast.Name(pick(others, rng), ast.Load()))
    return True


def change_call(view: ProgramView, rng: np.random.Generator) -> bool:
    """Calls something else that the program calls elsewhere with as many arguments."""
    slot = view.draw(is_call, rng)
    if slot is None:
        return False
    assert isinstance(slot.node, ast.Call)
    written = ast.dump(slot.node.func)
    callees: dict[str, ast.expr] = {}
    for other in view.find(is_call):
        assert isinstance(other.node, ast.Call)
        if len(other.node.args) == len(slot.node.args) and in_reach(other.node.func, other, slot.names):
            callees.setdefault(ast.dump(other.node.func), other.node.func)
    callees.pop(written, None)
    if not callees:
        return False
    slot.statement.change(slot.node, "func", copy.deepcopy(pick(list(callees.values()), rng)))
    return True


def _may_stand_alone(node: ast.AST, slot: Slot) -> bool:
    if not isinstance(node, ast.expr) or isinstance(node, _NOT_FREE):
        return False
    if isinstance(node, ast.Name):
        # Not what comprehensions bind, nor modules, nor functions.
        return isinstance(node.ctx, ast.Load) and slot.names.get(node.id, FUNCTION) != FUNCTION
    return isinstance(node, (ast.Constant, ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript, ast.Compare, ast.IfExp))


def _has_parts(place: Place) -> bool:
    return is_subtree(place) and isinstance(
        place.node, (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Subscript)
    )


def _is_constant(place: Place) -> bool:
    node = place.node
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return True
    if isinstance(place.holder, ast.UnaryOp) and isinstance(place.holder.op, ast.USub):
        return False  # it is a number with its sign
    value = number_of(node)
    return value is not None and abs(value) < _LARGE


def _has_operator(place: Place) -> bool:
    node = place.node
    return isinstance(node, (ast.BinOp, ast.Compare, ast.BoolOp)) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)) and number_of(node) is None
    )


def _is_name(place: Place) -> bool:
    return isinstance(place.node, ast.Name)
