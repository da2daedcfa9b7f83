"""A terrain in the form that the physics takes: thick segments, the surfaces behind which the solid begins, bins to look in."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.physics.constants import ESCAPE_DEPTH, FRICTION, STEEPEST_GROUND, TERRAIN_RADIUS
from sodarace_gym.physics.engine.ground import Ground, prepare
from sodarace_gym.terrains.terrain import SKY, WORLD_HALF_WIDTH, Terrain


@dataclass(frozen=True, eq=False)
class Solid:
    """What a walker may touch.

    Attributes:
        segments: Start x y, end x y, the previous segment's start x y, the next one's end x y, friction, elasticity; shape
            (segments, 10), walker units.
        floor: Where solid ground begins, x not decreasing; shape (points, 2), walker units.
        ceiling: Where the solid ceiling begins.
    """

    segments: NDArray[np.float64]
    floor: NDArray[np.float64]
    ceiling: NDArray[np.float64]

    @cached_property
    def ground(self) -> Ground:
        """The same in the engine's form, made when it is first asked for."""
        return prepare(self.segments, self.floor, self.ceiling, TERRAIN_RADIUS, ESCAPE_DEPTH)


_KEPT = 256
"""Terrains whose solids are kept: a million walkers on one terrain prepare it once."""
_solids: OrderedDict[tuple[bytes, bytes], Solid] = OrderedDict()
_lock = Lock()


def _after_fork_in_child() -> None:
    global _lock
    # It may be held by a thread that exists only in the parent.
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def solid_of(terrain: Terrain) -> Solid:
    """What a walker may touch of a terrain; kept for terrains in use."""
    key = terrain.key
    with _lock:
        if key in _solids:
            _solids.move_to_end(key)
            return _solids[key]
    open_sky = np.array([[-WORLD_HALF_WIDTH, SKY], [WORLD_HALF_WIDTH, SKY]])
    ceiling = open_sky if terrain.ceiling is None else terrain.ceiling
    pieces = [_segments(terrain.floor, inwards=1.0)]
    if terrain.ceiling is not None:
        pieces.append(_segments(terrain.ceiling, inwards=-1.0))
    solid = Solid(np.concatenate(pieces), np.array(terrain.floor), np.array(ceiling))
    with _lock:
        _solids[key] = solid
        while len(_solids) > _KEPT:
            _solids.popitem(last=False)
    return solid


def _segments(line: NDArray[np.float64], inwards: float) -> NDArray[np.float64]:
    """Thick segments whose outer edge is the surface: the polyline moved into the solid by TERRAIN_RADIUS.

    Corners that point into the open are rounded by the thickness; straight faces and hollows are exact. ``inwards`` is +1
    where the solid is below the line (floor) and -1 where it is above (ceiling).
    """
    keep = np.ones(len(line), dtype=bool)
    keep[1:] = (np.diff(line, axis=0) != 0.0).any(axis=1)
    line = line[keep]
    along = np.diff(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normals = inwards * np.stack([along[:, 1], -along[:, 0]], axis=1)
    before, after = np.vstack([normals[:1], normals]), np.vstack([normals, normals[-1:]])
    # Where two faces meet, the moved corner is where the moved faces meet: along the summed normals, and further out the
    # sharper the corner. A near reversal would move it to infinity, hence the bound.
    miter = (before + after) / np.maximum(1.0 + (before * after).sum(axis=1, keepdims=True), 0.25)
    points = line + TERRAIN_RADIUS * miter
    start, end = points[:-1], points[1:]
    previous = np.vstack([points[:1], points[:-2]])
    following = np.vstack([points[2:], points[-1:]])
    steep = np.abs(along[:, 1]) > STEEPEST_GROUND * np.abs(along[:, 0])
    grips = np.where(steep | (inwards < 0.0), 0.0, 1.0)[:, None]
    return np.hstack([start, end, previous, following, FRICTION * grips, grips])
