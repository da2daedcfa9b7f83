"""What is looked at from time to time: whether a joint has got into the ground, and whether a slow walker is coming to rest."""

from __future__ import annotations

import math

from sodarace_gym.physics.compilation import Floats, borrowing


@borrowing
def surface_height(line: Floats, x: float) -> float:
    """Height of a polyline with non-decreasing x at ``x``; at a vertical step, the side to the left."""
    low, high = 0, line.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if line[middle, 0] < x:
            low = middle
        else:
            high = middle
    width = line[high, 0] - line[low, 0]
    if width <= 0.0:
        return float(line[high, 1])
    return float(line[low, 1] + (line[high, 1] - line[low, 1]) * (x - line[low, 0]) / width)


@borrowing
def joint_fault(x: float, y: float, floor: Floats, ceiling: Floats, depth: float) -> bool:
    """Whether a joint is deeper than ``depth`` inside the terrain (or nowhere at all)."""
    if not (math.isfinite(x) and math.isfinite(y)):
        return True
    # A joint next to a vertical face is only in the terrain if it is so from both sides of a depth-wide window.
    below = min(surface_height(floor, x - depth), surface_height(floor, x), surface_height(floor, x + depth))
    above = max(surface_height(ceiling, x - depth), surface_height(ceiling, x), surface_height(ceiling, x + depth))
    return y < below - depth or y > above + depth


@borrowing
def drifting(speed: float, slowest: float, drift_speed: float) -> bool:
    """Whether a walker that is not at rest is slow and still slowing down: one that topples was slower before."""
    return speed <= drift_speed and speed <= 1.5 * slowest
