"""Ground so fine that the engine has no room for what is around a joint: pymunk takes those walkers, and no others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sodarace_gym.physics import control
from sodarace_gym.physics.batch import roll_out_worlds
from sodarace_gym.physics.constants import CONSTANTS, JOINT_RADIUS, STEP_RATE, TERRAIN_RADIUS
from sodarace_gym.physics.control import ControlledWorld
from sodarace_gym.physics.engine.contacts import CONTACTS, PAIRS
from sodarace_gym.physics.engine.ground import BOTTOM, LEFT, RIGHT, TOP
from sodarace_gym.physics.engine.joints import CANDIDATES
from sodarace_gym.physics.world import WorldArrays, world_arrays
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import build_design
from tests.sodarace_gym.physics.worlds import AT_ONCE, SHORT, assert_all_same, plainly
from tests.sodarace_gym.sample_walkers import random_designs, square, wheel

ROOM = 0.2 * JOINT_RADIUS
"""Room that the box around a joint at rest has on each side."""


def teeth(first: float, last: float, count: int) -> Terrain:
    """Flat ground with many tiny segments between two places."""
    x = np.linspace(first, last, count + 1)
    y = np.where(np.arange(count + 1) % 2 == 0, 0.0, -0.01 * (last - first) / count)
    return Terrain("teeth", np.stack([x, y], axis=1))


def bowl(count: int) -> Terrain:
    """Flat ground with a round hollow at x = 0 into which a joint fits so well that it touches every piece of it."""
    angles = np.linspace(-math.pi, 0.0, count + 1)
    rim = (JOINT_RADIUS - 0.02) / math.cos(math.pi / (2 * count))
    return Terrain("bowl", rim * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def standing(terrain: Terrain, *places: tuple[float, float], speed: float = 0.0, seconds: float = 0.5) -> WorldArrays:
    """Joints at these places, the first one of which moves sideways, joined by muscles so weak that each is on its own."""
    count = len(places)
    joints = [(2.0 * k, 0.0) for k in range(count)]
    world = world_arrays(
        build_design(joints, [(k, k + 1, False, 0.1, 1.0) for k in range(count - 1)])[0], terrain, seconds
    )
    return world._replace(
        joints=np.array(places), nudge=np.array([speed, *[0.0] * (count - 1)]), stiffness=np.full(count - 1, 1e-3),
        damping=np.zeros(count - 1),
    )  # fmt: skip


def met(world: WorldArrays, joint: int, room: float) -> int:
    """How many segments' boxes the box around a joint meets at the start."""
    rows = world.solid.ground.segments
    x, y = world.joints[joint]
    reach = JOINT_RADIUS + room
    across = (rows[:, LEFT] <= x + reach) & (rows[:, RIGHT] >= x - reach)
    return int((across & (rows[:, BOTTOM] <= y + reach) & (rows[:, TOP] >= y - reach)).sum())


RESTING = (0.0, JOINT_RADIUS - 0.05)
# So many that the walker comes before most of the ordinary ones, which then take its lane.
AWAY = [(60.0 + 3.0 * k, JOINT_RADIUS) for k in range(14)]
# 95 segments around a joint are few enough to be looked up, 17 are too many to be met; in the bowl all are met and touched.
FAST = 35.0
# Segments in the room that the box around a resting joint has, out of reach of the joint itself.
BESIDE = teeth(JOINT_RADIUS + TERRAIN_RADIUS + 0.1 * ROOM, JOINT_RADIUS + TERRAIN_RADIUS + 0.9 * ROOM, 120)
CROWDED = {
    "candidates alone": standing(BESIDE, RESTING, *AWAY),
    "candidates alone, after a fall": standing(BESIDE, (0.0, 2.5), *AWAY),
    "candidates": standing(teeth(-1.0, 1.0, 400), RESTING, *AWAY),
    "candidates, second joint": standing(teeth(59.0, 61.0, 400), RESTING, *AWAY),
    "candidates, later": standing(teeth(9.0, 9.5, 150), RESTING, *AWAY, speed=FAST),
    "pairs": standing(teeth(-2.0, 2.0, 80), RESTING, *AWAY),
    "pairs, later": standing(teeth(9.0, 19.0, 100), RESTING, *AWAY, speed=FAST),
    "contacts": standing(bowl(12), (0.0, 0.0), *AWAY),
}


def test_the_grounds_are_as_dense_as_they_are_meant_to_be():
    """Each asks for more than one cap, and not for more of what is looked at before it."""
    for name in ("candidates alone", "candidates"):
        assert met(CROWDED[name], 0, ROOM) > CANDIDATES
    assert met(CROWDED["candidates alone"], 0, 0.0) < PAIRS, "and never more, as it stays where it is"
    assert met(CROWDED["candidates, second joint"], 0, ROOM) < PAIRS
    assert PAIRS < met(CROWDED["pairs"], 0, 0.0) <= met(CROWDED["pairs"], 0, ROOM) < CANDIDATES
    hollow = CROWDED["contacts"]
    assert CONTACTS < met(hollow, 0, ROOM) <= PAIRS
    start, along = hollow.solid.segments[1:-1, :2], hollow.solid.segments[1:-1, 2:4] - hollow.solid.segments[1:-1, :2]
    share = -(start * along).sum(axis=1) / (along**2).sum(axis=1)
    nearest = start + share[:, None] * along
    touched = (share > 0.0) & (share < 1.0) & (np.hypot(*nearest.T) < JOINT_RADIUS + TERRAIN_RADIUS)
    assert touched.sum() > CONTACTS
    assert met(CROWDED["candidates alone, after a fall"], 0, ROOM) == 0
    for name in ("candidates, later", "pairs, later"):
        assert met(CROWDED[name], 0, 0.1 * FAST) < PAIRS, "at first there is room enough"


