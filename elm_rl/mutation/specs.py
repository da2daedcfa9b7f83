"""Operators by name, as the command line and a file say them: ``gp``, ``chat:models/small,temperature=0.8,name=warm``.

A name is a kind, a colon and a source where the kind has one, and options behind commas. The same in a TOML file, whose path
stands in place of a name, and which may hold several::

    [[operator]]
    kind = "chat"
    source = "models/small"
    name = "warm"
    temperature = 0.8
"""

from __future__ import annotations

import importlib
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from elm_rl.errors import ConfigError
from elm_rl.mutation.operator import MutationOperator


class Kind(NamedTuple):
    """One kind of operator.

    Attributes:
        module: Where it lives.
        operator: Name of its class there.
        summary: What it is, in one sentence.
        options: Name of its options dataclass there; None for a kind without options.
        source: What follows the colon, for messages; None for a kind without a source.
        background: Whether it can work in a process of its own (:mod:`elm_rl.mutation.background`).
    """

    module: str
    operator: str
    summary: str
    options: str | None = None
    source: str | None = None
    background: bool = False


KINDS: dict[str, Kind] = {
    "gp": Kind(
        "elm_rl.mutation.gp.operator",
        "GPMutation",
        "Genetic programming with edits that know what joints and muscles are.",
        background=True,
    ),
    "builtin": Kind(
        "elm_rl.mutation.edits.builtin",
        "BuiltinMutation",
        "The small language model that comes with this package, trained on the history of evolution runs.",
        options="EditModelOptions",
    ),
    "gp-blind": Kind(
        "elm_rl.mutation.gp_blind.operator",
        "GPBlindMutation",
        "Genetic programming that knows Python and nothing of walkers, with crossover of two elites.",
        options="GPBlindOptions",
        background=True,
    ),
    "model": Kind(
        "elm_rl.mutation.language_model",
        "LanguageModelMutation",
        "A language model on this machine that is shown a program and a commit message, and writes the changed program.",
        options="ModelOptions",
        source="MODEL",
    ),
    "edits": Kind(
        "elm_rl.mutation.edits.operator",
        "EditModelMutation",
        "A small model of this project that is shown a program and writes which of its lines change, and how.",
        options="EditModelOptions",
        source="MODEL",
    ),
    "chat": Kind(
        "elm_rl.mutation.chat",
        "ChatMutation",
        "A chat model on this machine that is told the task in sentences, through its own chat template.",
        options="ChatOptions",
        source="MODEL",
    ),
    "crossover": Kind(
        "elm_rl.mutation.crossover",
        "CrossoverMutation",
        "A language model on this machine that is shown some elites in a row, and writes the next program of the row.",
        options="CrossoverOptions",
        source="MODEL",
    ),
    "policy": Kind(
        "elm_rl.mutation.policy",
        "PolicyMutation",
        "A terrain-conditioned policy of stage 3, which writes programs for the terrain of an archive.",
        options="PolicyOptions",
        source="FOLDER",
    ),
    "api": Kind(
        "elm_rl.mutation.api.operator",
        "ServedMutation",
        "A model on any OpenAI-compatible server, with budgets; its replies are kept and replayed (docs/servers.md).",
        options="ServedOptions",
        source="MODEL@BASE_URL",
    ),
}
"""Every kind of operator. Its class is made with the source, if it has one, the options, if it has any, and ``name=``."""

_NAME = re.compile(r"[\w.+@:/-]{1,80}")


@dataclass(frozen=True)
class OperatorSpec:
    """One operator to be made.

    Attributes:
        kind: A key of :data:`KINDS`.
        source: A folder, a hub name, a model on a server; None where the kind needs none.
        name: Its name in logs and tables.
        options: What else was given, as text or, from a file, as values.
        tries: Children of a parent of which one is evaluated; None for the operator's own number.
        share: Part of all children that it makes; None where a bandit is to choose.
    """

    kind: str
    source: str | None
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tries: int | None = None
    share: float | None = None

    def with_source_below(self, folder: Path) -> str | None:
        """The source as seen from a folder where it is a path, so that both may be moved together."""
        if self.source is None or not _exists(self.source):
            return self.source
        return os.path.relpath(Path(self.source).resolve(), folder.resolve())


def read_specs(texts: Sequence[str]) -> list[OperatorSpec]:
    """Reads operators by name, or from the files named.

    Raises:
        ConfigError: There is none, a kind or a setting is unknown, a source is missing or given in vain, two have one name, or
            a file cannot be read.
    """
    specs: list[OperatorSpec] = []
    for text in texts:
        specs += _of_file(Path(text)) if text.endswith(".toml") else [_of_text(text)]
    if not specs:
        raise ConfigError(f"operators is empty; expected one or more of {_known()}.")
    names = [spec.name for spec in specs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"Two operators are named '{twice}'; give one of them another name, as in gp,name=second.")
    return specs


