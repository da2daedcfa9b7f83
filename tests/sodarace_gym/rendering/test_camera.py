"""The camera never loses a walker, moves smoothly, and shows the ground it walks on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sodarace_gym.rendering import camera, drawing
from sodarace_gym.rendering.canvas import View
from sodarace_gym.rendering.film import FRAME_SIZE, last_frame
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign, build_design

WIDTH, HEIGHT = FRAME_SIZE
BODY = np.array([(-2.0, 0.3), (2.0, 0.3), (0.0, 3.3)])


def body() -> WalkerDesign:
    return build_design(BODY.tolist(), [(a, b, True, 0.0, 0.0) for a, b in ((0, 1), (1, 2), (2, 0))])[0]


def path(terrain: Terrain, xs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The body carried along the ground, shape (frames, joints, 2)."""
    return BODY + np.stack([xs, np.interp(xs, *terrain.floor.T)], axis=1)[:, None]


def pixels(views: list[View], trajectory: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([view.pixels(joints) for view, joints in zip(views, trajectory, strict=True)])


slope_down = Terrain("SlopeDown", np.array([(-1000.0, 0.0), (16.0, 0.0), (1000.0, -984.0)]))
slope_up = Terrain("SlopeUp", np.array([(-1000.0, 0.0), (16.0, 0.0), (1000.0, 984.0)]))
steps = [(16.0 + 4.0 * k, -4.0 * (k + drop)) for k in range(25) for drop in (0, 1)]
stairs_down = Terrain("StairsDown", np.array([(-1000.0, 0.0), *steps, (1000.0, -100.0)]))
cliff = Terrain("Cliff", np.array([(-1000.0, 0.0), (20.0, 0.0), (20.0, -50.0), (1000.0, -50.0)]))


@pytest.mark.parametrize("terrain", [slope_down, slope_up, stairs_down], ids=lambda terrain: terrain.name)
def test_the_camera_goes_fifty_units_up_and_down(terrain: Terrain) -> None:
    trajectory = path(terrain, np.linspace(0.0, 66.0, 201))
    assert abs(trajectory[-1, 0, 1]) > 45.0
    places = pixels(camera.follow(terrain, trajectory, FRAME_SIZE), trajectory)
    assert places.min() >= 15.9
    assert (places <= np.array(FRAME_SIZE) - 15.9).all()
    assert places[:, :, 1].max(axis=1).min() > 0.6 * HEIGHT, "there is more to see above the walker than below it"
    image = last_frame(body(), terrain, trajectory).astype(int)
    middle = int(places[-1, :, 0].mean())
    below = image[int(places[-1, :, 1].max()) + 12 :, middle - 20 : middle + 20]
    solid = (np.abs(below - drawing.SOLID).max(axis=2) < 8).mean()
    assert solid > 0.3, "the ground below the walker is in the picture"
    assert (np.abs(below[-1] - drawing.SOLID).max(axis=1) < 80).all(), "and filled to the lower edge"


@given(data=st.data())
def test_no_walker_leaves_the_picture(data: st.DataObject) -> None:
    terrain = data.draw(st.sampled_from([slope_down, slope_up, stairs_down, cliff, *map(make_terrain, TERRAIN_NAMES)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    frame_count, joints = data.draw(st.integers(1, 60)), data.draw(st.integers(2, 9))
    size = data.draw(st.sampled_from([FRAME_SIZE, (236, 200), (300, 900)]))
    # Bodies of up to 30 units whose joints jitter, which drift, fall and are thrown about.
    drift = np.cumsum(rng.normal(0.0, data.draw(st.floats(0.0, 3.0)), (frame_count, 1, 2)), axis=0)
    shape = rng.uniform(-15.0, 15.0, (1, joints, 2)) * data.draw(st.floats(0.0, 1.0))
    trajectory = shape + drift + rng.normal(0.0, data.draw(st.floats(0.0, 1.0)), (frame_count, joints, 2))
    views = camera.follow(terrain, trajectory, size)
    assert len(views) == frame_count
    assert len({view.scale for view in views}) == 1
    places = pixels(views, trajectory)
    assert places.min() >= 15.9, "every joint stays clear of every edge"
    assert (places <= np.array(size) - 15.9).all()


def test_the_camera_keeps_the_ground_of_a_flat_walk_in_its_place() -> None:
    terrain = make_terrain("Flat")
    views = camera.follow(terrain, path(terrain, np.linspace(0.0, 40.0, 201)), FRAME_SIZE)
    ground = [view.pixels(np.zeros((1, 2)))[0, 1] for view in views]
    assert np.allclose(ground, HEIGHT - 48)


def test_the_camera_falls_with_the_walker_and_not_at_once() -> None:
    trajectory = path(make_terrain("Flat"), np.linspace(10.0, 30.0, 201))
    fallen = np.clip(np.arange(201) - 100, 0, 70) / 20.0
    trajectory[:, :, 1] -= np.minimum(50.0, 12.5 * fallen**2)[:, None]
    views = camera.follow(cliff, trajectory, FRAME_SIZE)
    bottoms = np.array([view.bottom for view in views])
    assert bottoms[0] - bottoms[-1] == pytest.approx(50.0, abs=1.0)
    fastest = np.abs(np.diff(trajectory[:, 0, 1])).max()
    assert np.abs(np.diff(bottoms)).max() <= fastest + 1e-9, "never faster than what it follows"


@pytest.mark.parametrize("depth", [0.0, 8.0, 50.0])
def test_an_overview_looks_down_but_not_away_from_the_start(depth: float) -> None:
    floor = np.array([(-1000.0, 0.0), (20.0, 0.0), (20.0, -depth), (1000.0, -depth)])
    view = camera.overview(Terrain("Step", floor), FRAME_SIZE)
    assert view.bottom <= max(-depth, -0.4 * HEIGHT / view.scale) - 1.0
    (_, start) = view.pixels(np.zeros((1, 2)))[0]
    assert HEIGHT / 3 < start < HEIGHT
    assert (view.left, view.right) == (-32.0, 32.0)
