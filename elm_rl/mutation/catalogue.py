"""What operators there are and what each can be told, for ``elm-rl operators`` and ``docs/evolution.md``."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import textwrap
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from elm_rl.errors import ConfigError
from elm_rl.mutation.specs import KINDS


@dataclass(frozen=True, kw_only=True)
class OperatorsConfig:
    """Says what ``elm-rl evolve --operators`` takes."""

    kind: Annotated[str | None, tyro.conf.Positional] = None
    """One kind of operator, whose settings are explained; all kinds in a line each when left out."""

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ConfigError(f"There is no operator {self.kind!r}; expected one of {', '.join(KINDS)}.")


def run_operators(config: OperatorsConfig) -> None:
    """Prints the kinds of operators, or the settings of one."""
    if config.kind is not None:
        print(explained(config.kind))
        return
    width = max(len(name_of(kind)) for kind in KINDS)
    for kind, found in KINDS.items():
        print(f"  {name_of(kind):{width}}  {found.summary}")
    print(
        "\nelm-rl operators KIND explains a kind's settings, which follow behind commas: chat:models/small,temperature=0.8"
    )


def name_of(kind: str) -> str:
    """A kind as it is written, with what stands for its source."""
    source = KINDS[kind].source
    return kind if source is None else f"{kind}:{source}"


def explained(kind: str) -> str:
    """One kind of operator with all its settings, as text for a terminal."""
    lines = [f"{name_of(kind)}: {KINDS[kind].summary}", ""]
    for name, default, meaning in settings(kind):
        wrapped = textwrap.wrap(meaning, 96, initial_indent="      ", subsequent_indent="      ")
        lines += [f"  {name}={default}", *wrapped]
    lines += [
        "  name=TEXT",
        "      Name in logs and tables; by default made of kind and source.",
        "  share=none",
        "      Part of all children that it makes, as in 0.1; without, a bandit chooses.",
    ]
    if kind != "api":
        found = KINDS[kind]
        tries = getattr(importlib.import_module(found.module), found.operator).tries
        lines += [
            f"  tries={tries}",
            "      Children that are made of a parent, and run, of which the most promising is evaluated.",
        ]
    return "\n".join(lines)


def settings(kind: str) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each setting of a kind."""
    found = KINDS[kind]
    if found.options is None:
        return []
    options = getattr(importlib.import_module(found.module), found.options)
    meanings = field_docs(options)
    rows = []
    for each in dataclasses.fields(options):
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        rows.append((each.name, "none" if default is None else str(default), meanings[each.name]))
    return rows


def field_docs(options: type[Any]) -> dict[str, str]:
    """The string below each field of a dataclass and of those it inherits from, in one line each."""
    found: dict[str, str] = {}
    for base in reversed(options.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = " ".join(below.value.value.split())
    return found
