"""The roll-out as a compiled loop that calls Chipmunk's functions: what the engine is measured against.

It was how walkers were stepped before the engine, and equals it and pymunk bit for bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from benchmarks import chipmunk_calls as chipmunk
from sodarace_gym.physics.compilation import Floats, Ints
from sodarace_gym.physics.constants import CHECK_EVERY, WorldConstants
from sodarace_gym.physics.engine.stepping import COMPLETED, ESCAPED, UNSTABLE
from sodarace_gym.physics.reference import COLLISION_GROUP
from sodarace_gym.physics.surfaces import drifting, joint_fault
from sodarace_gym.physics.world import Motion, WorldArrays, frame_count

_compiled = numba.njit(cache=True, nogil=True)


class _Arrays(NamedTuple):
    """A ``WorldArrays`` without objects in it."""

    joints: Floats
    nudge: Floats
    muscle_ends: Ints
    rest_lengths: Floats
    sine_amplitudes: Floats
    cosine_amplitudes: Floats
    active: Ints
    stiffness: Floats
    damping: Floats
    segments: Floats
    floor: Floats
    ceiling: Floats
    drive: Floats


@_compiled
def check_compiled(addresses: Ints, bodies: Ints, arrays: _Arrays, constants: WorldConstants) -> tuple[int, float]:
    """Looks at every joint: (COMPLETED, UNSTABLE or ESCAPED; the fastest joint's speed, walker units / s).

    ``addresses`` are Chipmunk's functions and ``bodies`` are pointers, shape (joints,).
    """
    fastest = 0.0
    # Between the highest ground and the lowest ceiling there is nothing to be in, so that few joints need a closer look.
    lowest = arrays.floor[:, 1].max() - constants.escape_depth
    highest = arrays.ceiling[:, 1].min() + constants.escape_depth
    for body in bodies:
        vx, vy = chipmunk.body_velocity(addresses, (body,))
        speed = vx * vx + vy * vy
        if not speed <= constants.max_speed * constants.max_speed:
            return UNSTABLE, speed
        fastest = max(fastest, speed)
        x, y = chipmunk.body_position(addresses, (body,))
        in_the_open = lowest <= y <= highest and math.isfinite(x)
        if not in_the_open and joint_fault(x, y, arrays.floor, arrays.ceiling, constants.escape_depth):
            return ESCAPED, speed
    return COMPLETED, math.sqrt(fastest)


@_compiled
def centre_compiled(addresses: Ints, bodies: Ints) -> float:
    """The centre of mass's x, walker units, from the arguments that ``check_compiled`` takes."""
    total = 0.0
    for body in bodies:
        total += chipmunk.body_position(addresses, (body,))[0]
    return total / len(bodies)


@_compiled
def _record(addresses: Ints, bodies: Ints, frame: Floats) -> None:
    for index, body in enumerate(bodies):
        frame[index, 0], frame[index, 1] = chipmunk.body_position(addresses, (body,))


@_compiled
def run_compiled(
    addresses: Ints,
    space: int,
    bodies: Ints,
    springs: Ints,
    arrays: _Arrays,
    constants: WorldConstants,
    record_every: int,
    frames: Floats,
) -> tuple[int, int, bool, float, float]:
    """Lets a walker settle and walk, as ``reference.run_space`` does, in a world of pointers; fills ``frames``.

    Returns the other parts of a ``Motion``, in its order.
    """
    dt = constants.time_step
    steps, calm, speed, slowest = 0, 0, 0.0, math.inf
    chipmunk.space_set_damping(addresses, (space, constants.settling_damping))
    chipmunk.space_set_gravity(addresses, (space, 0.0, -constants.settling_gravity))
    while steps < constants.settling_steps and calm < constants.calm_checks:
        for _ in range(CHECK_EVERY):
            chipmunk.space_step(addresses, (space, dt))
        steps += CHECK_EVERY
        status, speed = check_compiled(addresses, bodies, arrays, constants)
        if status != COMPLETED:
            return status, steps, False, 0.0, 0.0
        calm = calm + 1 if speed < constants.rest_speed else 0
        slowest = min(slowest, speed)
    if calm < constants.calm_checks and not drifting(speed, slowest, constants.drift_speed):
        return COMPLETED, steps, False, 0.0, 0.0
    chipmunk.space_set_damping(addresses, (space, 1.0))
    chipmunk.space_set_gravity(addresses, (space, 0.0, -constants.gravity))
    start = centre_compiled(addresses, bodies)
    if record_every > 0:
        _record(addresses, bodies, frames[0])
    for step in range(arrays.drive.shape[0]):
        for muscle in arrays.active:
            rest = (
                arrays.rest_lengths[muscle]
                + arrays.sine_amplitudes[muscle] * arrays.drive[step, 0]
                + arrays.cosine_amplitudes[muscle] * arrays.drive[step, 1]
            )
            chipmunk.spring_set_rest_length(addresses, (springs[muscle], rest))
        chipmunk.space_step(addresses, (space, dt))
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == arrays.drive.shape[0]:
            status, _ = check_compiled(addresses, bodies, arrays, constants)
            if status != COMPLETED:
                return status, steps, True, start, start
        if record_every > 0 and (step + 1) % record_every == 0:
            _record(addresses, bodies, frames[(step + 1) // record_every])
    return COMPLETED, steps, True, start, centre_compiled(addresses, bodies)


@_compiled
def _roll_out(
    addresses: Ints, arrays: _Arrays, constants: WorldConstants, record_every: int, frames: Floats
) -> tuple[int, int, bool, float, float]:
    """Builds the world, runs it, and frees every Chipmunk object it made."""
    space = chipmunk.space_new(addresses, ())
    chipmunk.space_set_iterations(addresses, (space, constants.iterations))
    ground = chipmunk.body_new_static(addresses, ())
    chipmunk.space_add_body(addresses, (space, ground))
    count, pieces = arrays.joints.shape[0], arrays.segments.shape[0]
    shapes = np.empty(pieces + count, dtype=np.int64)
    for piece in range(pieces):
        line = arrays.segments[piece]
        shape = chipmunk.segment_new(addresses, (ground, line[0], line[1], line[2], line[3], constants.segment_radius))
        chipmunk.segment_set_neighbors(addresses, (shape, line[4], line[5], line[6], line[7]))
        chipmunk.shape_set_friction(addresses, (shape, line[8]))
        chipmunk.shape_set_elasticity(addresses, (shape, line[9]))
        chipmunk.space_add_shape(addresses, (space, shape))
        shapes[piece] = shape
    bodies = np.empty(count, dtype=np.int64)
    for joint in range(count):
        body = chipmunk.body_new(addresses, (constants.joint_mass, math.inf))
        chipmunk.body_set_position(addresses, (body, arrays.joints[joint, 0], arrays.joints[joint, 1]))
        chipmunk.body_set_velocity(addresses, (body, arrays.nudge[joint], 0.0))
        shape = chipmunk.circle_new(addresses, (body, constants.joint_radius, 0.0, 0.0))
        chipmunk.shape_set_friction(addresses, (shape, constants.joint_friction))
        chipmunk.shape_set_elasticity(addresses, (shape, constants.joint_elasticity))
        chipmunk.shape_set_filter(addresses, (shape, COLLISION_GROUP))
        chipmunk.space_add_body(addresses, (space, body))
        chipmunk.space_add_shape(addresses, (space, shape))
        bodies[joint], shapes[pieces + joint] = body, shape
    springs = np.empty(arrays.rest_lengths.shape[0], dtype=np.int64)
    for muscle in range(springs.shape[0]):
        first, second = bodies[arrays.muscle_ends[muscle, 0]], bodies[arrays.muscle_ends[muscle, 1]]
        spring = chipmunk.spring_new(
            addresses,
            (first, second, 0.0, 0.0, 0.0, 0.0, arrays.rest_lengths[muscle], arrays.stiffness[muscle],
             arrays.damping[muscle]),
        )  # fmt: skip
        chipmunk.space_add_constraint(addresses, (space, spring))
        springs[muscle] = spring

    outcome = run_compiled(addresses, space, bodies, springs, arrays, constants, record_every, frames)

    # The space goes first: it touches its bodies while it is taken down.
    chipmunk.space_free(addresses, (space,))
    for shape in shapes:
        chipmunk.shape_free(addresses, (shape,))
    for spring in springs:
        chipmunk.constraint_free(addresses, (spring,))
    for body in bodies:
        chipmunk.body_free(addresses, (body,))
    chipmunk.body_free(addresses, (ground,))
    return outcome


def roll_out_compiled(arrays: WorldArrays, constants: WorldConstants, record_every: int = 0) -> Motion:
    """Runs the compiled loop.

    Args:
        arrays: The world.
        constants: The physical constants.
        record_every: Steps between two recorded frames; 0 records nothing.

    Returns:
        The motion; equal bit for bit to ``reference.roll_out_plainly``.
    """
    frames = np.zeros((frame_count(arrays, record_every), len(arrays.joints), 2))
    solid = arrays.solid
    flat = _Arrays(*arrays[:9], solid.segments, solid.floor, solid.ceiling, arrays.drive)
    outcome = _roll_out(_ADDRESSES, flat, constants, record_every, frames)
    return Motion(*outcome, frames)


_ADDRESSES = chipmunk.function_addresses()
