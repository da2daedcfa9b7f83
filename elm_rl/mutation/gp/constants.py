"""Edits of numbers, and the numbers that edits put in their place.

Every edit takes a :class:`ProgramView` and a generator, changes the tree in place and says whether it did. It returns
False and changes nothing when the program offers nothing of its kind.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from elm_rl.mutation.gp.program_expressions import Place
from elm_rl.mutation.gp.program_view import ProgramView, Slot

T = TypeVar("T")

# Where a float is likely to be a runtime error (a negative number to a fractional power is complex).
INTEGER_ROLES = frozenset({"count", "index", "modulus", "exponent"})
# Where an integer is more likely a count handed to a function of the program than a length.
_KEEP_INTEGER_ROLES = frozenset({"argument", "value", "test"})


def pick(items: Sequence[T], rng: np.random.Generator) -> T:
    """Draws one item, all equally likely."""
    return items[int(rng.integers(len(items)))]


def number_of(node: ast.expr) -> float | int | None:
    """The value of a numeric literal with its sign; None for anything else."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return sign * node.value
    return None


def number_node(value: float | int) -> ast.expr:
    """Writes a number as a literal, a negative one as a negated literal (which is how Python parses it)."""
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def coarse(value: float) -> float:
    """Rounds a new number to one decimal, or two significant digits when it is small.

    New numbers are coarse on purpose: walkers do not need finer ones, and lines that many programs share are what the
    language models learn from.
    """
    if not math.isfinite(value) or abs(value) > 1e6:
        return 1.0
    value = float(value)  # numpy's floats do not print as plain numbers
    return round(value, 1) if abs(value) >= 1 else float(f"{value:.2g}")


def new_number(value: float | int, role: str, rng: np.random.Generator) -> float | int:
    """Draws a number to replace another of a given role (see :class:`~elm_rl.mutation.gp.program_view.Slot`)."""
    if role in INTEGER_ROLES or (isinstance(value, int) and role in _KEEP_INTEGER_ROLES and rng.random() < 0.85):
        return _new_integer(int(value) if math.isfinite(value) else 1, role, rng)
    choice = rng.random()
    if role == "phase" and choice < 0.35:
        return coarse(rng.uniform(0.0, 2.0 * math.pi))
    if choice < 0.45:
        return coarse(value * math.exp(rng.normal(0.0, 0.4)))
    if choice < 0.85:
        return coarse(value + rng.normal(0.0, 0.5 + 0.2 * min(abs(value), 20.0)))
    if choice < 0.90:
        return -value
    if role == "amplitude":
        return coarse(rng.uniform(0.0, 4.0))
    return coarse(rng.uniform(-2.0, 12.0)) if role in ("x", "y") else coarse(rng.normal(0.0, 3.0))


def _new_integer(value: int, role: str, rng: np.random.Generator) -> int:
    if role == "exponent":
        return int(rng.integers(1, 4))
    if rng.random() < 0.8 and abs(value) < 1000:
        step = 1 if rng.random() < 0.7 else 2
        value = value + step if rng.random() < 0.5 else value - step
    elif role == "index":
        return int(rng.integers(-2, 7))
    else:
        value = int(rng.integers(1, 12))
    if role in ("count", "modulus"):
        return max(value, 1)
    return value


def nudge_constant(view: ProgramView, rng: np.random.Generator) -> bool:
    """Changes one number, by an amount that suits what it is for."""
    slot = view.draw(_is_whole_number, rng)
    return slot is not None and _renew(slot, rng)


def nudge_statement_constants(view: ProgramView, rng: np.random.Generator) -> bool:
    """Changes every number of one statement."""
    slots = view.find(_is_whole_number)
    if not slots:
        return False
    chosen = pick(slots, rng).statement.node
    return any([_renew(slot, rng) for slot in slots if slot.statement.node is chosen])


def scale_role(view: ProgramView, rng: np.random.Generator) -> bool:
    """Scales or shifts all numbers of one role at once: a wider, a taller, a livelier walker."""
    slots = view.find(_is_scalable)
    if not slots:
        return False
    role = pick(slots, rng).role
    factor = math.exp(rng.normal(0.0, 0.4)) if role != "phase" and rng.random() < 0.7 else 1.0
    shift = 0.0 if factor != 1.0 else float(rng.normal(0.0, 1.5))
    changed = False
    for slot in slots:
        value = number_of(slot.node)
        if slot.role == role and value is not None and abs(value) < 1e6:
            renewed = coarse(value * factor + shift)
            if renewed != value:
                slot.put(number_node(renewed))
                changed = True
    return changed


def _is_scalable(place: Place) -> bool:
    return place.role in ("x", "y", "amplitude", "phase") and _is_whole_number(place)


def _renew(slot: Slot, rng: np.random.Generator) -> bool:
    value = number_of(slot.node)
    assert value is not None
    if abs(value) > 1e6:
        return False
    renewed = new_number(value, slot.role, rng)
    if renewed == value:
        return False
    slot.put(number_node(renewed))
    return True


def _is_whole_number(place: Place) -> bool:
    # The literal inside a negated literal is a place of its own; the sign belongs to the number.
    if number_of(place.node) is None:
        return False
    return not (isinstance(place.holder, ast.UnaryOp) and number_of(place.holder) is not None)
