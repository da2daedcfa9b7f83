"""Crossover: a function, a statement or an expression of one program in another.

The receiving program is edited in place; the giving one is a tree of its own, which is used up. Every crossover has the form
``(receiver, giver, rng) -> bool`` and says whether it did anything.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping

import numpy as np

from elm_rl.mutation.gp.constants import pick
from elm_rl.mutation.gp.program_expressions import FUNCTION, bound_names, used_names
from elm_rl.mutation.gp.program_tree import walk
from elm_rl.mutation.gp.program_view import ProgramView
from elm_rl.mutation.gp_blind.expressions import is_subtree, is_whole_statement
from elm_rl.mutation.gp_blind.growth import number, variables
from elm_rl.mutation.gp_blind.statements import movable


def cross_functions(receiver: ProgramView, giver: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a function of the giver in place of one of the receiver that takes as many arguments, under the latter's name.

    What it needs of the giver's functions, imports and other names comes with it, where the receiver has nothing of that name.
    """
    pairs = [
        (old, new)
        for old in _functions(receiver)
        for new in _functions(giver)
        if len(old.args.args) == len(new.args.args) and (old.name == new.name or old.args.args)
    ]
    if not pairs:
        return False
    old, new = pick(pairs, rng)
    body = receiver.tree.body
    given = _module_names(giver.tree)
    present = {*_module_names(receiver.tree), new.name}
    needed: list[ast.stmt] = []
    wanted: list[ast.stmt] = [new]
    for node in wanted:  # grows on the way
        for name in sorted(used_names(node)):
            if name in given and name not in present:
                present.update(_names_of(given[name]))
                needed.append(given[name])
                wanted.append(given[name])
    at = next(index for index, node in enumerate(body) if node is old)
    new.name = old.name
    order = {id(node): index for index, node in enumerate(giver.tree.body)}
    body[at : at + 1] = [*sorted(needed, key=lambda node: order[id(node)]), new]
    return True


def cross_statements(receiver: ProgramView, giver: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a statement of the giver in place of one of the receiver, or before one."""
    pieces = [s for s in movable(giver) if s.function is not None]
    places = [s for s in receiver.statements if s.function is not None]
    if not pieces or not places:
        return False
    piece, place = pick(pieces, rng), pick(places, rng)
    _rename(piece.node, piece.names, place.names, rng)
    replaced = place in movable(receiver) and rng.random() < 0.5
    place.body[place.index : place.index + replaced] = [piece.node]
    return True


def cross_expressions(receiver: ProgramView, giver: ProgramView, rng: np.random.Generator) -> bool:
    """Puts an expression of the giver in place of one of the receiver."""
    place, piece = receiver.draw(is_subtree, rng), giver.draw(is_subtree, rng)
    if place is None or piece is None or is_whole_statement(place):
        return False
    whole = ast.Expr(piece.node)  # a name by itself needs something to hold it
    _rename(whole, piece.names, place.names, rng)
    place.put(whole.value)
    return True


def _functions(view: ProgramView) -> list[ast.FunctionDef]:
    return [node for node in view.tree.body if isinstance(node, ast.FunctionDef)]


def _module_names(tree: ast.Module) -> dict[str, ast.stmt]:
    """The statement that binds each name at module level."""
    return {name: node for node in tree.body for name in _names_of(node)}


def _names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    return [name for target in getattr(node, "targets", []) for name in bound_names(target)]


def _rename(piece: ast.stmt, there: Mapping[str, str], here: Mapping[str, str], rng: np.random.Generator) -> None:
    """Puts names in reach here in place of those that only the giver has, each the same one throughout.

    Args:
        piece: What is given.
        there: Names in reach where it comes from.
        here: Names in reach where it goes to.
        rng: Source of all randomness.
    """
    own = set(bound_names(piece))
    new: dict[str, ast.expr] = {}
    for node in walk(piece):
        if not isinstance(node, ast.Name) or node.id in own or node.id in here or node.id not in there:
            continue
        if node.id not in new:
            is_function = there[node.id] == FUNCTION
            names = [name for name, kind in here.items() if kind == FUNCTION] if is_function else variables(here)
            new[node.id] = ast.Name(pick(names, rng), ast.Load()) if names else number(rng)
    _Substitute(new).visit(piece)


class _Substitute(ast.NodeTransformer):
    """Writes other expressions for names that are read."""

    def __init__(self, new: Mapping[str, ast.expr]) -> None:
        self._new = new

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._new and isinstance(node.ctx, ast.Load):
            return copy.deepcopy(self._new[node.id])
        return node
