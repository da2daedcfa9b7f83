"""Imports in a program's text: those of what the prelude provides become assignments, line by line."""

from __future__ import annotations

from sodarace_gym.programs.sandbox_library import NUMPY_NAMES

# Modules the prelude stands in for, and the object that does. Its name must be one no program uses: `np = np` inside a
# function would read a local variable before it is set.
_NUMPY = "_sodarace_np"
_WALK = "_sodarace_walk"
# The paper's and OpenELM's names for the modules that hold the creator and the grid routine, in whatever package.
_WALK_MODULES = ("walk_creator", "walker_creator", "query_cppn", "walker", "CPPN_mutable", "CPPN_fixed", "sodarace_gym")
_WALK_NAMES = ("walker_creator", "query_cppn", "Walker")
# Modules that only serve annotations, which the sandbox does not evaluate.
_ANNOTATION_ONLY = ("collections.abc", "typing_extensions")
SANDBOX_MODULES = frozenset(
    [
        "__future__", "asyncio", "base64", "bisect", "collections", "copy", "csv", "dataclasses", "datetime", "decimal",
        "functools", "hashlib", "itertools", "json", "math", "os", "pathlib", "random", "re", "sys", "time", "typing",
    ]
)  # fmt: skip
"""Modules that the sandbox's interpreter has itself, in part at least."""
# What `from ... import *` brings; the interpreter has none of these imports itself.
_STARS = {
    "math": "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 "
    "expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma "
    "log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc ulp",
    "random": "Random betavariate choice choices expovariate gammavariate gauss getrandbits getstate lognormvariate "
    "normalvariate paretovariate randbytes randint random randrange sample seed setstate shuffle triangular uniform "
    "vonmisesvariate weibullvariate",
    "itertools": "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile filterfalse "
    "groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    "typing": "Annotated Any Callable ClassVar Dict Final FrozenSet Generator Generic Iterable Iterator List Literal "
    "Mapping Never NoReturn Optional Protocol Self Sequence Set TYPE_CHECKING Tuple Type TypeVar Union",
}


def replace_imports(source: str) -> str:
    """Replaces imports of what the prelude provides by plain assignments, keeping every line number.

    ``import numpy as n`` becomes ``n = _sodarace_np``, ``from numpy import sin, pi as p`` becomes
    ``sin = _sodarace_np.sin; p = _sodarace_np.pi``, ``from math import *`` names what it brings. The creator and the grid
    routine may be imported from anywhere. Modules the sandbox has itself (``math``, ``random``, ``typing``,
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
        statement, last = _statement(lines, number)
        replacement = _replace_statements(statement)
        if replacement is not None:
            lines[number] = line[: len(line) - len(code)] + replacement
            lines[number + 1 : last + 1] = [""] * (last - number)
    return "\n".join(lines)


def unavailable_modules(program: str, first: int) -> list[tuple[int, str]]:
    """The imports of modules that the sandbox does not have.

    Args:
        program: A program whose imports are replaced.
        first: Number of the line to begin with, from 1.

    Returns:
        Line and name of each module.
    """
    found = []
    lines = program.split("\n")
    for number in range(first - 1, len(lines)):
        if not lines[number].lstrip(" \t").startswith(("import ", "from ")):
            continue
        for statement in _statement(lines, number)[0].split(";"):
            words = statement.strip().partition(" ")
            if words[0] == "from":
                modules = [words[2].partition(" import ")[0].strip()]
            elif words[0] == "import":
                modules = [_split_alias(part)[0] for part in words[2].split(",")]
            else:
                continue
            found += [(number + 1, name) for name in modules if name.partition(".")[0] not in SANDBOX_MODULES]
    return found


def _statement(lines: list[str], number: int) -> tuple[str, int]:
    """The import that begins in a line, without comments and on one line, and the number of its last line."""
    statement = lines[number].partition("#")[0].strip()
    last = number
    while last + 1 < len(lines) and last - number < 50:
        if statement.endswith("\\"):
            statement = statement[:-1]
        elif "(" not in statement or ")" in statement:
            break
        last += 1
        statement += " " + lines[last].partition("#")[0].strip()
    return statement, last


def _replace_statements(line: str) -> str | None:
    """What stands in for a line of statements of which the first is an import, or None to leave the line alone."""
    statements = line.split(";") if "(" not in line else [line]
    replaced = [_replace_statement(" ".join(statement.split())) for statement in statements]
    if not any(replaced):
        return None
    return "; ".join(new or old.strip() for new, old in zip(replaced, statements, strict=True))


def _replace_statement(statement: str) -> str | None:
    """The assignments that stand in for one import statement, or None to leave it alone."""
    if statement.startswith("from "):
        return _replace_from(*statement[len("from ") :].partition(" import "))
    if not statement.startswith("import "):
        return None
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


def _replace_from(module: str, found: str, names: str) -> str | None:
    """The same for ``from module import names``."""
    module = module.strip()
    if not found or ";" in names:
        return None
    if module in _ANNOTATION_ONLY:
        return "pass"
    names = names.strip().removeprefix("(").removesuffix(")").strip(" ,")
    provider = _provider(module)
    if names == "*":
        if module in _STARS:
            return f"from {module} import {', '.join(_STARS[module].split())}"
        if provider is None:
            return None
        return "; ".join(f"{name} = {_NUMPY}.{name}" for name in NUMPY_NAMES) if provider == _NUMPY else "pass"
    wanted = [_split_alias(name) for name in names.split(",")]
    if not all(name.isidentifier() and alias.isidentifier() for name, alias in wanted):
        return None
    if all(name in _WALK_NAMES or name == "walk_creator" for name, _ in wanted):
        values = {"walk_creator": _WALK} | {name: f"{_WALK}.{name}" for name in _WALK_NAMES}
        return "; ".join(f"{alias} = {values[name]}" for name, alias in wanted)
    if provider is None or provider == _WALK:
        return None
    return "; ".join(f"{alias} = {provider}.{name}" for name, alias in wanted)


def _split_alias(part: str) -> tuple[str, str]:
    """Splits ``name as alias``; without an alias, both are the name."""
    name, _, alias = part.strip().partition(" as ")
    return name.strip(), alias.strip() or name.strip()


def _provider(module: str) -> str | None:
    """The prelude's object that stands in for a module, under whatever package it is asked for, if there is one."""
    package, _, name = module.rpartition(".")
    if name == "numpy":
        return _NUMPY
    if name == "random" and package.rpartition(".")[2] == "numpy":
        return f"{_NUMPY}.random"
    return _WALK if name in _WALK_MODULES else None