ORDINARY = [world_arrays(design, make_terrain("Bumpy"), 0.5) for design in [*random_designs(7, 5), square()]]


@pytest.mark.parametrize("lanes", [1, 2, 3, 16])
@pytest.mark.parametrize("name", CROWDED)
def test_a_walker_without_room_is_left_to_pymunk_and_its_neighbours_are_not(name, lanes):
    worlds = [*ORDINARY[:3], CROWDED[name], *ORDINARY[3:]]
    for constants in (SHORT, AT_ONCE):
        batch = roll_out_worlds(worlds, constants, 4, lanes=lanes)
        assert batch.left_to_pymunk == 1
        assert batch.by_pymunk[3]
        assert_all_same(batch.motions, plainly(worlds, constants, 4))


@pytest.mark.parametrize("lanes", [2, 16])
@pytest.mark.parametrize("name", CROWDED)
def test_several_in_the_same_step_are_all_left_to_it(name, lanes):
    worlds = [CROWDED[name], *ORDINARY[:2], CROWDED[name], CROWDED[name], *ORDINARY[2:]]
    batch = roll_out_worlds(worlds, SHORT, 4, lanes=lanes)
    assert [number for number, crowded in enumerate(batch.by_pymunk) if crowded] == [0, 3, 4]
    assert_all_same(batch.motions, plainly(worlds, SHORT, 4))


def test_all_kinds_at_once_and_nobody_else():
    worlds = [world for world in CROWDED.values() for _ in range(2)]
    batch = roll_out_worlds(worlds, SHORT, 1, lanes=4)
    assert batch.left_to_pymunk == len(worlds)
    assert_all_same(batch.motions, plainly(worlds, SHORT, 1))


def test_ground_just_coarse_enough_is_not_left_to_it():
    worlds = [
        standing(teeth(-2.0, 2.0, 24), RESTING, *AWAY),
        standing(bowl(CONTACTS), (0.0, 0.0), *AWAY),
        world_arrays(wheel(), Terrain.from_heightmap(np.random.default_rng(1).uniform(0.0, 0.1, 200), 0.2), 0.5),
    ]
    assert met(worlds[0], 0, 0.0) > 10
    batch = roll_out_worlds(worlds, SHORT, 1)
    assert batch.left_to_pymunk == 0
    assert_all_same(batch.motions, plainly(worlds, SHORT, 1))


# ----------------------------------------------------------------------------------------------------------- driven worlds


@pytest.mark.parametrize("name", CROWDED)
def test_a_driven_walker_without_room_goes_on_in_pymunk(name):
    pair = [ControlledWorld(CROWDED[name], SHORT, engine) for engine in ("compiled", "pymunk")]
    assert isinstance(pair[0]._walker, control._InPymunk), "it has no room while it settles"
    assert_driven_alike(pair)


def test_a_driven_walker_that_comes_where_there_is_no_room_goes_on_in_pymunk_from_there():
    world = world_arrays(wheel(), teeth(17.0, 37.0, 1000), 2.0)
    pair = [ControlledWorld(world, CONSTANTS, engine) for engine in ("compiled", "pymunk")]
    assert isinstance(pair[0]._walker, control._InEngine)
    assert_driven_alike(pair, push=6.0)
    assert isinstance(pair[0]._walker, control._InPymunk)


def assert_driven_alike(pair: list[ControlledWorld], push: float = 0.0) -> None:
    arrays = pair[0].arrays
    rows = np.empty((4, len(arrays.active)))
    while pair[0].steps_left and pair[0].fault is None:
        swing = 0.2 * np.sin(np.arange(pair[0].taken, pair[0].taken + 4) * 9.0 / STEP_RATE)
        for world in pair:
            if world.taken % 20 == 0:
                world.push(np.full((len(arrays.joints), 2), [push, 0.3 * push]))
            rows[:] = arrays.rest_lengths[arrays.active] + swing[:, None]  # the same array every time
            world.advance(rows[: world.steps_left])
            rows[:] = np.nan
        assert pair[0].motion.tobytes() == pair[1].motion.tobytes()
        assert (pair[0].taken, pair[0].centre, pair[0].fault) == (pair[1].taken, pair[1].centre, pair[1].fault)
        assert pair[0].rest_lengths.tobytes() == pair[1].rest_lengths.tobytes()
        assert np.isfinite(pair[0].rest_lengths).all()
    assert pair[0].steps_left == 0
