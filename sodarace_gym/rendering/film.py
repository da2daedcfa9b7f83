"""Pictures of walkers and terrains, drawn in memory without a display: single frames, whole walks and film strips.

Images are arrays of shape (height, width, 3), uint8, RGB; *scenes* are the same as pygame's surfaces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sodarace_gym.arguments import checked_whole
from sodarace_gym.physics.constants import DURATION, FRAME_RATE
from sodarace_gym.physics.rollout import roll_out
from sodarace_gym.physics.world import world_arrays
from sodarace_gym.rendering import camera
from sodarace_gym.rendering.canvas import PAPER, Canvas, Image, View, pygame, to_image
from sodarace_gym.rendering.drawing import (
    SURFACE,
    draw_captions,
    draw_start,
    draw_terrain,
    draw_walker,
    gait,
    visible_surface,
)
from sodarace_gym.terrains.distribution import TerrainDraw, as_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

FRAME_SIZE = (640, 360)
"""Width and height of a frame, pixels; even, as video codecs want them."""


def _usable(design: WalkerDesign, terrain: Terrain, trajectory: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The frames up to a fault; where there are none, the walker as it was put down."""
    if trajectory is not None:
        # Frames after a fault are zero, those just before it may be anywhere.
        largest = np.abs(trajectory).max(axis=(1, 2))
        bad = np.flatnonzero(~((largest > 0.0) & (largest < 1e4)))  # a comparison with NaN is False too
        count = int(bad[0]) if len(bad) else len(trajectory)
        if count:
            return trajectory[:count]
    return world_arrays(design, terrain, DURATION).joints[None]


def walk_scenes(
    design: WalkerDesign,
    terrain: Terrain,
    trajectory: NDArray[np.float64] | None,
    size: tuple[int, int],
    last_only: bool = False,
) -> Iterator[pygame.Surface]:
    """The frames of :func:`frames`, or the last one alone."""
    usable = _usable(design, terrain, trajectory)
    start = float(usable[0, :, 0].mean())
    cameras = camera.follow(terrain, usable, size)
    for index in range(len(usable) - 1 if last_only else 0, len(usable)):
        positions = usable[index]
        canvas = Canvas(cameras[index])
        draw_terrain(canvas, terrain)
        draw_start(canvas, terrain, start)
        draw_walker(canvas, design, positions, gait(design, index / FRAME_RATE))
        distance = abs(positions[:, 0].mean() - start)
        draw_captions(canvas, (f"{terrain.name}, {index / FRAME_RATE:.1f} s", 20), (f"distance {distance:.1f}", 26))
        yield canvas.finish()


def frames(
    design: WalkerDesign,
    terrain: Terrain,
    trajectory: NDArray[np.float64] | None,
    size: tuple[int, int] = FRAME_SIZE,
) -> Iterator[Image]:
    """Draws a walk, one frame for each of the trajectory's, ``physics.FRAME_RATE`` a second.

    Args:
        design: The walker.
        terrain: The terrain it walked on.
        trajectory: What ``physics.roll_out(..., record=True)`` recorded, shape (frames, joints, 2). Frames from a fault on
            are left out; without any (or with None) there is one frame, of the walker as it was put down.
        size: Width and height of a frame, pixels, at least ``camera.SMALLEST_SIDE``.

    Yields:
        Images of shape (height, width, 3), uint8.

    Raises:
        ValueError: The size is too small.
    """
    for picture in walk_scenes(design, terrain, trajectory, size):
        yield to_image(picture)


def pose_image(
    design: WalkerDesign,
    terrain: Terrain,
    positions: NDArray[np.float64],
    drives: NDArray[np.float64],
    start: NDArray[np.float64],
    time: float,
    size: tuple[int, int] = FRAME_SIZE,
) -> Image:
    """Draws one moment of a walk that is still going on.

    Args:
        design: The walker.
        terrain: The terrain.
        positions: Its joints now, shape (joints, 2).
        drives: How far each muscle is driven, shape (muscles,): -1 shortest, 1 longest, 0 for plain ones.
        start: Its joints when the walk began, shape (joints, 2).
        time: Time since then, s.
        size: Width and height of the image, pixels.

    Returns:
        An image of shape (height, width, 3), uint8.
    """
    return to_image(pose_scene(size, design, terrain, positions, drives, start, time))


