"""What a driven walker perceives: its own body, and the terrain behind and ahead of it."""

from __future__ import annotations

import math

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sodarace_gym.physics.constants import DRIVE_RATE, STEP_RATE
from sodarace_gym.physics.control import ControlledWorld
from sodarace_gym.physics.world import WorldArrays
from sodarace_gym.walkers.walker import MAX_AMPLITUDE_RATIO

LOOK_BEHIND, LOOK_AHEAD = -8.0, 24.0
"""The terrain is seen from here to there, walker units along x from the centre of mass."""
LOOK_POINTS = 33
"""Points at which floor and ceiling are seen: one a unit."""
LENGTH_SCALE = 10.0
"""Heights of the terrain and, per second, speeds are divided by this, walker units: the side of the paper's square."""

BOUNDS = (1.0, 5.0, 6.0, 5.0, 1.0, 2.0)
"""Bounds of an observation's parts: clock, positions, velocities, stretch, drive, terrain; larger values are cut off."""


class Senses:
    """Turns the state of a world into an observation; ``SodaraceControlEnv`` documents its parts.

    Args:
        arrays: The walker's world before anything moved; the terrain in it does not matter.

    Attributes:
        space: The space of the observations.
    """

    def __init__(self, arrays: WorldArrays) -> None:
        self._ends = arrays.muscle_ends[arrays.active]
        self._lengths = arrays.rest_lengths[arrays.active]
        self._half_size = 0.5 * float(np.ptp(arrays.joints, axis=0).max())
        joints, muscles = len(arrays.joints), len(arrays.active)
        sizes = (2, 2 * joints, 2 * joints, muscles, muscles, 2 * LOOK_POINTS)
        high = np.repeat(np.array(BOUNDS, dtype=np.float32), sizes)
        self.space = spaces.Box(-high, high, dtype=np.float32)

    def observe(self, world: ControlledWorld, shares: NDArray[np.float64]) -> NDArray[np.float32]:
        """Makes an observation.

        Args:
            world: The world as it is now.
            shares: How far each active muscle is driven now, in [-1, 1], shape (active muscles,).

        Returns:
            An element of ``space``.
        """
        angle = DRIVE_RATE * world.taken / STEP_RATE
        positions, velocities = world.motion[:, :2], world.motion[:, 2:]
        centre = positions.mean(axis=0)
        along = positions[self._ends[:, 1]] - positions[self._ends[:, 0]]
        stretch = (np.hypot(along[:, 0], along[:, 1]) / self._lengths - 1.0) / MAX_AMPLITUDE_RATIO
        xs = centre[0] + np.linspace(LOOK_BEHIND, LOOK_AHEAD, LOOK_POINTS)
        floor, ceiling = world.arrays.solid.floor, world.arrays.solid.ceiling
        parts = [
            (math.sin(angle), math.cos(angle)),
            ((positions - centre) / self._half_size).ravel(),
            velocities.ravel() / LENGTH_SCALE,
            stretch,
            shares,
            (np.interp(xs, floor[:, 0], floor[:, 1]) - centre[1]) / LENGTH_SCALE,
            (np.interp(xs, ceiling[:, 0], ceiling[:, 1]) - centre[1]) / LENGTH_SCALE,
        ]
        # After a fault anything may stand in a position: an observation stays one.
        values = np.nan_to_num(np.concatenate(parts))
        return np.clip(values, self.space.low, self.space.high).astype(np.float32)
