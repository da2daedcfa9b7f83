"""What a walker program finds in its sandbox: source text for the sandbox's interpreter, and the rewriting of imports.

Nothing here is ever run by the host's Python on behalf of a program: the preludes run inside the sandbox, and programs
are only ever handled as lines of text. ``np`` has a prelude of its own, which a program that never says ``np`` is spared:
it would be half of the work of restoring a session.

What a program finds: ``walker_creator`` (``add_joint``, ``add_muscle``, ``get_walker``), ``query_cppn``, ``math`` and a
small ``np`` of plain functions on numbers. ``query_cppn(wc, xgrid, ygrid, scale, connect_func, amp_func, phase_func)``
puts an ``xgrid`` x ``ygrid`` grid of joints ``scale`` apart, column by column, joins each pair for which
``connect_func(x1, y1, x2, y2)`` holds by an oscillating muscle whose amplitude and phase the other two functions give,
and returns the joint ids as a list. The functions get grid coordinates (whole numbers, before scaling), and each pair
once, the earlier joint first.
"""

from __future__ import annotations

import re

MAX_RAW_JOINTS = 4_096
"""Joints a program may add before repairs; far above what any walker keeps (bounds the work of the host)."""
MAX_RAW_MUSCLES = 8_192
"""Muscles a program may add before repairs."""
MAX_REPLY_CHARS = 600_000
"""Longest description of a walker that the host will read."""
REPLY_MARK = "\x1e"
"""What stands before the description of the walker, in what is printed: ASCII's record separator."""

_SOURCE = """
import json
import math
from collections import namedtuple

# Under names of their own, for programs that call something of theirs json or print.
_sodarace_dumps = json.dumps
_sodarace_print = print

_Walker = namedtuple("Walker", "joints muscles")


class walker_creator:
    def __init__(self):
        self.joints = []
        self.muscles = []

    def add_joint(self, x, y):
        self.joints.append((x, y))
        return len(self.joints) - 1

    def add_muscle(self, a, b, distance_only=True, amplitude=0.0, phase=0.0):
        self.muscles.append((a, b, distance_only, amplitude, phase))

    def get_walker(self):
        return _Walker(self.joints, self.muscles)


def query_cppn(wc, xgrid, ygrid, scale, connect_func, amp_func, phase_func):
    grid = [(x, y) for x in range(xgrid) for y in range(ygrid)]
    joints = [wc.add_joint(x * scale, y * scale) for x, y in grid]
    for i in range(len(grid)):
        x1, y1 = grid[i]
        for j in range(i + 1, len(grid)):
            x2, y2 = grid[j]
            if connect_func(x1, y1, x2, y2):
                amplitude = amp_func(x1, y1, x2, y2)
                wc.add_muscle(joints[i], joints[j], False, amplitude, phase_func(x1, y1, x2, y2))
    return joints


class _sodarace_walk:
    walker_creator = walker_creator
    query_cppn = query_cppn


def _sodarace_export(walker):
    joints = getattr(walker, "joints", None)
    muscles = getattr(walker, "muscles", None)
    if joints is None and isinstance(walker, (list, tuple)) and len(walker) == 2:
        joints, muscles = walker
    if not isinstance(joints, (list, tuple)) or not isinstance(muscles, (list, tuple)):
        return {"type": type(walker).__name__}
    if len(joints) > MAX_RAW_JOINTS or len(muscles) > MAX_RAW_MUSCLES:
        return {"joints": len(joints), "muscles": len(muscles)}
    return [joints, muscles]


def _sodarace_send(walker):
    # Text or an error, whatever the program did to the names in it.
    _sodarace_print(f"REPLY_MARK{_sodarace_dumps(_sodarace_export(walker)):.CHARS_SENTs}")
"""

_NUMPY_SOURCE = """

def _linspace(start, stop, num=50):
    if num < 2:
        return [start] * num
    return [start + (stop - start) * i / (num - 1) for i in range(num)]


def _arange(start, stop=None, step=1):
    if stop is None:
        start, stop = 0, start
    return [start + step * i for i in range(max(0, math.ceil((stop - start) / step)))]


def _sign(x):
    return (x > 0) - (x < 0)


def _clip(x, low, high):
    return min(max(x, low), high)


def _mean(values):
    return sum(values) / len(values)


def _mod(x, y):
    return x % y


class np:
    pi = math.pi
    e = math.e
    inf = math.inf
    nan = math.nan
    sin = math.sin
    cos = math.cos
    tan = math.tan
    arcsin = math.asin
    arccos = math.acos
    arctan = math.atan
    arctan2 = math.atan2
    sinh = math.sinh
    cosh = math.cosh
    tanh = math.tanh
    sqrt = math.sqrt
    exp = math.exp
    log = math.log
    log2 = math.log2
    log10 = math.log10
    floor = math.floor
    ceil = math.ceil
    hypot = math.hypot
    radians = math.radians
    deg2rad = math.radians
    degrees = math.degrees
    rad2deg = math.degrees
    power = pow
    abs = abs
    absolute = abs
    fabs = math.fabs
    maximum = max
    minimum = min
    max = max
    min = min
    sum = sum
    round = round
    mod = _mod
    sign = _sign
    clip = _clip
    mean = _mean
    linspace = _linspace
    arange = _arange


_sodarace_np = np
"""

