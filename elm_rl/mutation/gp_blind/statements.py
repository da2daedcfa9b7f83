"""Edits of statements: deleted, copied, exchanged, newly grown.

Edits have the form described in :mod:`elm_rl.mutation.gp.constants`.
"""

from __future__ import annotations

import ast
import copy

import numpy as np

from elm_rl.mutation.gp.constants import pick
from elm_rl.mutation.gp.program_view import ProgramView, Statement
from elm_rl.mutation.gp_blind.growth import grow_statement

# Without a definition, an import or the return of a function there is mostly no program left, whatever it is about.
_LEFT_ALONE = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
    ast.Return,
    ast.Global,
    ast.Nonlocal,
)


def movable(view: ProgramView) -> list[Statement]:
    """The statements that may be taken away, copied and exchanged."""
    return [statement for statement in view.statements if not isinstance(statement.node, _LEFT_ALONE)]


def delete_statement(view: ProgramView, rng: np.random.Generator) -> bool:
    """Removes a statement and what is inside it."""
    choices = [s for s in movable(view) if not isinstance(s.node, ast.Pass) or len(s.body) > 1]
    if not choices:
        return False
    chosen = pick(choices, rng)
    del chosen.body[chosen.index]
    if not chosen.body:
        chosen.body.append(ast.Pass())
    return True


def duplicate_statement(view: ProgramView, rng: np.random.Generator) -> bool:
    """Copies a statement to another place in its function."""
    choices = movable(view)
    if not choices:
        return False
    chosen = pick(choices, rng)
    places = [s for s in view.statements if s.function is chosen.function]
    place = pick(places, rng)
    place.body.insert(place.index, copy.deepcopy(chosen.node))
    return True


def swap_statements(view: ProgramView, rng: np.random.Generator) -> bool:
    """Exchanges two statements of one block."""
    choices = movable(view)
    if not choices:
        return False
    chosen = pick(choices, rng)
    others = [s for s in choices if s.body is chosen.body and s is not chosen]
    if not others:
        return False
    body, here, there = chosen.body, chosen.index, pick(others, rng).index
    body[here], body[there] = body[there], body[here]
    return True


def insert_statement(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a newly grown statement before one of a function."""
    places = [s for s in view.statements if s.function is not None]
    if not places:
        return False
    place = pick(places, rng)
    place.body.insert(place.index, grow_statement(view, place, rng))
    return True
