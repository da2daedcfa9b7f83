"""The joints and the segments near them: Chipmunk's cpBody, and its broad phase for circles over static ground.

Chipmunk keeps every circle in a box with some room ahead of its motion, and looks up anew what the box may meet only when the
circle leaves it. The segments found are visited in the order of the look-up in that step and in the reverse order in the steps
after it, because Chipmunk then goes through a list to whose head each was added.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sodarace_gym.physics.compilation import Floats, Ints, inlined, inner
from sodarace_gym.physics.engine import ground as g
from sodarace_gym.physics.engine import narrow_phase as n
from sodarace_gym.physics.engine.contacts import PAIRS, Contacts
from sodarace_gym.physics.engine.ground import BIN_WIDTHS, Ground
from sodarace_gym.physics.engine.vectors import offsets, place

CANDIDATES = 96
"""Most segments near a joint. A joint with more is left to pymunk, see ``stepping``."""

ROOM = float(np.float32(0.1))
"""Room in the box around a circle, as a share of its size, and seconds of its motion that there is room for ahead: Chipmunk's
velocity extrapolation (cpBBTree's GetBB), written there as floats of 32 bits."""

_X, _Y, _AX, _AY, _DX, _DY, _LENGTH_SQUARED, _VX, _VY = offsets(n.GIVEN)


class Joints(NamedTuple):
    """The joints of all walkers under way.

    The arrays of pairs have two pairs more than there are joints: joints that stand for nothing, see
    ``springs.deal_quads``.

    Attributes:
        positions: x and y of each joint, walker units, shape (2 * joints + 4,).
        velocities: Their rates of change, walker units / s.
        bias_velocities: Velocities that undo overlaps: they move joints for one step and are forgotten.
        boxes: The boxes with room in them: left, bottom, right, top; shape (4, joints).
        room: How far inside its box each circle is, negative outside; shape (joints,).
        candidates: Segments that each box may meet, shape (joints, CANDIDATES).
        candidate_counts: How many these are, shape (joints,).
    """

    positions: Floats
    velocities: Floats
    bias_velocities: Floats
    boxes: Floats
    room: Floats
    candidates: Any
    candidate_counts: Ints


@inner
def new_joints(count: int) -> Joints:
    """Room for some joints."""
    positions = np.zeros(2 * count + 4)
    positions[2 * count + 2] = 1.0  # the springs between the last two have a length
    return Joints(
        positions,
        np.zeros(2 * count + 4),
        np.zeros(2 * count + 4),
        np.zeros((4, count)),
        np.zeros(count),
        np.empty((count, CANDIDATES), np.uint64),
        np.zeros(count, np.int64),
    )


@inlined
def move(joints: Joints, biased: bool, radius: float, time_step: float) -> None:
    """CpBodyUpdatePosition for all joints, and how far inside its box each is then."""
    positions, velocities, bias_velocities = joints.positions, joints.velocities, joints.bias_velocities
    boxes, room = joints.boxes, joints.room
    slots = room.shape[0]
    if biased:
        for coordinate in range(2 * slots):
            positions[coordinate] += (velocities[coordinate] + bias_velocities[coordinate]) * time_step
            bias_velocities[coordinate] = 0.0
    else:
        for coordinate in range(2 * slots):
            positions[coordinate] += velocities[coordinate] * time_step
    for slot in range(slots):
        x, y = positions[2 * slot], positions[2 * slot + 1]
        left, right = (x - radius) - boxes[0, slot], boxes[2, slot] - (x + radius)
        bottom, top = (y - radius) - boxes[1, slot], boxes[3, slot] - (y + radius)
        across = left if left < right else right
        upright = bottom if bottom < top else top
        room[slot] = across if across < upright else upright


@inlined
def renew_box(joints: Joints, slot: Any, radius: float) -> None:
    """Puts a joint into a box with room around it and ahead of it."""
    at, one = np.uint64(2) * slot, np.uint64(1)
    x, y = joints.positions[at], joints.positions[at + one]
    left, bottom, right, top = x - radius, y - radius, x + radius, y + radius
    width, height = (right - left) * ROOM, (top - bottom) * ROOM
    ahead_x, ahead_y = joints.velocities[at] * ROOM, joints.velocities[at + one] * ROOM
    joints.boxes[0, slot] = left + (-width if -width < ahead_x else ahead_x)
    joints.boxes[1, slot] = bottom + (-height if -height < ahead_y else ahead_y)
    joints.boxes[2, slot] = right + (width if width > ahead_x else ahead_x)
    joints.boxes[3, slot] = top + (height if height > ahead_y else ahead_y)


@inlined
def find_candidates(joints: Joints, slot: Any, ground: Ground, terrain: int) -> bool:
    """Looks up which segments a joint's box may meet, in the order of Chipmunk's tree; False if they are too many."""
    left, bottom, right, top = (
        joints.boxes[0, slot],
        joints.boxes[1, slot],
        joints.boxes[2, slot],
        joints.boxes[3, slot],
    )
    spans, segments, candidates = ground.spans, ground.segments, joints.candidates
    offset = left - ground.heights[terrain, g.LEFT_END]
    count = 0
    for size in range(2):
        width = BIN_WIDTHS[0] if size == 0 else BIN_WIDTHS[1]
        place = offset * (1.0 / width)
        if 0.0 <= place < spans[terrain, g.NARROW_COUNT + 2 * size] and right - left <= width:
            at = spans[terrain, g.NARROW + 2 * size] + int(place)
            for member in range(ground.bins[at], ground.bins[at + 1]):
                segment = np.uint64(ground.members[member])
                if _apart(segments, segment, left, bottom, right, top) >= 0.0:
                    if count == CANDIDATES:
                        return False
                    candidates[slot, count] = segment
                    count += 1
            joints.candidate_counts[slot] = count
            return True
    for other in range(np.uint64(spans[terrain, g.FIRST]), np.uint64(spans[terrain, g.LAST])):
        if _apart(segments, other, left, bottom, right, top) >= 0.0:
            if count == CANDIDATES:
                return False
            candidates[slot, count] = other
            count += 1
    joints.candidate_counts[slot] = count
    return True


@inlined
def _apart(segments: Floats, segment: Any, left: float, bottom: float, right: float, top: float) -> float:
    """How far a segment's box and another overlap where they do so least; negative if they are apart."""
    across = min(segments[segment, g.RIGHT] - left, right - segments[segment, g.LEFT])
    upright = min(segments[segment, g.TOP] - bottom, top - segments[segment, g.BOTTOM])
    return min(across, upright)


@inlined
def find_pairs(
    joints: Joints, first: int, last: int, ground: Ground, terrain: int, contacts: Contacts, pairs: int, radius: float
) -> int:
    """The broad phase for the joints of a walker.

    Args:
        joints: The joints.
        first: The walker's first joint.
        last: The joint after its last one.
        ground: The terrains.
        terrain: Which one the walker is on.
        contacts: ``slot``, ``segment`` and ``given`` get the pairs whose boxes meet.
        pairs: How many there are already.
        radius: The joints'.

    Returns:
        How many pairs there are now, or -1 if one of the joints has more than there is room for.
    """
    segments, given, positions, velocities = ground.segments, contacts.given, joints.positions, joints.velocities
    one, two = np.uint64(1), np.uint64(2)
    for slot in range(np.uint64(first), np.uint64(last)):
        fresh = not joints.room[slot] >= 0.0
        if not fresh and joints.candidate_counts[slot] == 0:
            continue
        if fresh:
            renew_box(joints, slot, radius)
            if not find_candidates(joints, slot, ground, terrain):
                return -1
        x, y = positions[two * slot], positions[two * slot + one]
        left, bottom, right, top = x - radius, y - radius, x + radius, y + radius
        count = np.uint64(joints.candidate_counts[slot])
        most = pairs + PAIRS
        for candidate in range(np.uint64(0), count):
            segment = joints.candidates[slot, candidate if fresh else count - one - candidate]
            if _apart(segments, segment, left, bottom, right, top) >= 0.0:
                if pairs == most:
                    return -1
                contacts.slot[pairs], contacts.segment[pairs] = slot, segment
                at = place(pairs, n.GIVEN)
                given[at + _X], given[at + _Y] = x, y
                given[at + _AX], given[at + _AY] = segments[segment, g.AX], segments[segment, g.AY]
                given[at + _DX], given[at + _DY] = segments[segment, g.DX], segments[segment, g.DY]
                given[at + _LENGTH_SQUARED] = segments[segment, g.LENGTH_SQUARED]
                given[at + _VX], given[at + _VY] = velocities[two * slot], velocities[two * slot + one]
                pairs += 1
    return pairs
