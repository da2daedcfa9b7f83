"""Edits inside expressions: operators, names, functions, the arguments of ``add_muscle``.

Edits have the form described in :mod:`elm_rl.mutation.gp.constants`.
"""

from __future__ import annotations

import ast
import math

import numpy as np

from elm_rl.mutation.gp.constants import INTEGER_ROLES, coarse, new_number, number_node, number_of, pick
from elm_rl.mutation.gp.program_expressions import FUNCTION, JOINT, JOINTS, NUMBER, Place, is_call_of
from elm_rl.mutation.gp.program_tree import walk
from elm_rl.mutation.gp.program_view import ProgramView, Slot

_ARITHMETIC: tuple[type[ast.operator], ...] = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_COMPARISONS: tuple[type[ast.cmpop], ...] = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_FUNCTION_SWAPS = {
    "sin": ("cos", "cos", "tanh"),
    "cos": ("sin", "sin", "tanh"),
    "tan": ("sin", "cos"),
    "tanh": ("sin", "cos"),
    "sqrt": ("sin", "exp"),
    "exp": ("sqrt", "sin"),
    "max": ("min",),
    "min": ("max",),
    "abs": ("float",),
    "float": ("abs",),
}


def change_operator(view: ProgramView, rng: np.random.Generator) -> bool:
    """Changes one arithmetic, comparison or boolean operator, or drops a minus."""
    slot = view.draw(_has_operator, rng)
    if slot is None:
        return False
    node, change = slot.node, slot.statement.change
    if isinstance(node, ast.BinOp):
        # Division gives floats, which nothing can be indexed or counted with.
        options: tuple[type[ast.operator], ...] = _ARITHMETIC
        if slot.role in INTEGER_ROLES:
            options = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
        change(node, "op", pick([op for op in options if not isinstance(node.op, op)], rng)())
    elif isinstance(node, ast.Compare):
        place = int(rng.integers(len(node.ops)))
        other = pick([op for op in _COMPARISONS if not isinstance(node.ops[place], op)], rng)()
        change(node, "ops", [*node.ops[:place], other, *node.ops[place + 1 :]])
    elif isinstance(node, ast.BoolOp):
        change(node, "op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp):
        slot.put(node.operand)
    return True


def change_name(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts another name of the same kind in place of one: a number, a joint, a list of joints, a function."""
    options: list[tuple[Slot, list[str]]] = []
    for slot in view.find(_is_name):
        if isinstance(slot.node, ast.Name):
            kind = slot.names.get(slot.node.id)
            if kind in (NUMBER, JOINT, JOINTS, FUNCTION):
                others = [name for name, its in slot.names.items() if its == kind]
                others = [name for name in others if name not in (slot.node.id, "make_walker")]
                if others:
                    options.append((slot, others))
    if not options:
        return False
    slot, others = pick(options, rng)
    slot.put(ast.Name(pick(others, rng), ast.Load()))
    return True


def change_function(view: ProgramView, rng: np.random.Generator) -> bool:
    """Swaps a mathematical function for another: ``math.sin`` for ``math.cos``, ``max`` for ``min``."""
    slot = view.draw(_is_swappable, rng)
    if slot is None:
        return False
    name = pick(_FUNCTION_SWAPS[_function_name(slot.node)], rng)
    slot.statement.change(slot.node, "attr" if isinstance(slot.node, ast.Attribute) else "id", name)
    return True


def change_joint(view: ProgramView, rng: np.random.Generator) -> bool:
    """Ties one end of a muscle to another joint."""
    slot = view.draw(_is_joint, rng)
    if slot is None:
        return False
    source = joint_source(slot.names, rng)
    if source is None or source == ast.unparse(slot.node):
        return False
    slot.put(ast.parse(source, mode="eval").body)
    return True


def change_muscle(view: ProgramView, rng: np.random.Generator) -> bool:
    """Makes a plain muscle active or an active one plain, or gives it another amplitude or phase."""
    slot = view.draw(_is_muscle, rng)
    if slot is None:
        return False
    call = slot.node
    assert isinstance(call, ast.Call)
    if call.keywords or not 2 <= len(call.args) <= 5:
        return False
    args = call.args
    active = len(args) > 2 and not (isinstance(args[2], ast.Constant) and args[2].value is True)
    if not active or len(args) < 5:
        kept = args[:3] if active else [*args[:2], ast.Constant(False)]
        amplitude, phase = amplitude_source(slot.names, rng), phase_source(slot.names, rng)
        args = [*kept, _expression(amplitude), _expression(phase)]
    elif rng.random() < 0.25:
        args = args[:2]
    elif rng.random() < 0.5:
        args = [*args[:3], _expression(amplitude_source(slot.names, rng)), args[4]]
    else:
        args = [*args[:4], _expression(phase_source(slot.names, rng))]
    slot.statement.change(call, "args", args)
    return True


def constant_to_name(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a name in place of a number, or a number in place of a name."""
    options: list[Slot] = []
    for slot in view.find(_is_name_or_number):
        if number_of(slot.node) is not None:
            if slot.role != "exponent" and any(kind == NUMBER for kind in slot.names.values()):
                options.append(slot)
        elif isinstance(slot.node, ast.Name) and slot.names.get(slot.node.id) == NUMBER and slot.role != "callee":
            options.append(slot)
    if not options:
        return False
    slot = pick(options, rng)
    if isinstance(slot.node, ast.Name):
        slot.put(number_node(new_number(2, slot.role, rng)))
    else:
        names = [name for name, kind in slot.names.items() if kind == NUMBER]
        slot.put(ast.Name(pick(names, rng), ast.Load()))
    return True


def wrap_expression(view: ProgramView, rng: np.random.Generator) -> bool:
    """Grows one arithmetic expression: ``e`` becomes ``e * 1.5``, ``e + k``, ``abs(e)`` or ``math.sin(e)``."""
    slots = [slot for slot in _arithmetic_slots(view) if slot.role not in ("exponent", "modulus")]
    if not slots:
        return False
    slot = pick(slots, rng)
    numbers = [name for name, kind in slot.names.items() if kind == NUMBER]
    if numbers and rng.random() < 0.4:
        other: ast.expr = ast.Name(pick(numbers, rng), ast.Load())
    elif slot.role in INTEGER_ROLES:
        other = ast.Constant(int(rng.integers(1, 4)))
    else:
        other = ast.Constant(coarse(math.exp(rng.normal(0.0, 0.5))))
    choice = rng.random()
    if choice < 0.45 and slot.role not in INTEGER_ROLES:
        slot.put(ast.BinOp(slot.node, ast.Mult(), other))
    elif choice < 0.85 or slot.role in INTEGER_ROLES:
        operator: ast.operator = ast.Add() if rng.random() < 0.5 else ast.Sub()
        slot.put(ast.BinOp(slot.node, operator, other))
    elif choice < 0.92 or "math" not in _imports(view):
        slot.put(ast.Call(ast.Name("abs", ast.Load()), [slot.node], []))
    else:
        function = ast.Attribute(ast.Name("math", ast.Load()), pick(("sin", "cos"), rng), ast.Load())
        slot.put(ast.Call(function, [slot.node], []))
    return True


def shrink_expression(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts one operand in place of the whole: ``a * b`` becomes ``a`` or ``b``."""
    slot = view.draw(_is_compound, rng)
    if slot is None:
        return False
    node = slot.node
    if isinstance(node, ast.BinOp):
        slot.put(node.left if rng.random() < 0.5 else node.right)
    elif isinstance(node, ast.IfExp):
        slot.put(node.body if rng.random() < 0.5 else node.orelse)
    elif isinstance(node, ast.BoolOp):
        slot.put(pick(node.values, rng))
    return True


def graft_expression(view: ProgramView, rng: np.random.Generator) -> bool:
    """Copies one arithmetic expression of the program over another whose place can see the same names."""
    slots = _arithmetic_slots(view)
    if len(slots) < 2:
        return False
    target, source = pick(slots, rng), pick(slots, rng)
    text = ast.unparse(source.node)
    names = {node.id for node in walk(source.node) if isinstance(node, ast.Name)}
    if not names <= {*target.names, "math", "abs", "max", "min", "len"} or text == ast.unparse(target.node):
        return False
    if (target.role in INTEGER_ROLES) != (source.role in INTEGER_ROLES) or len(text) > 60:
        return False
    target.put(_expression(text))
    return True


def joint_source(names: dict[str, str], rng: np.random.Generator) -> str | None:
    """Writes an expression for some joint in reach, as source text; None where there is none."""
    joints = [name for name, kind in names.items() if kind == JOINT]
    lists = [name for name, kind in names.items() if kind == JOINTS]
    if joints and (not lists or rng.random() < 0.5):
        return pick(joints, rng)
    if not lists:
        return None
    # How long a list is, is not known: most have four joints or more.
    return f"{pick(lists, rng)}[{int(rng.integers(-2, 4)) if rng.random() < 0.9 else int(rng.integers(0, 8))}]"


def amplitude_source(names: dict[str, str], rng: np.random.Generator) -> str:
    """Writes an expression for an amplitude, as source text."""
    return str(coarse(rng.uniform(0.3, 4.0)))


def phase_source(names: dict[str, str], rng: np.random.Generator) -> str:
    """Writes an expression for a phase, fixed or growing with a number in reach (a loop's index, say), as source text."""
    numbers = [name for name, kind in names.items() if kind == NUMBER]
    if numbers and rng.random() < 0.5:
        return f"{pick(numbers, rng)} * {coarse(rng.uniform(0.2, 3.0))}"
    return str(coarse(rng.uniform(0.0, 2.0 * math.pi)))


def _arithmetic_slots(view: ProgramView) -> list[Slot]:
    return [slot for slot in view.find(_may_be_arithmetic) if view.kind_of(slot.node, slot.names) == NUMBER]


def _may_be_arithmetic(place: Place) -> bool:
    return place.role not in ("callee", "joint", "flag", "index")


def _has_operator(place: Place) -> bool:
    node = place.node
    return isinstance(node, (ast.BinOp, ast.Compare, ast.BoolOp)) or (
        isinstance(node, ast.UnaryOp) and number_of(node) is None
    )


def _is_name(place: Place) -> bool:
    return isinstance(place.node, ast.Name)


def _is_name_or_number(place: Place) -> bool:
    return isinstance(place.node, ast.Name) or number_of(place.node) is not None


def _is_swappable(place: Place) -> bool:
    return place.role == "callee" and _function_name(place.node) in _FUNCTION_SWAPS


def _is_joint(place: Place) -> bool:
    return place.role == "joint"


def _is_muscle(place: Place) -> bool:
    return is_call_of(place.node, "add_muscle")


def _is_compound(place: Place) -> bool:
    return isinstance(place.node, (ast.BinOp, ast.IfExp, ast.BoolOp))


def _function_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr if isinstance(node.value, ast.Name) and node.value.id == "math" else ""
    return node.id if isinstance(node, ast.Name) else ""


def _imports(view: ProgramView) -> set[str]:
    return {alias.name for node in view.tree.body if isinstance(node, ast.Import) for alias in node.names}


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