def make_operator(spec: OperatorSpec, background: bool = True) -> MutationOperator:
    """Makes an operator: loads its model, or gets its client ready.

    Args:
        spec: What to make.
        background: Whether an operator that can may work in a process of its own where there are cores for it; the children
            are the same.

    Raises:
        ElmError: An option is out of range, or the model cannot be loaded.
    """
    kind = KINDS[spec.kind]
    # Imported when asked for: evolution by GP alone should not wait for torch.
    module = importlib.import_module(kind.module)
    arguments: list[Any] = [] if spec.source is None else [spec.source]
    if kind.options is not None:
        arguments.append(read_options(getattr(module, kind.options), spec.options, f"operator '{spec.name}'"))
    elif spec.options:
        raise ConfigError(f"operator '{spec.name}' has no setting {next(iter(spec.options))!r}; it has only a name.")
    operator: MutationOperator = getattr(module, kind.operator)(*arguments, name=spec.name)
    if spec.tries is not None:
        operator.tries = spec.tries
    if background and kind.background:
        from elm_rl.mutation.background import BackgroundMutation

        return BackgroundMutation(operator)
    return operator


def make_operators(texts: Sequence[str], background: bool = True) -> list[MutationOperator]:
    """Makes the operators of `read_specs`, in order."""
    return [make_operator(spec, background) for spec in read_specs(texts)]


def read_options(options: type[Any], given: Mapping[str, Any], whose: str) -> Any:
    """Makes an options dataclass of settings that may still be text.

    Args:
        options: The dataclass.
        given: Values by field name.
        whose: Whose settings they are, for messages.

    Raises:
        ConfigError: A setting is unknown, has the wrong type or is out of range.
    """
    hints = get_type_hints(options)
    known = [each.name for each in fields(options)]
    values = {}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"{whose} has no setting {name!r}; it has {', '.join(known)}.")
        try:
            values[name] = _as_type(value, hints[name])
        except (ValueError, TypeError, OverflowError):
            expected = _type_name(hints[name])
            raise ConfigError(f"{whose} has {name} = {value!r}; expected {expected}.") from None
    try:
        return options(**values)
    except ConfigError as error:
        raise ConfigError(f"{whose}: {error}") from None


def _of_text(text: str) -> OperatorSpec:
    head, *rest = text.split(",")
    kind, colon, source = head.partition(":")
    options: dict[str, Any] = {}
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"operators has {text!r}; expected settings such as temperature=0.8 behind the commas.")
        options[name.strip()] = value.strip()
    return _spec(kind.strip(), source.strip() if colon else None, options, text)


def _of_file(path: Path) -> list[OperatorSpec]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}); expected a TOML file of operators.") from None
    except ValueError as error:
        raise ConfigError(f"'{path}' is no TOML file: {error}; see the example in docs/evolution.md.") from None
    tables = content.get("operator")
    if set(content) != {"operator"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigError(
            f"'{path}' holds {', '.join(content) or 'nothing'}; expected tables [[operator]] and no other."
        )
    specs = []
    for table in tables:
        options = dict(table)
        kind, source = options.pop("kind", None), options.pop("source", None)
        specs.append(_spec(str(kind), None if source is None else str(source), options, str(path)))
    return specs


def _spec(kind: str, source: str | None, options: dict[str, Any], text: str) -> OperatorSpec:
    if kind not in KINDS:
        hint = f" (a model's folder is model:{text})" if _exists(text) else ""
        raise ConfigError(f"There is no operator {kind[:80]!r}{hint}; expected one of {_known()}.")
    wanted = KINDS[kind].source
    if wanted is not None and not source:
        raise ConfigError(f"operators has {text!r}; expected {kind}:{wanted}.")
    if wanted is None and source is not None:
        raise ConfigError(f"operators has {text!r}; expected {kind} alone, which has no source.")
    own = Path((source or "").partition("@http")[0]).name  # of a model on a server, not of the server
    name = str(options.pop("name", kind if source is None else f"{kind}:{own or source}"))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"An operator is named {name!r}; expected up to 80 letters, digits and . _ - + @ : /.")
    tries = options.pop("tries", None)
    if tries is not None:
        try:
            tries = _as_type(tries, int)
        except (ValueError, TypeError, OverflowError):
            tries = 0
        if tries < 1:
            raise ConfigError(f"operators has {text!r}; expected tries to be a whole number of 1 or more.")
        if kind == "api":
            raise ConfigError(
                f"operators has {text!r}; a server is asked for one child of a parent, so leave out tries."
            )
    share = options.pop("share", None)
    if share is not None:
        try:
            share = float(share)
        except (TypeError, ValueError, OverflowError):
            share = 0.0
        if not 0 < share <= 1:
            raise ConfigError(f"operators has {text!r}; expected share to be a part from 0 to 1 of all children.")
    return OperatorSpec(kind, source, name, options, tries, share)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long for a path
        return False


def _known() -> str:
    return ", ".join(name if kind.source is None else f"{name}:{kind.source}" for name, kind in KINDS.items())


def _as_type(value: Any, hint: Any) -> Any:
    """A value of the type that a field declares, from that type or from text.

    Raises:
        ValueError: It is not.
    """
    choices = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        if value in choices:
            return value
        raise ValueError
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _as_type(value, next(choice for choice in choices if choice is not type(None)))
    if hint is bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValueError
    if isinstance(value, bool):
        raise ValueError
    if hint is int:
        if isinstance(value, float):
            raise ValueError
        return int(value)
    if hint is float:
        return float(value)
    if hint is Path:
        return Path(str(value))
    return str(value)


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(hint)))}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join("none" if each is type(None) else _type_name(each) for each in typing.get_args(hint))
    return {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}.get(hint, "text")
