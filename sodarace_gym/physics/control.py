"""A walker's world that someone else drives: it is advanced a few steps at a time, with rest lengths from outside.

The walker settles as in every roll-out. From then on the caller sets the rest lengths of the active muscles for every physics
step. The engine and pymunk agree bit for bit here too; driven with the walker's own gait, both repeat the roll-out
(tests/sodarace_gym/physics/test_control.py).
"""

from __future__ import annotations

import math
import weakref
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.physics import reference
from sodarace_gym.physics.batch import engine_agrees, pack
from sodarace_gym.physics.compilation import Floats, Ints
from sodarace_gym.physics.constants import CHECK_EVERY, STEP_RATE, WorldConstants
from sodarace_gym.physics.engine import driving
from sodarace_gym.physics.engine.stepping import COMPLETED, ESCAPED, OVERFLOW, UNSTABLE
from sodarace_gym.physics.world import WorldArrays

FAULTS = {COMPLETED: None, UNSTABLE: "unstable", ESCAPED: "escaped"}
"""What statuses mean; see ``rollout.Rollout.fault``."""

MUSCLE_SPEED = 6.0
"""A driven muscle's rest length changes by at most this many amplitudes a second, twice as fast as its own gait ever does:
jumps of a rest length would throw the walker (chosen here; random and bang-bang driving then rarely ends in a fault)."""


class _Driven(Protocol):
    """A settled walker, in the engine or in pymunk."""

    status: int
    settled: bool

    def push(self, velocities: Floats) -> None: ...

    def advance(self, rest_lengths: Floats, total: int, motion: Floats) -> tuple[int, int, float]: ...


class ControlledWorld:
    """One walker on one terrain, settled and ready to be driven.

    Args:
        arrays: The world; ``arrays.drive`` has one row for each step that the episode may take.
        constants: The physical constants.
        engine: "compiled" or "pymunk"; see ``batch``.

    Attributes:
        fault: None, or why the walker cannot go on: "unstable", "escaped" or "unsettled" (see ``rollout.Rollout``).
        taken: Steps taken since the walker settled.
        centre: x of the centre of mass, walker units.
        motion: Positions and velocities of the joints, shape (joints, 4): x, y in walker units, then their rates of change
            in walker units / s. Overwritten by every step.
        rest_lengths: Rest lengths that the active muscles have now, shape (active muscles,), walker units.
    """

    def __init__(self, arrays: WorldArrays, constants: WorldConstants, engine: str = "compiled") -> None:
        self.arrays, self.constants = arrays, constants
        compiled = engine == "compiled" and constants.joint_mass == 1.0 and engine_agrees()
        self._walker: _Driven = _InEngine(arrays, constants) if compiled else _InPymunk(arrays, constants)
        if self._walker.status == OVERFLOW:
            self._walker = _InPymunk(arrays, constants)
        # What has happened to the walker since it settled, so that pymunk can repeat it: velocities given, rest lengths set.
        self._history: list[tuple[str, Floats]] = []
        self.taken = 0
        self.motion = np.zeros((len(arrays.joints), 4))
        self.centre = 0.0
        self.rest_lengths: Floats = arrays.rest_lengths[arrays.active]
        self._look()
        status = self._walker.status
        self.fault: str | None = FAULTS[status] if self._walker.settled or status != COMPLETED else "unsettled"

    def push(self, velocities: Floats) -> None:
        """Adds velocities to the joints', shape (joints, 2), walker units / s."""
        self._history.append(("push", velocities.copy()))
        self._walker.push(velocities)
        self._look()

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
        if len(rest_lengths) == 0:
            return
        rest_lengths = rest_lengths.copy()  # the caller may fill the same array again
        self._history.append(("advance", rest_lengths))
        status, taken, self.centre = self._walker.advance(rest_lengths, len(self.arrays.drive), self.motion)
        if status == OVERFLOW:
            status, taken, self.centre = self._repeat_with_pymunk()
        self.taken = taken
        self.rest_lengths = rest_lengths[-1]
        self.fault = FAULTS[status]

    def _look(self) -> None:
        _, _, self.centre = self._walker.advance(
            np.zeros((0, len(self.arrays.active))), len(self.arrays.drive), self.motion
        )

    def _repeat_with_pymunk(self) -> tuple[int, int, float]:
        """Goes on in pymunk, where there is always room: it settles and does all that was done so far."""
        self._walker = _InPymunk(self.arrays, self.constants)
        outcome = (COMPLETED, 0, 0.0)
        for act, values in self._history:
            if act == "push":
                self._walker.push(values)
            else:
                outcome = self._walker.advance(values, len(self.arrays.drive), self.motion)
        return outcome


class _InEngine:
    """A settled walker in the compiled engine."""

    def __init__(self, arrays: WorldArrays, constants: WorldConstants) -> None:
        self._fixed = (pack([arrays], [0]), arrays.solid.ground, constants)
        self._space, self.status, self.settled = driving.settle(*self._fixed)

    def push(self, velocities: Floats) -> None:
        self._space.joints.velocities[: velocities.size] += velocities.ravel()

    def advance(self, rest_lengths: Floats, total: int, motion: Floats) -> tuple[int, int, float]:
        """Status, steps taken since the walker settled, x of the centre of mass."""
        rows = np.ascontiguousarray(rest_lengths)
        status, centre = driving.advance(self._space, *self._fixed, rows, total, motion)
        return status, int(self._space.lanes.walking_steps[0]), centre


class _InPymunk:
    """A settled walker in pymunk."""

    def __init__(self, arrays: WorldArrays, constants: WorldConstants) -> None:
        self._arrays, self._constants = arrays, constants
        space, bodies, springs = reference.build_space(arrays, constants)
        # These go when the interpreter ends, before pymunk itself does, which otherwise complains of every world left.
        self._parts = [(space, bodies, [springs[index] for index in arrays.active])]
        weakref.finalize(self, self._parts.clear)
        still = arrays._replace(drive=arrays.drive[:0])  # a roll-out that ends where walking would begin
        settling = reference.run_space(space, bodies, springs, still, constants)
        self.status, self.settled, self._taken = settling.status, settling.settled, 0

    def push(self, velocities: Floats) -> None:
        for body, (x, y) in zip(self._parts[0][1], velocities.tolist(), strict=True):
            body.velocity = (body.velocity.x + x, body.velocity.y + y)

    def advance(self, rest_lengths: Floats, total: int, motion: Floats) -> tuple[int, int, float]:
        """Status, steps taken since the walker settled, x of the centre of mass."""
        space, bodies, springs = self._parts[0]
        status = COMPLETED
        for row in rest_lengths.tolist():
            for spring, rest in zip(springs, row, strict=True):
                spring.rest_length = rest
            space.step(self._constants.time_step)
            self._taken += 1
            if self._taken % CHECK_EVERY == 0 or self._taken == total:
                status, _ = reference.check(bodies, self._arrays, self._constants)
                if status != COMPLETED:
                    break
        motion[:] = [(*body.position, *body.velocity) for body in bodies]
        return status, self._taken, reference.centre(bodies)


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
