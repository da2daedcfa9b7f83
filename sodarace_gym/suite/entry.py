"""How a generator is named on a command line, and how it is loaded: a file and a class, or an installed package's name.

An :class:`Entry` is text alone, so that it travels to worker processes, which load the class by themselves.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from sodarace_gym.suite.errors import SuiteError
from sodarace_gym.suite.generator import Generator, checked_generator

ENTRY_POINTS = "sodarace_gym.generators"
"""The group of entry points by which installed packages offer generators."""


@dataclass(frozen=True)
class Entry:
    """A generator by name.

    Attributes:
        target: ``path/to/file.py:Class``, ``package.module:Class``, or the name of an entry point.
        settings: Arguments for the class, as pairs of a name and a text.
    """

    target: str
    settings: tuple[tuple[str, str], ...] = ()

    def make(self) -> Generator:
        """Makes the generator anew.

        Raises:
            SuiteError: There is no such file or class, it cannot be loaded or made, or it is no generator.
        """
        arguments = {name: _value(text) for name, text in self.settings}
        made = _class(self.target)
        try:
            instance = made(**arguments)
        except Exception as error:
            given = " ".join(f"--set {name}={text}" for name, text in self.settings) or "no settings"
            raise SuiteError(f"{self.target} cannot be made with {given}: {type(error).__name__}: {error}") from error
        return checked_generator(instance, self.target)

    def digest(self) -> str:
        """16 hexadecimal digits of the source that the class stands in: another source, other results."""
        module = sys.modules.get(_class(self.target).__module__)
        path = getattr(module, "__file__", None)
        content = Path(path).read_bytes() if path else b""
        return hashlib.blake2b(content, digest_size=8).hexdigest()

    def command(self) -> str:
        """The beginning of the command that runs it."""
        settings = [part for name, text in self.settings for part in ("--set", f"{name}={text}")]
        return shlex.join(["python", "-m", "sodarace_gym.suite", "run", self.target, *settings])


def read_entry(target: str, settings: Sequence[str] = ()) -> Entry:
    """An entry from what a command line says.

    Args:
        target: See :class:`Entry`.
        settings: Texts such as ``temperature=0.7``.

    Raises:
        SuiteError: A setting is none.
    """
    pairs = []
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise SuiteError(f"--set {text}: expected a name and a value, as in --set temperature=0.7.")
        pairs.append((name, value))
    return Entry(target, tuple(pairs))


def installed() -> dict[str, str]:
    """The generators that installed packages offer: what each one loads, by name."""
    return {point.name: point.value for point in sorted(entry_points(group=ENTRY_POINTS))}


def _value(text: str) -> Any:
    """A number, a truth value, None or a list where the text is one in Python, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _class(target: str) -> Callable[..., Any]:
    place, colon, name = target.rpartition(":")
    if not colon:
        offered = installed()
        if target not in offered:
            known = f"; installed are {', '.join(offered)}" if offered else ""
            raise SuiteError(
                f"'{target}' names no generator: expected path/to/file.py:Class, package.module:Class, or a name that an "
                f"installed package offers as entry point of the group {ENTRY_POINTS}{known}."
            )
        place, _, name = offered[target].rpartition(":")
    module = _module_of_file(str(Path(place).resolve())) if place.endswith(".py") else _module(place)
    found = getattr(module, name, None)
    if not callable(found):
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and hasattr(value, "generate")]
        has = f"it has {', '.join(classes)}" if classes else "it has no class with a method `generate`"
        raise SuiteError(f"{place} has no class '{name}'; {has}.")
    made: Callable[..., Any] = found
    return made


def _module(name: str) -> ModuleType:
    if name.startswith("."):
        raise SuiteError(f"'{name}' begins with a point; give a module by its full name, as in package.module:Class.")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and misses another
        raise SuiteError(f"There is no module '{name}'; give path/to/file.py:Class, or install what has it.") from None


@lru_cache
def _module_of_file(path: str) -> ModuleType:
    if not Path(path).is_file():
        raise SuiteError(f"There is no file '{path}'; expected path/to/file.py:Class.")
    # A name that no import can have, and another one for each file.
    name = f"generator file {path}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SuiteError(f"'{path}' cannot be loaded: {type(error).__name__}: {error}") from error
    return module
