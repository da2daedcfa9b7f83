"""Edits of statements: copied, deleted, swapped, looped, unrolled, guarded.

Edits have the form described in :mod:`elm_rl.mutation.gp.constants`.
"""

from __future__ import annotations

import ast
import copy
import math
from collections import Counter

import numpy as np

from elm_rl.mutation.gp.constants import coarse, new_number, nudge_constant, number_node, number_of, pick
from elm_rl.mutation.gp.parts import fresh_name, parse_statement
from elm_rl.mutation.gp.program_expressions import CREATOR, JOINT, JOINTS, NUMBER, bound_names, is_call_of
from elm_rl.mutation.gp.program_view import ProgramView, Statement

MAX_LOOP_DEPTH = 2
MAX_UNROLLED = 6


def duplicate_statement(view: ProgramView, rng: np.random.Generator) -> bool:
    """Repeats a statement and changes its numbers in the copy."""
    choices = [s for s in view.statements if isinstance(s.node, (ast.Expr, ast.AugAssign, ast.For, ast.If))]
    if not choices:
        return False
    chosen = pick(choices, rng)
    twin = copy.deepcopy(chosen.node)
    inner = ProgramView(ast.Module([twin], []))
    changed = False
    for slot in inner.slots:
        value = number_of(slot.node)
        if value is not None and abs(value) < 1e6 and (not changed or rng.random() < 0.4):
            renewed = new_number(value, slot.role, rng)
            slot.put(number_node(renewed))
            changed = True
    chosen.body.insert(chosen.index + 1, twin)
    return True


def delete_statement(view: ProgramView, rng: np.random.Generator) -> bool:
    """Removes a statement; with a joint go the muscles tied to it."""
    choices = _deletable(view)
    if not choices:
        return False
    chosen = pick(choices, rng)
    names = {name for target in _targets(chosen.node) for name in bound_names(target)}
    doomed = [chosen]
    if names:
        doomed += [
            s for s in view.statements if s.function is chosen.function and s is not chosen and names & view.reads(s)
        ]
        if not all(isinstance(s.node, ast.Expr) for s in doomed[1:]):
            return False
    for statement in doomed:
        statement.body.remove(statement.node)
        _fill(statement.body)
    return True


def swap_statements(view: ProgramView, rng: np.random.Generator) -> bool:
    """Exchanges two neighbouring statements, where the second does not need what the first binds."""
    pairs: list[tuple[list[ast.stmt], int]] = []
    for statement in view.statements:
        other = view.statements[statement.end] if statement.end < len(view.statements) else None
        if other is None or other.body is not statement.body:
            continue
        if isinstance(statement.node, (ast.Import, ast.Return, ast.FunctionDef)):
            continue
        if isinstance(other.node, (ast.Return, ast.FunctionDef)) or view.binds(statement) & view.reads(other):
            continue
        pairs.append((statement.body, statement.index))
    if not pairs:
        return False
    body, at = pick(pairs, rng)
    body[at], body[at + 1] = body[at + 1], body[at]
    return True


def wrap_in_loop(view: ProgramView, rng: np.random.Generator) -> bool:
    """Repeats a statement in a ``for`` loop, with one of its numbers growing with the loop's index."""
    choices = [
        s
        for s in view.statements
        if len(s.loops) < MAX_LOOP_DEPTH and isinstance(s.node, ast.Expr) and isinstance(s.node.value, ast.Call)
    ]
    if not choices:
        return False
    chosen = pick(choices, rng)
    name = fresh_name(view, ("k", "i", "j", "n", "m"))
    inner = ProgramView(view.program, [chosen.node])
    # A muscle repeated between the same two joints is one muscle: there the joints have to move.
    assert isinstance(chosen.node, ast.Expr)
    roles = ("index",) if is_call_of(chosen.node.value, "add_muscle") else ("index", "x", "y", "argument")
    slots = [slot for slot in inner.slots if number_of(slot.node) is not None and slot.role in roles]
    if not slots:
        return False
    slot = pick(slots, rng)
    step: ast.expr = ast.Name(name, ast.Load())
    if slot.role != "index":
        step = ast.BinOp(
            step, ast.Mult(), number_node(coarse(rng.choice((-1.0, 1.0)) * math.exp(rng.normal(0.0, 0.6))))
        )
    slot.put(step if number_of(slot.node) == 0 else ast.BinOp(slot.node, ast.Add(), step))
    header = parse_statement(f"for {name} in range({int(rng.integers(2, 6))}):\n    pass")
    assert isinstance(header, ast.For)
    at = chosen.index
    header.body = [chosen.node]
    chosen.body[at] = header
    return True


