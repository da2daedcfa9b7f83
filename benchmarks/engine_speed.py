"""Roll-outs alone: pymunk's Python interface, the compiled loop over Chipmunk's functions, the engine alone and in batches.

All worlds are prepared before the clock starts, and every way is checked to give pymunk's bits first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.chipmunk_loop import roll_out_compiled
from benchmarks.tables import markdown_table
from benchmarks.timing import few, processor_seconds, quartiles, ratio
from sodarace_gym.physics import rollout, solid
from sodarace_gym.physics.batch import LANES, roll_out_worlds, same_motion
from sodarace_gym.physics.constants import CONSTANTS, DURATION
from sodarace_gym.physics.reference import roll_out_plainly
from sodarace_gym.physics.world import Motion, WorldArrays, world_arrays
from sodarace_gym.terrains.families import ALL_TERRAIN_NAMES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

TERRAINS = ("Flat", "Bumpy")
PLAIN, CHIPMUNK, ALONE, CALLS, BATCH = "pymunk", "Chipmunk loop", "alone", f"calls of {LANES}", f"{LANES} lanes"
"""The ways: pymunk's Python interface; the compiled loop over Chipmunk's functions; the engine, a walker a call; the engine,
so many walkers a call; the engine, all walkers in one call, in so many lanes that take the next walker when one is done."""

Times = Mapping[str, NDArray[np.float64]]
"""For each way the milliseconds that a walker takes, turn by turn."""


def ways(worlds: Sequence[WorldArrays]) -> dict[str, Callable[[], list[Motion]]]:
    """All ways of rolling out the same worlds."""

    def in_calls(size: int) -> list[Motion]:
        calls = (worlds[first : first + size] for first in range(0, len(worlds), size))
        return [motion for call in calls for motion in roll_out_worlds(call).motions]

    return {
        PLAIN: lambda: [roll_out_plainly(world, CONSTANTS) for world in worlds],
        CHIPMUNK: lambda: [roll_out_compiled(world, CONSTANTS) for world in worlds],
        ALONE: lambda: in_calls(1),
        CALLS: lambda: in_calls(LANES),
        BATCH: lambda: roll_out_worlds(worlds).motions,
    }


def check(label: str, ways: Mapping[str, Callable[[], list[Motion]]]) -> None:
    """Looks whether all ways give the same bits, and compiles what is not compiled yet.

    Raises:
        AssertionError: They do not.
    """
    motions = {name: way() for name, way in ways.items()}
    for name, found in motions.items():
        different = sum(not same_motion(*pair) for pair in zip(found, motions[PLAIN], strict=True))
        if different:
            raise AssertionError(
                f"{label}: {name} gives other bits than pymunk for {different} of {len(found)} walkers."
            )


def measure(groups: Mapping[str, Sequence[WalkerDesign]], repeats: int) -> dict[tuple[str, str], Times]:
    """Milliseconds a walker of each group on each terrain, by every way.

    The ways, groups and terrains take turns; pymunk's interface takes part in the first third of the turns.
    """
    by_key = {}
    for name in TERRAINS:
        terrain = make_terrain(name)
        for label, designs in groups.items():
            worlds = [world_arrays(design, terrain, DURATION) for design in designs]
            by_key[label, name] = ways(worlds)
            check(f"{label} on {name}", by_key[label, name])
    times: dict[tuple[str, str], dict[str, list[float]]] = {key: {} for key in by_key}
    for turn in range(repeats):
        for key, each in by_key.items():
            for name, way in each.items():
                if name != PLAIN or turn < few(repeats):
                    taken = 1e3 * processor_seconds(way) / len(groups[key[0]])
                    times[key].setdefault(name, []).append(taken)
    return {key: {name: np.array(taken) for name, taken in each.items()} for key, each in times.items()}


def table(times: Mapping[tuple[str, str], Times]) -> str:
    """Milliseconds of every way, and how many times as fast as the loop over Chipmunk's functions the engine is."""
    rows: list[list[object]] = []
    for (label, terrain), ms in times.items():
        milliseconds = (f"{np.median(ms[name]):.3f}" for name in (PLAIN, CHIPMUNK, ALONE, CALLS, BATCH))
        ratios = (ratio(ms[CHIPMUNK], ms[name]) for name in (ALONE, CALLS, BATCH))
        rows.append([f"{label}, {terrain}", *milliseconds, *ratios])
    ways = [PLAIN, CHIPMUNK, ALONE, CALLS, BATCH]
    return markdown_table(["ms a roll-out", *ways, *(f"loop / {name}" for name in ways[2:])], rows)


def prepare_terrains(repeats: int) -> dict[str, NDArray[np.float64]]:
    """Milliseconds until a terrain of each family is ready for the engine, turn by turn; every turn has other terrains."""
    taken: dict[str, list[float]] = {name: [] for name in ALL_TERRAIN_NAMES}
    for turn in range(repeats + 1):  # the first one compiles
        for name in ALL_TERRAIN_NAMES:
            terrain = make_terrain(name, seed=turn)
            # A little lower, so that nobody has met it: the paper's terrains have no seed.
            lower = Terrain(name, terrain.floor - np.array([0.0, 1e-6 * (turn + 1)]), terrain.ceiling)
            taken[name].append(1e3 * processor_seconds(lambda lower=lower: solid.solid_of(lower).ground))  # type: ignore[misc]
    return {name: np.array(values[1:]) for name, values in taken.items()}


def preparations(designs: Sequence[WalkerDesign]) -> tuple[int, int]:
    """How many terrains were prepared for walkers that were rolled out on terrains made anew each time; how many there are."""
    prepared = []

    def prepare(*arguments: object) -> object:
        prepared.append(arguments)
        return original(*arguments)  # type: ignore[arg-type]

    original, names = solid.prepare, ALL_TERRAIN_NAMES[-4:]
    with patch.object(solid, "prepare", prepare):
        for design in designs:
            rollout.roll_out_many([design] * len(names), [make_terrain(name, seed=999) for name in names], duration=0.1)
    return len(prepared), len(names)


def terrain_table(prepared: Mapping[str, NDArray[np.float64]]) -> str:
    """A row for each family."""
    rows = [[name, quartiles(taken)] for name, taken in prepared.items()]
    return markdown_table(["terrain", "ms to prepare"], rows)
