"""A walker's world that someone else drives: it is advanced a few steps at a time, with rest lengths from outside.

The world is the one of ``stepping``: pymunk builds it and it settles as every roll-out does. From then on the caller sets the
rest lengths of the active muscles for every physics step. As in ``stepping``, a compiled loop and a plain one stand side by
side and agree bit for bit; driven with the walker's own gait, both repeat the roll-out
(tests/sodarace_gym/physics/test_control.py).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pymunk._chipmunk_cffi import ffi

from sodarace_gym.physics import chipmunk, stepping, surfaces
from sodarace_gym.physics.compilation import compiler
from sodarace_gym.physics.constants import STEP_RATE
from sodarace_gym.physics.stepping import CHECK_EVERY, COMPLETED, Floats, Ints, WorldArrays, WorldConstants

FAULTS = {COMPLETED: None, stepping.UNSTABLE: "unstable", stepping.ESCAPED: "escaped"}
"""What the loops' statuses mean; see ``physics.Rollout.fault``."""

MUSCLE_SPEED = 6.0
"""A driven muscle's rest length changes by at most this many amplitudes a second, twice as fast as its own gait ever does:
jumps of a rest length would throw the walker (chosen here; random and bang-bang driving then rarely ends in a fault)."""

_ADDRESSES = chipmunk.function_addresses()
_compiled = compiler(chipmunk, stepping, surfaces)


@_compiled
def _advance(
    addresses: Ints,
    space: int,
    bodies: Ints,
    springs: Ints,
    rest_lengths: Floats,
    arrays: WorldArrays,
    constants: WorldConstants,
    taken: int,
    motion: Floats,
) -> tuple[int, int, float]:
    """Takes one step for each row of ``rest_lengths``: (status, steps taken since the start, x of the centre of mass)."""
    status = COMPLETED
    for row in range(rest_lengths.shape[0]):
        for index in range(springs.shape[0]):
            chipmunk.spring_set_rest_length(addresses, (springs[index], rest_lengths[row, index]))
        chipmunk.space_step(addresses, (space, constants.time_step))
        taken += 1
        if taken % CHECK_EVERY == 0 or taken == arrays.drive.shape[0]:
            status, _ = stepping.check_compiled(addresses, bodies, arrays, constants)
            if status != COMPLETED:
                break
    for index in range(bodies.shape[0]):
        motion[index, 0], motion[index, 1] = chipmunk.body_position(addresses, (bodies[index],))
        motion[index, 2], motion[index, 3] = chipmunk.body_velocity(addresses, (bodies[index],))
    return status, taken, stepping.centre_compiled(addresses, bodies)


class ControlledWorld:
    """One walker on one terrain, settled and ready to be driven.

    Args:
        arrays: The world; ``arrays.drive`` has one row for each step that the episode may take.
        constants: The physical constants.
        plain: Use pymunk's Python interface throughout; None uses the compiled loop where the platform supports it.

    Attributes:
        fault: None, or why the walker cannot go on: "unstable", "escaped" or "unsettled" (see ``physics.Rollout``).
        taken: Steps taken since the walker settled.
        centre: x of the centre of mass, walker units.
        motion: Positions and velocities of the joints, shape (joints, 4): x, y in walker units, then their rates of change
            in walker units / s. Overwritten by every step.
        rest_lengths: Rest lengths that the active muscles have now, shape (active muscles,), walker units.
    """

    def __init__(self, arrays: WorldArrays, constants: WorldConstants, plain: bool | None = None) -> None:
        self.arrays, self.constants = arrays, constants
        self.plain = not chipmunk.compiled_calls_supported() if plain is None else plain
        # pymunk owns everything that Chipmunk allocates, also while compiled code steps it: these references keep it alive.
        # They go when the interpreter ends, before pymunk itself does, which otherwise complains of every world left.
        space, bodies, springs = stepping.build_plain(arrays, constants)
        self._parts = [(space, bodies, [springs[index] for index in arrays.active])]
        weakref.finalize(self, self._parts.clear)
        still = arrays._replace(drive=arrays.drive[:0])  # a roll-out that ends where walking would begin
        if self.plain:
            settling = stepping.run_plain(space, bodies, springs, still, constants)
            status, settled = settling.status, settling.settled
        else:
            every = _pointers([spring._constraint for spring in springs])
            self._handles = (_pointer(space._space), _pointers([body._body for body in bodies]), every[arrays.active])
            nothing = np.zeros((0, len(bodies), 2))
            status, _, settled, _, _ = stepping.run_compiled(
                _ADDRESSES, *self._handles[:2], every, still, constants, 0, nothing
            )
        self.taken = 0
        self.motion = np.zeros((len(arrays.joints), 4))
        self.centre = 0.0
        self.rest_lengths: Floats = arrays.rest_lengths[arrays.active]
        self.advance(np.zeros((0, len(arrays.active))))  # only looks
        self.fault: str | None = FAULTS[status] if settled or status != COMPLETED else "unsettled"

    def push(self, velocities: Floats) -> None:
        """Adds velocities to the joints', shape (joints, 2), walker units / s."""
        _, bodies, springs = self._parts[0]
        for body, (x, y) in zip(bodies, velocities.tolist(), strict=True):
            body.velocity = (body.velocity.x + x, body.velocity.y + y)
        self.advance(np.zeros((0, len(springs))))

    @property
    def steps_left(self) -> int:
        """Steps until the episode is over."""
        return len(self.arrays.drive) - self.taken

    def advance(self, rest_lengths: Floats) -> None:
        """Takes steps, fewer if the walker comes to a fault.

        Args:
            rest_lengths: What the active muscles' rest lengths are during each step, shape (steps, active muscles), walker
                units.

        Raises:
            ValueError: These are more steps than are left.
        """
        if len(rest_lengths) > self.steps_left:
            raise ValueError(f"rest_lengths: expected at most {self.steps_left} more steps, got {len(rest_lengths)}.")
        if self.plain:
            status = self._advance_plain(rest_lengths.tolist())
        else:
            status, self.taken, self.centre = _advance(
                _ADDRESSES, *self._handles, rest_lengths, self.arrays, self.constants, self.taken, self.motion
            )
        if len(rest_lengths):
            self.rest_lengths = rest_lengths[-1]
            self.fault = FAULTS[status]

    def _advance_plain(self, rest_lengths: list[list[float]]) -> int:
        space, bodies, springs = self._parts[0]
        status = COMPLETED
        for row in rest_lengths:
            for spring, rest in zip(springs, row, strict=True):
                spring.rest_length = rest
            space.step(self.constants.time_step)
            self.taken += 1
            if self.taken % CHECK_EVERY == 0 or self.taken == len(self.arrays.drive):
                status, _ = stepping.check_plain(bodies, self.arrays, self.constants)
                if status != COMPLETED:
                    break
        self.motion[:] = [(*body.position, *body.velocity) for body in bodies]
        self.centre = stepping.centre_plain(bodies)
        return status


