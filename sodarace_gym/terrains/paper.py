"""The paper's five terrains: one that is level, two with a wall, one with bumps and one with a low ceiling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sodarace_gym.terrains.terrain import SKY, START_HALF_WIDTH, WORLD_HALF_WIDTH, Terrain

WALL_HEIGHT = 100.0
"""Height of a wall, walker units: four times the tallest walker."""


def _flat(rng: np.random.Generator) -> Terrain:
    """Level ground under open sky."""
    return Terrain("Flat", np.array([[-WORLD_HALF_WIDTH, 0.0], [WORLD_HALF_WIDTH, 0.0]]))


def _left_wall(rng: np.random.Generator) -> Terrain:
    """A wall 16 units to the left of the start; the right is open."""
    wall = -START_HALF_WIDTH
    return Terrain(
        "LeftWall",
        np.array([[-WORLD_HALF_WIDTH, WALL_HEIGHT], [wall, WALL_HEIGHT], [wall, 0.0], [WORLD_HALF_WIDTH, 0.0]]),
    )


def _right_wall(rng: np.random.Generator) -> Terrain:
    """A wall 16 units to the right of the start; the left is open."""
    return _left_wall(rng).mirrored()


BUMP_SPACING = (3.5, 6.0)
"""Least and greatest distance between neighbouring vertices of Bumpy, walker units."""
BUMP_HEIGHT = (2.0, 6.0)
"""Least and greatest height of a bump above the hollows beside it, walker units: the steepest slope stays below a wall's."""
BUMPS_HALF_WIDTH = 400.0
"""Bumpy is bumpy for |x| up to this, walker units; flat beyond."""


def _bumpy(rng: np.random.Generator) -> Terrain:
    """Bumps of 2 to 6 units on both sides of the start."""

    def side() -> list[tuple[float, float]]:
        points, x, peak = [(START_HALF_WIDTH, 0.0)], START_HALF_WIDTH, True
        while x < BUMPS_HALF_WIDTH:
            x += float(rng.uniform(*BUMP_SPACING))
            points.append((x, float(rng.uniform(*BUMP_HEIGHT)) if peak else 0.0))
            peak = not peak
        return [*points, (x + BUMP_SPACING[1], 0.0), (WORLD_HALF_WIDTH, 0.0)]

    right, left = side(), side()
    return Terrain("Bumpy", np.array([(-x, y) for x, y in reversed(left)] + right))


TUNNEL_HEIGHT = 5.0
"""Height of the tunnel, walker units: a fifth of what the tallest walkers measure."""


def _tunnel(rng: np.random.Generator) -> Terrain:
    """A ceiling 5 units high on both sides of the start."""
    low, high, mouth, end = TUNNEL_HEIGHT, SKY, START_HALF_WIDTH, WORLD_HALF_WIDTH
    ceiling = np.array([[-end, low], [-mouth, low], [-mouth, high], [mouth, high], [mouth, low], [end, low]])
    return Terrain("Tunnel", _flat(rng).floor, ceiling)


PAPER_FAMILIES: dict[str, Callable[[np.random.Generator], Terrain]] = {
    "Flat": _flat,
    "LeftWall": _left_wall,
    "RightWall": _right_wall,
    "Bumpy": _bumpy,
    "Tunnel": _tunnel,
}
"""What makes each of the paper's terrains; their docstrings say what they are."""
TERRAIN_NAMES = tuple(PAPER_FAMILIES)
"""The paper's five terrains."""
