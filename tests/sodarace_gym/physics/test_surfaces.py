"""Where the solid begins: surfaces are what they look like, and only joints inside the solid have escaped."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sodarace_gym.physics.surfaces import joint_fault, surface_height
from sodarace_gym.terrains.making import make_terrain
from sodarace_gym.terrains.paper import TERRAIN_NAMES
from sodarace_gym.terrains.terrain import START_HALF_WIDTH


@st.composite
def lines(draw: st.DrawFn) -> np.ndarray:
    """Polylines with steps: x from a small set, so that equal ones are common; at least two different x."""
    xs = sorted(draw(st.lists(st.integers(-8, 8), min_size=2, max_size=10)))
    assume(xs[0] < xs[-1])
    ys = draw(st.lists(st.floats(-20.0, 20.0), min_size=len(xs), max_size=len(xs)))
    return np.array([xs, ys], dtype=np.float64).T


def height_from_the_left(line: np.ndarray, x: float) -> float:
    """The limit of the polyline's height from the left: the oracle."""
    right = int(np.argmax(line[:, 0] >= x))
    if right == 0:
        return float(line[0, 1])
    (x0, y0), (x1, y1) = line[right - 1], line[right]
    return float(np.interp(x, [x0, x1], [y0, y1]))


@given(line=lines(), share=st.floats(0.0, 1.0, exclude_min=True))
def test_the_surface_is_the_polyline(line, share):
    low, high = line[0, 0], line[-1, 0]
    x = float(min(low + share * (high - low), high))
    assume(x > low)
    assert surface_height(line, x) == pytest.approx(height_from_the_left(line, x), abs=1e-9)


@given(lines())
def test_at_a_step_the_surface_is_the_side_to_the_left(line):
    for x in np.unique(line[1:, 0]):
        if x > line[0, 0]:
            first = int(np.argmax(line[:, 0] == x))
            assert surface_height(line, float(x)) == pytest.approx(line[first, 1], abs=1e-9)


@given(
    floor=lines(), x=st.floats(-8.0, 8.0), y=st.floats(-30.0, 60.0), depth=st.floats(0.1, 3.0), gap=st.floats(1.0, 30.0)
)
def test_a_joint_has_escaped_if_it_is_deep_on_all_sides(floor, x, y, depth, gap):
    low, high = floor[0, 0], floor[-1, 0]
    assume(low < x - depth < x + depth < high)
    ceiling = floor + np.array([0.0, 45.0 + gap])
    heights = [height_from_the_left(floor, at) for at in (x - depth, x, x + depth)]
    margin = min(abs(y - min(heights) + depth), abs(y - max(heights) - 45.0 - gap - depth))
    assume(margin > 1e-6)
    deep = y < min(heights) - depth or y > max(heights) + 45.0 + gap + depth
    assert joint_fault(x, y, floor, ceiling, depth) == deep


@given(name=st.sampled_from(TERRAIN_NAMES), x=st.floats(-60.0, 60.0), up=st.floats(0.0, 1.0), depth=st.floats(0.1, 2.0))
def test_no_joint_in_the_open_has_escaped(name, x, up, depth):
    terrain = make_terrain(name)
    floor = np.array(terrain.floor)
    ceiling = np.array(terrain.ceiling) if terrain.ceiling is not None else floor + np.array([0.0, 300.0])
    low, high = float(np.interp(x, *floor.T)), float(np.interp(x, *ceiling.T))
    assert not joint_fault(x, low + up * (high - low), floor, ceiling, depth)
    # Nor has one that touches a wall and, pressed by the solver, sits a little inside it.
    assert (
        not joint_fault(math.copysign(START_HALF_WIDTH + 0.9 * depth, x), 3.0, floor, ceiling, depth) or name == "Bumpy"
    )


@given(name=st.sampled_from(TERRAIN_NAMES), x=st.floats(-60.0, 60.0), below=st.floats(0.0, 500.0))
def test_every_joint_far_inside_the_solid_has_escaped(name, x, below):
    terrain = make_terrain(name)
    floor = np.array(terrain.floor)
    ceiling = np.array(terrain.ceiling) if terrain.ceiling is not None else floor + np.array([0.0, 300.0])
    # Below (above) everything in a window a little wider than the one that is looked at.
    window = np.linspace(x - 1.1, x + 1.1, 221)
    bottom, top = float(np.interp(window, *floor.T).min()), float(np.interp(window, *ceiling.T).max())
    assert joint_fault(x, bottom - 1.05 - below, floor, ceiling, 1.0)
    assert joint_fault(x, top + 1.05 + below, floor, ceiling, 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_joint_that_is_nowhere_has_escaped(value):
    line = np.array([[-10.0, 0.0], [10.0, 0.0]])
    sky = line + np.array([0.0, 1e9])
    assert joint_fault(value, 1.0, line, sky, 1.0)
    assert joint_fault(0.0, value, line, sky, 1.0)
