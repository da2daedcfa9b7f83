"""What walker programs may use beside the creator: source for the sandbox's interpreter, read as text, never imported.

- ``grid``: ``query_cppn`` and what stands in for the modules that published programs import.
- ``np_numbers``: what ``np`` does with numbers and flat lists.
- ``np_arrays``: one-dimensional arrays of floats or of whole numbers.
- ``np_random``: ``np.random``, whose generator draws numpy's own numbers.

Restoring a session takes longer the more it holds, so a program is given no more than what it names, with all that this
needs: :func:`library_for` puts it together.

What ``np`` has behaves as numpy's does; what it lacks is refused by name. The interpreter has operators of classes, with
these gaps, which decide the design:

- ``len`` does not ask a class: arrays bring a ``len`` of their own.
- ``a += b`` is always ``a = a + b``, where numpy changes the array itself: ``inplace.py`` makes it a call.
- ``a < b`` does not ask a class: the interpreter refuses it, by name. ``a == b`` is refused here.
- Whether an array is true is not asked: ``if a`` passes where numpy refuses arrays of two or more.

Elements taken out of an array are plain numbers of the language. They differ from numpy's where numpy gives inf, nan or
a wrapped whole number; here a division by zero, say, is an error.
"""

from __future__ import annotations

import ast
import re
from functools import cache, lru_cache
from importlib import resources

_MATH = {
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "sqrt": "sqrt", "exp": "exp", "log": "log", "log2": "log2", "log10": "log10",
    "radians": "radians", "deg2rad": "radians", "degrees": "degrees", "rad2deg": "degrees", "fabs": "fabs",
}  # fmt: skip
_MATH_OF_TWO = {"arctan2": "atan2", "hypot": "hypot"}
_KEEP_WHOLE = {"floor": "floor", "ceil": "ceil", "abs": "abs", "absolute": "abs", "sign": "sign"}
_KEEP_WHOLE_OF_TWO = {name: name for name in ("power", "mod", "maximum", "minimum")}
_ON_LISTS = ("max", "min", "sum", "mean", "round", "clip")
_MAKE_ARRAYS = (
    "array", "asarray", "zeros", "ones", "full", "zeros_like", "ones_like", "linspace", "arange", "cumsum", "diff",
    "concatenate", "random",
)  # fmt: skip

# Name in np and source of its value: without arrays, and with.
_NUMBERS = (
    {name: f"math.{name}" for name in ("pi", "e", "inf", "nan")}
    | {name: f"math.{function}" for name, function in (_MATH | _MATH_OF_TWO).items()}
    | {name: f"_sodarace_{function}" for name, function in (_KEEP_WHOLE | _KEEP_WHOLE_OF_TWO).items()}
    | {name: f"_sodarace_{name}" for name in _ON_LISTS}
    | {"float64": "float", "int64": "int"}
)
_ARRAYS = (
    _NUMBERS
    | {name: f"_sodarace_over(math.{function})" for name, function in _MATH.items()}
    | {name: f"_sodarace_over_two(math.{function})" for name, function in _MATH_OF_TWO.items()}
    | {name: f"_sodarace_over(_sodarace_{function}, True)" for name, function in _KEEP_WHOLE.items()}
    | {name: f"_sodarace_over_two(_sodarace_{function}, True)" for name, function in _KEEP_WHOLE_OF_TWO.items()}
    | {name: f"_sodarace_{name}" for name in _MAKE_ARRAYS}
    | {"ndarray": "_sodarace_ndarray"}
)

NUMPY_NAMES = tuple(_ARRAYS)
"""What ``np`` has, and what ``from numpy import *`` brings."""

_MEMBERS = frozenset(NUMPY_NAMES)
_MAKE_ARRAY = frozenset((*_MAKE_ARRAYS, "ndarray"))
_WORD = re.compile(r"\w+")
# What may be an attribute of np: behind a point, or in quotes for getattr.
_MEMBER = re.compile(r"""[.'"]\s*(\w+)""")
# np.random, and not the function of that name in the module random.
_NUMPY_RANDOM = re.compile(r"""[.'"]\s*random\b(?!\s*\()""")
_BY_NAME = ("query_cppn", "_sodarace_walk", "_sodarace_inplace", "_sodarace_no_array")


def makes_arrays(program: str) -> bool:
    """Whether a program, its imports replaced, names something of ``np`` that makes arrays."""
    return "np" in program and not _MAKE_ARRAY.isdisjoint(_members_named(program))


def library_for(program: str) -> str:
    """The source that a program needs run before it, after the creator's; empty for most programs.

    Args:
        program: The program, its imports replaced.
    """
    by_name = frozenset(name for name in _BY_NAME if name in program)
    if "np" in program:
        return _library(by_name, _members_named(program))
    return _library(by_name, None) if by_name else ""


def whole_library() -> str:
    """All there is, for programs that may name anything."""
    return _library(frozenset(_BY_NAME), frozenset(NUMPY_NAMES))


def _members_named(program: str) -> frozenset[str]:
    members = _MEMBERS.intersection(_MEMBER.findall(program))
    return members - {"random"} if "random" in members and not _NUMPY_RANDOM.search(program) else members


@lru_cache(maxsize=256)
def _library(by_name: frozenset[str], of_np: frozenset[str] | None) -> str:
    """Source of definitions, of ``np`` with some members (None: without np), and of all that these use, in order."""
    parts = _parts("grid") | _parts("np_numbers")
    members = _NUMBERS
    wanted = list(by_name)
    if of_np and not _MAKE_ARRAY.isdisjoint(of_np):
        arrays = _parts("np_arrays")
        parts = {name: part for name, part in parts.items() if name not in arrays} | arrays | _parts("np_random")
        members = _ARRAYS
        wanted.append("len")
    held = {name: value for name, value in members.items() if name in (of_np or ())}
    for value in held.values():
        wanted += _WORD.findall(value)
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in parts and name not in needed:
            needed.add(name)
            wanted += parts[name][1]
    pieces = [parts[name][0] for name in parts if name in needed]
    if of_np is not None:
        lines = [f"    {name} = {value}" for name, value in held.items()] or ["    pass"]
        pieces += ["\n".join(["class np:", *lines]), "_sodarace_np = np"]
    return "".join(f"\n\n{piece}\n" for piece in pieces)


@cache
def _parts(file: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The definitions of a file: for each name its source and the names that this uses."""
    source = resources.files(__name__).joinpath(f"{file}.py").read_text(encoding="utf-8")
    parts = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = node.name
        else:
            assert isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            name = node.targets[0].id
        text = ast.get_source_segment(source, node)
        assert text is not None
        uses = frozenset(child.id for child in ast.walk(node) if isinstance(child, ast.Name))
        parts[name] = (text, uses - {name})
    return parts
