"""Worlds for tests of the physics, and the comparison of the engine with plain pymunk."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sodarace_gym.physics.batch import LANES, roll_out_worlds
from sodarace_gym.physics.constants import CHECK_EVERY, CONSTANTS, STEP_RATE, WorldConstants
from sodarace_gym.physics.reference import roll_out_plainly
from sodarace_gym.physics.world import Motion, WorldArrays

SHORT = CONSTANTS._replace(rest_speed=math.inf, calm_checks=STEP_RATE // CHECK_EVERY)
"""Settling takes one second, whatever the walker does: plain roll-outs are slow."""
AT_ONCE = CONSTANTS._replace(settling_steps=0, calm_checks=0)
"""No settling at all."""
HURRIED = CONSTANTS._replace(settling_steps=40, rest_speed=0.05, drift_speed=0.5, calm_checks=2)
"""Some come to rest in time, some drift and some are given up."""


def assert_same(one: Motion, other: Motion) -> None:
    """Equal to the last bit, the sign of zeros included."""
    assert one[:3] == other[:3]
    assert np.array([one.start, one.end]).tobytes() == np.array([other.start, other.end]).tobytes()
    assert one.frames.shape == other.frames.shape
    assert one.frames.tobytes() == other.frames.tobytes()


def assert_all_same(ones: Sequence[Motion], others: Sequence[Motion]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert_same(one, other)


def in_the_engine(
    worlds: Sequence[WorldArrays], constants: WorldConstants, record_every: int = 7, lanes: int = LANES
) -> list[Motion]:
    """Rolls out in the engine, and in nothing else."""
    batch = roll_out_worlds(worlds, constants, record_every, lanes=lanes)
    assert batch.left_to_pymunk == 0
    return batch.motions


def plainly(worlds: Sequence[WorldArrays], constants: WorldConstants, record_every: int = 7) -> list[Motion]:
    return [roll_out_plainly(world, constants, record_every) for world in worlds]


def both(
    worlds: Sequence[WorldArrays], constants: WorldConstants, record_every: int = 7, lanes: int = LANES
) -> list[Motion]:
    """Rolls out in the engine and in pymunk, compares them and returns what they did."""
    motions = in_the_engine(worlds, constants, record_every, lanes)
    assert_all_same(motions, plainly(worlds, constants, record_every))
    return motions


def lifted(world: WorldArrays, x: float, y: float) -> WorldArrays:
    """The same walker moved."""
    return world._replace(joints=world.joints + np.array([x, y]))
