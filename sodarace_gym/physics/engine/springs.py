"""Damped springs: Chipmunk's cpDampedSpring, for muscles that pull at the middles of joints of mass 1.

Springs act one after the other, and the order shows in the last bits: two springs at one joint must act in the order in which
they were built. Springs that share no joint may change places. They are dealt out into quads (see ``vectors``): each spring
comes into the first quad with room behind the last quad of its two joints, so that the quads in their order keep every order
that matters.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from sodarace_gym.physics.compilation import Floats, Ints, inlined, inner
from sodarace_gym.physics.engine.vectors import WIDTH, Gathered, Quads, offsets, quad_intrinsic, quad_loop

# The fields of a spring in ``Springs.rows``.
NORMAL_X, NORMAL_Y, TARGET, IMPULSE, COEFFICIENT, HALF_COEFFICIENT, STIFFNESS, REST_LENGTH = range(8)
FIELDS = 8
"""Vectors for each quad: direction from first to second joint; what the relative speed along it should be
(target_vrn); the impulse so far in this step (jAcc), share of the relative speed that damping takes in an iteration (v_coef),
the same times the effective mass of two joints of mass 1, stiffness and rest length."""


_NORMAL_X, _NORMAL_Y, _TARGET, _IMPULSE, _COEFFICIENT, _HALF_COEFFICIENT, _STIFFNESS, _REST_LENGTH = offsets(FIELDS)
_NOWHERE = np.uint64(2**63)  # the place of no joint


class Springs(NamedTuple):
    """The springs of all walkers under way.

    Attributes:
        rows: FIELDS vectors for each quad.
        ends: For each quad, places of the first joints' x in the joints' arrays, then those of the second joints; shape
            (quads * 2 * WIDTH,).
        order: Where the springs stand in ``rows`` (place of the first field), quad by quad, shape (springs,).
        first, second: Their joints' places, in that order.
        counts: How many quads and how many springs there are, shape (2,).
        places: Where each muscle of a lane stands in ``rows``, shape (lanes, muscles).
    """

    rows: Floats
    ends: Ints
    order: Ints
    first: Ints
    second: Ints
    counts: Ints
    places: Ints


@inner
def order_by_level(ends: Ints, joints: int, order: Ints) -> None:
    """Orders a walker's springs by how many springs they must wait for, those that share a joint as they were built.

    Args:
        ends: Joints of each spring, shape (springs, 2).
        joints: How many joints there are.
        order: Gets the springs' numbers, shape (springs,).
    """
    count = ends.shape[0]
    ready = np.zeros(joints, np.int64)  # the level from which on a joint is free
    level = np.empty(count, np.int64)
    starts = np.zeros(count + 2, np.int64)
    for spring in range(count):
        first, second = ends[spring, 0], ends[spring, 1]
        level[spring] = max(ready[first], ready[second])
        ready[first] = ready[second] = level[spring] + 1
        starts[level[spring] + 1] += 1
    for number in range(count):
        starts[number + 1] += starts[number]
    for spring in range(count):
        order[starts[level[spring]]] = spring
        starts[level[spring]] += 1


@inner
def deal_quads(ends: Ints, joints: int, padding: int, springs: Springs, places: Ints) -> None:
    """Deals springs out into quads.

    Args:
        ends: Places of the springs' joints, in an order in which they may act, shape (springs, 2).
        joints: How many joints there are room for.
        padding: Place of the first of two joints that stand for nothing: the springs that fill up a quad join them.
        springs: Gets ``ends``, ``order``, ``first``, ``second`` and ``counts``.
        places: Gets where each spring stands in ``springs.rows``, shape (springs,).
    """
    count = ends.shape[0]
    last = np.full(joints, -1, np.int64)  # the last quad of each joint
    filled = np.zeros(count + 1, np.int64)
    quads = 0
    for spring in range(count):
        first, second = ends[spring, 0], ends[spring, 1]
        quad = max(last[first // 2], last[second // 2]) + 1
        while filled[quad] == WIDTH:
            quad += 1
        element = filled[quad]
        places[spring] = WIDTH * FIELDS * quad + element
        springs.ends[2 * WIDTH * quad + element] = first
        springs.ends[2 * WIDTH * quad + WIDTH + element] = second
        filled[quad] = element + 1
        last[first // 2] = last[second // 2] = quad
        quads = max(quads, quad + 1)
    position = 0
    for quad in range(quads):
        for element in range(WIDTH):
            at = 2 * WIDTH * quad + element
            if element < filled[quad]:
                springs.order[position] = WIDTH * FIELDS * quad + element
                springs.first[position], springs.second[position] = springs.ends[at], springs.ends[at + WIDTH]
                position += 1
            else:
                springs.ends[at], springs.ends[at + WIDTH] = padding, padding + 2
    springs.counts[0], springs.counts[1] = quads, count


def _pre_step(code: Quads, quad: Any, positions: Any, velocities: Any, ends: Any, rows: Any, time_step: Any) -> None:
    indices, row = code.indices(ends, quad, 2 * WIDTH), code.row(rows, quad, FIELDS)
    a, b = code.gather(positions, indices[:WIDTH]), code.gather(positions, indices[WIDTH:])
    x, y = code.transpose(code.subtract(b.even, a.even), code.subtract(b.odd, a.odd))
    length = code.root(code.add(code.multiply(x, x), code.multiply(y, y)))
    inverse = code.divide(code.constant(1.0), code.nonzero_or_infinite(length))
    x, y = code.multiply(x, inverse), code.multiply(y, inverse)
    row[NORMAL_X], row[NORMAL_Y], row[TARGET] = x, y, code.constant(0.0)
    force = code.multiply(code.subtract(row[REST_LENGTH], length), row[STIFFNESS])
    impulse = code.multiply(force, code.spread(time_step))
    row[IMPULSE] = impulse
    a, b = code.gather(velocities, indices[:WIDTH]), code.gather(velocities, indices[WIDTH:])
    _push_apart(code, a, b, code.multiply(x, impulse), code.multiply(y, impulse))


def _apply(code: Quads, quad: Any, velocities: Any, ends: Any, rows: Any) -> None:
    indices, row = code.indices(ends, quad, 2 * WIDTH), code.row(rows, quad, FIELDS)
    a, b = code.gather(velocities, indices[:WIDTH]), code.gather(velocities, indices[WIDTH:])
    x, y = code.transpose(code.subtract(b.even, a.even), code.subtract(b.odd, a.odd))
    normal_x, normal_y = row[NORMAL_X], row[NORMAL_Y]
    speed = code.add(code.multiply(x, normal_x), code.multiply(y, normal_y))
    gap = code.subtract(row[TARGET], speed)
    row[TARGET] = code.add(speed, code.multiply(gap, row[COEFFICIENT]))
    before = row[IMPULSE]
    change = code.subtract(code.add(before, code.multiply(gap, row[HALF_COEFFICIENT])), before)
    row[IMPULSE] = code.add(before, change)
    _push_apart(code, a, b, code.multiply(normal_x, change), code.multiply(normal_y, change))


def _push_apart(code: Quads, a: Gathered, b: Gathered, x: Any, y: Any) -> None:
    """Takes impulses from the velocities of the first joints and gives them to the second ones (all of mass 1)."""
    even, odd = code.transpose(x, y)
    code.scatter(code.subtract(a.even, even), code.subtract(a.odd, odd), a.places)
    code.scatter(code.add(b.even, even), code.add(b.odd, odd), b.places)


@quad_intrinsic
def pre_step_quads(
    typing_context: Any, positions: Any, velocities: Any, ends: Any, rows: Any, quads: Any, time_step: Any
) -> Any:
    """The springs' pre-step, a quad at a time; see ``pre_step_singly``.

    Call: ``pre_step_quads(positions, velocities, ends, rows, quads, time_step)``.
    """
    kinds = types.void(positions, velocities, ends, rows, types.int64, types.float64)
    return kinds, quad_loop("springs_pre_step", _pre_step)


@quad_intrinsic
def apply_quads(typing_context: Any, velocities: Any, ends: Any, rows: Any, quads: Any) -> Any:
    """One iteration of the solver over all springs, a quad at a time; see ``apply_singly``.

    Call: ``apply_quads(velocities, ends, rows, quads)``.
    """
    return types.void(velocities, ends, rows, types.int64), quad_loop("springs_apply", _apply)


@inlined
def pre_step_singly(positions: Floats, velocities: Floats, springs: Springs, time_step: float) -> None:
    """What ``pre_step_quads`` does, a spring at a time: cpDampedSpring's preStep.

    The force of the spring acts for the whole step at once; what damping does is left to the iterations. A lone walker has
    too few springs that share no joint, and is faster this way.
    """
    rows, one = springs.rows, np.uint64(1)
    for position in range(springs.counts[1]):
        at = np.uint64(springs.order[position])
        a, b = np.uint64(springs.first[position]), np.uint64(springs.second[position])
        x, y = positions[b] - positions[a], positions[b + one] - positions[a + one]
        length = math.sqrt(x * x + y * y)
        inverse = 1.0 / (length if length != 0.0 else math.inf)
        x, y = x * inverse, y * inverse
        rows[at + _NORMAL_X], rows[at + _NORMAL_Y], rows[at + _TARGET] = x, y, 0.0
        impulse = (rows[at + _REST_LENGTH] - length) * rows[at + _STIFFNESS] * time_step
        rows[at + _IMPULSE] = impulse
        velocities[a] -= x * impulse
        velocities[a + one] -= y * impulse
        velocities[b] += x * impulse
        velocities[b + one] += y * impulse


@inlined
def apply_singly(velocities: Floats, springs: Springs) -> None:
    """What ``apply_quads`` does, a spring at a time: cpDampedSpring's applyImpulse.

    Springs that follow each other often share a joint. Its velocity is then handed on, as the way through memory would take a
    fifth of the time.
    """
    rows, one = springs.rows, np.uint64(1)
    first = second = _NOWHERE
    ax = ay = bx = by = 0.0
    for position in range(springs.counts[1]):
        at = np.uint64(springs.order[position])
        a, b = np.uint64(springs.first[position]), np.uint64(springs.second[position])
        normal_x, normal_y = rows[at + _NORMAL_X], rows[at + _NORMAL_Y]
        if a == second:
            from_x, from_y = bx, by
        elif a == first:
            from_x, from_y = ax, ay
        else:
            from_x, from_y = velocities[a], velocities[a + one]
        if b == second:
            to_x, to_y = bx, by
        elif b == first:
            to_x, to_y = ax, ay
        else:
            to_x, to_y = velocities[b], velocities[b + one]
        speed = (to_x - from_x) * normal_x + (to_y - from_y) * normal_y
        gap = rows[at + _TARGET] - speed
        rows[at + _TARGET] = speed + gap * rows[at + _COEFFICIENT]
        before = rows[at + _IMPULSE]
        # Through the accumulated impulse, as Chipmunk does: the change takes the rounding of the sum.
        change = (before + gap * rows[at + _HALF_COEFFICIENT]) - before
        rows[at + _IMPULSE] = before + change
        x, y = normal_x * change, normal_y * change
        ax, ay, bx, by = from_x - x, from_y - y, to_x + x, to_y + y
        velocities[a], velocities[a + one] = ax, ay
        velocities[b], velocities[b + one] = bx, by
        first, second = a, b
