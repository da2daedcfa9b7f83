"""Terrains: what the families promise, what a polyline must be, the mirror and the profile."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodarace_gym.physics.constants import JOINT_RADIUS, STEEPEST_GROUND
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import BUMP_HEIGHT, TERRAIN_NAMES, TUNNEL_HEIGHT, WALL_HEIGHT
from sodarace_gym.terrains.terrain import (
    PROFILE_HALF_WIDTH,
    PROFILE_MAX_HEIGHT,
    PROFILE_POINTS,
    START_HALF_WIDTH,
    WORLD_HALF_WIDTH,
    Terrain,
)
from sodarace_gym.walkers.walker import MAX_HEIGHT, MAX_WIDTH
from tests.sodarace_gym.terrains.polylines import polylines, start_height

FAMILIES = [(name, seed) for name in TERRAIN_NAMES for seed in (0, 1, 2)]


# -------------------------------------------------------------------------------------------------------- families


@pytest.mark.parametrize(("name", "seed"), FAMILIES)
def test_every_walker_starts_on_flat_open_ground(name, seed):
    terrain = make_terrain(name, seed)
    assert terrain.name == name
    assert MAX_WIDTH / 2 + JOINT_RADIUS < START_HALF_WIDTH
    xs = np.linspace(-START_HALF_WIDTH + 1e-9, START_HALF_WIDTH - 1e-9, 1001)
    assert (np.interp(xs, *terrain.floor.T) == 0.0).all()
    if terrain.ceiling is not None:
        assert np.interp(xs, *terrain.ceiling.T).min() > 2 * MAX_HEIGHT
    for line in (terrain.floor, terrain.ceiling):
        if line is not None:
            assert (line[0, 0], line[-1, 0]) == (-WORLD_HALF_WIDTH, WORLD_HALF_WIDTH)


@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_the_same_seed_makes_the_same_terrain(name):
    assert make_terrain(name, 7).key == make_terrain(name, 7).key
    assert (make_terrain(name, 7).key == make_terrain(name, 8).key) == (name != "Bumpy")


def test_the_families_differ_from_each_other():
    assert len({make_terrain(name).key for name in TERRAIN_NAMES}) == len(TERRAIN_NAMES) == 5


@pytest.mark.parametrize(("name", "side"), [("LeftWall", -1.0), ("RightWall", 1.0)])
def test_a_wall_is_vertical_and_out_of_reach_and_the_other_side_is_open(name, side):
    floor = make_terrain(name).floor
    at_wall = floor[floor[:, 0] == side * START_HALF_WIDTH]
    assert sorted(at_wall[:, 1].tolist()) == [0.0, WALL_HEIGHT]
    beyond = np.interp(side * np.linspace(START_HALF_WIDTH + 0.01, WORLD_HALF_WIDTH, 100), *floor.T)
    open_side = np.interp(-side * np.linspace(0.0, WORLD_HALF_WIDTH, 100), *floor.T)
    assert (beyond == WALL_HEIGHT).all()
    assert (open_side == 0.0).all()
    assert WALL_HEIGHT > 3 * MAX_HEIGHT


@pytest.mark.parametrize("seed", range(5))
def test_bumps_are_walkable_slopes_on_both_sides(seed):
    floor = make_terrain("Bumpy", seed).floor
    run, rise = np.diff(floor, axis=0).T
    assert (np.abs(rise) < STEEPEST_GROUND * run).all()
    assert floor[:, 1].min() == 0.0
    assert floor[:, 1].max() <= BUMP_HEIGHT[1]
    for side in (-1.0, 1.0):
        near = floor[(side * floor[:, 0] > START_HALF_WIDTH) & (side * floor[:, 0] < START_HALF_WIDTH + 30.0)]
        assert near[:, 1].max() > BUMP_HEIGHT[0]
    # The two sides are drawn apart: a walker does not meet the same bumps on either.
    mirrored = make_terrain("Bumpy", seed).mirrored().floor
    assert mirrored.shape != floor.shape or not np.array_equal(mirrored, floor)


def test_the_tunnel_is_low_beyond_the_start_on_both_sides():
    terrain = make_terrain("Tunnel")
    assert terrain.ceiling is not None
    xs = np.linspace(START_HALF_WIDTH + 0.01, WORLD_HALF_WIDTH, 100)
    for side in (-1.0, 1.0):
        assert (np.interp(side * xs, *terrain.ceiling.T) == TUNNEL_HEIGHT).all()
    assert 2 * JOINT_RADIUS < TUNNEL_HEIGHT < MAX_HEIGHT / 2


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'Moon'.*Flat, LeftWall, RightWall, Bumpy, Tunnel"):
        make_terrain("Moon")


@pytest.mark.parametrize(
    ("name", "seed", "digest"),
    [
        ("Flat", 0, "9378bcfe17df182d"),
        ("LeftWall", 0, "2fcc659857c15b45"),
        ("RightWall", 0, "8820b08d24a43cba"),
        ("Bumpy", 0, "e1776e0366edd83a"),
        ("Bumpy", 1, "31821d61f9ba5f37"),
        ("Bumpy", 12345, "abc744e871302d6f"),
        ("Tunnel", 0, "590e596414ee2e6e"),
    ],
)
def test_the_papers_terrains_stay_as_they_were_when_results_were_published(name, seed, digest):
    floor, ceiling = make_terrain(name, seed).key
    assert hashlib.sha256(floor + ceiling).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    ("arguments", "words"), [({"difficulty": 0.5}, "difficulty: Flat"), ({"height": 2.0}, "height: Flat")]
)
def test_the_papers_terrains_have_no_difficulty_and_no_parameters(arguments, words):
    with pytest.raises(ValueError, match=f"{words}.*Hills"):
        make_terrain("Flat", **arguments)


# ------------------------------------------------------------------------------------------------------ what is valid


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ([[0.0, 0.0]], "shape"),
        ([0.0, 1.0, 2.0], "shape"),
        (np.zeros((3, 3)), "shape"),
        (None, "shape"),
        ([[0.0, 0.0], [1.0, np.nan]], "finite"),
        ([[0.0, 0.0], [np.inf, 0.0]], "finite"),
        ([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]], "never decreases"),
        ([[-1e9, 0.0], [1e9, 0.0]], r"\|x\| <= 1000 .* got \(-1e\+09, 0\)"),
        ([[0.0, 0.0], [1.0, -20_000.0]], r"\|y\| <= 10000, got \(1, -20000\)"),
        ("abc", "list of points"),
        ([[0.0, 0.0], [1.0]], "list of points"),
    ],
)
def test_a_bad_polyline_is_refused_by_name(floor, message):
    with pytest.raises(ValueError, match=f"floor.*{message}"):
        Terrain("broken", floor)
    if floor is not None:
        with pytest.raises(ValueError, match=f"ceiling.*{message}"):
            Terrain("broken", make_terrain("Flat").floor, floor)


@pytest.mark.parametrize(
    "ceiling",
    [
        [[-1000.0, -1.0], [1000.0, -1.0]],
        [[-1000.0, 50.0], [0.0, 50.0], [1.0, -0.5], [2.0, 50.0], [1000.0, 50.0]],
        [[-1000.0, 50.0], [5.0, 50.0], [5.0, -3.0], [1000.0, -3.0]],
    ],
)
def test_a_ceiling_below_the_floor_is_refused(ceiling):
    with pytest.raises(ValueError, match=r"floor|ceiling"):
        Terrain("shut", make_terrain("Flat").floor, ceiling)


@pytest.mark.parametrize(
    "floor", [[[-9.0, 3.0], [9.0, 3.0]], [[-9.0, 0.0], [0.0, 0.0], [0.0, 2.0]], [[-9.0, 2.0], [0.0, 2.0], [0.0, 0.0]]]
)
def test_a_start_inside_the_ground_is_refused(floor):
    with pytest.raises(ValueError, match=r"floor: .* around x = 0, .* got height [23]; lower the terrain by [23]"):
        Terrain("mine", floor)


def test_a_start_without_room_below_the_ceiling_is_refused():
    floor = [[-9.0, -5.0], [9.0, -5.0]]
    assert Terrain("mine", floor, [[-9.0, 1.0], [9.0, 1.0]]).ceiling is not None
    with pytest.raises(ValueError, match=r"ceiling: .* at height 1 or higher at x = 0, .* got 0.9"):
        Terrain("mine", floor, [[-9.0, 0.9], [9.0, 0.9]])


def test_a_polyline_goes_on_level_to_the_ends_of_the_world():
    terrain = Terrain("mine", [[-20.0, -1.0], [0.0, 0.0], [30.0, -2.0]], [[-5.0, 9.0], [5.0, 8.0]])
    assert terrain.floor.tolist() == [[-1000.0, -1.0], [-20.0, -1.0], [0.0, 0.0], [30.0, -2.0], [1000.0, -2.0]]
    assert terrain.ceiling is not None
    assert terrain.ceiling.tolist() == [[-1000.0, 9.0], [-5.0, 9.0], [5.0, 8.0], [1000.0, 8.0]]
    assert Terrain("again", terrain.floor, terrain.ceiling).key == terrain.key


def test_a_terrain_cannot_be_changed_from_outside():
    mine = np.array([[-1.0, 0.0], [1.0, 0.0]])
    terrain = Terrain("mine", mine)
    key = terrain.key
    mine[0, 1] = 9.0
    assert terrain.key == key
    with pytest.raises(ValueError, match="read-only"):
        terrain.floor[0, 0] = 5.0


# -------------------------------------------------------------------------------------------- a terrain of one's own


@given(polylines(), polylines(), st.booleans())
def test_a_terrain_survives_json(tmp_path_factory, floor, ceiling, open_sky):
    floor = floor - start_height(floor)
    terrain = Terrain("mine é", floor, None if open_sky else ceiling + np.array([0.0, 900.0]))
    again = Terrain.from_dict(json.loads(json.dumps(terrain.to_dict())))
    assert (again.name, again.key) == (terrain.name, terrain.key)
    assert again == terrain
    assert {again, terrain} == {terrain}
    assert Terrain("other", terrain.floor, terrain.ceiling) != terrain
    assert Terrain(terrain.name, terrain.floor - [0.0, 0.5], terrain.ceiling) != terrain
    assert terrain.mirrored().mirrored() == terrain
    assert terrain != "mine é"
    path = tmp_path_factory.getbasetemp() / "terrain.json"
    terrain.save(path)
    assert (Terrain.load(path).name, Terrain.load(path).key) == (terrain.name, terrain.key)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "mine.json"),
        ("[]", "expected the keys"),
        ('{"floor": [[0, 0], [1, 0]]}', "expected the keys name, floor"),
        ('{"name": "x", "floor": [[0, 0], [1, 0]], "roof": []}', "got floor, name, roof"),
        ('{"name": "x", "floor": null}', "floor: expected a list of points"),
        ('{"name": "x", "floor": [[0, 0], [1]]}', "floor: expected a list of points"),
        ('{"name": "x", "floor": [[0, 0], [1, 0]], "ceiling": "high"}', "ceiling: expected a list of points"),
        ('{"name": "x", "floor": [[0, 0], [-1, 0]]}', "never decreases"),
        ('{"name": "x", "floor": [[0, NaN], [1, 0]]}', "finite"),
    ],
)
def test_a_file_that_holds_no_terrain_is_refused_with_its_name(tmp_path, text, words):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.json: ") as refusal:
        Terrain.load(path)
    assert words in str(refusal.value)


@given(
    st.lists(st.floats(-50.0, 50.0), min_size=2, max_size=60), st.floats(0.1, 20.0), st.none() | st.floats(102.0, 160.0)
)
def test_a_heightmap_keeps_its_shape_and_starts_no_walker_in_the_ground(heights, spacing, clearance):
    ceiling = None if clearance is None else [height + clearance for height in heights]
    terrain = Terrain.from_heightmap(heights, spacing, ceiling)
    places = (np.arange(len(heights)) - 0.5 * (len(heights) - 1)) * spacing
    drawn = np.interp(places, *terrain.floor.T)
    assert np.allclose(drawn - drawn[0], np.array(heights) - heights[0], atol=1e-9)
    # Straight pieces are highest at their ends.
    ends = np.clip([-START_HALF_WIDTH, *places, START_HALF_WIDTH], -START_HALF_WIDTH, START_HALF_WIDTH)
    assert abs(np.interp(ends, *terrain.floor.T).max()) < 1e-9
    assert (terrain.floor[0, 0], terrain.floor[-1, 0]) == (-WORLD_HALF_WIDTH, WORLD_HALF_WIDTH)
    assert (terrain.floor[0, 1], terrain.floor[-1, 1]) == (terrain.floor[1, 1], terrain.floor[-2, 1])
    assert (terrain.ceiling is None) == (clearance is None)
    if terrain.ceiling is not None:
        assert np.allclose(terrain.ceiling[:, 1] - terrain.floor[:, 1], clearance)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"heights": [1.0]}, "points >= 2"),
        ({"heights": [[1.0, 2.0]]}, "points >= 2"),
        ({"heights": [0.0, 0.0], "spacing": 0.0}, "spacing"),
        ({"heights": [0.0, 0.0], "spacing": float("nan")}, "spacing"),
        ({"heights": [0.0] * 100, "spacing": 50.0}, "spacing"),
        ({"heights": [0.0, np.inf]}, "finite"),
        ({"heights": [0.0, 0.0], "ceiling": [5.0]}, "ceiling: expected as many heights"),
        ({"heights": [0.0, 9.0], "ceiling": [5.0, 5.0]}, "meet"),
    ],
)
def test_a_bad_heightmap_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Terrain.from_heightmap(**arguments)


# ----------------------------------------------------------------------------------------------------------- mirror


@given(polylines(), polylines())
def test_mirroring_twice_is_the_identity(floor, ceiling):
    terrain = Terrain("mine", floor - start_height(floor), ceiling + np.array([0.0, 900.0]))
    twice = terrain.mirrored().mirrored()
    assert twice.key == terrain.key
    assert twice.name == terrain.name
    assert terrain.mirrored().name != terrain.name
    assert np.array_equal(terrain.mirrored().floor, terrain.floor[::-1] * [-1.0, 1.0])
    assert np.array_equal(terrain.mirrored().ceiling, terrain.ceiling[::-1] * [-1.0, 1.0])


def test_walls_swap_and_symmetric_terrains_stay():
    assert make_terrain("LeftWall").mirrored().key == make_terrain("RightWall").key
    for name, mirrored in [
        ("Flat", "Flat"),
        ("LeftWall", "RightWall"),
        ("RightWall", "LeftWall"),
        ("Tunnel", "Tunnel"),
    ]:
        assert make_terrain(name).mirrored().name == mirrored
        assert make_terrain(name).mirrored().key == make_terrain(mirrored).key
    assert make_terrain("Bumpy").mirrored().key != make_terrain("Bumpy").key


# ---------------------------------------------------------------------------------------------------------- profile


@pytest.mark.parametrize(("name", "seed"), FAMILIES)
def test_profiles_show_the_heights_around_the_start(name, seed):
    terrain = make_terrain(name, seed)
    profile = terrain.profile()
    assert set(profile) == {"floor", "ceiling"}
    for values in profile.values():
        assert values.shape == (PROFILE_POINTS,)
        assert values.dtype == np.float32
        assert np.abs(values).max() <= PROFILE_MAX_HEIGHT
    assert (profile["ceiling"] > profile["floor"]).mean() > 0.6
    middle = slice(PROFILE_POINTS // 2 - 8, PROFILE_POINTS // 2 + 8)
    assert (profile["floor"][middle] == 0.0).all()
    assert (profile["ceiling"][middle] == PROFILE_MAX_HEIGHT).all()


def test_profiles_tell_the_terrains_apart():
    profiles = {name: make_terrain(name).profile() for name in TERRAIN_NAMES}
    assert len({(p["floor"].tobytes(), p["ceiling"].tobytes()) for p in profiles.values()}) == len(TERRAIN_NAMES)
    left, right = profiles["LeftWall"]["floor"], profiles["RightWall"]["floor"]
    assert (left[0], left[-1]) == (PROFILE_MAX_HEIGHT, 0.0)
    assert (right[0], right[-1]) == (0.0, PROFILE_MAX_HEIGHT)
    assert (profiles["Tunnel"]["ceiling"][[0, -1]] == TUNNEL_HEIGHT).all()
    assert profiles["Bumpy"]["floor"].std() > 0.1


@pytest.mark.parametrize(("name", "seed"), FAMILIES)
def test_the_mirrored_terrain_has_the_mirrored_profile(name, seed):
    terrain = make_terrain(name, seed)
    profile, mirrored = terrain.profile(), terrain.mirrored().profile()
    for part in ("floor", "ceiling"):
        assert np.array_equal(mirrored[part], profile[part][::-1])


def test_a_slope_is_sampled_in_place():
    line = np.array([[-PROFILE_HALF_WIDTH, -24.0], [PROFILE_HALF_WIDTH, 24.0]])
    floor = Terrain("slope", line).profile()["floor"]
    assert np.allclose(np.diff(floor), (floor[-1] - floor[0]) / (PROFILE_POINTS - 1))
    assert floor[0] == -floor[-1]
    assert -24.0 <= floor[0] <= -23.0