def _pointer(handle: object) -> int:
    return int(ffi.cast("intptr_t", handle))


def _pointers(handles: Iterable[object]) -> Ints:
    return np.array([_pointer(handle) for handle in handles], dtype=np.int64)


class MuscleDrive:
    """Turns actions into rest lengths: within each muscle's amplitude, and no faster than ``MUSCLE_SPEED``.

    The very first step of an episode takes its rest lengths at once, as a walker's own gait does.

    Args:
        arrays: The world.
        groups: Which action drives each active muscle, shape (active muscles,).
        residual: Whether actions are added to the walker's own gait or stand alone.
    """

    def __init__(self, arrays: WorldArrays, groups: Ints, residual: bool) -> None:
        self.groups, self.residual = groups, residual
        self.length = arrays.rest_lengths[arrays.active]
        self._sine, self._cosine = arrays.sine_amplitudes[arrays.active], arrays.cosine_amplitudes[arrays.active]
        self.phase = np.arctan2(self._cosine, self._sine)
        self.amplitude = np.hypot(self._sine, self._cosine)
        # A hair more than the amplitude: the own gait, summed from a sine and a cosine, must pass untouched at its peaks.
        reach = self.amplitude * (1.0 + 1e-12)
        self._shortest, self._longest = self.length - reach, self.length + reach
        self._stride = self.amplitude * (MUSCLE_SPEED / STEP_RATE)

    def rest_lengths(self, action: Floats, drive: Floats, now: Floats | None) -> Floats:
        """Rest lengths for a few steps with the same action.

        Args:
            action: Shares of the amplitudes, in [-1, 1], shape (actions,).
            drive: Sine and cosine of the gait's clock at the end of each step, shape (steps, 2).
            now: Rest lengths before these steps, shape (active muscles,), walker units; None at the start of an episode.

        Returns:
            Rest lengths, shape (steps, active muscles), walker units.
        """
        offset = self.amplitude * action[self.groups]
        if self.residual:
            # In the order of the roll-out's sum, so that a zero action gives the roll-out's bits.
            wanted = self.length + self._sine * drive[:, :1] + self._cosine * drive[:, 1:] + offset
        else:
            wanted = np.tile(self.length + offset, (len(drive), 1))
        np.clip(wanted, self._shortest, self._longest, out=wanted)
        for row in wanted:
            if now is not None:
                np.clip(row, now - self._stride, now + self._stride, out=row)
            now = row
        return wanted

    def gait(self, drive: Floats) -> Floats:
        """The walker's own gait as shares of the amplitudes: ``sin(w t + phase)``, shape (steps, active muscles)."""
        return (self._sine * drive[:, :1] + self._cosine * drive[:, 1:]) / self.amplitude

    def shares(self, rest_lengths: Floats) -> Floats:
        """Rest lengths of the active muscles as deviations from the built ones, shares of the amplitudes."""
        return (rest_lengths - self.length) / self.amplitude


def phase_groups(phases: NDArray[np.float64], count: int | None) -> Ints:
    """Groups muscles that swing alike.

    Args:
        phases: Phase of each active muscle, radians, shape (active muscles,).
        count: Largest number of groups, at least 1; None gives every muscle its own.

    Returns:
        The group of each muscle, shape (active muscles,), numbered from 0 without gaps. Equal phases share a group; where
        there are more phases than groups, neighbours on the circle do, in groups of about as many phases each.
    """
    if count is None:
        return np.arange(len(phases))
    # Rounded, so that phases which differ only by how a program computed them count as one; modulo again, because a phase
    # just below a whole turn rounds to it.
    turns, which = np.unique(np.round(np.mod(phases, math.tau) / math.tau, 9) % 1.0, return_inverse=True)
    gaps = np.diff(turns, append=turns[0] + 1.0)
    start = int(np.argmax(gaps)) + 1  # no group spans the widest gap
    group_of = np.empty(len(turns), dtype=np.int64)
    order = np.roll(np.arange(len(turns)), -start)
    for number, members in enumerate(np.array_split(order, min(count, len(turns)))):
        group_of[members] = number
    return group_of[which]
