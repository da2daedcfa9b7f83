"""One walker whose muscles somebody else sets, a few steps at a time."""

from __future__ import annotations

import math

import numpy as np

from sodarace_gym.physics.compilation import Floats, borrowing, compiled, inner_borrowing
from sodarace_gym.physics.constants import CHECK_EVERY, WorldConstants
from sodarace_gym.physics.engine.contacts import BIAS_SHARE
from sodarace_gym.physics.engine.ground import Ground
from sodarace_gym.physics.engine.lanes import (
    Space,
    Walkers,
    deal_springs,
    new_space,
    put,
    spring_coefficients,
)
from sodarace_gym.physics.engine.stepping import (
    COMPLETED,
    OVERFLOW,
    READY,
    SETTLING,
    centre,
    check,
    readiness,
    start_walking,
    step,
)


@compiled
def settle(walkers: Walkers, ground: Ground, constants: WorldConstants) -> tuple[Space, int, bool]:
    """Lets a single walker settle: (its space, COMPLETED or another status, whether it may walk)."""
    space = new_space(walkers, 1)
    if not put(space, 0, 0, walkers, ground, constants):
        return space, OVERFLOW, False
    deal_springs(space, walkers, spring_coefficients(walkers, constants))
    status, verdict = _settle(space, ground, constants)
    return space, status, verdict == READY


@inner_borrowing
def _settle(space: Space, ground: Ground, constants: WorldConstants) -> tuple[int, int]:
    lanes = space.lanes
    bias_rate = 1.0 - math.pow(BIAS_SHARE, constants.time_step)
    status, verdict = COMPLETED, readiness(space, 0, 0.0, constants)
    while verdict == SETTLING:
        step(space, ground, constants, bias_rate)
        if lanes.crowded[0]:
            return OVERFLOW, SETTLING
        lanes.settling_steps[0] += 1
        if lanes.settling_steps[0] % CHECK_EVERY == 0:
            status, speed = check(space, 0, ground, constants)
            if status != COMPLETED:
                return status, SETTLING
            lanes.calm[0] = lanes.calm[0] + 1 if speed < constants.rest_speed else 0
            lanes.slowest[0] = min(lanes.slowest[0], speed)
            verdict = readiness(space, 0, speed, constants)
    if verdict == READY:
        start_walking(space, 0, constants)
    return status, verdict


@borrowing
def advance(
    space: Space,
    walkers: Walkers,
    ground: Ground,
    constants: WorldConstants,
    rest_lengths: Floats,
    total: int,
    motion: Floats,
) -> tuple[int, float]:
    """Takes one step for each row of rest lengths, fewer if the walker comes to a fault.

    Args:
        space: The walker's space, after it settled.
        walkers: The walker.
        ground: Its terrain.
        constants: The physical constants.
        rest_lengths: What the active muscles' rest lengths are during each step, shape (steps, active muscles), walker units.
        total: How many steps there may be since the walker settled: after the last one, too, joints are looked at.
        motion: Gets positions and velocities of the joints, shape (joints, 4).

    Returns:
        Status, and the x of the centre of mass.
    """
    lanes, joints, rows = space.lanes, space.joints, space.springs.rows
    bias_rate = 1.0 - math.pow(BIAS_SHARE, constants.time_step)
    status = COMPLETED
    for row in range(rest_lengths.shape[0]):
        for position in range(rest_lengths.shape[1]):
            rows[np.uint64(lanes.driven[0, position])] = rest_lengths[row, position]
        step(space, ground, constants, bias_rate)
        lanes.walking_steps[0] += 1
        taken = lanes.walking_steps[0]
        if lanes.crowded[0]:
            status = OVERFLOW
            break
        if taken % CHECK_EVERY == 0 or taken == total:
            status, _ = check(space, 0, ground, constants)
            if status != COMPLETED:
                break
    for joint in range(motion.shape[0]):
        motion[joint, 0], motion[joint, 1] = joints.positions[2 * joint], joints.positions[2 * joint + 1]
        motion[joint, 2], motion[joint, 3] = joints.velocities[2 * joint], joints.velocities[2 * joint + 1]
    return status, centre(space, 0)
