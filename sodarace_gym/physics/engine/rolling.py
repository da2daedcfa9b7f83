"""Roll-outs of many walkers: lanes settle and walk, each in its own time, and take the next walker when one is done."""

from __future__ import annotations

import math

from sodarace_gym.physics.compilation import ZERO, Floats, Ints, compiled, inlined, inner_borrowing
from sodarace_gym.physics.constants import CHECK_EVERY, WorldConstants
from sodarace_gym.physics.engine.contacts import BIAS_SHARE
from sodarace_gym.physics.engine.ground import Ground
from sodarace_gym.physics.engine.lanes import (
    BUSY,
    NOBODY,
    Space,
    Walkers,
    clear,
    deal_springs,
    new_space,
    put,
    spring_coefficients,
)
from sodarace_gym.physics.engine.stepping import (
    COMPLETED,
    OVERFLOW,
    READY,
    RESTLESS,
    SETTLING,
    centre,
    check,
    drive_muscles,
    readiness,
    start_walking,
    step,
)

STATUS, SETTLING_STEPS, SETTLED, START, END = range(5)
"""Columns of the outcomes; see ``roll_out_many``."""


@compiled
def roll_out_many(
    walkers: Walkers, ground: Ground, drive: Floats, constants: WorldConstants, lanes: int,
    record_every: int, frames: Floats, frame_start: Ints, outcomes: Floats,
) -> None:  # fmt: skip
    """Lets walkers settle, and walk for as many steps as ``drive`` has.

    Args:
        walkers: The walkers; none has more joints than one before it.
        ground: The terrains.
        drive: sin(w t) and cos(w t) at the end of each walking step, shape (steps, 2).
        constants: The physical constants.
        lanes: How many walkers at a time.
        record_every: Steps between two recorded frames; 0 records nothing.
        frames: Gets each walker's positions while walking: frame by frame, joint by joint, x and y.
        frame_start: Where each walker's frames begin in ``frames``, shape (walkers,).
        outcomes: Gets for each walker the status, the steps until it was at rest, whether it came to rest, and the x of its
            centre of mass when it began to walk and at the end; shape (walkers, 5).
    """
    space = new_space(walkers, lanes)
    coefficients = spring_coefficients(walkers, constants)
    _run(space, walkers, ground, drive, constants, coefficients, record_every, frames, frame_start, outcomes)


@inner_borrowing
def _run(
    space: Space, walkers: Walkers, ground: Ground, drive: Floats, constants: WorldConstants, coefficients: Floats,
    record_every: int, frames: Floats, frame_start: Ints, outcomes: Floats,
) -> None:  # fmt: skip
    lanes = space.lanes
    bias_rate = 1.0 - math.pow(BIAS_SHARE, constants.time_step)
    waiting, ended = ZERO, True
    while True:
        if ended:
            for lane in range(lanes.walker.shape[0]):
                while lanes.walker[lane] == NOBODY and waiting < outcomes.shape[0]:
                    walker = waiting
                    waiting += 1
                    if not put(space, lane, walker, walkers, ground, constants):
                        _finish(space, lane, OVERFLOW, 0.0, outcomes)
                    elif readiness(space, lane, 0.0, constants) == READY:
                        if _walk(space, lane, constants, drive, record_every, frames, frame_start):
                            _finish(space, lane, COMPLETED, lanes.start[lane], outcomes)
                    elif readiness(space, lane, 0.0, constants) == RESTLESS:
                        _finish(space, lane, COMPLETED, 0.0, outcomes)
            deal_springs(space, walkers, coefficients)
            if lanes.state[BUSY] == 0:
                return
            ended = False
        for lane in range(lanes.walker.shape[0]):
            if lanes.walking[lane]:
                now, walker = lanes.walking_steps[lane], lanes.walker[lane]
                active = walkers.active_start[walker + 1] - walkers.active_start[walker]
                drive_muscles(space, lane, active, drive[now, 0], drive[now, 1])
        step(space, ground, constants, bias_rate)
        for lane in range(lanes.walker.shape[0]):
            if lanes.walker[lane] == NOBODY:
                continue
            if lanes.crowded[lane]:
                _finish(space, lane, OVERFLOW, 0.0, outcomes)
                ended = True
            elif lanes.walking[lane]:
                lanes.walking_steps[lane] += 1
                taken = lanes.walking_steps[lane]
                status = COMPLETED
                if taken % CHECK_EVERY == 0 or taken == drive.shape[0]:
                    status, _ = check(space, lane, ground, constants)
                if status == COMPLETED and record_every > 0 and taken % record_every == 0:
                    _record(space, lane, frames, frame_start[lanes.walker[lane]], taken // record_every)
                if status != COMPLETED:
                    _finish(space, lane, status, lanes.start[lane], outcomes)
                    ended = True
                elif taken == drive.shape[0]:
                    _finish(space, lane, COMPLETED, centre(space, lane), outcomes)
                    ended = True
            else:
                lanes.settling_steps[lane] += 1
                if lanes.settling_steps[lane] % CHECK_EVERY == 0:
                    status, speed = check(space, lane, ground, constants)
                    verdict = SETTLING
                    if status == COMPLETED:
                        lanes.calm[lane] = lanes.calm[lane] + 1 if speed < constants.rest_speed else 0
                        lanes.slowest[lane] = min(lanes.slowest[lane], speed)
                        verdict = readiness(space, lane, speed, constants)
                    if status != COMPLETED or verdict == RESTLESS:
                        _finish(space, lane, status, 0.0, outcomes)
                        ended = True
                    elif verdict == READY and _walk(space, lane, constants, drive, record_every, frames, frame_start):
                        _finish(space, lane, COMPLETED, lanes.start[lane], outcomes)
                        ended = True


@inlined
def _walk(
    space: Space,
    lane: int,
    constants: WorldConstants,
    drive: Floats,
    record_every: int,
    frames: Floats,
    frame_start: Ints,
) -> bool:
    """Lets a walker that has settled walk; True if it is to walk for no time at all."""
    start_walking(space, lane, constants)
    if record_every > 0:
        _record(space, lane, frames, frame_start[space.lanes.walker[lane]], ZERO)
    return drive.shape[0] == 0


@inlined
def _finish(space: Space, lane: int, status: int, end: float, outcomes: Floats) -> None:
    """Notes what became of a lane's walker, and frees the lane."""
    lanes = space.lanes
    walker = lanes.walker[lane]
    outcomes[walker, STATUS], outcomes[walker, SETTLING_STEPS] = status, lanes.settling_steps[lane]
    outcomes[walker, SETTLED] = lanes.walking[lane]
    outcomes[walker, START], outcomes[walker, END] = lanes.start[lane], end
    lanes.walker[lane], lanes.walking[lane] = NOBODY, 0
    clear(space.joints, lanes, lane)


@inlined
def _record(space: Space, lane: int, frames: Floats, start: int, frame: int) -> None:
    """Stores the joints' positions as a frame of the lane's walker."""
    first, last = space.lanes.first[lane], space.lanes.last[lane]
    at = start + 2 * (last - first) * frame
    for coordinate in range(2 * (last - first)):
        frames[at + coordinate] = space.joints.positions[2 * first + coordinate]
