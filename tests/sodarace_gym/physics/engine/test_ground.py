"""The terrain as the engine meets it: nothing near a joint is overlooked, and no joint in the solid is thought in the open."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodarace_gym.physics import solid
from sodarace_gym.physics.batch import engine_agrees, roll_out_worlds
from sodarace_gym.physics.constants import ESCAPE_DEPTH, TERRAIN_RADIUS
from sodarace_gym.physics.engine import ground as g
from sodarace_gym.physics.engine.ground import BIN_WIDTHS, Ground, join, tree_order
from sodarace_gym.physics.solid import solid_of
from sodarace_gym.physics.surfaces import joint_fault
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.terrain import WORLD_HALF_WIDTH, Terrain
from tests.sodarace_gym.panel import ALL_TERRAINS, drawn_terrain
from tests.sodarace_gym.physics.worlds import AT_ONCE
from tests.sodarace_gym.sample_walkers import random_designs
from tests.sodarace_gym.terrains.polylines import polylines, start_height

# Places where rounding may matter: on the edges of bins, and next to them.
EDGES = st.tuples(st.integers(-140, 140).map(lambda k: 8.0 * k), st.sampled_from([-math.inf, 0.0, math.inf])).map(
    lambda pair: float(np.nextafter(pair[0], pair[1])) if pair[1] else pair[0]
)
XS = st.floats(-1100.0, 1100.0) | st.floats(-60.0, 60.0) | EDGES


@st.composite
def terrains(draw: st.DrawFn) -> Terrain:
    kind, rng = (
        draw(st.sampled_from(["family", "custom", "cave", "gravel", "tilted"])),
        np.random.default_rng(draw(st.integers(0, 999))),
    )
    if kind == "custom":
        line = draw(polylines())
        return Terrain("custom", line - start_height(line))
    if kind == "cave":
        line = draw(polylines())
        return Terrain("cave", [[-50.0, 0.0], [50.0, 0.0]], line - [0.0, line[:, 1].min() - 9.0])  # type: ignore[arg-type]
    if kind == "gravel":
        return Terrain.from_heightmap(rng.uniform(0.0, 0.5, 200), draw(st.floats(0.02, 1.0)))
    if kind == "tilted":  # to the very ends of the world, and on beyond them
        left, right = draw(st.floats(-500.0, 500.0)), draw(st.floats(-500.0, 500.0))
        return Terrain("tilted", [[-WORLD_HALF_WIDTH, left], [0.0, 0.0], [WORLD_HALF_WIDTH, right]])  # type: ignore[arg-type]
    return drawn_terrain(rng, draw(st.sampled_from(ALL_TERRAINS)))


def bin_of(ground: Ground, left: float, size: int) -> int | None:
    """The bin in which a box begins; None if there is none."""
    place = (left - ground.heights[0, g.LEFT_END]) * (1.0 / BIN_WIDTHS[size])
    return int(place) if 0.0 <= place < ground.spans[0, g.NARROW_COUNT + 2 * size] else None


def members(ground: Ground, place: int, size: int) -> np.ndarray:
    at = ground.spans[0, g.NARROW + 2 * size] + place
    return ground.members[ground.bins[at] : ground.bins[at + 1]]


@settings(max_examples=200)
@given(terrain=terrains(), size=st.sampled_from([0, 1]), left=XS, share=st.floats(0.0, 1.0))
def test_every_segment_that_a_box_meets_is_in_its_bin_in_the_trees_order(terrain, size, left, share):
    ground = solid_of(terrain).ground
    right = left + share * BIN_WIDTHS[size]
    if right - left > BIN_WIDTHS[size]:
        right = left
    met = np.flatnonzero((ground.segments[:, g.LEFT] <= right) & (ground.segments[:, g.RIGHT] >= left))
    place = bin_of(ground, left, size)
    if place is None:
        # There the engine looks at all segments; the bins reach over the whole world.
        assert abs(left) > WORLD_HALF_WIDTH
        return
    found = members(ground, place, size)
    assert set(met.tolist()) <= set(found.tolist())
    assert (np.diff(found) > 0).all()


@settings(max_examples=200)
@given(terrain=terrains(), x=XS, share=st.floats(-0.05, 1.05), near=st.booleans())
def test_heights_said_to_be_open_are_open(terrain, x, share, near):
    here = solid_of(terrain)
    ground = here.ground
    intervals = [ground.heights[0, 1:]]
    place = bin_of(ground, x, 0)
    if place is not None:
        intervals.append(ground.open[place])
    for low, high in intervals:
        if low <= high:
            # At the ends of what is open, or anywhere in it.
            y = float(low if share < 0.5 else high) if near else float(low + min(max(share, 0.0), 1.0) * (high - low))
            assert not joint_fault(x, y, here.floor, here.ceiling, ESCAPE_DEPTH)


def test_most_of_the_air_is_known_to_be_open():
    """Otherwise every joint would be looked at closely all the time."""
    for name in ("Flat", "Bumpy", "Stairs", "Pits"):
        here = solid_of(make_terrain(name))
        above = [np.interp(x, *here.floor.T) + 1.0 for x in np.linspace(-40.0, 40.0, 101)]
        known = [
            here.ground.open[bin_of(here.ground, x, 0)][0] <= y
            for x, y in zip(np.linspace(-40.0, 40.0, 101), above, strict=True)
        ]
        assert np.mean(known) > 0.6


@given(terrains())
def test_the_trees_order_numbers_every_segment_once(terrain):
    here = solid_of(terrain)
    order = tree_order(here.segments, TERRAIN_RADIUS)
    assert sorted(order.tolist()) == list(range(len(here.segments)))
    assert np.array_equal(here.ground.segments[:, g.AX], here.segments[order, 0])
    assert np.array_equal(here.ground.segments[:, g.ELASTICITY], here.segments[order, 9])


@settings(max_examples=30)
@given(st.lists(terrains(), min_size=1, max_size=4))
def test_terrains_end_to_end_are_each_what_they_were(several):
    grounds = [solid_of(terrain).ground for terrain in several]
    whole = join(grounds)
    for number, ground in enumerate(grounds):
        spans = whole.spans[number]
        first = spans[g.FIRST]
        assert np.array_equal(whole.segments[first : spans[g.LAST]], ground.segments)
        assert np.array_equal(whole.floor[spans[g.FLOOR] : spans[g.FLOOR_END]], ground.floor)
        assert np.array_equal(whole.ceiling[spans[g.CEILING] : spans[g.CEILING_END]], ground.ceiling)
        assert np.array_equal(whole.heights[number], ground.heights[0])
        count = spans[g.NARROW_COUNT]
        assert np.array_equal(whole.open[spans[g.OPEN] : spans[g.OPEN] + count], ground.open)
        for size in (0, 1):
            for place in range(0, spans[g.NARROW_COUNT + 2 * size], 7):
                at = spans[g.NARROW + 2 * size] + place
                found = whole.members[whole.bins[at] : whole.bins[at + 1]] - first
                assert np.array_equal(found, members(ground, place, size))


def test_a_terrain_is_prepared_once_however_many_walkers_walk_on_it(monkeypatch):
    assert engine_agrees()  # which is looked at on terrains of its own
    prepared = []
    real = solid.prepare
    monkeypatch.setattr(solid, "prepare", lambda *arguments: prepared.append(1) or real(*arguments))
    monkeypatch.setattr(solid, "_solids", type(solid._solids)())
    for turn in range(3):
        # Made anew each time, and equal.
        grounds = [make_terrain("Bumpy", 77), make_terrain("Hills", 77, 0.4)]
        worlds = [world_arrays(design, ground, 0.1) for ground in grounds for design in random_designs(turn, 4)]
        roll_out_worlds(worlds, AT_ONCE)
    assert len(prepared) == 2


def test_only_terrains_in_use_are_kept(monkeypatch):
    monkeypatch.setattr(solid, "_solids", type(solid._solids)())
    monkeypatch.setattr(solid, "_KEPT", 3)
    used = make_terrain("Bumpy", 1)
    kept = solid_of(used)
    for seed in range(2, 8):
        solid_of(make_terrain("Bumpy", seed))
        assert solid_of(used) is kept
        assert len(solid._solids) <= 3


@pytest.mark.parametrize("name", ALL_TERRAINS)
def test_the_first_bins_reach_over_the_whole_world(name):
    ground = solid_of(make_terrain(name)).ground
    for size in (0, 1):
        assert bin_of(ground, -WORLD_HALF_WIDTH, size) is not None
        assert bin_of(ground, WORLD_HALF_WIDTH, size) is not None
