"""Grounds for tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def polylines(draw: st.DrawFn) -> np.ndarray:
    """Ground with slopes of up to 30 degrees and vertical steps, vertices at least 3 apart."""
    x, y = -30.0, draw(st.floats(-5.0, 5.0))
    points = [(x, y)]
    stepped = True  # no step at the very start, and never two in a row
    for _ in range(draw(st.integers(1, 10))):
        if not stepped and draw(st.booleans()):
            y += draw(st.sampled_from([-1.0, 1.0])) * draw(st.floats(3.0, 20.0))
            stepped = True
        else:
            run = draw(st.floats(3.0, 15.0))
            x, y = x + run, y + run * draw(st.floats(-0.577, 0.577))
            stepped = False
        points.append((x, y))
    return np.array(points)


def start_height(line: np.ndarray) -> np.ndarray:
    """What to take from a polyline, shape (2,), so that its highest point at x = 0 comes to height 0."""
    beside = np.interp(np.nextafter(0.0, (-1.0, 1.0)), *line.T)
    return np.array([0.0, beside.max()])
