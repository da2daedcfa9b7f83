"""The inner loop: a world of joints, springs and terrain goes in, its motion comes out.

Two implementations of one algorithm stand side by side. ``roll_out_plain`` uses pymunk as anybody would and is the
reference; ``roll_out_compiled`` is the same loop compiled by numba, calling Chipmunk's functions directly, which frees the
global interpreter lock. They agree bit for bit (tests/sodarace_gym/physics/test_stepping.py).

The roll-out has two phases. While *settling*, muscles stand still and the walker falls, topples and comes to rest; nothing
of it counts. While *walking*, every active muscle's rest length follows its drive. Every ``CHECK_EVERY`` steps both loops
look for joints that are too fast or outside the open space between floor and ceiling.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pymunk
from numpy.typing import NDArray

from sodarace_gym.physics import chipmunk, surfaces
from sodarace_gym.physics.compilation import compiler
from sodarace_gym.physics.surfaces import joint_fault

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHECK_EVERY = 10
"""Steps between two looks at speeds and positions; a runaway spring cannot overflow a float in so few."""

COMPLETED, UNSTABLE, ESCAPED = 0, 1, 2
"""Why a roll-out ended: it ran its course, a joint passed the speed bound, a joint got into the terrain."""

COLLISION_GROUP = 1
"""All joints share it: Chipmunk lets members of a group pass through each other."""

_compiled = compiler(chipmunk, surfaces)


class WorldArrays(NamedTuple):
    """Everything the loops need, as arrays and numbers (see ``physics`` for meanings and units)."""

    joints: Floats  # (joints, 2) start positions, walker units
    nudge: Floats  # (joints,) sideways speed each joint starts to settle with, walker units / s
    muscle_ends: Ints  # (muscles, 2) joint indices
    rest_lengths: Floats  # (muscles,) walker units
    sine_amplitudes: Floats  # (muscles,) amplitude * cos(phase): what multiplies sin(w t)
    cosine_amplitudes: Floats  # (muscles,) amplitude * sin(phase): what multiplies cos(w t)
    active: Ints  # (active muscles,) indices into the muscles
    stiffness: Floats  # (muscles,) mass / s^2
    damping: Floats  # (muscles,) mass / s
    segments: Floats  # (segments, 10) ax ay bx by, previous x y, next x y, friction, elasticity
    floor: Floats  # (points, 2) where solid ground begins, x increasing (steps allowed)
    ceiling: Floats  # (points, 2) where solid ceiling begins
    drive: Floats  # (steps, 2) sin(w t), cos(w t) at the end of each walking step


class WorldConstants(NamedTuple):
    """Numbers shared by all walkers; ``physics.CONSTANTS`` holds the values in use, with units and sources."""

    gravity: float
    joint_mass: float
    joint_radius: float
    joint_friction: float
    joint_elasticity: float
    segment_radius: float
    time_step: float
    iterations: int
    max_speed: float
    escape_depth: float
    rest_speed: float
    drift_speed: float
    calm_checks: int
    settling_steps: int
    settling_damping: float
    settling_gravity: float


class Motion(NamedTuple):
    """What a roll-out yields."""

    status: int  # COMPLETED, UNSTABLE or ESCAPED
    settling_steps: int  # steps until the walker was at rest (or the bound)
    settled: bool  # whether it came to rest; if not, it does not walk
    start: float  # x of the centre of mass when the muscles began to move
    end: float  # x of the centre of mass at the end
    frames: Floats  # (frames, joints, 2) positions while walking, every record_every steps, first frame at the start


@_compiled
def drifting(speed: float, slowest: float, drift_speed: float) -> bool:
    """Whether a walker that is not at rest is slow and still slowing down: one that topples was slower before."""
    return speed <= drift_speed and speed <= 1.5 * slowest


@_compiled
def check_compiled(addresses: Ints, bodies: Ints, arrays: WorldArrays, constants: WorldConstants) -> tuple[int, float]:
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
    arrays: WorldArrays,
    constants: WorldConstants,
    record_every: int,
    frames: Floats,
) -> tuple[int, int, bool, float, float]:
    """Lets a walker settle and walk, as ``run_plain`` does, in a world of pointers; fills ``frames``.

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
    addresses: Ints, arrays: WorldArrays, constants: WorldConstants, record_every: int, frames: Floats
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


def _frame_buffer(arrays: WorldArrays, record_every: int) -> Floats:
    frames = arrays.drive.shape[0] // record_every + 1 if record_every > 0 else 0
    return np.zeros((frames, arrays.joints.shape[0], 2))


def roll_out_compiled(arrays: WorldArrays, constants: WorldConstants, record_every: int = 0) -> Motion:
    """Runs the compiled loop.

    Args:
        arrays: The world.
        constants: The physical constants.
        record_every: Steps between two recorded frames; 0 records nothing.

    Returns:
        The motion; equal bit for bit to ``roll_out_plain``.
    """
    frames = _frame_buffer(arrays, record_every)
    outcome = _roll_out(_ADDRESSES, arrays, constants, record_every, frames)
    return Motion(*outcome, frames)


