"""Places for several walkers side by side, and how walkers and their springs get into them.

A lone walker leaves the processor waiting, since most of what it computes depends on what it computed just before. Walkers have
nothing to do with each other, so that several in step fill the gaps, and their springs and contacts fill whole vectors. Each
*lane* has one walker at a time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sodarace_gym.physics.compilation import ZERO, Floats, Ints, inlined, inner
from sodarace_gym.physics.constants import WorldConstants
from sodarace_gym.physics.engine import contacts as c
from sodarace_gym.physics.engine import joints as j
from sodarace_gym.physics.engine import springs as s
from sodarace_gym.physics.engine.contacts import Contacts
from sodarace_gym.physics.engine.ground import Ground
from sodarace_gym.physics.engine.joints import Joints
from sodarace_gym.physics.engine.springs import Springs
from sodarace_gym.physics.engine.vectors import WIDTH

NOBODY = -1
"""The walker of a lane that has none."""


class Walkers(NamedTuple):
    """Walkers end to end.

    Attributes:
        joint_start, muscle_start, active_start: Where each walker's joints, muscles and active muscles begin, and one past the
            end; shape (walkers + 1,).
        joints: Start positions, walker units, shape (joints, 2).
        nudge: Sideways speed that each joint starts to settle with, walker units / s, shape (joints,).
        muscle_ends: Each muscle's joints, counted within the walker, shape (muscles, 2).
        rest_lengths: Walker units, shape (muscles,).
        sine_amplitudes, cosine_amplitudes: What multiplies sin(w t) and cos(w t) in an active muscle's length, walker units.
        stiffness: Joint masses / s^2.
        damping: Joint masses / s.
        active: The active muscles, counted within the walker, shape (active muscles,).
        terrain: Which terrain of the ground each walker is on, shape (walkers,).
    """

    joint_start: Ints
    muscle_start: Ints
    active_start: Ints
    joints: Floats
    nudge: Floats
    muscle_ends: Ints
    rest_lengths: Floats
    sine_amplitudes: Floats
    cosine_amplitudes: Floats
    stiffness: Floats
    damping: Floats
    active: Ints
    terrain: Ints


class Lanes(NamedTuple):
    """What the lanes are doing.

    Attributes:
        walker: Which walker each has, NOBODY if none; shape (lanes,) as all that follow.
        first: Its first joint in ``Joints``.
        room: How many joints the lane has room for.
        last: The joint after its last one.
        terrain: Which terrain it is on.
        walking: Whether it walks; before, it settles.
        settling_steps, walking_steps: Steps taken.
        crowded: Whether there is not room enough for all that is around its joints.
        calm: Checks in a row in which it was calm.
        damping: Share of the velocities kept in a step.
        gravity: What gravity adds to velocities in a step, walker units / s.
        slowest: Least speed of the fastest joint so far, walker units / s.
        start: x of the centre of mass when it began to walk, walker units.
        orders: The order of its springs by level, shape (lanes, springs).
        drives: For each active muscle rest length, sine and cosine amplitude, shape (lanes, active muscles, 3).
        driven: Where the active muscles' rest lengths stand in ``Springs.rows``, shape (lanes, active muscles).
        state: The number of the step, and how many lanes are busy; shape (2,).
    """

    walker: Ints
    first: Ints
    room: Ints
    last: Ints
    terrain: Ints
    walking: Ints
    settling_steps: Ints
    walking_steps: Ints
    crowded: Ints
    calm: Ints
    damping: Floats
    gravity: Floats
    slowest: Floats
    start: Floats
    orders: Ints
    drives: Floats
    driven: Ints
    state: Ints


class Space(NamedTuple):
    """The lanes, and the joints, contacts and springs in them."""

    joints: Joints
    contacts: Contacts
    springs: Springs
    lanes: Lanes


STEP, BUSY = range(2)


@inner
def new_space(walkers: Walkers, count: int) -> Space:
    """Room for some lanes, if walkers are taken in their order and none has more joints than one before it."""
    total = walkers.joint_start.shape[0] - 1
    count = min(count, total)
    muscles, active = 0, 0
    for walker in range(total):
        muscles = max(muscles, walkers.muscle_start[walker + 1] - walkers.muscle_start[walker])
        active = max(active, walkers.active_start[walker + 1] - walkers.active_start[walker])
    first, room = np.zeros(count, np.int64), np.zeros(count, np.int64)
    slots = ZERO
    for lane in range(count):
        first[lane], room[lane] = slots, walkers.joint_start[lane + 1] - walkers.joint_start[lane]
        slots += room[lane]
    most = count * muscles
    lanes = Lanes(
        np.full(count, NOBODY, np.int64), first, room, first.copy(),
        np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64),
        np.zeros(count, np.int64), np.zeros(count, np.int64),
        np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count),
        np.empty((count, muscles), np.int64), np.empty((count, active, 3)), np.empty((count, active), np.int64),
        np.zeros(2, np.int64),
    )  # fmt: skip
    springs = Springs(
        np.zeros(most * WIDTH * s.FIELDS), np.zeros(most * 2 * WIDTH, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64), np.zeros(2, np.int64),
        np.empty((count, muscles), np.int64),
    )  # fmt: skip
    return Space(j.new_joints(slots), c.new_contacts(slots), springs, lanes)


@inlined
def put(space: Space, lane: int, walker: int, walkers: Walkers, ground: Ground, constants: WorldConstants) -> bool:
    """Puts a walker into a lane, ready to settle; False if it has too many segments around it."""
    joints, contacts, lanes = space.joints, space.contacts, space.lanes
    start, end = walkers.joint_start[walker], walkers.joint_start[walker + 1]
    first = lanes.first[lane]
    lanes.walker[lane], lanes.last[lane], lanes.terrain[lane] = walker, first + end - start, walkers.terrain[walker]
    lanes.walking[lane] = lanes.settling_steps[lane] = lanes.walking_steps[lane] = lanes.calm[lane] = 0
    lanes.crowded[lane] = 0
    lanes.damping[lane] = math.pow(constants.settling_damping, constants.time_step)
    lanes.gravity[lane] = (-constants.settling_gravity) * constants.time_step
    lanes.slowest[lane], lanes.start[lane] = math.inf, 0.0
    clear(joints, lanes, lane)
    fits = True
    for joint in range(start, end):
        slot = first + joint - start
        # Chipmunk adds a centre of gravity at 0.0, which makes a negative zero positive.
        joints.positions[2 * slot] = walkers.joints[joint, 0] + 0.0
        joints.positions[2 * slot + 1] = walkers.joints[joint, 1] + 0.0
        joints.velocities[2 * slot] = walkers.nudge[joint]
        j.renew_box(joints, np.uint64(slot), constants.joint_radius)
        fits &= j.find_candidates(joints, np.uint64(slot), ground, lanes.terrain[lane])
        contacts.known_step[slot, :] = c.NEVER
    ends = walkers.muscle_ends[walkers.muscle_start[walker] : walkers.muscle_start[walker + 1]]
    s.order_by_level(ends, end - start, lanes.orders[lane])
    return fits


@inlined
def clear(joints: Joints, lanes: Lanes, lane: int) -> None:
    """Stops all that moves in a lane."""
    for coordinate in range(2 * lanes.first[lane], 2 * (lanes.first[lane] + lanes.room[lane])):
        joints.velocities[coordinate] = joints.bias_velocities[coordinate] = 0.0


@inner
def spring_coefficients(walkers: Walkers, constants: WorldConstants) -> Floats:
    """Share of the relative speed of its joints that each muscle's damping takes in an iteration (Chipmunk's v_coef)."""
    coefficients = np.empty(walkers.damping.shape[0])
    for muscle in range(coefficients.shape[0]):
        if muscle > 0 and walkers.damping[muscle] == walkers.damping[muscle - 1]:
            coefficients[muscle] = coefficients[muscle - 1]
        else:
            coefficients[muscle] = 1.0 - math.exp(-walkers.damping[muscle] * constants.time_step * 2.0)
    return coefficients


_TURNS = 256


@inner
def deal_springs(space: Space, walkers: Walkers, coefficients: Floats) -> None:
    """Deals the springs of all busy lanes out into quads, lanes in turn, so that all come to an end at about the same time."""
    lanes, springs = space.lanes, space.springs
    count, busy = 0, 0
    starts = np.zeros(_TURNS + 1, np.int64)
    for lane in range(lanes.walker.shape[0]):
        walker = lanes.walker[lane]
        if walker != NOBODY:
            number = walkers.muscle_start[walker + 1] - walkers.muscle_start[walker]
            count += number
            busy += 1
            for position in range(number):
                starts[(_TURNS * position + _TURNS // 2) // number + 1] += 1
    for turn in range(_TURNS):
        starts[turn + 1] += starts[turn]
    lane_of, muscle_of, ends = np.empty(count, np.int64), np.empty(count, np.int64), np.empty((count, 2), np.int64)
    places = np.empty(count, np.int64)
    for lane in range(lanes.walker.shape[0]):
        walker = lanes.walker[lane]
        if walker != NOBODY:
            start = walkers.muscle_start[walker]
            number = walkers.muscle_start[walker + 1] - start
            for position in range(number):
                turn = (_TURNS * position + _TURNS // 2) // number
                at, muscle = starts[turn], start + lanes.orders[lane, position]
                starts[turn] += 1
                lane_of[at], muscle_of[at] = lane, muscle
                ends[at, 0] = 2 * (lanes.first[lane] + walkers.muscle_ends[muscle, 0])
                ends[at, 1] = 2 * (lanes.first[lane] + walkers.muscle_ends[muscle, 1])
    slots = space.joints.room.shape[0]
    s.deal_quads(ends, slots, 2 * slots, springs, places)
    springs.rows[: springs.counts[0] * WIDTH * s.FIELDS] = 0.0
    for spring in range(count):
        at, muscle, lane = places[spring], muscle_of[spring], lane_of[spring]
        springs.places[lane, muscle - walkers.muscle_start[lanes.walker[lane]]] = at
        springs.rows[at + WIDTH * s.COEFFICIENT] = coefficients[muscle]
        springs.rows[at + WIDTH * s.HALF_COEFFICIENT] = 0.5 * coefficients[muscle]
        springs.rows[at + WIDTH * s.STIFFNESS] = walkers.stiffness[muscle]
        springs.rows[at + WIDTH * s.REST_LENGTH] = walkers.rest_lengths[muscle]
    for lane in range(lanes.walker.shape[0]):
        walker = lanes.walker[lane]
        if walker != NOBODY:
            start = walkers.muscle_start[walker]
            for position in range(walkers.active_start[walker + 1] - walkers.active_start[walker]):
                muscle = walkers.active[walkers.active_start[walker] + position]
                lanes.drives[lane, position, 0] = walkers.rest_lengths[start + muscle]
                lanes.drives[lane, position, 1] = walkers.sine_amplitudes[start + muscle]
                lanes.drives[lane, position, 2] = walkers.cosine_amplitudes[start + muscle]
                lanes.driven[lane, position] = springs.places[lane, muscle] + WIDTH * s.REST_LENGTH
    lanes.state[BUSY] = busy
