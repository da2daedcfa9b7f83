"""Random expressions and statements, grown from what a program itself has: its names, and the calls that it makes.

Terminals are the names in reach and numbers; functions are Python's operators and whatever the program calls, with as many
arguments as it is given there. What any of them stands for is not known.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

import numpy as np

from elm_rl.mutation.gp.constants import coarse, number_node, pick
from elm_rl.mutation.gp.parts import fresh_name
from elm_rl.mutation.gp.program_expressions import FUNCTION, Place
from elm_rl.mutation.gp.program_view import ProgramView, Slot, Statement

MAX_DEPTH = 2
"""How deep a grown expression is at most: ``a + f(b * 2)`` has depth 3."""
ARITHMETIC: tuple[type[ast.operator], ...] = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
COMPARISONS: tuple[type[ast.cmpop], ...] = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_FRESH_NAMES = tuple("abcdefghijkmnpqrstuvwxyz")


def variables(names: Mapping[str, str]) -> list[str]:
    """Those of the names in reach that are not called anywhere."""
    return [name for name, kind in names.items() if kind != FUNCTION]


def is_call(place: Place) -> bool:
    """Whether an expression is a call with plain arguments."""
    node = place.node
    return (
        isinstance(node, ast.Call)
        and not node.keywords
        and not any(isinstance(argument, ast.Starred) for argument in node.args)
    )


def root_of(callee: ast.expr) -> str:
    """The name that a called expression begins with; empty if it begins with none."""
    while isinstance(callee, (ast.Attribute, ast.Subscript)):
        callee = callee.value
    return callee.id if isinstance(callee, ast.Name) else ""


def in_reach(callee: ast.expr, its: Slot, names: Mapping[str, str]) -> bool:
    """Whether what is called in one place can be named in another: a local name there may be unknown here."""
    root = root_of(callee)
    return bool(root) and (root in names or root not in its.names)


def number(rng: np.random.Generator) -> ast.expr:
    """Draws a small number: whole as often as not."""
    if rng.random() < 0.5:
        return number_node(int(rng.integers(0, 11)))
    return number_node(coarse(rng.normal(0.0, 4.0)))


def grow(view: ProgramView, names: Mapping[str, str], rng: np.random.Generator, depth: int = MAX_DEPTH) -> ast.expr:
    """Grows an expression.

    Args:
        view: The program that lends its calls.
        names: Names in reach where the expression will stand.
        rng: Source of all randomness.
        depth: How deep it may be; 0 for a name or a number.

    Returns:
        A tree that shares no node with the program.
    """
    if depth == 0 or rng.random() < 0.4:
        free = variables(names)
        return ast.Name(pick(free, rng), ast.Load()) if free and rng.random() < 0.6 else number(rng)
    choice = rng.random()
    if choice < 0.3:
        called = _grow_call(view, names, rng, depth)
        if called is not None:
            return called
    elif choice < 0.35:
        return ast.UnaryOp(ast.USub(), grow(view, names, rng, depth - 1))
    elif choice < 0.42:
        return grow_comparison(view, names, rng, depth)
    operator = pick(ARITHMETIC, rng)()
    return ast.BinOp(grow(view, names, rng, depth - 1), operator, grow(view, names, rng, depth - 1))


def grow_comparison(
    view: ProgramView, names: Mapping[str, str], rng: np.random.Generator, depth: int = MAX_DEPTH
) -> ast.expr:
    """Grows a comparison of two expressions."""
    operator = pick(COMPARISONS, rng)()
    return ast.Compare(grow(view, names, rng, depth - 1), [operator], [grow(view, names, rng, depth - 1)])


def grow_statement(view: ProgramView, before: Statement, rng: np.random.Generator, depth: int = 1) -> ast.stmt:
    """Grows a statement: an assignment, a call, a loop or a condition.

    Args:
        view: The program.
        before: The statement before which it will stand.
        rng: Source of all randomness.
        depth: How many loops and conditions may be around what it does.
    """
    choice = rng.random()
    if choice < 0.4:
        called = _grow_call(view, before.names, rng, MAX_DEPTH)
        if called is not None:
            return ast.Expr(called)
    elif choice < 0.7 and depth > 0:
        body = [grow_statement(view, before, rng, depth - 1)]
        if choice < 0.55:
            return ast.If(grow_comparison(view, before.names, rng), body, [])
        turns = ast.Call(ast.Name("range", ast.Load()), [ast.Constant(int(rng.integers(2, 6)))], [])
        return ast.For(ast.Name(fresh_name(view, _FRESH_NAMES), ast.Store()), turns, body, [], lineno=1)
    free = variables(before.names)
    name = pick(free, rng) if free and rng.random() < 0.5 else fresh_name(view, _FRESH_NAMES)
    return ast.Assign([ast.Name(name, ast.Store())], grow(view, before.names, rng), lineno=1)


def _grow_call(view: ProgramView, names: Mapping[str, str], rng: np.random.Generator, depth: int) -> ast.Call | None:
    """Calls with other arguments what the program calls somewhere; None where nothing of that is in reach."""
    slot = view.draw(is_call, rng)
    if slot is None:
        return None
    assert isinstance(slot.node, ast.Call)
    if not in_reach(slot.node.func, slot, names):
        return None
    arguments = [grow(view, names, rng, depth - 1) for _ in slot.node.args]
    return ast.Call(copy.deepcopy(slot.node.func), arguments, [])
