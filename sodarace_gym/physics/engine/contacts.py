"""Contacts of joints with the ground: Chipmunk's cpArbiter, for circles that never turn.

A joint is a circle of mass 1 without rotation and the ground never moves, so that contacts of different joints have nothing
to do with each other; only those of the same joint must be solved in the order in which they were found. Hence the first
contact of every joint goes into quads (see ``vectors``), and the few second and further ones are solved after them, one by one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from sodarace_gym.physics.compilation import ZERO, Floats, Ints, inlined, inner
from sodarace_gym.physics.engine import ground as g
from sodarace_gym.physics.engine import narrow_phase as n
from sodarace_gym.physics.engine.ground import Ground
from sodarace_gym.physics.engine.vectors import WIDTH, Quads, offsets, place, quad_intrinsic, quad_loop

CONTACTS = 8
"""Most contacts that a joint may have or remember. A joint with more is left to pymunk, see ``stepping``."""
PAIRS = 16
"""Most segments whose boxes a joint may meet in one step; with more it is left to pymunk."""
MEMORY = 3
"""Steps that a contact's impulses are remembered for after its last touch: Chipmunk's collisionPersistence."""
_NONE = np.uint64(CONTACTS)
NEVER = -1000
"""When a contact that is not remembered was seen last."""

BIAS_SHARE = float(np.float32(1.0) - np.float32(0.1)) ** 60.0
"""Share of further overlap that is left after a second: Chipmunk's collisionBias, from floats of 32 bits too."""
TINY = 2.2250738585072014e-308
"""The least normal float, which Chipmunk adds to lengths that may be 0 before it divides by them."""

# The fields of a contact in ``Contacts.rows`` and ``Contacts.further``.
NORMAL_X, NORMAL_Y, NORMAL_IMPULSE, TANGENT_IMPULSE, BOUNCE, FRICTION = range(6)
FIELDS = 6
"""Vectors for each quad: direction into the ground; the impulses so far in this step along it (jnAcc) and across it (jtAcc);
speed to bounce with; friction."""
_NORMAL_X, _NORMAL_Y, _NORMAL_IMPULSE, _TANGENT_IMPULSE, _BOUNCE, _FRICTION = offsets(FIELDS)

_X, _Y, _AX, _AY, _DX, _DY, _, _VX, _VY = offsets(n.GIVEN)
_ALONG, _DISTANCE_SQUARED, _DISTANCE, _NX, _NY, _BIAS, _APPROACH = offsets(n.FOUND)
FIRST, FURTHER, BIASED = range(3)  # of ``Contacts.counts``


class Touching(NamedTuple):
    """Contacts in the order in which they are solved.

    Attributes:
        rows: FIELDS vectors for each quad.
        joint: Places of their joints' x in the joints' arrays, shape (contacts,).
        known: Where they are remembered in ``Contacts.known_impulses``.
        warm: Whether they were there in the step before.
        bias: Speed at which the joint is pushed out of the ground, and the impulse so far that does it; shape (contacts, 2).
    """

    rows: Floats
    joint: Any
    known: Any
    warm: Any
    bias: Floats


class Contacts(NamedTuple):
    """The contacts of all joints, those of this step and those remembered.

    Attributes:
        known_segment, known_step: The segments that each joint touched lately, and in which step last; shape
            (joints, CONTACTS).
        known_impulses: The impulses along and across the contact then, shape (joints * CONTACTS, 2).
        crowded: Whether a joint has more contacts in this step than there is room for, shape (joints,).
        slot, segment: The pairs of joints and segments whose boxes meet in this step, shape (pairs,).
        given: What the narrow phase takes, GIVEN vectors for each quad of pairs: the joint's middle, the segment's start,
            vector and length squared, the joint's velocity.
        found: What it finds, FOUND vectors for each: share of the way along the segment where it is nearest, the distance
            there, squared and itself, direction, speed at which the joint is pushed out, speed of approach.
        first: The first contact of each joint that has one.
        further: Second and further ones.
        counts: How many first and further contacts there are, and whether any joint is pushed out; shape (3,).
    """

    known_segment: Any
    known_step: Ints
    known_impulses: Floats
    crowded: Any
    slot: Any
    segment: Any
    given: Floats
    found: Floats
    first: Touching
    further: Touching
    counts: Ints


