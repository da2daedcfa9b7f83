"""Edits that make a walker grow: muscles, joints and whole parts added where they are tied to what is there.

Edits have the form described in :mod:`elm_rl.mutation.gp.constants`. New statements are written as source text and
parsed, which keeps them readable here.
"""

from __future__ import annotations

import ast
import copy

import numpy as np

from elm_rl.mutation.gp.constants import coarse, number_node, number_of, pick
from elm_rl.mutation.gp.expressions import amplitude_source, joint_source, phase_source
from elm_rl.mutation.gp.program_expressions import CREATOR, JOINT, JOINTS, NUMBER, bound_names, is_call_of
from elm_rl.mutation.gp.program_view import ProgramView, Statement

_JOINT_NAMES = tuple("abcdefghmnpqrstuv")


def insert_muscle(view: ProgramView, rng: np.random.Generator) -> bool:
    """Adds a muscle between two joints that are in reach; in a loop over joints, a muscle at each."""
    places = [
        s
        for s in _insertion_points(view)
        if len(s.loops) < 2 and any(kind in (JOINT, JOINTS) for kind in s.names.values())
    ]
    if not places:
        return False
    place = pick(places, rng)
    ends = [joint_source(place.names, rng), joint_source(place.names, rng)]
    lists = [name for name, kind in place.names.items() if kind == JOINTS]
    if place.loops and lists:
        indices = [name for name in bound_names(place.loops[-1].target) if place.names.get(name) == NUMBER]
        ends[0] = f"{pick(lists, rng)}[{indices[0]}]" if indices else ends[0]
    if ends[0] is None or ends[1] is None or ends[0] == ends[1]:
        return False
    place.body.insert(place.index, parse_statement(_muscle_source(place, ends[0], ends[1], rng)))
    return True


def insert_joint(view: ProgramView, rng: np.random.Generator) -> bool:
    """Adds a joint and ties it with two or three muscles to joints that are in reach (a loose one counts for nothing)."""
    places = [
        s for s in _insertion_points(view) if not s.loops and any(kind in (JOINT, JOINTS) for kind in s.names.values())
    ]
    if not places:
        return False
    place = pick(places, rng)
    name = fresh_name(view, _JOINT_NAMES)
    ends = {joint_source(place.names, rng) for _ in range(int(rng.integers(2, 5)))} - {None}
    x, y = coarse(rng.uniform(-2.0, 14.0)), coarse(rng.uniform(0.0, 16.0))
    lines = [f"{name} = {_creator(place)}.add_joint({x}, {y})"]
    lines += [_muscle_source(place, name, end, rng) for end in sorted(str(end) for end in ends)]
    at = place.index
    place.body[at:at] = [parse_statement(line) for line in lines]
    return True


def duplicate_part(view: ProgramView, rng: np.random.Generator) -> bool:
    """Builds a second part of a kind the program has (``rim = make_circle(...)``), elsewhere, tied to the first."""
    parts = [
        s
        for s in view.statements
        if isinstance(s.node, ast.Assign)
        and isinstance(s.node.targets[0], ast.Name)
        and isinstance(s.node.value, ast.Call)
        and view.kind_of(s.node.value, s.names) in (JOINT, JOINTS)
        and not s.loops
    ]
    if not parts:
        return False
    part = pick(parts, rng)
    assert isinstance(part.node, ast.Assign) and isinstance(part.node.targets[0], ast.Name)
    old = part.node.targets[0].id
    new = fresh_name(view, _JOINT_NAMES if is_call_of(part.node.value, "add_joint") else tuple("ijklop"))
    twin = copy.deepcopy(part.node)
    assert isinstance(twin.targets[0], ast.Name) and isinstance(twin.value, ast.Call)
    twin.targets[0].id = new
    _move_numbers(view, twin.value, rng)
    one = is_call_of(twin.value, "add_joint")
    ties: list[str] = []
    for _ in range(int(rng.integers(2, 4))):
        end = new if one else f"{new}[{int(rng.integers(0, 4))}]"
        other = joint_source(part.names, rng) if one else f"{old}[{int(rng.integers(0, 4))}]"
        if other is not None:
            ties.append(_muscle_source(part, end, other, rng))
    if not ties:
        ties.append(_muscle_source(part, new if one else f"{new}[0]", old if one else f"{old}[0]", rng))
    at = part.index + 1
    part.body[at:at] = [twin, *(parse_statement(line) for line in dict.fromkeys(ties))]
    return True


def parse_statement(source: str) -> ast.stmt:
    """Parses the text of one statement."""
    return ast.parse(source).body[0]


def fresh_name(view: ProgramView, names: tuple[str, ...]) -> str:
    """The first of some short names that the program does not use, or a numbered one."""
    taken = view.mentions()
    number = 1
    for name in names:
        if name not in taken:
            return name
    while f"{names[0]}{number}" in taken:
        number += 1
    return f"{names[0]}{number}"


def _insertion_points(view: ProgramView) -> list[Statement]:
    """Statements of functions before which another may stand: a creator is in reach there."""
    return [s for s in view.statements if s.function is not None and CREATOR in s.names.values()]


def _creator(place: Statement) -> str:
    return next(name for name, kind in place.names.items() if kind == CREATOR)


def _muscle_source(place: Statement, a: str, b: str, rng: np.random.Generator) -> str:
    creator = next((name for name, kind in place.names.items() if kind == CREATOR), "wc")
    if rng.random() < 0.4:
        return f"{creator}.add_muscle({a}, {b})"
    amplitude, phase = amplitude_source(place.names, rng), phase_source(place.names, rng)
    return f"{creator}.add_muscle({a}, {b}, False, {amplitude}, {phase})"


def _move_numbers(view: ProgramView, call: ast.Call, rng: np.random.Generator) -> None:
    """Changes some of the numbers a part is built from, so that its twin does not lie on top of it."""
    counts = view.count_parameters.get(call.func.id, ()) if isinstance(call.func, ast.Name) else ()
    moved = 0
    for place, argument in enumerate(call.args):
        value = number_of(argument)
        if value is None:
            continue
        if place in counts:
            call.args[place] = number_node(max(int(value) + int(rng.integers(-1, 2)), 1))
        elif moved < 2:
            shifted = coarse(value + float(rng.normal(0.0, 4.0)))
            whole = isinstance(value, int) and rng.random() < 0.5
            call.args[place] = number_node(int(shifted) if whole else shifted)
            moved += 1
