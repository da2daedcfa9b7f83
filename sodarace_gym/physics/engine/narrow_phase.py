"""Where joints and segments are nearest: Chipmunk's cpCircleToSegment, and what cpArbiterPreStep makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from sodarace_gym.physics.compilation import inlined
from sodarace_gym.physics.engine.vectors import Quads, quad_intrinsic, quad_loop

SLOP = float(np.float32(0.1))
"""Overlap that is left alone, walker units: Chipmunk's collisionSlop, written there as a float of 32 bits."""

X, Y, AX, AY, DX, DY, LENGTH_SQUARED, VX, VY = range(9)
GIVEN = 9
"""Vectors for each quad of pairs that are given: the joint's middle; the segment's start, vector and length squared; the
joint's velocity."""
ALONG, DISTANCE_SQUARED, DISTANCE, NX, NY, BIAS, APPROACH = range(7)
FOUND = 7
"""Vectors for each quad of pairs that are found: share of the way along the segment where it is nearest; the distance there,
squared and itself; direction; speed at which the joint is pushed out; speed of approach."""


def _nearest(
    code: Quads, quad: Any, given: Any, found: Any, radius: Any, half: Any, bias_rate: Any, time_step: Any
) -> None:
    pair, result = code.row(given, quad, GIVEN), code.row(found, quad, FOUND)
    x, y, ax, ay, dx, dy = pair[X], pair[Y], pair[AX], pair[AY], pair[DX], pair[DY]
    dot = code.add(code.multiply(dx, code.subtract(x, ax)), code.multiply(dy, code.subtract(y, ay)))
    along = code.smaller(code.divide(dot, pair[LENGTH_SQUARED]), code.constant(1.0))
    along = code.greater(along, code.constant(0.0))
    nearest_x, nearest_y = code.add(ax, code.multiply(dx, along)), code.add(ay, code.multiply(dy, along))
    gap_x, gap_y = code.subtract(nearest_x, x), code.subtract(nearest_y, y)
    squared = code.add(code.multiply(gap_x, gap_x), code.multiply(gap_y, gap_y))
    distance = code.root(squared)
    inverse = code.divide(code.constant(1.0), distance)
    nx, ny = code.multiply(gap_x, inverse), code.multiply(gap_y, inverse)
    result[ALONG], result[DISTANCE_SQUARED], result[DISTANCE], result[NX], result[NY] = along, squared, distance, nx, ny
    # As in ``bias_speed``.
    reach, depth = code.spread(radius), code.negate(code.spread(half))
    from_x = code.subtract(code.add(x, code.multiply(nx, reach)), x)
    from_y = code.subtract(code.add(y, code.multiply(ny, reach)), y)
    to_x, to_y = code.add(nearest_x, code.multiply(nx, depth)), code.add(nearest_y, code.multiply(ny, depth))
    across = code.multiply(code.subtract(code.subtract(to_x, from_x), x), nx)
    upright = code.multiply(code.subtract(code.subtract(to_y, from_y), y), ny)
    overlap = code.smaller(code.add(code.add(across, upright), code.constant(SLOP)), code.constant(0.0))
    undone = code.multiply(code.negate(code.spread(bias_rate)), overlap)
    result[BIAS] = code.divide(undone, code.spread(time_step))
    result[APPROACH] = code.subtract(code.multiply(code.negate(pair[VX]), nx), code.multiply(pair[VY], ny))


@quad_intrinsic
def narrow_phase(
    typing_context: Any, given: Any, found: Any, quads: Any, radius: Any, half: Any, bias_rate: Any, time_step: Any
) -> Any:
    """Where each pair is nearest: cpCircleToSegment, and what cpArbiterPreStep makes of it.

    Call: ``narrow_phase(given, found, quads, radius, half, bias_rate, time_step)`` with the joints' radius, half the thickness
    of the segments, the share of an overlap that is undone in a step and the length of the step. All pairs are worked out, also
    those that turn out not to touch.
    """
    numbers = [types.float64] * 4
    return types.void(given, found, types.int64, *numbers), quad_loop("contacts_nearest", _nearest)


@inlined
def bias_speed(
    x: float, y: float, nearest_x: float, nearest_y: float, nx: float, ny: float,
    radius: float, half: float, bias_rate: float, time_step: float,
) -> float:  # fmt: skip
    """Speed at which an overlap beyond SLOP is undone."""
    # The points of contact on both surfaces, the joint's as an offset from its middle.
    ax, ay = (x + nx * radius) - x, (y + ny * radius) - y
    bx, by = nearest_x + nx * -half, nearest_y + ny * -half
    overlap = (((bx - ax) - x) * nx + ((by - ay) - y) * ny) + SLOP
    return -bias_rate * (0.0 if overlap > 0.0 else overlap) / time_step