@inner
def _new_touching(most: int) -> Touching:
    room = most + WIDTH
    return Touching(
        np.zeros(room * FIELDS),
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
        np.empty(room, np.bool_),
        np.empty((room, 2)),
    )


@inner
def new_contacts(joints: int) -> Contacts:
    """Room for the contacts of some joints."""
    pairs = joints * PAIRS
    return Contacts(
        np.zeros((joints, CONTACTS), np.uint64),
        np.full((joints, CONTACTS), NEVER, np.int64),
        np.zeros((joints * CONTACTS, 2)),
        np.zeros(joints, np.bool_),
        np.empty(pairs, np.uint64),
        np.empty(pairs, np.uint64),
        np.ones((pairs + WIDTH) * n.GIVEN),
        np.empty((pairs + WIDTH) * n.FOUND),
        _new_touching(joints),
        _new_touching(joints * (CONTACTS - 1)),
        np.zeros(3, np.int64),
    )


@inlined
def update_contacts(
    contacts: Contacts, pairs: int, ground: Ground, step: int, reach: float,
    radius: float, half: float, friction: float, elasticity: float, bias_rate: float, time_step: float,
) -> bool:  # fmt: skip
    """Takes the pairs that touch as contacts and looks up what is remembered of them: cpArbiterUpdate.

    Args:
        contacts: ``found`` is read.
        pairs: How many pairs there are.
        ground: The terrains.
        step: Number of this step.
        reach: A joint nearer than this to the middle of a segment touches it.
        radius: The joints'.
        half: Half thickness of the segments.
        friction: The joints'.
        elasticity: The joints'.
        bias_rate: Share of the overlap that is taken away in a step.
        time_step: Length of the step.

    Returns:
        Whether a joint has more contacts than there is room for; ``crowded`` says which.
    """
    given, found, segments = contacts.given, contacts.found, ground.segments
    known_segment, known_step = contacts.known_segment, contacts.known_step
    first, more, biased, crowded = ZERO, ZERO, False, False
    before = np.uint64(contacts.known_segment.shape[0])
    for pair in range(pairs):
        at = place(pair, n.FOUND)
        if not found[at + _DISTANCE_SQUARED] < reach * reach:
            continue
        slot, segment = contacts.slot[pair], contacts.segment[pair]
        along, nx, ny = found[at + _ALONG], found[at + _NX], found[at + _NY]
        bias, approach = found[at + _BIAS], found[at + _APPROACH]
        if found[at + _DISTANCE] == 0.0:  # the joint's middle is on the segment's
            into = place(pair, n.GIVEN)
            x, y, dx, dy = given[into + _X], given[into + _Y], given[into + _DX], given[into + _DY]
            inverse = 1.0 / (math.sqrt(dx * dx + dy * dy) + TINY)
            nx, ny = dy * inverse, -(dx * inverse)
            nearest_x, nearest_y = given[into + _AX] + dx * along, given[into + _AY] + dy * along
            bias = n.bias_speed(x, y, nearest_x, nearest_y, nx, ny, radius, half, bias_rate, time_step)
            approach = -given[into + _VX] * nx - given[into + _VY] * ny
        # At the end of a segment the neighbour is in charge of directions that lie on its side.
        if along == 0.0 and not nx * segments[segment, g.BEFORE_X] + ny * segments[segment, g.BEFORE_Y] >= 0.0:
            continue
        if along == 1.0 and not nx * segments[segment, g.AFTER_X] + ny * segments[segment, g.AFTER_Y] >= 0.0:
            continue
        entry: Any = _NONE
        free: Any = _NONE
        for candidate in range(np.uint64(0), _NONE):
            if step - known_step[slot, candidate] <= MEMORY:
                if known_segment[slot, candidate] == segment:
                    entry = candidate
                    break
            elif free == _NONE:
                free = candidate
        normal_impulse, tangent_impulse, warm = 0.0, 0.0, False
        if entry != _NONE:
            known = slot * _NONE + entry
            normal_impulse, tangent_impulse = contacts.known_impulses[known, 0], contacts.known_impulses[known, 1]
            warm = step - known_step[slot, entry] < 2
        elif free != _NONE:
            entry = free
            known = slot * _NONE + entry
            known_segment[slot, entry] = segment
        else:
            contacts.crowded[slot] = crowded = True
            continue
        known_step[slot, entry] = step
        biased |= bias != 0.0
        bounce, grip = (
            approach * (elasticity * segments[segment, g.ELASTICITY]),
            friction * segments[segment, g.FRICTION],
        )
        if slot != before:
            _enter(
                contacts.first, first, slot, known, warm, bias, nx, ny, normal_impulse, tangent_impulse, bounce, grip
            )
            first += 1
        else:
            _enter(
                contacts.further, more, slot, known, warm, bias, nx, ny, normal_impulse, tangent_impulse, bounce, grip
            )
            more += 1
        before = slot
    contacts.counts[FIRST], contacts.counts[FURTHER], contacts.counts[BIASED] = first, more, biased
    return crowded