def pose_scene(
    size: tuple[int, int],
    design: WalkerDesign,
    terrain: Terrain,
    positions: NDArray[np.float64],
    drives: NDArray[np.float64],
    start: NDArray[np.float64],
    time: float,
) -> pygame.Surface:
    """The picture of :func:`pose_image`."""
    if not np.abs(positions).max() < 1e4:  # after a fault there may be nothing to see
        positions = start
    centre, origin = float(positions[:, 0].mean()), float(start[:, 0].mean())
    canvas = Canvas(camera.live(terrain, design, centre, size))
    draw_terrain(canvas, terrain)
    draw_start(canvas, terrain, origin)
    draw_walker(canvas, design, positions, drives)
    canvas.caption((f"{terrain.name}, {time:.1f} s", 20), (f"displacement {centre - origin:+.1f}", 26))
    return canvas.finish()


def last_frame(
    design: WalkerDesign,
    terrain: Terrain,
    trajectory: NDArray[np.float64] | None,
    size: tuple[int, int] = FRAME_SIZE,
) -> Image:
    """Draws the end of a walk: the last of :func:`frames`, without the others."""
    return to_image(next(walk_scenes(design, terrain, trajectory, size, last_only=True)))


def terrain_image(terrain: Terrain, size: tuple[int, int] = FRAME_SIZE, span: float = 64.0) -> Image:
    """Draws a terrain around the start.

    Args:
        terrain: The terrain.
        size: Width and height of the image, pixels, at least ``camera.SMALLEST_SIDE``.
        span: Width of what is shown, walker units; more is shown where the picture is very wide.

    Returns:
        An image of shape (height, width, 3), uint8.
    """
    return to_image(terrain_scene(terrain, size, span))


def terrain_sheet(terrains: Sequence[Terrain], columns: int = 3, size: tuple[int, int] = (400, 150)) -> Image:
    """Draws terrains side by side in one image, row by row.

    Args:
        terrains: The terrains, at least one.
        columns: How many stand in a row.
        size: Width and height of each picture, pixels.

    Returns:
        An image of shape (height, width, 3), uint8.

    Raises:
        ValueError: There are no terrains, or ``columns`` is less than 1.
    """
    if not terrains or columns < 1:
        raise ValueError(f"expected at least one terrain and one column, got {len(terrains)} and {columns}.")
    gap = 4
    rows = math.ceil(len(terrains) / columns)
    sheet = pygame.Surface((columns * (size[0] + gap) - gap, rows * (size[1] + gap) - gap), depth=24)
    sheet.fill(PAPER)
    for index, terrain in enumerate(terrains):
        row, column = divmod(index, columns)
        sheet.blit(terrain_scene(terrain, size, 112.0), (column * (size[0] + gap), row * (size[1] + gap)))
    return to_image(sheet)


def terrain_scene(terrain: Terrain, size: tuple[int, int], span: float = 64.0) -> pygame.Surface:
    """The picture of :func:`terrain_image`."""
    canvas = Canvas(camera.overview(terrain, size, span), smoothing=3)
    draw_terrain(canvas, terrain)
    draw_start(canvas, terrain, 0.0)
    canvas.caption((terrain.name, 24))
    return canvas.finish()


def terrain_observation(terrain: Terrain, size: tuple[int, int]) -> Image:
    """Draws a terrain for a vision model: what is solid in one dark colour, the open in a light one, no text and no walker.

    The image shows |x| <= 48, like the profile, with the start in the middle of its width. A pixel is ``96 / width`` units wide
    and high, y = 0 lies one third of the height above the lower edge, so a pixel means the same place in every terrain.

    Args:
        terrain: The terrain.
        size: Width and height of the image, pixels.

    Returns:
        An image of shape (height, width, 3), uint8.
    """
    canvas = Canvas(camera.of_observation(size), smoothing=3)
    for line, inwards in ((terrain.floor, 1.0), (terrain.ceiling, -1.0)):
        if line is not None:
            canvas.polygon(SURFACE, visible_surface(canvas.view, line, inwards)[1])
    return to_image(canvas.finish())


class Moments(NamedTuple):
    """Moments of one walk.

    Attributes:
        images: A picture of each, shape (height, width, 3), uint8.
        displacements: How far along x the centre of mass is from where it started, walker units, signed.
        distance: Distance covered in the whole walk, walker units; 0.0 where there is a fault.
        fault: None, or why the walk failed; the moments are then those before it.
    """

    images: list[Image]
    displacements: list[float]
    distance: float
    fault: str | None