PRELUDE = (
    _SOURCE.replace("MAX_RAW_JOINTS", str(MAX_RAW_JOINTS))
    .replace("MAX_RAW_MUSCLES", str(MAX_RAW_MUSCLES))
    .replace("REPLY_MARK", repr(REPLY_MARK)[1:-1])
    .replace("CHARS_SENT", str(MAX_REPLY_CHARS + 1))
)
"""Run before a program that does not say ``np``; ``_sodarace_send(walker)`` in it prints the walker's description."""
NUMPY_PRELUDE = PRELUDE + _NUMPY_SOURCE
"""Run before all others."""

NUMPY_NAMES = tuple(
    re.findall(r"^    (\w+) = ", _NUMPY_SOURCE.partition("class np:")[2].partition("\n\n")[0], re.MULTILINE)
)
"""What ``from numpy import *`` brings."""

# Modules the prelude stands in for, and the object that does. Its name must be one no program uses: `np = np` inside a
# function would read a local variable before it is set.
_NUMPY = "_sodarace_np"
_PROVIDED = dict.fromkeys(("walk_creator", "walker_creator", "query_cppn"), "_sodarace_walk") | {"numpy": _NUMPY}
# Modules that only serve annotations, which the sandbox does not evaluate.
_ANNOTATION_ONLY = ("collections.abc", "typing_extensions")


def replace_imports(source: str) -> str:
    """Replaces imports of what the prelude provides by plain assignments, line by line and keeping every line number.

    ``import numpy as n`` becomes ``n = _sodarace_np``, ``from numpy import sin, pi as p`` becomes
    ``sin = _sodarace_np.sin; p = _sodarace_np.pi``. Modules the sandbox has itself (``math``, ``random``, ``typing``,
    ``itertools`` ...) and modules nobody has are left alone. The text is never parsed as Python: a line that merely
    looks like such an import (in a string, say) is replaced too.

    Args:
        source: The program, with newlines as line ends.

    Returns:
        A text with the same number of lines.
    """
    if "import" not in source:
        return source
    lines = source.split("\n")
    for number, line in enumerate(lines):
        code = line.lstrip(" \t")
        if not code.startswith(("import ", "from ")):
            continue
        statement = code.partition("#")[0].strip()
        last = number
        while "(" in statement and ")" not in statement and last + 1 < len(lines) and last - number < 50:
            last += 1
            statement += " " + lines[last].partition("#")[0].strip()
        replacement = _replace_statement(statement)
        if replacement is not None:
            lines[number] = line[: len(line) - len(code)] + replacement
            lines[number + 1 : last + 1] = [""] * (last - number)
    return "\n".join(lines)


def _replace_statement(statement: str) -> str | None:
    """The assignments that stand in for one import statement, or None to leave it alone."""
    if statement.startswith("from "):
        module, found, names = statement[len("from ") :].partition(" import ")
        module = module.strip()
        if not found or ";" in names:
            return None
        if module in _ANNOTATION_ONLY:
            return "pass"
        provider = _provider(module)
        if provider is None:
            return None
        names = names.strip().removeprefix("(").removesuffix(")").strip(" ,")
        if names == "*":
            wanted = [(name, name) for name in NUMPY_NAMES] if provider == _NUMPY else []
        else:
            wanted = [_split_alias(name) for name in names.split(",")]
        if not all(name.isidentifier() and alias.isidentifier() for name, alias in wanted):
            return None
        return "; ".join(f"{alias} = {provider}.{name}" for name, alias in wanted) or "pass"

    pieces = []
    replaced = False
    for module, alias in (_split_alias(part) for part in statement[len("import ") :].split(",")):
        provider = _provider(module)
        if provider is not None and alias.isidentifier():
            pieces.append(f"{alias} = {provider}")
            replaced = True
        else:
            pieces.append(f"import {module}" if alias == module else f"import {module} as {alias}")
    return "; ".join(pieces) if replaced else None


def _split_alias(part: str) -> tuple[str, str]:
    """Splits ``name as alias``; without an alias, both are the name."""
    name, _, alias = part.strip().partition(" as ")
    return name.strip(), alias.strip() or name.strip()


def _provider(module: str) -> str | None:
    """The prelude's object that stands in for a module, under whatever package it is asked for, if there is one."""
    return _PROVIDED.get(module.rpartition(".")[2])
