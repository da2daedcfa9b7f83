"""Every constant of the physics.

Units: lengths in walker units, times in seconds, masses in joint masses. Sources: *IESoR* is the earlier C++ Sodarace
whose numbers the ELM paper's simulator descends from; *measured* marks choices of this project, with their reason.
"""

from __future__ import annotations

import math
from typing import NamedTuple

GRAVITY = 25.0
"""Downward acceleration, units / s^2 (IESoR)."""
JOINT_MASS = 1.0
"""Mass of a joint; springs weigh nothing (unit joint masses, PAPER_FACTS)."""
JOINT_RADIUS = 0.3
"""Radius of a joint's circle, units (measured: small against the closest useful joints, large against a step's travel)."""
FRICTION = 1.0
"""Coulomb friction between joints and ground (IESoR)."""
RESTITUTION = 0.1
"""Bounce of a joint on the ground (IESoR)."""
DRIVE_RATE = 3.0
"""Angular frequency of every muscle's swing, rad / s (IESoR): one swing takes 2.09 s."""
ACTIVE_FREQUENCY = 3.0
"""Natural frequency of an active muscle between two free joints, Hz (IESoR)."""
PLAIN_FREQUENCY = 8.0
"""Natural frequency of a plain distance muscle, Hz (measured: stiff, yet resolved by the time step)."""
DAMPING_RATIO = 0.3
"""Damping of every muscle relative to critical (IESoR)."""
STEP_RATE = 60
"""Physics steps per second (IESoR)."""
SOLVER_ITERATIONS = 5
"""Chipmunk solver iterations per step (measured: twice as many change distances by no more than a shorter step does)."""
TERRAIN_RADIUS = 0.7
"""Half thickness of terrain segments, units: they lie this deep inside the ground, so that a joint must travel
JOINT_RADIUS + TERRAIN_RADIUS in one step before it could pass."""
STEEPEST_GROUND = math.tan(math.radians(60.0))
"""Faces steeper than this are walls. Walls and ceilings have no grip and no bounce, so nothing climbs or profits from them."""
MAX_SPEED = 60.0
"""A joint faster than this makes the walker unstable, units / s: a fall from MAX_HEIGHT ends at 35."""
ESCAPE_DEPTH = 1.0
"""A joint this deep inside the terrain has tunnelled, units."""
START_CLEARANCE = 0.05
"""Gap between the lowest joint and the floor at the start, units."""
SETTLING_LIMIT = 30.0
"""Longest time to come to rest before the muscles start, s."""
SETTLING_DAMPING = 0.3
"""Share of its velocity that a joint keeps per second while settling: loose limbs would swing for ever without it. While
walking there is no such drag (IESoR)."""
NUDGE = 0.2
"""Sideways speed of the highest joint as settling begins, units / s: without it a tower in perfect balance would rest on
a knife's edge and fall while walking."""
REST_SPEED = 0.001
"""A walker is calm while no joint is faster than this, units / s."""
REST_TIME = 1.0
"""A walker is at rest once it was calm for this long, s."""
DRIFT_SPEED = 0.1
"""After SETTLING_LIMIT a walker may start although it is not at rest, if no joint is faster than this, units / s, and it is
slowing down: a regular wheel rolls on for minutes, ever more slowly."""
DURATION = 10.0
"""Simulated time a walker walks, s (PAPER_FACTS)."""
FRAME_RATE = 20
"""Frames per second of a recorded trajectory."""
CHECK_EVERY = 10
"""Steps between two looks at speeds and positions; a runaway spring cannot overflow a float in so few."""


class WorldConstants(NamedTuple):
    """Numbers shared by all walkers in the form the loops take; ``CONSTANTS`` holds the values in use."""

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


CONSTANTS = WorldConstants(
    gravity=GRAVITY,
    joint_mass=JOINT_MASS,
    joint_radius=JOINT_RADIUS,
    joint_friction=FRICTION,
    joint_elasticity=RESTITUTION,
    segment_radius=TERRAIN_RADIUS,
    time_step=1.0 / STEP_RATE,
    iterations=SOLVER_ITERATIONS,
    max_speed=MAX_SPEED,
    escape_depth=ESCAPE_DEPTH,
    rest_speed=REST_SPEED,
    drift_speed=DRIFT_SPEED,
    calm_checks=math.ceil(REST_TIME * STEP_RATE / CHECK_EVERY),
    settling_steps=round(SETTLING_LIMIT * STEP_RATE),
    settling_damping=SETTLING_DAMPING,
    # Chipmunk scales the springs' impulses by the drag, but not gravity: without this a walker would settle into the shape
    # of one with weaker springs, and move when the drag ends.
    settling_gravity=GRAVITY * SETTLING_DAMPING ** (1.0 / STEP_RATE),
)
"""The constants of every environment."""