def walk_moments(
    design: WalkerDesign, terrain: Terrain, n: int = 6, duration: float = DURATION, size: tuple[int, int] = (236, 200)
) -> Moments:
    """Draws moments of a walk, each in a picture of its own, all of one scale.

    Args:
        design: The walker; it is simulated here.
        terrain: The terrain.
        n: Number of moments, evenly spread from the first to the last.
        duration: Time to walk, s.
        size: Width and height of each picture, pixels, at least ``camera.SMALLEST_SIDE``.

    Returns:
        The pictures and how far the walker had got.

    Raises:
        ValueError: ``n`` is less than 2, ``duration`` is not positive, or the size is too small.
    """
    n = checked_whole("n", n, "at least 2 moments", least=2)
    rollout = roll_out(design, terrain, duration, record=True)
    usable = _usable(design, terrain, rollout.trajectory)
    indices = _evenly(usable, n)
    start = usable[0, :, 0].mean()
    return Moments(
        images=[to_image(scene) for scene in _moment_scenes(design, terrain, usable, indices, size)],
        displacements=[float(usable[index, :, 0].mean() - start) for index in indices],
        distance=abs(rollout.displacement) if rollout.fault is None else 0.0,
        fault=rollout.fault,
    )


def _evenly(usable: NDArray[np.float64], n: int) -> list[int]:
    """Indices of n frames, from the first to the last."""
    indices: list[int] = np.linspace(0, len(usable) - 1, n).round().astype(int).tolist()
    return indices


def _moment_scenes(
    design: WalkerDesign,
    terrain: Terrain,
    usable: NDArray[np.float64],
    indices: Sequence[int],
    size: tuple[int, int],
) -> Iterator[pygame.Surface]:
    """The frames with these indices, each with its time and how far the walker has got."""
    cameras = camera.follow(terrain, usable, size)
    start = float(usable[0, :, 0].mean())
    for index in indices:
        canvas = Canvas(cameras[index], smoothing=3)
        draw_terrain(canvas, terrain)
        draw_start(canvas, terrain, start)
        draw_walker(canvas, design, usable[index], gait(design, index / FRAME_RATE))
        canvas.caption((f"{index / FRAME_RATE:.1f} s, {usable[index, :, 0].mean() - start:+.1f}", 20))
        yield canvas.finish()


def film_strip(
    design: WalkerDesign, terrain: Terrain | TerrainDraw | str, n: int = 6, duration: float = DURATION
) -> Image:
    """Draws a walk in one image: moments of it side by side, and below them the whole way with the walker at these moments.

    Args:
        design: The walker; it is simulated here.
        terrain: The terrain, or what names one.
        n: Number of moments, evenly spread from the first to the last.
        duration: Time to walk, s.

    Returns:
        An image of shape (height, width, 3), uint8, where the width grows with ``n``.

    Raises:
        ValueError: ``n`` is less than 2, ``duration`` is not positive, or ``terrain`` is no terrain.
    """
    n = checked_whole("n", n, "at least 2 moments", least=2)
    terrain = as_terrain(terrain)
    rollout = roll_out(design, terrain, duration, record=True)
    usable = _usable(design, terrain, rollout.trajectory)
    moments = _evenly(usable, n)
    start = float(usable[0, :, 0].mean())
    panel, gap, track = (236, 200), 4, 170
    sheet = pygame.Surface((n * panel[0] + (n - 1) * gap, panel[1] + gap + track), depth=24)
    sheet.fill(PAPER)

    for column, scene in enumerate(_moment_scenes(design, terrain, usable, moments, panel)):
        sheet.blit(scene, (column * (panel[0] + gap), 0))

    poses = usable[moments]
    low, high = poses.min(axis=(0, 1)), poses.max(axis=(0, 1))
    base = min(0.0, float(low[1]))
    scale = min(sheet.get_width() / (high[0] - low[0] + 12.0), (track - 34) / (high[1] - base + 3.0))
    left = 0.5 * (low[0] + high[0]) - 0.5 * sheet.get_width() / scale
    canvas = Canvas(View(left, base - 34.0 / scale, scale, (sheet.get_width(), track)), smoothing=3)
    draw_terrain(canvas, terrain)
    draw_start(canvas, terrain, start)
    for column, index in enumerate(moments):
        drives = gait(design, index / FRAME_RATE)
        draw_walker(canvas, design, usable[index], drives, fade=0.75 * (1.0 - column / (n - 1)))
    outcome = f"distance {abs(rollout.displacement):.1f}" if rollout.fault is None else rollout.fault
    draw_captions(canvas, (f"{terrain.name}, {duration:g} s, {outcome}", 20))
    sheet.blit(canvas.finish(), (0, panel[1] + gap))
    return to_image(sheet)
