"""The roll-out: a design and a terrain become a distance.

Units: lengths in walker units, times in seconds, masses in joint masses.
"""

from __future__ import annotations

import functools
import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_duration
from sodarace_gym.physics import stepping
from sodarace_gym.physics.constants import (
    ACTIVE_FREQUENCY,
    DAMPING_RATIO,
    DRIFT_SPEED,
    DRIVE_RATE,
    DURATION,
    ESCAPE_DEPTH,
    FRAME_RATE,
    FRICTION,
    GRAVITY,
    JOINT_MASS,
    JOINT_RADIUS,
    MAX_SPEED,
    NUDGE,
    PLAIN_FREQUENCY,
    REST_SPEED,
    REST_TIME,
    RESTITUTION,
    SETTLING_DAMPING,
    SETTLING_LIMIT,
    SOLVER_ITERATIONS,
    START_CLEARANCE,
    STEEPEST_GROUND,
    STEP_RATE,
    TERRAIN_RADIUS,
)
from sodarace_gym.physics.stepping import WorldArrays, WorldConstants
from sodarace_gym.terrains.terrain import SKY, WORLD_HALF_WIDTH, Terrain
from sodarace_gym.walkers.walker import WalkerDesign

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
    calm_checks=math.ceil(REST_TIME * STEP_RATE / stepping.CHECK_EVERY),
    settling_steps=round(SETTLING_LIMIT * STEP_RATE),
    settling_damping=SETTLING_DAMPING,
    # Chipmunk scales the springs' impulses by the drag, but not gravity: without this a walker would settle into the shape
    # of one with weaker springs, and move when the drag ends.
    settling_gravity=GRAVITY * SETTLING_DAMPING ** (1.0 / STEP_RATE),
)
"""The constants in the form the inner loops take."""


@dataclass(frozen=True)
class Rollout:
    """What a walker did.

    Attributes:
        displacement: How far the centre of mass moved along x while the muscles worked, units, signed; 0.0 after a fault.
        fault: None, "unstable" (a joint passed MAX_SPEED), "escaped" (a joint got into the terrain) or "unsettled"
            (neither at rest nor drifting after SETTLING_LIMIT with the muscles still).
        settling_time: Time before the muscles started, s.
        trajectory: Joint positions over time, shape (frames, joints, 2), float64, FRAME_RATE frames a second from the
            moment the muscles start; None if not recorded. Frames after a fault are zero.
    """

    displacement: float
    fault: str | None
    settling_time: float
    trajectory: NDArray[np.float64] | None = None


