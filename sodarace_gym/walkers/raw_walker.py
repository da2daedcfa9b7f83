"""What came out of the sandbox: the reply, checked for types and shape before anything else touches it."""

from __future__ import annotations

import json
from collections import Counter
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
    faults = _Faults()
    walker = RawWalker(_joints(value[0], faults), _muscles(value[1], faults))
    faults.raise_any()
    return walker


class _Faults:
    """What is wrong with a walker: all of it is told at once, faults of one sort by their first example."""

    def __init__(self) -> None:
        self._kind = "wrong_result"
        self._examples: dict[str, tuple[str, str]] = {}
        self._counts: Counter[str] = Counter()

    def note(self, sort: str, what: str, fix: str, kind: str = "wrong_result") -> None:
        """Notes a fault; the kind of the first one names the error."""
        if not self._examples:
            self._kind = kind
        self._examples.setdefault(sort, (what, fix))
        self._counts[sort] += 1

    def raise_any(self) -> None:
        """Raises a ProgramError that tells all faults in one sentence, if there are any."""
        if self._examples:
            found = [
                what + (f" (and {self._counts[sort] - 1} more like it)" if self._counts[sort] > 1 else "")
                for sort, (what, _) in self._examples.items()
            ]
            fixes = dict.fromkeys(fix for _, fix in self._examples.values())
            raise ProgramError(self._kind, f"{', '.join(found)}; {', '.join(fixes)}.")


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
    if name == "dict":
        return ProgramError(
            "wrong_result",
            "make_walker() returned a dict without the lists 'joints' and 'muscles'; give it both, or end with "
            "'return wc.get_walker()'.",
        )
    return ProgramError(
        "wrong_result",
        f"make_walker() returned a value of type {name}, not a walker; end it with 'return wc.get_walker()'.",
    )


def _joints(items: list[Any], faults: _Faults) -> list[tuple[float, float]]:
    joints = []
    for index, item in enumerate(items):
        if not isinstance(item, list) or len(item) != 2:
            faults.note("pair", f"joint {index} is not a pair (x, y)", "build joints with add_joint(x, y)")
            continue
        x, y = item
        if type(x) is not float or type(y) is not float:
            x = _number(x, f"joint {index}: x", "coordinate_out_of_range", faults)
            y = _number(y, f"joint {index}: y", "coordinate_out_of_range", faults)
        joints.append((x, y))
    return joints


def _muscles(items: list[Any], faults: _Faults) -> list[tuple[int, int, bool, float, float]]:
    muscles = []
    habits: tuple[bool, bool] | None = None
    for index, item in enumerate(items):
        a, b, flag, amplitude, phase = item if type(item) is list and len(item) == 5 else _fields(item)
        if type(a) is not int or type(b) is not int:
            _note_joints(index, a, b, faults)
            continue
        if flag is None and amplitude is None and phase is None:
            muscles.append((a, b, True, 0.0, 0.0))
            continue
        if type(flag) in _NUMBERS:
            habits = habits or _habits(items)
            flag, amplitude, phase = _read(index, flag, amplitude, phase, habits, faults)
        if type(amplitude) is not float:
            short = type(amplitude) is int and -_SHORT < amplitude < _SHORT
            amplitude = (
                float(amplitude) if short else _number(amplitude, f"muscle {index}: amplitude", "bad_muscle", faults)
            )
        if type(phase) is not float:
            short = type(phase) is int and -_SHORT < phase < _SHORT
            phase = float(phase) if short else _number(phase, f"muscle {index}: phase", "bad_muscle", faults)
        if type(flag) is not bool:
            if flag is not None:
                faults.note("flag", f"muscle {index}: distance_only is {_shown(flag)}", "pass True or False")
            flag = amplitude == 0.0
        muscles.append((a, b, flag, amplitude, phase))
    return muscles


