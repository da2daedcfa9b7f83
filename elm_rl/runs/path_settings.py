"""Settings that are paths: a config takes them as text too, however it was made."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from elm_rl.errors import ConfigError


def take_paths(config: Any) -> None:
    """Turns the text in those fields of a config that are declared as paths into paths; called from its ``__post_init__``.

    Fields declared as ``Path``, ``Path | None`` and ``tuple[Path, ...]`` are paths; one path will do for the last.

    Args:
        config: A dataclass, which may be frozen.

    Raises:
        ConfigError: Such a field holds something else.
    """
    hints = get_type_hints(type(config))
    for field in fields(config):
        hint, value = hints[field.name], getattr(config, field.name)
        if hint == tuple[Path, ...]:
            several = value if isinstance(value, list | tuple) else (value,)
            taken: Any = tuple(_as_path(field.name, each) for each in several)
        elif hint == Path or (hint == Path | None and value is not None):
            taken = _as_path(field.name, value)
        else:
            continue
        object.__setattr__(config, field.name, taken)


def _as_path(name: str, value: Any) -> Path:
    if isinstance(value, str | os.PathLike) and str(value):
        return Path(value)
    raise ConfigError(f"{name} is {value!r}; expected a path.")
