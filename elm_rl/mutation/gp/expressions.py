"""Edits inside expressions: operators, names, functions, the arguments of ``add_muscle``.

Edits have the form described in :mod:`elm_rl.mutation.gp.constants`.
"""

from __future__ import annotations

import ast
import math

import numpy as np

from elm_rl.mutation.gp.constants import INTEGER_ROLES, coarse, new_number, number_node, number_of, pick
from elm_rl.mutation.gp.program_tree import walk
from elm_rl.mutation.gp.program_view import FUNCTION, JOINT, JOINTS, NUMBER, ProgramView, Slot, is_call_of

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
    nodes = [
        slot
        for slot in view.slots
        if isinstance(slot.node, (ast.BinOp, ast.Compare, ast.BoolOp))
        or (isinstance(slot.node, ast.UnaryOp) and number_of(slot.node) is None)
    ]
    if not nodes:
        return False
    slot = pick(nodes, rng)
    node = slot.node
    if isinstance(node, ast.BinOp):
        # Division gives floats, which nothing can be indexed or counted with.
        options: tuple[type[ast.operator], ...] = _ARITHMETIC
        if slot.role in INTEGER_ROLES:
            options = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
        node.op = pick([op for op in options if not isinstance(node.op, op)], rng)()
    elif isinstance(node, ast.Compare):
        place = int(rng.integers(len(node.ops)))
        node.ops[place] = pick([op for op in _COMPARISONS if not isinstance(node.ops[place], op)], rng)()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        slot.put(node.operand)
    return True


def change_name(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts another name of the same kind in place of one: a number, a joint, a list of joints, a function."""
    options: list[tuple[Slot, list[str]]] = []
    for slot in view.slots:
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
    slots = [slot for slot in view.slots if slot.role == "callee" and _function_name(slot.node) in _FUNCTION_SWAPS]
    if not slots:
        return False
    node = pick(slots, rng).node
    name = pick(_FUNCTION_SWAPS[_function_name(node)], rng)
    if isinstance(node, ast.Attribute):
        node.attr = name
    elif isinstance(node, ast.Name):
        node.id = name
    return True


def change_joint(view: ProgramView, rng: np.random.Generator) -> bool:
    """Ties one end of a muscle to another joint."""
    slots = [slot for slot in view.slots if slot.role == "joint"]
    if not slots:
        return False
    slot = pick(slots, rng)
    source = joint_source(slot.names, rng)
    if source is None or source == ast.unparse(slot.node):
        return False
    slot.put(ast.parse(source, mode="eval").body)
    return True


def change_muscle(view: ProgramView, rng: np.random.Generator) -> bool:
    """Makes a plain muscle active or an active one plain, or gives it another amplitude or phase."""
    slots = [slot for slot in view.slots if is_call_of(slot.node, "add_muscle")]
    if not slots:
        return False
    slot = pick(slots, rng)
    call = slot.node
    assert isinstance(call, ast.Call)
    if call.keywords or not 2 <= len(call.args) <= 5:
        return False
    active = len(call.args) > 2 and not (isinstance(call.args[2], ast.Constant) and call.args[2].value is True)
    if not active:
        amplitude, phase = amplitude_source(slot.names, rng), phase_source(slot.names, rng)
        call.args[2:] = [ast.Constant(False), _expression(amplitude), _expression(phase)]
    elif len(call.args) < 5:
        call.args[3:] = [_expression(amplitude_source(slot.names, rng)), _expression(phase_source(slot.names, rng))]
    elif rng.random() < 0.25:
        del call.args[2:]
    elif rng.random() < 0.5:
        call.args[3] = _expression(amplitude_source(slot.names, rng))
    else:
        call.args[4] = _expression(phase_source(slot.names, rng))
    return True


def constant_to_name(view: ProgramView, rng: np.random.Generator) -> bool:
    """Puts a name in place of a number, or a number in place of a name."""
    options: list[Slot] = []
    for slot in view.slots:
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
    slots = [slot for slot in view.slots if isinstance(slot.node, (ast.BinOp, ast.IfExp, ast.BoolOp))]
    if not slots:
        return False
    slot = pick(slots, rng)
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
    return [
        slot
        for slot in view.slots
        if slot.role not in ("callee", "joint", "flag", "index") and view.kind_of(slot.node, slot.names) == NUMBER
    ]


def _function_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr if isinstance(node.value, ast.Name) and node.value.id == "math" else ""
    return node.id if isinstance(node, ast.Name) else ""


def _imports(view: ProgramView) -> set[str]:
    return {alias.name for node in view.tree.body if isinstance(node, ast.Import) for alias in node.names}


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