@inlined
def _enter(
    touching: Touching, contact: int, slot: Any, known: Any, warm: bool, bias: float,
    nx: float, ny: float, normal_impulse: float, tangent_impulse: float, bounce: float, friction: float,
) -> None:  # fmt: skip
    rows, at, number = touching.rows, place(contact, FIELDS), np.uint64(contact)
    rows[at + _NORMAL_X], rows[at + _NORMAL_Y] = nx, ny
    rows[at + _NORMAL_IMPULSE], rows[at + _TANGENT_IMPULSE] = normal_impulse, tangent_impulse
    rows[at + _BOUNCE], rows[at + _FRICTION] = bounce, friction
    touching.joint[number], touching.known[number], touching.warm[number] = np.uint64(2) * slot, known, warm
    touching.bias[number, 0], touching.bias[number, 1] = bias, 0.0


@inlined
def fill_last_quad(touching: Touching, count: int, padding: int) -> int:
    """Fills the last quad with contacts of a joint that stands for nothing; returns how many quads there are."""
    quads = (count + WIDTH - 1) // WIDTH
    for contact in range(count, WIDTH * quads):
        at = place(contact, FIELDS)
        for field in range(FIELDS):
            touching.rows[at + np.uint64(WIDTH * field)] = 0.0
        touching.joint[contact] = np.uint64(padding)
    return quads


@inlined
def apply_remembered(velocities: Floats, touching: Touching, count: int) -> None:
    """The impulses of the step before, where the contact was there too: cpArbiterApplyCachedImpulse."""
    one = np.uint64(1)
    for contact in range(np.uint64(count)):
        if touching.warm[contact]:
            at, joint, rows = place(contact, FIELDS), touching.joint[contact], touching.rows
            nx, ny = rows[at + _NORMAL_X], rows[at + _NORMAL_Y]
            normal, tangent = rows[at + _NORMAL_IMPULSE], rows[at + _TANGENT_IMPULSE]
            velocities[joint] -= nx * normal - ny * tangent
            velocities[joint + one] -= nx * tangent + ny * normal


@inlined
def push_out(bias_velocities: Floats, touching: Touching, count: int) -> None:
    """One iteration of what undoes overlaps: the part of cpArbiterApplyImpulse that works on the bias velocities."""
    one, bias = np.uint64(1), touching.bias
    for contact in range(np.uint64(count)):
        at, joint = place(contact, FIELDS), touching.joint[contact]
        nx, ny = touching.rows[at + _NORMAL_X], touching.rows[at + _NORMAL_Y]
        speed = -bias_velocities[joint] * nx - bias_velocities[joint + one] * ny
        before = bias[contact, 1]
        impulse = before + (bias[contact, 0] - speed)
        impulse = impulse if impulse > 0.0 else 0.0
        change = impulse - before
        bias[contact, 1] = impulse
        bias_velocities[joint] -= nx * change
        bias_velocities[joint + one] -= ny * change


