"""The solid that the physics makes of a terrain's polylines: where it ends, and where it has grip."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from sodarace_gym.physics.constants import STEEPEST_GROUND, TERRAIN_RADIUS
from sodarace_gym.physics.solid import solid_of
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from tests.sodarace_gym.terrains.polylines import polylines, start_height


def distances_to_segments(points: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Distance of each point, shape (points, 2), to the nearest of the segments (rows beginning ax, ay, bx, by)."""
    start, along = segments[:, :2], segments[:, 2:4] - segments[:, :2]
    share = ((points[:, None] - start) * along).sum(axis=2) / (along**2).sum(axis=1)
    nearest = start + np.clip(share, 0.0, 1.0)[..., None] * along
    return np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1)


def corners_into_the_open(line: np.ndarray, solid_below: bool) -> np.ndarray:
    """Vertices at which the ground turns away from whoever stands on it."""
    along = np.diff(line, axis=0)
    turn = along[:-1, 0] * along[1:, 1] - along[:-1, 1] * along[1:, 0]
    return line[1:-1][turn < 0.0 if solid_below else turn > 0.0]


def check_surface(line: np.ndarray, segments: np.ndarray, solid_below: bool) -> None:
    """The segments' outer edge is the polyline, but for rounded corners, where it stays inside."""
    shares = np.linspace(0.0, 1.0, 41)[:, None]
    points = np.concatenate([a + shares * (b - a) for a, b in itertools.pairwise(line)])
    gaps = distances_to_segments(points, segments) - TERRAIN_RADIUS
    assert gaps.min() > -1e-9
    corners = corners_into_the_open(line, solid_below)
    # A right angle, rounded with this radius, leaves its two faces this far from the corner; blunter ones nearer to it.
    reach = TERRAIN_RADIUS * np.tan(np.radians(60.0)) + 1e-6
    away = np.ones(len(points), dtype=bool)
    if len(corners):
        away = np.linalg.norm(points[:, None] - corners, axis=2).min(axis=1) > reach
    assert away.sum() > 0
    assert np.abs(gaps[away]).max() < 1e-9


@pytest.mark.parametrize("name", TERRAIN_NAMES)
@pytest.mark.parametrize("flip", [False, True])
def test_the_solid_ends_where_the_polyline_says(name, flip):
    terrain = make_terrain(name)
    terrain = terrain.mirrored() if flip else terrain
    pieces = len(terrain.floor) - 1
    segments = solid_of(terrain).segments
    check_surface(terrain.floor, segments[:pieces], solid_below=True)
    if terrain.ceiling is not None:
        check_surface(terrain.ceiling, segments[pieces:], solid_below=False)


@settings(max_examples=60)
@given(polylines())
def test_the_solid_of_any_ground_and_any_ceiling_ends_there_too(line):
    terrain = Terrain("mine", line - start_height(line))
    check_surface(terrain.floor, solid_of(terrain).segments, solid_below=True)
    low = np.array([[-1000.0, -900.0], [1000.0, -900.0]])
    terrain = Terrain("mine", low, line - start_height(line) + [0.0, 900.0])
    assert terrain.ceiling is not None
    check_surface(terrain.ceiling, solid_of(terrain).segments[1:], solid_below=False)


@pytest.mark.parametrize("name", TERRAIN_NAMES)
def test_only_ground_one_can_stand_on_has_grip_and_bounce(name):
    terrain = make_terrain(name)
    pieces = len(terrain.floor) - 1
    segments = solid_of(terrain).segments
    run, rise = np.abs(segments[:, 2:4] - segments[:, :2]).T
    ground = (np.arange(len(segments)) < pieces) & (rise <= STEEPEST_GROUND * run)
    assert ground.any()
    assert (segments[ground, 8:] > 0.0).all()
    assert (segments[~ground, 8:] == 0.0).all()


def test_neighbouring_segments_share_their_ends_and_know_each_other():
    line = make_terrain("Bumpy").floor
    segments = solid_of(Terrain("mine", line)).segments
    assert np.array_equal(segments[:-1, 2:4], segments[1:, :2])
    assert np.array_equal(segments[1:, 4:6], segments[:-1, :2])
    assert np.array_equal(segments[:-1, 6:8], segments[1:, 2:4])


def test_repeated_points_change_nothing():
    line = make_terrain("LeftWall").floor
    doubled = solid_of(Terrain("doubled", np.repeat(line, 2, axis=0)))
    assert np.array_equal(doubled.segments, solid_of(Terrain("plain", line)).segments)