def roll_out(
    design: WalkerDesign, terrain: Terrain, duration: float = DURATION, record: bool = False, plain: bool = False
) -> Rollout:
    """Puts a walker on a terrain, lets it come to rest, and lets it walk.

    Args:
        design: The walker.
        terrain: The terrain.
        duration: Time to walk, s.
        record: Whether to keep the trajectory.
        plain: Use pymunk's Python interface instead of the compiled loop (slower, the same result).

    Returns:
        What happened.

    Raises:
        ValueError: ``duration`` is not positive.
    """
    duration = checked_duration(duration)
    arrays = world_arrays(design, terrain, duration)
    loop = stepping.roll_out_plain if plain else stepping.roll_out
    motion = loop(arrays, CONSTANTS, STEP_RATE // FRAME_RATE if record else 0)
    fault = {stepping.COMPLETED: None, stepping.UNSTABLE: "unstable", stepping.ESCAPED: "escaped"}[motion.status]
    if fault is None and not motion.settled:
        fault = "unsettled"
    return Rollout(
        displacement=float(motion.end - motion.start) if fault is None else 0.0,
        fault=fault,
        settling_time=motion.settling_steps / STEP_RATE,
        trajectory=motion.frames if record else None,
    )


def world_arrays(design: WalkerDesign, terrain: Terrain, duration: float) -> WorldArrays:
    """The world of one walker in the form the inner loops take."""
    joints = np.array(design.joints, dtype=np.float64)
    joints[:, 0] -= 0.5 * (joints[:, 0].min() + joints[:, 0].max())
    # Differences first: where the program built its walker must not show in the last bits.
    joints[:, 1] = (joints[:, 1] - joints[:, 1].min()) + (JOINT_RADIUS + START_CLEARANCE)
    muscles = np.array([m[:2] for m in design.muscles], dtype=np.int64).reshape(-1, 2)
    distance_only = np.array([m.distance_only for m in design.muscles])
    amplitude = np.array([m.amplitude for m in design.muscles])
    phase = np.array([m.phase for m in design.muscles])
    # A spring of stiffness k between two free masses m swings at sqrt(k / (m/2)): hence k and the damping from the wanted
    # frequency and damping ratio, as in Box2D's soft constraints.
    rate = 2.0 * math.pi * np.where(distance_only, PLAIN_FREQUENCY, ACTIVE_FREQUENCY)
    reduced_mass = 0.5 * JOINT_MASS
    solid = terrain_arrays(terrain)
    return WorldArrays(
        joints=joints,
        nudge=_nudge(joints),
        muscle_ends=muscles,
        rest_lengths=np.array(design.rest_lengths),
        sine_amplitudes=amplitude * np.cos(phase),
        cosine_amplitudes=amplitude * np.sin(phase),
        active=np.flatnonzero(~distance_only),
        stiffness=reduced_mass * rate**2,
        damping=2.0 * DAMPING_RATIO * reduced_mass * rate,
        segments=solid.segments,
        floor=solid.floor,
        ceiling=solid.ceiling,
        drive=_drive(round(duration * STEP_RATE)),
    )


def _nudge(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sideways speeds, growing with height, towards the side of the first joint off the middle.

    The choice of side turns with the walker, so a mirrored walker is nudged the mirrored way.
    """
    off_middle = joints[np.abs(joints[:, 0]) > 1e-9, 0]
    side = np.sign(off_middle[0]) if len(off_middle) else 1.0
    return side * NUDGE * joints[:, 1] / joints[:, 1].max()


@functools.lru_cache(maxsize=8)
def _drive(steps: int) -> NDArray[np.float64]:
    time = np.arange(1, steps + 1) / STEP_RATE
    return np.stack([np.sin(DRIVE_RATE * time), np.cos(DRIVE_RATE * time)], axis=1)


@dataclass(frozen=True)
class TerrainArrays:
    """A terrain in the form the inner loops take; see ``stepping.WorldArrays``."""

    segments: NDArray[np.float64]
    floor: NDArray[np.float64]
    ceiling: NDArray[np.float64]


_TERRAIN_CACHE: OrderedDict[tuple[bytes, bytes], TerrainArrays] = OrderedDict()
_TERRAIN_CACHE_SIZE = 256
_TERRAIN_LOCK = Lock()


def _after_fork_in_child() -> None:
    global _TERRAIN_LOCK
    # It may be held by a thread that exists only in the parent.
    _TERRAIN_LOCK = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def terrain_arrays(terrain: Terrain) -> TerrainArrays:
    """Segments and surfaces of a terrain; kept for terrains in use."""
    key = terrain.key
    with _TERRAIN_LOCK:
        if key in _TERRAIN_CACHE:
            _TERRAIN_CACHE.move_to_end(key)
            return _TERRAIN_CACHE[key]
    open_sky = np.array([[-WORLD_HALF_WIDTH, SKY], [WORLD_HALF_WIDTH, SKY]])
    ceiling = open_sky if terrain.ceiling is None else terrain.ceiling
    pieces = [_segments(terrain.floor, inwards=1.0)]
    if terrain.ceiling is not None:
        pieces.append(_segments(terrain.ceiling, inwards=-1.0))
    arrays = TerrainArrays(np.concatenate(pieces), np.array(terrain.floor), np.array(ceiling))
    with _TERRAIN_LOCK:
        _TERRAIN_CACHE[key] = arrays
        while len(_TERRAIN_CACHE) > _TERRAIN_CACHE_SIZE:
            _TERRAIN_CACHE.popitem(last=False)
    return arrays


def _segments(line: NDArray[np.float64], inwards: float) -> NDArray[np.float64]:
    """Thick segments whose outer edge is the surface: the polyline moved into the solid by TERRAIN_RADIUS.

    Corners that point into the open are rounded by the thickness; straight faces and hollows are exact. ``inwards`` is +1
    where the solid is below the line (floor) and -1 where it is above (ceiling).
    """
    keep = np.ones(len(line), dtype=bool)
    keep[1:] = (np.diff(line, axis=0) != 0.0).any(axis=1)
    line = line[keep]
    along = np.diff(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normals = inwards * np.stack([along[:, 1], -along[:, 0]], axis=1)
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    # Where two faces meet, the moved corner is where the moved faces meet: along the summed normals, and further out the
    # sharper the corner. A near reversal would move it to infinity, hence the bound.
    miter = (before + after) / np.maximum(1.0 + (before * after).sum(axis=1, keepdims=True), 0.25)
    points = line + TERRAIN_RADIUS * miter
    start, end = points[:-1], points[1:]
    previous = np.vstack([points[:1], points[:-2]])
    following = np.vstack([points[2:], points[-1:]])
    steep = np.abs(along[:, 1]) > STEEPEST_GROUND * np.abs(along[:, 0])
    grips = np.where(steep | (inwards < 0.0), 0.0, 1.0)[:, None]
    return np.hstack([start, end, previous, following, FRICTION * grips, grips])
