"""What came out of the sandbox: the reply, checked for types and shape before anything else touches it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sodarace_gym.errors import ProgramError


@dataclass(frozen=True)
class RawWalker:
    """A walker as a program described it: right types and shape, but any finite or infinite numbers and any joint ids.

    Attributes:
        joints: Positions (x, y).
        muscles: (joint a, joint b, distance_only, amplitude, phase).
    """

    joints: list[tuple[float, float]]
    muscles: list[tuple[int, int, bool, float, float]]


def parse_reply(reply: str) -> RawWalker:
    """Turns the sandbox's reply into a walker, trusting nothing in it.

    Args:
        reply: JSON, either ``[joints, muscles]`` or an object saying why there is no walker.

    Raises:
        ProgramError: The reply is not a walker.
    """
    try:
        value = json.loads(reply)
    except (ValueError, RecursionError):
        # Numbers of thousands of digits, or a structure as deep as the text is long.
        raise ProgramError(
            "wrong_result", "the walker is nested too deeply or holds numbers of absurd length; add plain numbers only."
        ) from None
    if isinstance(value, dict):
        raise _refusal(value)
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, list) for part in value)):
        raise ProgramError(
            "wrong_result", "make_walker() did not return a walker; end it with 'return wc.get_walker()'."
        )
    joints, muscles = value
    return RawWalker(_joints(joints), _muscles(muscles))


def _refusal(value: dict[str, Any]) -> ProgramError:
    """The error for a reply in which the sandbox says why there is no walker."""
    joints, muscles = value.get("joints"), value.get("muscles")
    if type(joints) is int and type(muscles) is int:
        kind, count = ("too_many_joints", joints) if joints > muscles else ("too_many_muscles", muscles)
        what = kind.removeprefix("too_many_")
        return ProgramError(kind, f"the program added {count} {what}; check the bounds of its loops.")
    name = str(value.get("type"))[:40]
    if name == "NoneType":
        return ProgramError("wrong_result", "make_walker() returned None; end it with 'return wc.get_walker()'.")
    return ProgramError(
        "wrong_result",
        f"make_walker() returned a value of type {name}, not a walker; end it with 'return wc.get_walker()'.",
    )


def _joints(items: list[Any]) -> list[tuple[float, float]]:
    joints = []
    for index, item in enumerate(items):
        if not isinstance(item, list) or len(item) != 2:
            raise ProgramError(
                "wrong_result", f"joint {index} is not a pair (x, y); build joints with add_joint(x, y)."
            )
        x, y = item
        if type(x) is not float or type(y) is not float:
            name = f"joint {index}: "
            x = _number(x, name + "x", "coordinate_out_of_range")
            y = _number(y, name + "y", "coordinate_out_of_range")
        joints.append((x, y))
    return joints


def _muscles(items: list[Any]) -> list[tuple[int, int, bool, float, float]]:
    muscles = []
    for index, item in enumerate(items):
        if isinstance(item, list) and len(item) == 5:
            a, b, distance_only, amplitude, phase = item
            # Most are right: no sentence need be prepared for those.
            if (
                type(a) is type(b) is int
                and type(distance_only) is bool
                and (type(amplitude) is float or type(amplitude) is int)
                and (type(phase) is float or type(phase) is int)
            ):
                try:
                    muscles.append((a, b, distance_only, float(amplitude), float(phase)))
                    continue
                except OverflowError:
                    pass  # said below
        muscles.append(_muscle(item, f"muscle {index}"))
    return muscles


def _muscle(item: Any, name: str) -> tuple[int, int, bool, float, float]:
    if not isinstance(item, list) or len(item) != 5:
        raise ProgramError(
            "wrong_result", f"{name} is not (a, b, distance_only, amplitude, phase); build muscles with add_muscle."
        )
    a, b, distance_only, amplitude, phase = item
    if type(a) is not int or type(b) is not int:
        raise ProgramError(
            "wrong_result",
            f"{name}: its joints are {_shown(a)} and {_shown(b)}; pass the whole numbers that add_joint returned.",
        )
    # 0 and 1 are what many programs write for the flag; anything else is a number in the wrong place.
    if type(distance_only) is not bool and not (type(distance_only) is int and distance_only in (0, 1)):
        raise ProgramError("wrong_result", f"{name}: distance_only is {_shown(distance_only)}; pass True or False.")
    return (
        a,
        b,
        bool(distance_only),
        _number(amplitude, f"{name}: amplitude", "bad_muscle"),
        _number(phase, f"{name}: phase", "bad_muscle"),
    )


def _number(value: Any, name: str, kind_when_huge: str) -> float:
    """A float from a float or int, not a bool; ``kind_when_huge`` names the error for what no float can hold."""
    if type(value) is float:
        return value
    if type(value) is not int:
        raise ProgramError("wrong_result", f"{name} is {_shown(value)}; pass a plain number.")
    try:
        return float(value)
    except OverflowError:
        raise ProgramError(
            kind_when_huge, f"{name} is a whole number too large for a float; pass a small one."
        ) from None


def _shown(value: Any) -> str:
    """A value from the reply, briefly: ``the str 'abc'``, ``True``, ``a list``."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    if isinstance(value, str):
        return f"the str {value[:20]!r}" if len(value) <= 20 else f"a str of {len(value)} characters"
    if isinstance(value, int) and abs(value) >= 10**12:
        return "a huge int"
    return f"the {type(value).__name__} {value}"
