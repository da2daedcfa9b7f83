"""A walker's design: joints, muscles, the limits that keep physics sane, and the repairs that bring a design within them.

Lengths are in walker units (the paper's square seed has sides of 10), masses in joint masses, phases in radians.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sodarace_gym.errors import ProgramError

# Hard limits: a design beyond one of them is refused with a named error. They admit the largest walker shown by Lehman et
# al. (2022), the runner: 40 joints, 418 muscles, 39 of them on one joint.
MAX_JOINTS = 64
"""Joints per walker, after merging."""
MAX_MUSCLES = 512
"""Muscles per walker, after dropping useless ones."""
MAX_COORDINATE = 100.0
"""Largest absolute coordinate a program may ask for, in walker units."""
MAX_WIDTH = 30.0
"""Largest width of a walker: the start area of every terrain has room for it."""
MAX_HEIGHT = 24.0
"""Largest height of a walker."""

# Soft limits: a design beyond one of them is repaired, and the repair is counted.
MAX_MUSCLES_PER_JOINT = 48
"""Muscles at one joint; later ones are dropped."""
MIN_JOINT_DISTANCE = 0.1
"""Joints nearer than this to an earlier one are merged into it: a muscle between them would have no length to speak of."""
MAX_AMPLITUDE_RATIO = 0.3
"""Largest amplitude of a muscle over its rest length (the cap seen in the paper's listing of the square: 2.12 / 7.07)."""
MAX_PHASE = 1e6
"""Larger phases are reduced to one turn: beyond this a float no longer resolves a sine's argument."""


class Muscle(NamedTuple):
    """A spring between two joints.

    Attributes:
        a: Index of one joint.
        b: Index of the other joint.
        distance_only: True for a plain distance spring, False for one whose rest length oscillates.
        amplitude: How far the rest length swings to either side, walker units; 0 for plain muscles.
        phase: Phase of the swing, radians; 0 for plain muscles.
    """

    a: int
    b: int
    distance_only: bool = True
    amplitude: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class WalkerDesign:
    """A walker within all limits: one connected body of joints and muscles. Hashable, so that equal designs are found.

    Attributes:
        joints: Positions (x, y) as the program gave them, walker units.
        muscles: The springs between them.
    """

    joints: tuple[tuple[float, float], ...]
    muscles: tuple[Muscle, ...]

    @cached_property
    def rest_lengths(self) -> tuple[float, ...]:
        """Rest length of each muscle: the distance of its joints at the start, walker units."""
        return tuple(math.dist(self.joints[m.a], self.joints[m.b]) for m in self.muscles)

    @property
    def height(self) -> float:
        """Extent along y at the start, walker units."""
        heights = [y for _, y in self.joints]
        return max(heights) - min(heights)

    @property
    def width(self) -> float:
        """Extent along x at the start, walker units."""
        places = [x for x, _ in self.joints]
        return max(places) - min(places)

    @property
    def mass(self) -> float:
        """Number of joints plus half the summed rest lengths: IESoR's measure of how much walker there is."""
        return len(self.joints) + 0.5 * math.fsum(self.rest_lengths)

    def mirrored(self) -> WalkerDesign:
        """The same walker facing the other way (x becomes -x)."""
        return WalkerDesign(tuple((-x, y) for x, y in self.joints), self.muscles)

    def to_program(self) -> str:
        """A program that builds exactly this design, one statement a line."""
        lines = ["def make_walker():", "    wc = walker_creator()"]
        lines += [f"    j{i} = wc.add_joint({x!r}, {y!r})" for i, (x, y) in enumerate(self.joints)]
        for a, b, distance_only, amplitude, phase in self.muscles:
            drive = "" if distance_only else f", False, {amplitude!r}, {phase!r}"
            lines.append(f"    wc.add_muscle(j{a}, j{b}{drive})")
        return "\n".join([*lines, "    return wc.get_walker()", ""])


def build_design(
    joints: Sequence[tuple[float, float]], muscles: Sequence[tuple[int, int, bool, float, float]]
) -> tuple[WalkerDesign, dict[str, int]]:
    """Turns what a program asked for into a walker within the limits.

    Repairs, in this order and counted by name: ``merged_joints`` (too close to an earlier one), ``dropped_muscles`` (joining
    a joint to itself, or a pair already joined), ``dropped_crowded_muscles`` (too many at a joint), ``dropped_parts`` (joints
    outside the largest connected body; among equals the one with the earliest joint), ``clamped_amplitudes``.

    Args:
        joints: Positions (x, y), walker units.
        muscles: (a, b, distance_only, amplitude, phase) with joint indices into ``joints``.

    Returns:
        The design and the number of repairs of each kind that occurred (kinds that did not occur are left out).

    Raises:
        ProgramError: A hard limit is broken or a value is unusable.
    """
    repairs: Counter[str] = Counter()
    _check_joints(joints)
    representative, kept = _merge_joints(joints)
    repairs["merged_joints"] = len(joints) - len(kept)
    if len(kept) > MAX_JOINTS:
        raise ProgramError(
            "too_many_joints",
            f"the walker has {len(kept)} joints; at most {MAX_JOINTS} are allowed, build a smaller one.",
        )
    links = _usable_muscles(len(joints), muscles, representative, repairs)
    if len(links) > MAX_MUSCLES:
        raise ProgramError(
            "too_many_muscles",
            f"the walker has {len(links)} muscles; at most {MAX_MUSCLES} are allowed, connect fewer joints.",
        )
    body = _largest_body(kept, links)
    if not links or len(body) < 2:
        raise ProgramError("no_muscles", "no muscle joins two different joints; call add_muscle(a, b) at least once.")
    repairs["dropped_parts"] = len(kept) - len(body)
    number = {joint: index for index, joint in enumerate(body)}
    positions = tuple([(float(joints[j][0]), float(joints[j][1])) for j in body])
    design_muscles: list[Muscle] = []
    clamped_amplitudes = 0
    new = tuple.__new__  # without the detour of a named tuple's own
    whole = len(body) == len(joints)  # no joint gets another number
    for a, b, distance_only, amplitude, phase in links:
        if not whole and a not in number:
            continue
        first, second = (a, b) if whole else (number[a], number[b])
        if distance_only or amplitude == 0.0:
            design_muscles.append(new(Muscle, (first, second, True, 0.0, 0.0)))
            continue
        bound = MAX_AMPLITUDE_RATIO * math.dist(joints[a], joints[b])
        if not -bound <= amplitude <= bound:
            amplitude = math.copysign(bound, amplitude)
            clamped_amplitudes += 1
        if abs(phase) > MAX_PHASE:
            phase = math.fmod(phase, math.tau)
        design_muscles.append(new(Muscle, (first, second, False, amplitude, phase)))
    repairs["clamped_amplitudes"] = clamped_amplitudes
    design = WalkerDesign(positions, tuple(design_muscles))
    if design.width > MAX_WIDTH or design.height > MAX_HEIGHT:
        raise ProgramError(
            "walker_too_large",
            f"the walker is {design.width:.4g} wide and {design.height:.4g} high; at most {MAX_WIDTH:g} x {MAX_HEIGHT:g} "
            "fits the start area, build a smaller one.",
        )
    return design, {name: count for name, count in repairs.items() if count}


def _check_joints(joints: Sequence[tuple[float, float]]) -> None:
    if not joints:
        raise ProgramError("no_joints", "the walker has no joints; call add_joint(x, y) at least twice.")
    if len(joints) > 16 * MAX_JOINTS:
        # Merging compares joints pairwise; far too many are refused before any of that work.
        raise ProgramError(
            "too_many_joints",
            f"the program added {len(joints)} joints; at most {MAX_JOINTS} different ones are allowed.",
        )
    # What is not a number compares false, too.
    if all([-MAX_COORDINATE <= x <= MAX_COORDINATE and -MAX_COORDINATE <= y <= MAX_COORDINATE for x, y in joints]):
        return
    for index, position in enumerate(joints):
        for value in position:
            if not math.isfinite(value):
                raise ProgramError("non_finite_coordinate", f"joint {index} is at {value}; coordinates must be finite.")
            if abs(value) > MAX_COORDINATE:
                raise ProgramError(
                    "coordinate_out_of_range",
                    f"joint {index} has the coordinate {value:.6g}; coordinates lie between -{MAX_COORDINATE:g} and "
                    f"{MAX_COORDINATE:g}.",
                )


def _merge_joints(joints: Sequence[tuple[float, float]]) -> tuple[list[int], list[int]]:
    """For each joint the earlier one it is merged into (or itself), and the joints that stay, in order."""
    if not _any_close(joints):
        return list(range(len(joints))), list(range(len(joints)))
    representative: list[int] = []
    kept: list[int] = []
    for index, (x, y) in enumerate(joints):
        for other in kept:
            dx, dy = x - joints[other][0], y - joints[other][1]
            if dx * dx + dy * dy < MIN_JOINT_DISTANCE**2:
                representative.append(other)
                break
        else:
            representative.append(index)
            kept.append(index)
    return representative, kept


def _any_close(joints: Sequence[tuple[float, float]]) -> bool:
    """Whether any two joints are near enough to be merged: a sweep along x, which most walkers pass without a comparison."""
    reach = 1.01 * MIN_JOINT_DISTANCE
    ahead = sorted(joints)
    for index, (x, y) in enumerate(ahead, 1):
        for following in ahead[index:]:
            dx = following[0] - x
            if dx > reach:
                break
            dy = following[1] - y
            if dx * dx + dy * dy < MIN_JOINT_DISTANCE**2:
                return True
    return False


def _usable_muscles(
    joint_count: int,
    muscles: Sequence[tuple[int, int, bool, float, float]],
    representative: Sequence[int],
    repairs: Counter[str],
) -> list[tuple[int, int, bool, float, float]]:
    """Muscles over merged joints, without loops, doubles and what is too much for one joint."""
    _check_muscles(joint_count, muscles)
    pairs: set[tuple[int, int]] = set()
    at_joint = [0] * joint_count
    links = []
    merged = len(set(representative)) < joint_count
    for muscle in muscles:
        a, b = muscle[0], muscle[1]
        if merged:
            a, b = representative[a], representative[b]
            muscle = (a, b, *muscle[2:])
        pair = (a, b) if a < b else (b, a)
        if a == b or pair in pairs:
            repairs["dropped_muscles"] += 1
        elif at_joint[a] >= MAX_MUSCLES_PER_JOINT or at_joint[b] >= MAX_MUSCLES_PER_JOINT:
            repairs["dropped_crowded_muscles"] += 1
        else:
            pairs.add(pair)
            at_joint[a] += 1
            at_joint[b] += 1
            links.append(muscle)
    return links


def _check_muscles(joint_count: int, muscles: Sequence[tuple[int, int, bool, float, float]]) -> None:
    if not muscles:
        return
    # Column by column: nearly all walkers pass, and pass soon.
    first, second, _, amplitudes, phases = zip(*muscles, strict=True)
    named = min(min(first), min(second)) >= 0 and max(max(first), max(second)) < joint_count
    if named and all(map(math.isfinite, amplitudes)) and all(map(math.isfinite, phases)):
        return
    for index, (a, b, _, amplitude, phase) in enumerate(muscles):
        if not (0 <= a < joint_count and 0 <= b < joint_count):
            joint = b if 0 <= a < joint_count else a
            raise ProgramError(
                "unknown_joint",
                f"muscle {index} names joint {joint}, but the joints are numbered 0 to {joint_count - 1}; use the ids "
                "that add_joint returns.",
            )
        if not (math.isfinite(amplitude) and math.isfinite(phase)):
            raise ProgramError(
                "bad_muscle",
                f"muscle {index} has amplitude {amplitude} and phase {phase}; both must be finite numbers.",
            )


def _largest_body(kept: Sequence[int], links: Sequence[tuple[int, int, bool, float, float]]) -> list[int]:
    """The joints of the largest connected part, in order; among equals the part with the earliest joint."""
    # Joined link by link until one part is left; the root of a part is its earliest joint.
    root = {joint: joint for joint in kept}
    parts = len(kept)
    for link in links:
        if parts == 1:
            break
        a, b = link[0], link[1]
        while root[a] != a:
            root[a] = a = root[root[a]]
        while root[b] != b:
            root[b] = b = root[root[b]]
        if a != b:
            root[max(a, b)] = min(a, b)
            parts -= 1
    if parts == 1:
        return list(kept)
    bodies: dict[int, list[int]] = {}
    for joint in kept:
        # The earlier joints of a part come first, so that a root's own root is known already.
        root[joint] = root[root[joint]]
        bodies.setdefault(root[joint], []).append(joint)
    return max(bodies.values(), key=len, default=[])