def unroll_loop(view: ProgramView, rng: np.random.Generator) -> bool:
    """Writes out a short ``for`` loop over ``range`` and changes a number of one turn."""
    loops: list[tuple[Statement, range]] = []
    for statement in view.statements:
        turns = _turns(statement.node)
        if turns is not None and 0 < len(turns) <= MAX_UNROLLED:
            loops.append((statement, turns))
    if not loops:
        return False
    chosen, turns = pick(loops, rng)
    assert isinstance(chosen.node, ast.For) and isinstance(chosen.node.target, ast.Name)
    written: list[ast.stmt] = []
    for turn in turns:
        put = _Substitute(chosen.node.target.id, turn)
        written += [put.visit(copy.deepcopy(node)) for node in chosen.node.body]
    # The turns written out are the same walker still: one of them is changed at once.
    if not nudge_constant(ProgramView(ast.Module([pick(written, rng)], [])), rng):
        return False
    at = chosen.index
    chosen.body[at : at + 1] = written
    return True


def guard_statement(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a statement of a loop behind ``if k % 2 == 0:`` or the like, or takes such a guard away."""
    guards = [s for s in view.statements if isinstance(s.node, ast.If) and not s.node.orelse]
    bodies = [s for s in view.statements if s.loops and isinstance(s.node, ast.Expr)]
    if guards and rng.random() < 0.3:
        chosen = pick(guards, rng)
        assert isinstance(chosen.node, ast.If)
        at = chosen.index
        chosen.body[at : at + 1] = chosen.node.body
        return True
    if not bodies:
        return False
    chosen = pick(bodies, rng)
    numbers = [name for loop in chosen.loops for name in bound_names(loop.target) if chosen.names.get(name) == NUMBER]
    if not numbers:
        return False
    name = pick(numbers, rng)
    tests = (
        f"{name} % 2 == 0",
        f"{name} % 2 == 1",
        f"{name} > {int(rng.integers(0, 4))}",
        f"{name} < {int(rng.integers(2, 6))}",
    )
    guard = parse_statement(f"if {pick(tests, rng)}:\n    pass")
    assert isinstance(guard, ast.If)
    at = chosen.index
    guard.body = [chosen.node]
    chosen.body[at] = guard
    return True


class _Substitute(ast.NodeTransformer):
    """Writes a number for every use of a name."""

    def __init__(self, name: str, value: int) -> None:
        self._name = name
        self._value = value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == self._name and isinstance(node.ctx, ast.Load):
            return number_node(self._value)
        return node


def _targets(node: ast.stmt) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else []


def _deletable(view: ProgramView) -> list[Statement]:
    """Statements without which a program is likely to run, and to have joints and muscles."""
    readers = Counter(name for statement in view.statements for name in statement.expressions.names.reads)
    makers = sum(statement.expressions.names.makes_muscles for statement in view.statements)
    builders = {
        s.place: s.function
        for s in view.statements
        if isinstance(s.node, ast.Assign) and view.kind_of(s.node.value, s.names) in (JOINTS, JOINT)
    }
    return [s for s in view.statements if _is_deletable(view, s, readers, makers, builders)]


def _is_deletable(
    view: ProgramView,
    statement: Statement,
    readers: Counter[str],
    makers: int,
    builders: dict[int, ast.FunctionDef | None],
) -> bool:
    """Whether one statement is deletable.

    Args:
        view: The program.
        statement: The statement.
        readers: How many statements of the program read each name.
        makers: How many statements of the program make muscles.
        builders: The function of each statement that gives a name to joints, by the statement's place.
    """
    node = statement.node
    if isinstance(node, ast.FunctionDef):
        return node.name != "make_walker" and node.name not in readers
    if not isinstance(node, (ast.Expr, ast.If, ast.For, ast.AugAssign, ast.Assign)):
        return False
    inside = view.inside(statement)
    if makers == sum(inner.expressions.names.makes_muscles for inner in inside):
        return False
    if isinstance(node, ast.Assign) and is_call_of(node.value, "add_joint"):
        return True
    if isinstance(node, ast.Assign) and view.kind_of(node.value, statement.names) in (JOINTS, CREATOR):
        places = [place for place, function in builders.items() if function is statement.function]
        if not any(place != statement.place for place in places):
            return False
    elif isinstance(node, ast.AugAssign):
        return True
    return not any(
        readers[name] > sum(name in inner.expressions.names.reads for inner in inside) for name in view.binds(statement)
    )


def _fill(body: list[ast.stmt]) -> None:
    if not body:
        body.append(ast.Pass())


def _turns(node: ast.stmt) -> range | None:
    """The turns of ``for k in range(<literals>)``; None for any other statement."""
    if not isinstance(node, ast.For) or not isinstance(node.target, ast.Name) or node.orelse:
        return None
    call = node.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
        return None
    bounds = [number_of(argument) for argument in call.args]
    if not 1 <= len(bounds) <= 3 or not all(isinstance(b, int) and abs(b) < 1000 for b in bounds) or bounds[2:] == [0]:
        return None
    return range(*[int(b) for b in bounds if b is not None])
