"""The reference: the roll-out through pymunk's Python interface, as anybody would write it. It defines every distance."""

from __future__ import annotations

import math

import numpy as np
import pymunk

from sodarace_gym.physics.constants import CHECK_EVERY, WorldConstants
from sodarace_gym.physics.engine.stepping import COMPLETED, ESCAPED, UNSTABLE
from sodarace_gym.physics.surfaces import drifting, joint_fault
from sodarace_gym.physics.world import Motion, WorldArrays, frame_count

COLLISION_GROUP = 1
"""All joints share it: Chipmunk lets members of a group pass through each other."""


def roll_out_plainly(arrays: WorldArrays, constants: WorldConstants, record_every: int = 0) -> Motion:
    """Lets a walker settle and walk.

    Args:
        arrays: The world.
        constants: The physical constants.
        record_every: Steps between two recorded frames; 0 records nothing.

    Returns:
        The motion.
    """
    return run_space(*build_space(arrays, constants), arrays, constants, record_every)


def build_space(
    arrays: WorldArrays, constants: WorldConstants
) -> tuple[pymunk.Space, list[pymunk.Body], list[pymunk.DampedSpring]]:
    """Builds a world with pymunk: its space, the joints' bodies and the muscles' springs, in the order of the arrays."""
    space = pymunk.Space()
    space.iterations = constants.iterations
    for line in arrays.solid.segments.tolist():
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


def run_space(
    space: pymunk.Space,
    bodies: list[pymunk.Body],
    springs: list[pymunk.DampedSpring],
    arrays: WorldArrays,
    constants: WorldConstants,
    record_every: int = 0,
) -> Motion:
    """Lets the walker of such a world settle, and walk for as many steps as ``arrays.drive`` has; see ``Motion``."""
    frames = np.zeros((frame_count(arrays, record_every), len(arrays.joints), 2))
    steps, calm, speed, slowest = 0, 0, 0.0, math.inf
    space.damping = constants.settling_damping
    space.gravity = (0.0, -constants.settling_gravity)
    while steps < constants.settling_steps and calm < constants.calm_checks:
        for _ in range(CHECK_EVERY):
            space.step(constants.time_step)
        steps += CHECK_EVERY
        status, speed = check(bodies, arrays, constants)
        if status != COMPLETED:
            return Motion(status, steps, False, 0.0, 0.0, frames)
        calm = calm + 1 if speed < constants.rest_speed else 0
        slowest = min(slowest, speed)
    if calm < constants.calm_checks and not drifting(speed, slowest, constants.drift_speed):
        return Motion(COMPLETED, steps, False, 0.0, 0.0, frames)
    space.damping = 1.0
    space.gravity = (0.0, -constants.gravity)
    start = centre(bodies)
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
            status, _ = check(bodies, arrays, constants)
            if status != COMPLETED:
                return Motion(status, steps, True, start, start, frames)
        if record_every > 0 and (step + 1) % record_every == 0:
            frames[(step + 1) // record_every] = [body.position for body in bodies]
    return Motion(COMPLETED, steps, True, start, centre(bodies), frames)


def check(bodies: list[pymunk.Body], arrays: WorldArrays, constants: WorldConstants) -> tuple[int, float]:
    """Looks at every joint: (COMPLETED, UNSTABLE or ESCAPED; the fastest joint's speed, walker units / s)."""
    fastest = 0.0
    for body in bodies:
        vx, vy = body.velocity
        speed = vx * vx + vy * vy
        if not speed <= constants.max_speed * constants.max_speed:
            return UNSTABLE, speed
        fastest = max(fastest, speed)
        if joint_fault(*body.position, arrays.solid.floor, arrays.solid.ceiling, constants.escape_depth):
            return ESCAPED, speed
    return COMPLETED, math.sqrt(fastest)


def centre(bodies: list[pymunk.Body]) -> float:
    """The centre of mass's x, walker units."""
    total = 0.0
    for body in bodies:
        total += body.position[0]
    return total / len(bodies)