def _apply(code: Quads, quad: Any, velocities: Any, joints: Any, rows: Any) -> None:
    pairs, row = code.gather(velocities, code.indices(joints, quad, WIDTH)), code.row(rows, quad, FIELDS)
    vx, vy = code.transpose(pairs.even, pairs.odd)
    nx, ny = row[NORMAL_X], row[NORMAL_Y]
    away = code.add(code.multiply(vx, nx), code.multiply(vy, ny))  # minus the relative speed
    slide = code.subtract(code.multiply(vx, ny), code.multiply(vy, nx))
    before, before_across = row[NORMAL_IMPULSE], row[TANGENT_IMPULSE]
    impulse = code.greater(code.subtract(before, code.subtract(row[BOUNCE], away)), code.constant(0.0))
    most = code.multiply(row[FRICTION], impulse)
    across = code.greater(code.subtract(before_across, slide), code.negate(most))
    across = code.smaller(across, most)
    row[NORMAL_IMPULSE], row[TANGENT_IMPULSE] = impulse, across
    normal, tangent = code.subtract(impulse, before), code.subtract(across, before_across)
    x = code.subtract(code.multiply(nx, normal), code.multiply(ny, tangent))
    y = code.add(code.multiply(nx, tangent), code.multiply(ny, normal))
    even, odd = code.transpose(x, y)
    code.scatter(code.subtract(pairs.even, even), code.subtract(pairs.odd, odd), pairs.places)


@quad_intrinsic
def apply_quads(typing_context: Any, velocities: Any, joints: Any, rows: Any, quads: Any) -> Any:
    """One iteration of the solver over contacts of different joints, a quad at a time; see ``apply_singly``.

    Call: ``apply_quads(velocities, joints, rows, quads)``.
    """
    return types.void(velocities, joints, rows, types.int64), quad_loop("contacts_apply", _apply)


@inlined
def apply_singly(velocities: Floats, touching: Touching, count: int) -> None:
    """One iteration of the solver over contacts, one after the other: cpArbiterApplyImpulse.

    The normal impulse stops the joint from going into the ground, but never pulls; friction is bounded by it.
    """
    one, rows = np.uint64(1), touching.rows
    for contact in range(np.uint64(count)):
        at, joint = place(contact, FIELDS), touching.joint[contact]
        nx, ny = rows[at + _NORMAL_X], rows[at + _NORMAL_Y]
        before, before_across = rows[at + _NORMAL_IMPULSE], rows[at + _TANGENT_IMPULSE]
        vx, vy = velocities[joint], velocities[joint + one]
        impulse = before - (rows[at + _BOUNCE] + (-vx * nx - vy * ny))
        impulse = impulse if impulse > 0.0 else 0.0
        most = rows[at + _FRICTION] * impulse
        across = before_across - (vx * ny - vy * nx)
        across = across if across > -most else -most
        across = across if across < most else most
        normal, tangent = impulse - before, across - before_across
        rows[at + _NORMAL_IMPULSE], rows[at + _TANGENT_IMPULSE] = impulse, across
        velocities[joint] = vx - (nx * normal - ny * tangent)
        velocities[joint + one] = vy - (nx * tangent + ny * normal)


@inlined
def remember(contacts: Contacts, touching: Touching, count: int) -> None:
    """Keeps the impulses for the next step."""
    for contact in range(np.uint64(count)):
        at, known = place(contact, FIELDS), touching.known[contact]
        contacts.known_impulses[known, 0] = touching.rows[at + _NORMAL_IMPULSE]
        contacts.known_impulses[known, 1] = touching.rows[at + _TANGENT_IMPULSE]
