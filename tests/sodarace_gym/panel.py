"""A thousand roll-outs whose bits are committed: walkers of all kinds on all families of terrains, at full length.

``golden/panel.txt`` has a line for each: the terrain, the kind of walker, what became of it, and a digest of all that the
roll-out yields. Plain pymunk wrote it (``python -m tests.sodarace_gym.regenerate_golden --panel``), and whatever rolls walkers
out must reproduce it.

Everything here is drawn from seeds, and rounded where it comes from sines, whose last bits differ between machines.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import numpy as np

from sodarace_gym.physics.constants import DURATION, STEP_RATE
from sodarace_gym.physics.engine.stepping import COMPLETED, ESCAPED, UNSTABLE
from sodarace_gym.physics.world import Motion, WorldArrays, world_arrays
from sodarace_gym.terrains.families import FAMILIES
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.random_walker import random_design
from sodarace_gym.walkers.walker import WalkerDesign
from tests.sodarace_gym.sample_walkers import (
    GOLDEN,
    dense_design,
    evolved_walkers,
    hoop,
    loose_design,
    passive,
    violent,
)

PANEL = GOLDEN / "panel.txt"
SIZE = 1000
ALL_TERRAINS = [*TERRAIN_NAMES, *FAMILIES]
OUTCOMES = {COMPLETED: "completed", UNSTABLE: "unstable", ESCAPED: "escaped"}


@functools.cache
def _evolved() -> list[WalkerDesign]:
    return evolved_walkers()


def _violent(rng: np.random.Generator) -> WalkerDesign:
    return violent(random_design(rng), float(rng.choice([3.0, 5.0, 8.0, 12.0])))


def _evolved_one(rng: np.random.Generator) -> WalkerDesign:
    return _evolved()[int(rng.integers(len(_evolved())))]


KINDS: dict[str, Callable[[np.random.Generator], WalkerDesign]] = {
    "random": random_design,
    "dense": dense_design,
    "loose": loose_design,
    "still": lambda rng: passive(loose_design(rng)),
    "violent": _violent,
    "evolved": _evolved_one,
    "hoop": lambda rng: hoop(int(rng.integers(6, 24)), float(rng.uniform(1.0, 8.0))),
    "moved": random_design,
}
"""Kinds of walkers, drawn from a generator.

Hoops are put on slopes, where some roll on and on; what is moved may start in the ground."""
_ORDER = ("random", "evolved", "dense", "loose", "violent", "moved", "evolved", "random", "still", "hoop")


def drawn_terrain(rng: np.random.Generator, name: str) -> Terrain:
    """A terrain of a family, its polylines rounded."""
    difficulty = None if name in TERRAIN_NAMES else round(float(rng.uniform(0.0, 1.0)), 3)
    made = make_terrain(name, int(rng.integers(1000)), difficulty)
    return Terrain(name, made.floor.round(6), None if made.ceiling is None else made.ceiling.round(6))


def panel() -> list[tuple[str, str, WorldArrays]]:
    """The roll-outs: terrain, kind of walker, world."""
    cases = []
    terrains = {name: [drawn_terrain(np.random.default_rng([k, seed]), name) for seed in range(6)]
                for k, name in enumerate(ALL_TERRAINS)}  # fmt: skip
    for number in range(SIZE):
        rng = np.random.default_rng([2026, number])
        name, kind = ALL_TERRAINS[number % len(ALL_TERRAINS)], _ORDER[number // len(ALL_TERRAINS) % len(_ORDER)]
        terrain = terrains[name][int(rng.integers(6))]
        world = _rounded(world_arrays(KINDS[kind](rng), terrain, DURATION))
        if kind == "moved":
            world = world._replace(joints=world.joints + rng.uniform((-60.0, -3.0), (60.0, 20.0)))
        elif kind == "hoop":
            world = world._replace(joints=world.joints + _somewhere_on_the_ground(rng, world))
        cases.append((name, kind, world))
    return cases


def _somewhere_on_the_ground(rng: np.random.Generator, world: WorldArrays) -> tuple[float, float]:
    """How far to move a walker so that it stands on higher or lower ground."""
    x = round(float(rng.uniform(-150.0, 150.0)), 3)
    left, right = world.joints[:, 0].min() + x, world.joints[:, 0].max() + x
    return x, float(np.interp(np.linspace(left, right, 9), *world.solid.floor.T).max())


def _rounded(world: WorldArrays) -> WorldArrays:
    return world._replace(
        sine_amplitudes=world.sine_amplitudes.round(9),
        cosine_amplitudes=world.cosine_amplitudes.round(9),
        drive=world.drive.round(9),
    )


def outcome(motion: Motion) -> str:
    """What became of a walker."""
    return "unsettled" if motion.status == COMPLETED and not motion.settled else OUTCOMES[motion.status]


FRAMES_EVERY = STEP_RATE // 2
"""Steps between the frames in a digest."""


def digest(motion: Motion) -> str:
    """Tells motions apart by any bit of them."""
    numbers = np.array(motion[:5], dtype=np.float64).tobytes() + motion.frames.tobytes()
    return hashlib.blake2b(numbers, digest_size=6).hexdigest()


def line(name: str, kind: str, motion: Motion) -> str:
    """The line of a roll-out in the committed file."""
    return f"{name} {kind} {outcome(motion)} {digest(motion)}"
