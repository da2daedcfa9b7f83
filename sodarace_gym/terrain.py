"""Terrains: the solid ground below a walker and the solid ceiling above it, as polylines fixed in the world.

World coordinates: the walker starts with the middle of its width at x = 0 and its lowest joint just above the floor. The
start area ``|x| <= START_HALF_WIDTH`` of every terrain is flat and open and wide enough for the widest walker, so that all
walkers start alike; what makes a terrain a terrain begins beyond it and stays where it is, however wide the walker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Polyline = NDArray[np.float64]

START_HALF_WIDTH = 16.0
"""Half the width of the start area, walker units: half of ``walker.MAX_WIDTH`` and one unit of air."""
WORLD_HALF_WIDTH = 1000.0
"""The ground ends here, far beyond what any walker reaches in an episode."""
SKY = 200.0
"""Height of the open sky, walker units: out of reach."""
WALL_HEIGHT = 100.0
"""Height of a wall, walker units: four times the tallest walker."""
PROFILE_HALF_WIDTH = 48.0
"""The profile observation covers ``|x| <= PROFILE_HALF_WIDTH``, walker units."""
PROFILE_POINTS = 64
"""Points of each profile."""
PROFILE_MAX_HEIGHT = 32.0
"""Profiles are clipped to +- this height, walker units: walls and sky would drown everything else."""


@dataclass(frozen=True, eq=False)
class Terrain:
    """Ground and ceiling of one world.

    Attributes:
        name: The family it comes from.
        floor: Polyline, shape (points, 2), x non-decreasing (two points with equal x make a vertical face); solid below.
        ceiling: The same, solid above; None for open sky.

    Raises:
        ValueError: A polyline has a wrong shape, a non-finite value or decreasing x, or floor and ceiling meet.
    """

    name: str
    floor: Polyline
    ceiling: Polyline | None = field(default=None)

    def __post_init__(self) -> None:
        for label, line in (("floor", self.floor), ("ceiling", self.ceiling)):
            if line is None and label == "ceiling":
                continue
            # C order whatever is given: the compiled loop would be compiled anew for any other layout.
            array = np.array(line, dtype=np.float64, order="C")
            if array.ndim != 2 or array.shape[1] != 2 or len(array) < 2:
                raise ValueError(f"{label}: expected an array of shape (points >= 2, 2), got shape {array.shape}.")
            if not np.isfinite(array).all():
                raise ValueError(f"{label}: expected finite coordinates, got {array[~np.isfinite(array)][0]}.")
            if (np.diff(array[:, 0]) < 0).any():
                raise ValueError(f"{label}: expected x that never decreases; sort the points from left to right.")
            array.setflags(write=False)
            object.__setattr__(self, label, array)
        if self.ceiling is not None:
            # Straight pieces come nearest at a vertex; at a vertical step, on one of its two sides.
            xs = np.union1d(self.floor[:, 0], self.ceiling[:, 0])
            xs = np.concatenate([np.nextafter(xs, -np.inf), np.nextafter(xs, np.inf)])
            shut = xs[np.interp(xs, *self.floor.T) >= np.interp(xs, *self.ceiling.T)]
            if len(shut):
                raise ValueError(
                    f"ceiling: expected it above the floor everywhere, but they meet at x = {shut.min():g}."
                )

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What makes two terrains the same ground, whatever their names; hashable."""
        return self.floor.tobytes(), b"" if self.ceiling is None else self.ceiling.tobytes()

    def mirrored(self) -> Terrain:
        """The terrain seen in a mirror at x = 0. LeftWall and RightWall swap names; others are marked."""
        swaps = {"LeftWall": "RightWall", "RightWall": "LeftWall", "Flat": "Flat", "Tunnel": "Tunnel"}
        name = swaps.get(self.name) or (
            self.name.removesuffix("-mirrored") if self.name.endswith("-mirrored") else f"{self.name}-mirrored"
        )
        flip = np.array([-1.0, 1.0])
        ceiling = None if self.ceiling is None else self.ceiling[::-1] * flip
        return Terrain(name, self.floor[::-1] * flip, ceiling)

    def profile(self) -> dict[str, NDArray[np.float32]]:
        """What an agent sees: heights around the start.

        Returns:
            ``floor`` and ``ceiling``, each of shape (PROFILE_POINTS,), float32, walker units, sampled evenly over
            ``|x| <= PROFILE_HALF_WIDTH`` and clipped to ``PROFILE_MAX_HEIGHT``.
        """
        # Middles of equal cells: no sample falls on the foot of a wall, where left and right differ.
        xs = ((np.arange(PROFILE_POINTS) + 0.5) / PROFILE_POINTS * 2.0 - 1.0) * PROFILE_HALF_WIDTH
        floor = np.interp(xs, self.floor[:, 0], self.floor[:, 1])
        ceiling = np.full_like(xs, SKY) if self.ceiling is None else np.interp(xs, *self.ceiling.T)
        bound = PROFILE_MAX_HEIGHT
        return {
            "floor": np.clip(floor, -bound, bound).astype(np.float32),
            "ceiling": np.clip(ceiling, -bound, bound).astype(np.float32),
        }


def _flat(rng: np.random.Generator) -> Terrain:
    return Terrain("Flat", np.array([[-WORLD_HALF_WIDTH, 0.0], [WORLD_HALF_WIDTH, 0.0]]))


def _left_wall(rng: np.random.Generator) -> Terrain:
    wall = -START_HALF_WIDTH
    return Terrain(
        "LeftWall",
        np.array([[-WORLD_HALF_WIDTH, WALL_HEIGHT], [wall, WALL_HEIGHT], [wall, 0.0], [WORLD_HALF_WIDTH, 0.0]]),
    )


def _right_wall(rng: np.random.Generator) -> Terrain:
    return _left_wall(rng).mirrored()


BUMP_SPACING = (3.5, 6.0)
"""Least and greatest distance between neighbouring vertices of Bumpy, walker units."""
BUMP_HEIGHT = (2.0, 6.0)
"""Least and greatest height of a bump above the hollows beside it, walker units: the steepest slope stays below a wall's."""
BUMPS_HALF_WIDTH = 400.0
"""Bumpy is bumpy for |x| up to this, walker units; flat beyond."""


def _bumpy(rng: np.random.Generator) -> Terrain:
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
    low, high, mouth, end = TUNNEL_HEIGHT, SKY, START_HALF_WIDTH, WORLD_HALF_WIDTH
    ceiling = np.array([[-end, low], [-mouth, low], [-mouth, high], [mouth, high], [mouth, low], [end, low]])
    return Terrain("Tunnel", _flat(rng).floor, ceiling)


_FAMILIES: dict[str, Callable[[np.random.Generator], Terrain]] = {
    "Flat": _flat,
    "LeftWall": _left_wall,
    "RightWall": _right_wall,
    "Bumpy": _bumpy,
    "Tunnel": _tunnel,
}
TERRAIN_NAMES = tuple(_FAMILIES)
"""The paper's five terrains."""


def make_terrain(name: str, seed: int = 0) -> Terrain:
    """Makes a terrain of a family.

    Args:
        name: One of ``TERRAIN_NAMES``.
        seed: Seed of what is random in the family (only Bumpy is); the same seed gives the same terrain.

    Returns:
        The terrain.

    Raises:
        ValueError: The name is not a family.
    """
    if name not in _FAMILIES:
        raise ValueError(f"unknown terrain {name!r}; expected one of {', '.join(TERRAIN_NAMES)}.")
    return _FAMILIES[name](np.random.default_rng(seed))
