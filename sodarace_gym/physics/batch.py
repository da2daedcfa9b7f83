"""Many worlds in, motions out: through the engine, and through pymunk where the engine cannot be used.

The engine is compiled for the processor it runs on. Whether it gives pymunk's bits here is looked at once in each process,
before its first use; if it does not, pymunk does all the work, more slowly, and a warning says so. A single walker that the
engine has no room for (more than a hundred segments around a joint, say) is left to pymunk as well.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from sodarace_gym.physics.constants import CONSTANTS, STEP_RATE, WorldConstants
from sodarace_gym.physics.engine.ground import join
from sodarace_gym.physics.engine.lanes import Walkers
from sodarace_gym.physics.engine.rolling import roll_out_many
from sodarace_gym.physics.engine.stepping import OVERFLOW
from sodarace_gym.physics.reference import roll_out_plainly
from sodarace_gym.physics.world import Motion, WorldArrays, frame_count, world_arrays
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import Muscle, WalkerDesign

LANES = 16
"""Walkers side by side in one call: twice as many are no faster, half as many 5% slower (bred walkers, measured)."""
ENGINES = ("compiled", "pymunk")
"""What may roll walkers out: the compiled engine, or pymunk's Python interface. Both give the same bits."""


class Batch(NamedTuple):
    """What a batch yields.

    Attributes:
        motions: What each walker did.
        by_pymunk: Whether pymunk rolled it out.
    """

    motions: list[Motion]
    by_pymunk: list[bool]

    @property
    def left_to_pymunk(self) -> int:
        """How many walkers pymunk rolled out."""
        return sum(self.by_pymunk)


def roll_out_worlds(
    worlds: Sequence[WorldArrays],
    constants: WorldConstants = CONSTANTS,
    record_every: int = 0,
    engine: str = "compiled",
    lanes: int = LANES,
) -> Batch:
    """Rolls out many walkers, each on a terrain of its own if need be.

    Args:
        worlds: The walkers on their terrains; all walk for equally long.
        constants: The physical constants.
        record_every: Steps between two recorded frames; 0 records nothing.
        engine: One of ``ENGINES``.
        lanes: Walkers side by side.

    Returns:
        The motions, equal bit for bit whatever the engine, the lanes and the company.

    Raises:
        ValueError: The worlds differ in how long their walkers walk.
    """
    if not worlds:
        return Batch([], [])
    if len({len(world.drive) for world in worlds}) > 1:
        raise ValueError("worlds: expected walkers that all walk for equally long; roll the others out apart.")
    # The engine's springs and contacts are written for joints of mass 1.
    if engine == "pymunk" or constants.joint_mass != 1.0 or not engine_agrees():
        plain = [roll_out_plainly(world, constants, record_every) for world in worlds]
        return Batch(plain, [True] * len(worlds))
    motions = _roll_out_compiled(worlds, constants, record_every, lanes)
    crowded = [motion.status == OVERFLOW for motion in motions]
    for number, world in enumerate(worlds):
        if crowded[number]:
            motions[number] = roll_out_plainly(world, constants, record_every)
    return Batch(motions, crowded)


def _roll_out_compiled(
    worlds: Sequence[WorldArrays], constants: WorldConstants, record_every: int, lanes: int
) -> list[Motion]:
    # The largest first: lanes then have room for whoever comes next, and no long walk begins last.
    order = sorted(range(len(worlds)), key=lambda number: -len(worlds[number].joints))
    solids = {id(world.solid): world.solid for world in worlds}
    numbers = {key: number for number, key in enumerate(solids)}
    ground = join([solid.ground for solid in solids.values()])
    taken = [worlds[number] for number in order]
    walkers = pack(taken, [numbers[id(world.solid)] for world in taken])
    shapes = [(frame_count(world, record_every), len(world.joints), 2) for world in taken]
    starts = _starts([frames * joints * axes for frames, joints, axes in shapes])
    frames = np.zeros(starts[-1])
    outcomes = np.empty((len(taken), 5))
    roll_out_many(walkers, ground, taken[0].drive, constants, lanes, record_every, frames, starts, outcomes)
    motions: list[Motion | None] = [None] * len(worlds)
    for place, (number, outcome) in enumerate(zip(order, outcomes.tolist(), strict=True)):
        own = frames[starts[place] : starts[place + 1]].reshape(shapes[place])
        motions[number] = Motion(int(outcome[0]), int(outcome[1]), bool(outcome[2]), outcome[3], outcome[4], own)
    return [motion for motion in motions if motion is not None]


