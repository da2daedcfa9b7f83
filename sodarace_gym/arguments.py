"""Checks of arguments that several classes take; each error says which argument, what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def checked_number(
    name: str,
    value: Any,
    expected: str = "a finite number",
    least: float = -math.inf,
    above: float = -math.inf,
) -> float:
    """A finite number within bounds, as a ``float``.

    Args:
        name: Name of the argument, for the error.
        value: What was given.
        expected: What is expected, for the error.
        least: The smallest number allowed.
        above: Numbers must be greater than this.

    Raises:
        ValueError: The value is no number (a ``bool`` is none), not finite or out of bounds.
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < least or value <= above:
        raise ValueError(f"{name}: expected {expected}, got {shown(value)}.")
    return float(value)


def checked_duration(value: Any) -> float:
    """A time to walk, s, or a ``ValueError`` if it is not a positive, finite number."""
    return checked_number("duration", value, "a positive number of seconds", above=0.0)


def checked_whole(name: str, value: Any, expected: str, least: int = 0, most: float = math.inf) -> int:
    """A whole number from ``least`` to ``most``, as an ``int``; 2.0 is none, as everywhere in Python's own interfaces.

    Args:
        name: Name of the argument, for the error.
        value: What was given.
        expected: What is expected, for the error.
        least: The smallest number allowed.
        most: The largest number allowed.

    Raises:
        ValueError: The value is no whole number (a ``bool`` is none) or out of bounds.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise ValueError(f"{name}: expected {expected}, got {shown(value)}.")
    return int(value)


def checked_seed(value: Any, name: str = "terrain_seed") -> int:
    """The seed of a terrain, or a ``ValueError`` if it is not a whole number of at least 0."""
    return checked_whole(name, value, "a whole number of at least 0")


def checked_render_mode(value: Any, modes: Sequence[str]) -> str | None:
    """A render mode, or a ``ValueError`` if it is not None and none of the modes."""
    if value is not None and value not in modes:
        raise ValueError(f"render_mode: expected None or one of {', '.join(modes)}, got {shown(value)}.")
    return value


def checked_options(value: Any, known: Sequence[str]) -> dict[str, Any]:
    """The options of a ``reset`` as a new ``dict``, or a ``ValueError`` if they are no ``dict`` or one is unknown."""
    expected = ", ".join(map(repr, known))
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"options: expected None or a dict with some of {expected}, got {shown(value)}.")
    options = dict(value or {})
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"options: expected none or some of {expected}, got {', '.join(map(repr, unknown))}.")
    return options


def shown(value: Any) -> str:
    """A value for an error: as Python writes it, cut where that is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
