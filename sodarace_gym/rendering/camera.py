"""Where a picture looks: views that follow a walk, that show a terrain from the start, and the one that agents see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.rendering.canvas import View
from sodarace_gym.terrains.terrain import PROFILE_HALF_WIDTH, Terrain
from sodarace_gym.walkers.walker import WalkerDesign

_GROUND = 48.0  # pixels of ground below what is walked on: enough for the scale of distances
_MARGIN = 16.0  # pixels that the walker stays away from every edge
SMALLEST_SIDE = 64
"""Least width and height of a picture of a walk or an overview, pixels: margins and captions need as much."""


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < SMALLEST_SIDE:
        raise ValueError(f"size: expected a width and a height of at least {SMALLEST_SIDE} pixels, got {tuple(size)}.")


def follow(terrain: Terrain, trajectory: NDArray[np.float64], size: tuple[int, int]) -> list[View]:
    """A view for each frame of a walk, all of one scale.

    The camera keeps the centre of mass in the middle and the ground below it near the lower edge, moving smoothly. Where that
    would lose the walker (it hangs down a step, falls into a pit or off a cliff) the walker comes first.

    Args:
        terrain: Where it walks.
        trajectory: Positions, shape (frames, joints, 2), finite, walker units.
        size: Width and height of the picture, pixels.

    Returns:
        As many views as there are frames.

    Raises:
        ValueError: The picture is too small.
    """
    _check_size(size)
    low, high = trajectory.min(axis=1), trajectory.max(axis=1)
    extent = np.percentile(high - low, 98, axis=0)
    # The last two bounds are for a walker much larger for a moment than usual: flung apart or unfolding.
    scale = min(
        size[0] / (1.5 * extent[0] + 9.0),
        size[1] / (1.35 * extent[1] + 5.0),
        *(np.array(size) - 2.0 * _MARGIN) / np.maximum((high - low).max(axis=0), 1.0),
    )
    width, height = np.array(size) / scale
    below, margin = min(0.2 * height, _GROUND / scale), _MARGIN / scale

    centre = trajectory[:, :, 0].mean(axis=1)
    around = np.linspace(-6.0, 6.0, 13)
    ground = np.median(np.interp(centre[:, None] + around, *terrain.floor.T), axis=1)
    # Twice: once so that the camera knows before it moves smoothly, once because a smooth motion may lag behind.
    bottom = np.clip(ground - below, high[:, 1] + margin - height, low[:, 1] - below)
    bottom = np.clip(_smooth(bottom), high[:, 1] + margin - height, low[:, 1] - margin)
    left = np.clip(centre - 0.5 * width, high[:, 0] + margin - width, low[:, 0] - margin)
    left = np.clip(_smooth(left), high[:, 0] + margin - width, low[:, 0] - margin)
    return [View(x, y, scale, size) for x, y in zip(left.tolist(), bottom.tolist(), strict=True)]


def _smooth(values: NDArray[np.float64], half_width: int = 12) -> NDArray[np.float64]:
    """A moving average; beyond its ends the motion is taken to go on as it came, so that the camera does not lag there."""
    padded = np.pad(values, half_width, mode="reflect", reflect_type="odd")
    return np.convolve(padded, np.full(2 * half_width + 1, 1.0 / (2 * half_width + 1)), mode="valid")


def live(terrain: Terrain, design: WalkerDesign, centre: float, size: tuple[int, int]) -> View:
    """A view of a walk that is still going on, with the centre of mass at x = ``centre``.

    Nobody knows how it goes on: the scale is one at which the walker fits however it turns, and the camera rests on the median
    height of a stretch of ground, which moves slowly over bumps and not at all before a wall. Too small a picture is refused.
    """
    _check_size(size)
    reach = max(design.width, design.height)
    scale = min(size[0] / (1.5 * reach + 9.0), size[1] / (1.35 * reach + 5.0))
    ground = float(np.median(np.interp(centre + np.linspace(-12.0, 12.0, 49), *terrain.floor.T)))
    width, height = size[0] / scale, size[1] / scale
    return View(centre - 0.5 * width, ground - min(0.2 * height, _GROUND / scale), scale, size)


def overview(terrain: Terrain, size: tuple[int, int], span: float = 64.0) -> View:
    """A view of a terrain around the start: ``span`` units wide, or more where the picture is wider than high.

    It looks down as far as the ground goes, but keeps the start in the lower two thirds of the picture. Too small a picture is
    refused.
    """
    _check_size(size)
    scale = min(size[0] / span, size[1] * 3.2 / span)
    width, height = np.array(size) / scale
    near = np.linspace(-0.5 * width, 0.5 * width, 129)
    lowest = np.interp(near, *terrain.floor.T).min()
    return View(-0.5 * width, max(min(0.0, lowest), -0.4 * height) - _GROUND / scale, scale, size)


def of_observation(size: tuple[int, int]) -> View:
    """The view of every image observation, the same for all terrains: as wide as the profile, one third of it below y = 0."""
    scale = size[0] / (2.0 * PROFILE_HALF_WIDTH)
    return View(-PROFILE_HALF_WIDTH, -size[1] / scale / 3.0, scale, size)
