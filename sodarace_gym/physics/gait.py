"""How a walker goes: how much of the time its feet are on the ground, and how high its centre of mass is meanwhile.

Both come from the positions of the joints at FRAME_RATE instants a second, the start included. The engine and pymunk give equal
positions, and so equal gaits; nothing is added to the steps themselves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sodarace_gym.physics.compilation import Floats, borrowing
from sodarace_gym.physics.constants import CONSTANTS, WorldConstants
from sodarace_gym.physics.engine import ground as g
from sodarace_gym.physics.engine.ground import BIN_WIDTHS, Ground
from sodarace_gym.physics.surfaces import surface_height
from sodarace_gym.physics.world import Motion, WorldArrays


class Gait(NamedTuple):
    """How a walker goes while it walks.

    Attributes:
        ground_share: Share of the instants at which a foot touches the ground, mean over the feet, in [0, 1]: the duty factor
            that biologists measure. Feet are the joints that touch ground at all; without any it is 0. Joints touch as Chipmunk
            finds contacts. Walls, too steep to stand on, and ceilings are no ground. (Three of four bred walkers always have
            some joint on the ground: the share of the time with any would tell little.)
        mean_height: Mean height of the centre of mass above the floor straight below it, walker units; at a vertical face the
            floor is that of its left side.
    """

    ground_share: float
    mean_height: float


def gait_of(motion: Motion, arrays: WorldArrays, constants: WorldConstants = CONSTANTS) -> Gait:
    """The gait of a walker that walked to the end.

    Args:
        motion: What it did, with frames.
        arrays: Its world.
        constants: The physical constants.
    """
    return Gait(
        *_gait(motion.frames, arrays.solid.floor, arrays.solid.ground, constants.joint_radius, constants.segment_radius)
    )


@borrowing
def _gait(frames: Floats, floor: Floats, ground: Ground, radius: float, half: float) -> tuple[float, float]:
    instants, joints = frames.shape[0], frames.shape[1]
    feet, on_ground, heights = 0, 0, 0.0
    for joint in range(joints):
        touched = 0
        for instant in range(instants):
            if touches(frames[instant, joint, 0], frames[instant, joint, 1], ground, radius, half):
                touched += 1
        feet += touched > 0
        on_ground += touched
    for instant in range(instants):
        x, y = 0.0, 0.0
        for joint in range(joints):
            x += frames[instant, joint, 0]
            y += frames[instant, joint, 1]
        heights += y / joints - surface_height(floor, x / joints)
    return on_ground / max(1, feet * instants), heights / instants


@borrowing
def touches(x: float, y: float, ground: Ground, radius: float, half: float) -> bool:
    """Whether a joint touches a segment that has grip: what `contacts.update_contacts` would find, for a single terrain.

    Args:
        x: The joint's place, walker units.
        y: Its height.
        ground: The terrain.
        radius: The joint's.
        half: Half thickness of the segments.
    """
    place = (x - radius - ground.heights[0, g.LEFT_END]) / BIN_WIDTHS[0]
    binned = 0.0 <= place < ground.spans[0, g.NARROW_COUNT]
    start, end = 0, ground.segments.shape[0]
    if binned:
        start, end = ground.bins[int(place)], ground.bins[int(place) + 1]
    for member in range(start, end):
        segment = ground.segments[ground.members[member] if binned else member]
        if segment[g.FRICTION] > 0.0 and _touches(x, y, segment, radius + half):
            return True
    return False


@borrowing
def _touches(x: float, y: float, segment: Floats, reach: float) -> bool:
    dx, dy = segment[g.DX], segment[g.DY]
    along = (dx * (x - segment[g.AX]) + dy * (y - segment[g.AY])) / segment[g.LENGTH_SQUARED]
    along = max(0.0, min(1.0, along))
    gap_x, gap_y = segment[g.AX] + dx * along - x, segment[g.AY] + dy * along - y
    squared = gap_x * gap_x + gap_y * gap_y
    if not squared < reach * reach:
        return False
    distance = math.sqrt(squared)
    if distance == 0.0:
        return True
    # At the end of a segment the neighbour is in charge of directions that lie on its side.
    nx, ny = gap_x / distance, gap_y / distance
    if along == 0.0:
        return bool(nx * segment[g.BEFORE_X] + ny * segment[g.BEFORE_Y] >= 0.0)
    if along == 1.0:
        return bool(nx * segment[g.AFTER_X] + ny * segment[g.AFTER_Y] >= 0.0)
    return True
