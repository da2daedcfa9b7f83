"""Terrains: the solid ground below a walker and the solid ceiling above it, as polylines fixed in the world.

World coordinates: the walker starts with the middle of its width at x = 0 and its lowest joint just above the floor. The
start area ``|x| <= START_HALF_WIDTH`` of every terrain is flat and open and wide enough for the widest walker, so that all
walkers start alike; what makes a terrain a terrain begins beyond it and stays where it is, however wide the walker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sodarace_gym.arguments import shown

Polyline = NDArray[np.float64]

START_HALF_WIDTH = 16.0
"""Half the width of the start area, walker units: half of ``walker.MAX_WIDTH`` and one unit of air."""
WORLD_HALF_WIDTH = 1000.0
"""The ground ends here, far beyond what any walker reaches in an episode."""
WORLD_HEIGHT = 10_000.0
"""Ground and ceiling lie between +- this height, walker units: steeper worlds are mistakes."""
START_ROOM = 1.0
"""Least height of the air at x = 0, walker units: a single joint is 0.6 high."""
SKY = 200.0
"""Height of the open sky, walker units: out of reach."""
PROFILE_HALF_WIDTH = 48.0
"""The profile observation covers ``|x| <= PROFILE_HALF_WIDTH``, walker units."""
PROFILE_POINTS = 64
"""Points of each profile."""
PROFILE_MAX_HEIGHT = 32.0
"""Profiles are clipped to +- this height, walker units: walls and sky would drown everything else."""


@dataclass(frozen=True, eq=False)
class Terrain:
    """Ground and ceiling of one world.

    A terrain of your own is made from polylines, by the constructor, from a heightmap (:meth:`from_heightmap`) or from a file
    (:meth:`load`). Walkers are put down at height 0 around x = 0: keep the ground there at height 0 and the air above it open,
    ``START_HALF_WIDTH`` to both sides if walkers may be as large as they like. Where a polyline ends before the world does, it
    goes on level. Keep what stands up or hangs down at least 1.4 units thick: the solid has a skin of that thickness
    (``2 * physics.constants.TERRAIN_RADIUS``), and a thinner wall is thicker than it is drawn and observed.

    Terrains with equal names and polylines are equal.

    Attributes:
        name: The family it comes from.
        floor: Polyline, shape (points, 2), x non-decreasing (two points with equal x make a vertical face); solid below. It
            reaches from one end of the world to the other.
        ceiling: The same, solid above; None for open sky.

    Raises:
        ValueError: A polyline has a wrong shape, a point beyond the world or decreasing x, floor and ceiling meet, or at x = 0
            there is ground above height 0 or no room below the ceiling.
    """

    name: str
    floor: Polyline
    ceiling: Polyline | None = field(default=None)

    def __post_init__(self) -> None:
        for label, line in (("floor", self.floor), ("ceiling", self.ceiling)):
            if line is None and label == "ceiling":
                continue
            # C order whatever is given: the compiled loop would be compiled anew for any other layout.
            try:
                array = np.array(line, dtype=np.float64, order="C")
            except (TypeError, ValueError):
                raise ValueError(f"{label}: expected a list of points [x, y], got {shown(line)}.") from None
            if array.ndim != 2 or array.shape[1] != 2 or len(array) < 2:
                raise ValueError(f"{label}: expected an array of shape (points >= 2, 2), got shape {array.shape}.")
            if not np.isfinite(array).all():
                raise ValueError(f"{label}: expected finite coordinates, got {array[~np.isfinite(array)][0]}.")
            if (np.diff(array[:, 0]) < 0).any():
                raise ValueError(f"{label}: expected x that never decreases; sort the points from left to right.")
            beyond = array[(np.abs(array) > (WORLD_HALF_WIDTH, WORLD_HEIGHT)).any(axis=1)]
            if len(beyond):
                raise ValueError(
                    f"{label}: expected points with |x| <= {WORLD_HALF_WIDTH:g} and |y| <= {WORLD_HEIGHT:g}, got "
                    f"({beyond[0, 0]:g}, {beyond[0, 1]:g})."
                )
            array = _to_the_ends(array)
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
        self._check_start()

    def _check_start(self) -> None:
        """Refuses a start where no walker has room, however small; what larger ones need is theirs to find out."""
        beside = np.nextafter(0.0, (-1.0, 1.0))  # a vertical face may stand at x = 0
        ground = np.interp(beside, *self.floor.T).max()
        if ground > 1e-6:
            raise ValueError(
                f"floor: expected ground at height 0 or lower around x = 0, where walkers are put down, got height {ground:g}; "
                f"lower the terrain by {ground:g}."
            )
        if self.ceiling is not None and (roof := np.interp(beside, *self.ceiling.T).min()) < START_ROOM:
            raise ValueError(
                f"ceiling: expected it at height {START_ROOM:g} or higher at x = 0, where walkers are put down, got {roof:g}."
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Terrain):
            return NotImplemented
        return self is other or self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[str, bytes, bytes]:
        # Adding 0.0 makes negative zeros positive: equal numbers then have equal bytes.
        roof = b"" if self.ceiling is None else (self.ceiling + 0.0).tobytes()
        return self.name, (self.floor + 0.0).tobytes(), roof

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What makes two terrains the same ground, whatever their names; hashable."""
        return self.floor.tobytes(), b"" if self.ceiling is None else self.ceiling.tobytes()

    @classmethod
    def from_heightmap(
        cls, heights: ArrayLike, spacing: float = 1.0, ceiling: ArrayLike | None = None, name: str = "Heightmap"
    ) -> Terrain:
        """Makes a terrain from heights at equal distances, with the middle of the map at x = 0.

        The map is raised or lowered as a whole until its highest ground in the start area is at height 0, so that every
        walker is put down above the ground. To both sides the ground goes on level to the ends of the world. Teeth less than
        1.4 wide or sharper than about 40 degrees are solid a little beside what is drawn; see the class.

        Args:
            heights: Heights of the floor, shape (points >= 2,), walker units, from left to right.
            spacing: Distance between neighbouring heights, walker units.
            ceiling: Heights of the ceiling at the same places, shape (points,); None for open sky.
            name: The terrain's name.

        Raises:
            ValueError: A shape is wrong, a value is not finite, the map reaches beyond the world, or the ceiling is not above
                the floor everywhere.
        """
        try:
            floor = np.asarray(heights, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"heights: expected a list of numbers, got {shown(heights)}.") from None
        if floor.ndim != 1 or len(floor) < 2:
            raise ValueError(f"heights: expected an array of shape (points >= 2,), got shape {floor.shape}.")
        if not np.isfinite(floor).all():
            raise ValueError(f"heights: expected finite heights, got {floor[~np.isfinite(floor)][0]}.")
        reach = 0.5 * (len(floor) - 1) * spacing
        if not 0.0 < reach < WORLD_HALF_WIDTH:
            raise ValueError(
                f"spacing: {len(floor)} heights {spacing:g} apart reach from {-reach:g} to {reach:g}; expected a positive "
                f"spacing that keeps them within +-{WORLD_HALF_WIDTH:g}."
            )
        inner = np.linspace(-reach, reach, len(floor))
        # Straight pieces are highest at a vertex or where the start area ends.
        edges = np.interp([-START_HALF_WIDTH, START_HALF_WIDTH], inner, floor)
        base = max(edges.max(), floor[np.abs(inner) <= START_HALF_WIDTH].max(initial=-np.inf))
        lines = [floor]
        if ceiling is not None:
            roof = np.asarray(ceiling, dtype=np.float64)
            if roof.shape != floor.shape:
                raise ValueError(
                    f"ceiling: expected as many heights as the floor's {len(floor)}, got shape {roof.shape}."
                )
            lines.append(roof)
        return cls(name, *(np.stack([inner, line - base], axis=1) for line in lines))

    def to_dict(self) -> dict[str, Any]:
        """The terrain in JSON's types: ``name``, ``floor`` and ``ceiling``; :meth:`from_dict` gives an equal terrain back."""
        ceiling = None if self.ceiling is None else self.ceiling.tolist()
        return {"name": self.name, "floor": self.floor.tolist(), "ceiling": ceiling}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Terrain:
        """Makes a terrain from what :meth:`to_dict` returns; ``ceiling`` may be left out.

        Raises:
            ValueError: A key is missing or unknown, a value is no polyline, or the terrain is not valid.
        """
        keys = set(value) if isinstance(value, Mapping) else set()
        if not {"name", "floor"} <= keys <= {"name", "floor", "ceiling"}:
            given = ", ".join(sorted(map(str, keys))) or type(value).__name__
            raise ValueError(f"terrain: expected the keys name, floor and, if there is one, ceiling, got {given}.")
        lines = []
        for key in ("floor", "ceiling"):
            try:
                line = None if value.get(key) is None else np.array(value[key], dtype=np.float64)
            except (TypeError, ValueError):
                raise ValueError(f"{key}: expected a list of points [x, y], got something else.") from None
            lines.append(line)
        if lines[0] is None:
            raise ValueError("floor: expected a list of points [x, y], got nothing.")
        return cls(str(value["name"]), lines[0], lines[1])

    def save(self, path: Path | str) -> None:
        """Writes the terrain to a JSON file."""
        Path(path).write_text(json.dumps(self.to_dict()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Terrain:
        """Reads a terrain from a JSON file: an object with ``name``, ``floor`` and, unless the sky is open, ``ceiling``.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds no JSON or no terrain.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

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


def _to_the_ends(line: Polyline) -> Polyline:
    """A polyline that goes on level from where it ends to the ends of the world."""
    pieces = [line]
    if line[0, 0] > -WORLD_HALF_WIDTH:
        pieces.insert(0, np.array([[-WORLD_HALF_WIDTH, line[0, 1]]]))
    if line[-1, 0] < WORLD_HALF_WIDTH:
        pieces.append(np.array([[WORLD_HALF_WIDTH, line[-1, 1]]]))
    return np.concatenate(pieces)