def _note_joints(index: int, a: Any, b: Any, faults: _Faults) -> None:
    if a is _MISSING:
        what, fix = "is not (a, b, distance_only, amplitude, phase)", "build muscles with add_muscle"
        faults.note("muscle", f"muscle {index} {what}", fix)
    else:
        what, fix = f"its joints are {_shown(a)} and {_shown(b)}", "pass the whole numbers that add_joint returned"
        faults.note("ids", f"muscle {index}: {what}", fix)


_NUMBERS = (int, float)
_SHORT = 2**53  # whole numbers that surely are floats, too
_MISSING = object()
_NOT_A_MUSCLE = (_MISSING, _MISSING, None, None, None)


def _fields(item: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Joint, joint, flag, amplitude and phase of a muscle as a program wrote it, None where it left one out.

    ``add_muscle`` gives all five; lists made by hand may be shorter, or ``[a, b, {"type": "muscle", "amplitude": 1.0,
    "phase": 0.0}]`` with the other type ``"distance"``, as the paper prints walkers.
    """
    if not isinstance(item, list) or not 2 <= len(item) <= 5:
        return _NOT_A_MUSCLE
    if len(item) == 3 and isinstance(item[2], dict):
        plain = {"distance": True, "muscle": False}.get(str(item[2].get("type")))
        if plain is None:
            return _NOT_A_MUSCLE
        return item[0], item[1], plain, item[2].get("amplitude"), item[2].get("phase")
    a, b, flag, amplitude, phase = item + [None] * (5 - len(item))
    return a, b, flag, amplitude, phase


def _habits(items: list[Any]) -> tuple[bool, bool]:
    """Whether a program writes flags, and whether it leaves them out: ``add_muscle(a, b, amplitude, phase)``."""
    writes = leaves_out = False
    for item in items:
        *_, flag, amplitude, phase = _fields(item)
        complete = amplitude is not None and phase is not None
        if type(flag) is bool or (complete and flag in (0, 1)):
            writes = True
        elif type(flag) in _NUMBERS and not complete and flag not in (0, 1):
            leaves_out = True
    return writes, leaves_out


def _read(
    index: int, third: float, fourth: Any, fifth: Any, habits: tuple[bool, bool], faults: _Faults
) -> tuple[bool, Any, Any]:
    """Flag, amplitude and phase, where a number stands in the place of the flag.

    It is the flag where five arguments are given, and the amplitude where it is no truth value and fewer are given.
    What else it may be, the rest of the program decides, if it does: ``habits``.
    """
    writes, leaves_out = habits
    is_truth = third in (0, 1)
    if fourth is not None and fifth is not None:
        if is_truth or fourth == 0:
            # A muscle that does not swing is a plain one, whatever a 2 as its flag may mean.
            return third != 0, fourth, fifth
        faults.note("flag", f"muscle {index}: distance_only is {_shown(third)}", "pass True or False")
        return True, fourth, fifth
    other = fourth if fourth is not None else fifth
    no_more = other is None or other == 0
    if not is_truth or (leaves_out and not writes):
        return third == 0, third, other
    if (leaves_out and not (third == 0 and no_more)) or (not writes and third == 1 and not no_more):
        faults.note(
            "ambiguous",
            f"muscle {index}: {_shown(third)} after its joints may be a flag or an amplitude",
            "write add_muscle(a, b, False, amplitude, phase) or add_muscle(a, b, True)",
        )
    return third != 0, fourth, fifth


def _number(value: Any, name: str, kind_when_huge: str, faults: _Faults) -> float:
    """A float from a number, True and False being 1 and 0; a muscle's None, for what was left out, is 0 as well."""
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            faults.note("huge", f"{name} is a whole number too large for a float", "pass a small one", kind_when_huge)
            return 0.0
    if type(value) is not bool and not (value is None and kind_when_huge == "bad_muscle"):
        faults.note("number", f"{name} is {_shown(value)}", "pass a plain number")
        return 0.0
    return float(value or 0)


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
