"""One step of all walkers side by side, and what is looked at between steps: Chipmunk's cpSpaceStep."""

from __future__ import annotations

import math

import numpy as np

from sodarace_gym.physics.compilation import ZERO, inlined
from sodarace_gym.physics.constants import WorldConstants
from sodarace_gym.physics.engine import contacts as c
from sodarace_gym.physics.engine import ground as g
from sodarace_gym.physics.engine import joints as j
from sodarace_gym.physics.engine import narrow_phase as n
from sodarace_gym.physics.engine import springs as s
from sodarace_gym.physics.engine.ground import BIN_WIDTHS, Ground
from sodarace_gym.physics.engine.lanes import BUSY, NOBODY, STEP, Space
from sodarace_gym.physics.engine.vectors import WIDTH
from sodarace_gym.physics.surfaces import drifting, joint_fault

COMPLETED, UNSTABLE, ESCAPED, OVERFLOW = range(4)
"""Why a roll-out ended: it ran its course, a joint passed the speed bound, a joint got into the terrain; or there was no room
for all segments around a joint, and pymunk must do it."""

SETTLING, READY, RESTLESS = range(3)
"""What becomes of a walker that settles: it goes on, it may walk, or it never came to rest."""


@inlined
def step(space: Space, ground: Ground, constants: WorldConstants, bias_rate: float) -> None:
    """One step of all busy lanes: cpSpaceStep. Marks lanes as crowded that there is not room enough for.

    Args:
        space: The lanes and all that is in them.
        ground: The terrains.
        constants: The physical constants.
        bias_rate: Share of an overlap with the ground that is undone in a step.
    """
    joints, contacts, springs, lanes = space.joints, space.contacts, space.springs, space.lanes
    radius, half, dt = constants.joint_radius, constants.segment_radius, constants.time_step
    one = np.uint64(1)
    lanes.state[STEP] += 1
    j.move(joints, contacts.counts[c.BIASED] != 0, radius, dt)
    pairs = ZERO
    for lane in range(lanes.walker.shape[0]):
        if lanes.walker[lane] != NOBODY:
            first, last = lanes.first[lane], lanes.last[lane]
            found = j.find_pairs(joints, first, last, ground, lanes.terrain[lane], contacts, pairs, radius)
            if found < 0:
                lanes.crowded[lane] = 1
            else:
                pairs = found
    n.narrow_phase(contacts.given, contacts.found, (pairs + WIDTH - 1) // WIDTH, radius, half, bias_rate, dt)
    crowded = c.update_contacts(
        contacts, pairs, ground, lanes.state[STEP], radius + half, radius, half,
        constants.joint_friction, constants.joint_elasticity, bias_rate, dt,
    )  # fmt: skip
    if crowded:
        for lane in range(lanes.walker.shape[0]):
            for slot in range(lanes.first[lane], lanes.last[lane]):
                if contacts.crowded[slot]:
                    lanes.crowded[lane], contacts.crowded[slot] = 1, False
    alone = lanes.state[BUSY] == 1
    if alone:
        s.pre_step_singly(joints.positions, joints.velocities, springs, dt)
    else:
        s.pre_step_quads(joints.positions, joints.velocities, springs.ends, springs.rows, springs.counts[0], dt)
    for lane in range(lanes.walker.shape[0]):
        if lanes.walker[lane] != NOBODY:
            damping, gravity = lanes.damping[lane], lanes.gravity[lane]
            for at in range(np.uint64(2 * lanes.first[lane]), np.uint64(2 * lanes.last[lane]), np.uint64(2)):
                joints.velocities[at] *= damping
                joints.velocities[at + one] = joints.velocities[at + one] * damping + gravity
    touching, more = contacts.counts[c.FIRST], contacts.counts[c.FURTHER]
    c.apply_remembered(joints.velocities, contacts.first, touching)
    c.apply_remembered(joints.velocities, contacts.further, more)
    if contacts.counts[c.BIASED] != 0:
        # The bias velocities are apart from all else, so that they are solved apart.
        for _ in range(constants.iterations):
            c.push_out(joints.bias_velocities, contacts.first, touching)
            c.push_out(joints.bias_velocities, contacts.further, more)
    if alone:
        for _ in range(constants.iterations):
            c.apply_singly(joints.velocities, contacts.first, touching)
            c.apply_singly(joints.velocities, contacts.further, more)
            s.apply_singly(joints.velocities, springs)
    else:
        quads = c.fill_last_quad(contacts.first, touching, 2 * joints.room.shape[0])
        for _ in range(constants.iterations):
            c.apply_quads(joints.velocities, contacts.first.joint, contacts.first.rows, quads)
            c.apply_singly(joints.velocities, contacts.further, more)
            s.apply_quads(joints.velocities, springs.ends, springs.rows, springs.counts[0])
    c.remember(contacts, contacts.first, touching)
    c.remember(contacts, contacts.further, more)


@inlined
def readiness(space: Space, lane: int, speed: float, constants: WorldConstants) -> int:
    """Whether a walker goes on settling, may walk or never came to rest, after a check that found its fastest joint's speed."""
    lanes = space.lanes
    calm = lanes.calm[lane] >= constants.calm_checks
    if lanes.settling_steps[lane] < constants.settling_steps and not calm:
        return SETTLING
    return READY if calm or drifting(speed, lanes.slowest[lane], constants.drift_speed) else RESTLESS


@inlined
def start_walking(space: Space, lane: int, constants: WorldConstants) -> None:
    """Ends the drag and weakened gravity of settling."""
    lanes = space.lanes
    lanes.walking[lane] = 1
    lanes.damping[lane], lanes.gravity[lane] = 1.0, (-constants.gravity) * constants.time_step
    lanes.start[lane] = centre(space, lane)


@inlined
def drive_muscles(space: Space, lane: int, muscles: int, sine: float, cosine: float) -> None:
    """Sets the rest lengths of a lane's active muscles for a step that ends when sin(w t) and cos(w t) are so."""
    drives, rows = space.lanes.drives, space.springs.rows
    for position in range(np.uint64(muscles)):
        rows[np.uint64(space.lanes.driven[lane, position])] = (
            drives[lane, position, 0] + drives[lane, position, 1] * sine + drives[lane, position, 2] * cosine
        )


@inlined
def check(space: Space, lane: int, ground: Ground, constants: WorldConstants) -> tuple[int, float]:
    """Looks at every joint of a lane: (COMPLETED, UNSTABLE or ESCAPED; the fastest joint's speed)."""
    joints, lanes = space.joints, space.lanes
    terrain = lanes.terrain[lane]
    spans, heights = ground.spans, ground.heights
    fastest = 0.0
    for slot in range(lanes.first[lane], lanes.last[lane]):
        vx, vy = joints.velocities[2 * slot], joints.velocities[2 * slot + 1]
        speed = vx * vx + vy * vy
        if not speed <= constants.max_speed * constants.max_speed:
            return UNSTABLE, speed
        fastest = max(fastest, speed)
        x, y = joints.positions[2 * slot], joints.positions[2 * slot + 1]
        if heights[terrain, g.LOWEST] <= y <= heights[terrain, g.HIGHEST] and math.isfinite(x):
            continue
        place = (x - heights[terrain, g.LEFT_END]) / BIN_WIDTHS[0]
        if 0.0 <= place < spans[terrain, g.NARROW_COUNT]:
            at = spans[terrain, g.OPEN] + int(place)
            if ground.open[at, 0] <= y <= ground.open[at, 1]:
                continue
        floor = ground.floor[spans[terrain, g.FLOOR] : spans[terrain, g.FLOOR_END]]
        ceiling = ground.ceiling[spans[terrain, g.CEILING] : spans[terrain, g.CEILING_END]]
        if joint_fault(x, y, floor, ceiling, constants.escape_depth):
            return ESCAPED, speed
    return COMPLETED, math.sqrt(fastest)


@inlined
def centre(space: Space, lane: int) -> float:
    """The x of the centre of mass of a lane's walker, walker units."""
    total = 0.0
    for slot in range(space.lanes.first[lane], space.lanes.last[lane]):
        total += space.joints.positions[2 * slot]
    return total / (space.lanes.last[lane] - space.lanes.first[lane])
