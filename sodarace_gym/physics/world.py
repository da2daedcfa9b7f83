"""A walker on a terrain as arrays, and what its roll-out yields: what the engine and pymunk's reference have in common.

The roll-out has two phases. While *settling*, muscles stand still and the walker falls, topples and comes to rest; nothing of
it counts. While *walking*, every active muscle's rest length follows its drive. Every ``CHECK_EVERY`` steps joints are looked
for that are too fast or outside the open space between floor and ceiling.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from sodarace_gym.physics.compilation import Floats, Ints
from sodarace_gym.physics.constants import (
    ACTIVE_FREQUENCY,
    DAMPING_RATIO,
    DRIVE_RATE,
    JOINT_MASS,
    JOINT_RADIUS,
    NUDGE,
    PLAIN_FREQUENCY,
    START_CLEARANCE,
    STEP_RATE,
)
from sodarace_gym.physics.solid import Solid, solid_of
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign


class WorldArrays(NamedTuple):
    """One walker on one terrain (see ``constants`` for meanings and units)."""

    joints: Floats  # (joints, 2) start positions, walker units
    nudge: Floats  # (joints,) sideways speed each joint starts to settle with, walker units / s
    muscle_ends: Ints  # (muscles, 2) joint indices
    rest_lengths: Floats  # (muscles,) walker units
    sine_amplitudes: Floats  # (muscles,) amplitude * cos(phase): what multiplies sin(w t)
    cosine_amplitudes: Floats  # (muscles,) amplitude * sin(phase): what multiplies cos(w t)
    active: Ints  # (active muscles,) indices into the muscles
    stiffness: Floats  # (muscles,) mass / s^2
    damping: Floats  # (muscles,) mass / s
    solid: Solid
    drive: Floats  # (steps, 2) sin(w t), cos(w t) at the end of each walking step


class Motion(NamedTuple):
    """What a roll-out yields."""

    status: int  # COMPLETED, UNSTABLE or ESCAPED, see ``engine.stepping``
    settling_steps: int  # steps until the walker was at rest (or the bound)
    settled: bool  # whether it came to rest; if not, it does not walk
    start: float  # x of the centre of mass when the muscles began to move
    end: float  # x of the centre of mass at the end
    frames: Floats  # (frames, joints, 2) positions while walking, every record_every steps, first frame at the start


def frame_count(arrays: WorldArrays, record_every: int) -> int:
    """How many frames a roll-out records, one every so many steps; 0 records nothing."""
    return len(arrays.drive) // record_every + 1 if record_every > 0 else 0


# A spring of stiffness k between two free masses m swings at sqrt(k / (m/2)): hence k and the damping from the wanted
# frequency and damping ratio, as in Box2D's soft constraints.
_REDUCED_MASS = 0.5 * JOINT_MASS
_RATES = 2.0 * math.pi * np.array([ACTIVE_FREQUENCY, PLAIN_FREQUENCY])
_STIFFNESS = _REDUCED_MASS * _RATES**2
_DAMPING = 2.0 * DAMPING_RATIO * _REDUCED_MASS * _RATES


def world_arrays(design: WalkerDesign, terrain: Terrain, duration: float) -> WorldArrays:
    """The world of one walker that is to walk for some seconds."""
    joints = np.array(design.joints)
    # Python's own min and max: numpy's take longer to call than they take for so few numbers.
    x, y = zip(*design.joints, strict=True)
    joints[:, 0] -= 0.5 * (min(x) + max(x))
    # Differences first: where the program built its walker must not show in the last bits.
    joints[:, 1] = (joints[:, 1] - min(y)) + (JOINT_RADIUS + START_CLEARANCE)
    muscles = np.array(design.muscles, dtype=np.float64).reshape(-1, 5)
    plain, amplitude, phase = muscles[:, 2] != 0.0, muscles[:, 3].copy(), muscles[:, 4].copy()
    kind = plain.astype(np.int64)
    return WorldArrays(
        joints=joints,
        nudge=_nudge(joints),
        muscle_ends=muscles[:, :2].astype(np.int64),
        rest_lengths=np.array(design.rest_lengths),
        sine_amplitudes=amplitude * np.cos(phase),
        cosine_amplitudes=amplitude * np.sin(phase),
        active=np.flatnonzero(~plain),
        stiffness=_STIFFNESS[kind],
        damping=_DAMPING[kind],
        solid=solid_of(terrain),
        drive=_drive(round(duration * STEP_RATE)),
    )


def _nudge(joints: Floats) -> Floats:
    """Sideways speeds, growing with height, towards the side of the first joint off the middle.

    The choice of side turns with the walker, so a mirrored walker is nudged the mirrored way.
    """
    x, y = joints.T.tolist()
    side = next((math.copysign(1.0, place) for place in x if abs(place) > 1e-9), 1.0)
    return side * NUDGE * joints[:, 1] / max(y)


@functools.lru_cache(maxsize=8)
def _drive(steps: int) -> Floats:
    time = np.arange(1, steps + 1) / STEP_RATE
    return np.stack([np.sin(DRIVE_RATE * time), np.cos(DRIVE_RATE * time)], axis=1)