def pack(worlds: Sequence[WorldArrays], terrains: Sequence[int]) -> Walkers:
    """Puts walkers end to end.

    Args:
        worlds: The walkers.
        terrains: The number of each walker's terrain in the ground.
    """
    if len(worlds) == 1:  # nothing to copy
        arrays = {name: getattr(worlds[0], name) for name in _PACKED}
    else:
        arrays = {name: np.concatenate([getattr(world, name) for world in worlds]) for name in _PACKED}
    return Walkers(
        joint_start=_starts([len(world.joints) for world in worlds]),
        muscle_start=_starts([len(world.muscle_ends) for world in worlds]),
        active_start=_starts([len(world.active) for world in worlds]),
        terrain=np.array(terrains, dtype=np.int64),
        **arrays,
    )


_PACKED = Walkers._fields[3:-1]


def _starts(counts: Sequence[int]) -> np.ndarray:
    return np.array(list(accumulate(counts, initial=0)), dtype=np.int64)


@functools.cache
def engine_agrees() -> bool:
    """Whether the engine gives pymunk's bits on this machine: looked at once, with a few walkers on rough ground.

    Returns:
        True if it does; otherwise False, after a warning.
    """
    worlds = [world_arrays(design, terrain, 2.0) for terrain in _check_terrains() for design in _check_walkers()]
    seen = _roll_out_compiled(worlds, CONSTANTS, STEP_RATE // 4, 3)
    wanted = [roll_out_plainly(world, CONSTANTS, STEP_RATE // 4) for world in worlds]
    if all(same_motion(*pair) for pair in zip(seen, wanted, strict=True)):
        return True
    warnings.warn(
        "the compiled physics does not give pymunk's bits on this machine, so that pymunk does all the work, about 30 times "
        "more slowly; please report the processor, the operating system and the versions of pymunk, numba and llvmlite.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def same_motion(one: Motion, other: Motion) -> bool:
    """Whether two motions are equal, bit for bit."""
    numbers = np.array([one[:5], other[:5]], dtype=np.float64)
    return numbers[0].tobytes() == numbers[1].tobytes() and one.frames.tobytes() == other.frames.tobytes()


def _check_terrains() -> list[Terrain]:
    rough = [[-20.0, 3.0], [-9.0, -0.5], [-4.0, 1.0], [-1.5, -0.2], [0.5, -0.7], [3.0, -0.4], [6.0, 1.2], [20.0, 4.0]]
    low = [[-1000.0, 5.0], [0.0, 3.1], [1000.0, 5.0]]  # the tower's head is a little inside
    roofed = Terrain("check under a roof", np.array(rough[2:6]), np.array(low))
    return [Terrain("check", np.array(rough)), roofed.mirrored()]


def _check_walkers() -> list[WalkerDesign]:
    """A tower that falls over and a body that shuffles along, the second with more springs than fit a vector at each joint."""
    tall = WalkerDesign(
        ((0.0, 0.0), (1.0, 0.0), (0.1, 2.5), (1.3, 2.4)),
        tuple(Muscle(a, b) for a, b in ((0, 1), (0, 2), (1, 3), (2, 3), (0, 3), (1, 2))),
    )
    rim = [(0.0, 0.0), (1.5, -0.1), (2.6, 0.9), (2.4, 2.0), (1.1, 2.6), (-0.3, 1.7), (1.2, 1.2)]
    muscles = [Muscle(a, b, (a + b) % 3 == 0, 0.8 * ((a + b) % 3), 1.3 * a - b) for a in range(7) for b in range(a)]
    return [tall, WalkerDesign(tuple(rim), tuple(m if not m.distance_only else Muscle(m.a, m.b) for m in muscles))]