def roll_out_plain(arrays: WorldArrays, constants: WorldConstants, record_every: int = 0) -> Motion:
    """Runs the same roll-out through pymunk's Python interface: the reference, and the fallback on other platforms.

    Args:
        arrays: The world.
        constants: The physical constants.
        record_every: Steps between two recorded frames; 0 records nothing.

    Returns:
        The motion.
    """
    return run_plain(*build_plain(arrays, constants), arrays, constants, record_every)


def build_plain(
    arrays: WorldArrays, constants: WorldConstants
) -> tuple[pymunk.Space, list[pymunk.Body], list[pymunk.DampedSpring]]:
    """Builds a world with pymunk: its space, the joints' bodies and the muscles' springs, in the order of the arrays."""
    space = pymunk.Space()
    space.iterations = constants.iterations
    for line in arrays.segments.tolist():
        segment = pymunk.Segment(space.static_body, (line[0], line[1]), (line[2], line[3]), constants.segment_radius)
        segment.set_neighbors((line[4], line[5]), (line[6], line[7]))
        segment.friction, segment.elasticity = line[8], line[9]
        space.add(segment)
    bodies = []
    for (x, y), speed in zip(arrays.joints.tolist(), arrays.nudge.tolist(), strict=True):
        body = pymunk.Body(constants.joint_mass, math.inf)
        body.position = (x, y)
        body.velocity = (speed, 0.0)
        circle = pymunk.Circle(body, constants.joint_radius)
        circle.friction, circle.elasticity = constants.joint_friction, constants.joint_elasticity
        circle.filter = pymunk.ShapeFilter(group=COLLISION_GROUP)
        space.add(body, circle)
        bodies.append(body)
    springs = []
    for (a, b), rest, stiffness, damping in zip(
        arrays.muscle_ends.tolist(), arrays.rest_lengths.tolist(), arrays.stiffness.tolist(), arrays.damping.tolist(),
        strict=True,
    ):  # fmt: skip
        spring = pymunk.DampedSpring(bodies[a], bodies[b], (0.0, 0.0), (0.0, 0.0), rest, stiffness, damping)
        space.add(spring)
        springs.append(spring)
    return space, bodies, springs


def run_plain(
    space: pymunk.Space,
    bodies: list[pymunk.Body],
    springs: list[pymunk.DampedSpring],
    arrays: WorldArrays,
    constants: WorldConstants,
    record_every: int = 0,
) -> Motion:
    """Lets the walker of such a world settle, and walk for as many steps as ``arrays.drive`` has; see ``Motion``."""
    frames = _frame_buffer(arrays, record_every)
    steps, calm, speed, slowest = 0, 0, 0.0, math.inf
    space.damping = constants.settling_damping
    space.gravity = (0.0, -constants.settling_gravity)
    while steps < constants.settling_steps and calm < constants.calm_checks:
        for _ in range(CHECK_EVERY):
            space.step(constants.time_step)
        steps += CHECK_EVERY
        status, speed = check_plain(bodies, arrays, constants)
        if status != COMPLETED:
            return Motion(status, steps, False, 0.0, 0.0, frames)
        calm = calm + 1 if speed < constants.rest_speed else 0
        slowest = min(slowest, speed)
    if calm < constants.calm_checks and not drifting(speed, slowest, constants.drift_speed):
        return Motion(COMPLETED, steps, False, 0.0, 0.0, frames)
    space.damping = 1.0
    space.gravity = (0.0, -constants.gravity)
    start = centre_plain(bodies)
    if record_every > 0:
        frames[0] = [body.position for body in bodies]
    drives = [
        (
            springs[m],
            float(arrays.rest_lengths[m]),
            float(arrays.sine_amplitudes[m]),
            float(arrays.cosine_amplitudes[m]),
        )
        for m in arrays.active
    ]
    for step, (sine, cosine) in enumerate(arrays.drive.tolist()):
        for spring, rest, sine_amplitude, cosine_amplitude in drives:
            spring.rest_length = rest + sine_amplitude * sine + cosine_amplitude * cosine
        space.step(constants.time_step)
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == len(arrays.drive):
            status, _ = check_plain(bodies, arrays, constants)
            if status != COMPLETED:
                return Motion(status, steps, True, start, start, frames)
        if record_every > 0 and (step + 1) % record_every == 0:
            frames[(step + 1) // record_every] = [body.position for body in bodies]
    return Motion(COMPLETED, steps, True, start, centre_plain(bodies), frames)


def check_plain(bodies: list[pymunk.Body], arrays: WorldArrays, constants: WorldConstants) -> tuple[int, float]:
    """What ``check_compiled`` says, from pymunk's bodies."""
    fastest = 0.0
    for body in bodies:
        vx, vy = body.velocity
        speed = vx * vx + vy * vy
        if not speed <= constants.max_speed * constants.max_speed:
            return UNSTABLE, speed
        fastest = max(fastest, speed)
        if joint_fault(*body.position, arrays.floor, arrays.ceiling, constants.escape_depth):
            return ESCAPED, speed
    return COMPLETED, math.sqrt(fastest)


def centre_plain(bodies: list[pymunk.Body]) -> float:
    """What ``centre_compiled`` says, from pymunk's bodies."""
    total = 0.0
    for body in bodies:
        total += body.position[0]
    return total / len(bodies)


_ADDRESSES = chipmunk.function_addresses()

roll_out = roll_out_compiled if chipmunk.compiled_calls_supported() else roll_out_plain
"""The loop in use on this platform."""
