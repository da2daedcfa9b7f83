"""Doors of sub-packages that load a module when one of its names is first used, and not before."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the ``__getattr__`` and ``__dir__`` of a package that offers names of its modules.

    Compiled physics, the sandbox, pygame and torch are costly to import, and many processes never use them.

    Args:
        package: The package's ``__name__``.
        modules: The names that the package offers, by the module inside it that defines them.

    Returns:
        The two functions, to be assigned in the package's ``__init__``.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next access finds it without coming here
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
